"""`gantools train encoder --arch dse`: papers.md S4.10-S4.13."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_network
from torch import Tensor, nn

from gantools.inversion import encoder_files, perceptual
from gantools.inversion.cam import Cam, Classifier
from gantools.inversion.dse import DseEncoder
from gantools.inversion.dse_blocks import rates
from gantools.io import image, tensorfile
from gantools.io.network import Checkpoint, save
from gantools.networks import biggan, pggan, stylegan
from gantools.networks.network import Network, numbers, open_network
from gantools.report import Usage
from gantools.training import encoder_state
from gantools.training.dse import DseTrainer, DseTraining, begun, rendered
from gantools.training.encoder_samples import draw, usual_truncation

SMALL = ("--arch", "dse", "--width", "8", "--batch", "2", "--perceptual", "pyramid", "-q")
FAMILIES = ("stylegan2", "stylegan", "pggan", "biggan", "biggan-deep")


def network_file(path: Path, family: str) -> Path:
    """An untrained network of 16 or 32 pixels."""
    if family == "stylegan2":
        return make_network(path)
    torch.manual_seed(0)
    g: Any
    if family == "stylegan":
        g = stylegan.Generator(stylegan.GeneratorConfig(16, (8, 8, 8), 8, 8, mapping_layers=2))
    elif family == "pggan":
        g = pggan.Generator(pggan.GeneratorConfig(16, (8, 8, 8), z_dim=8))
    else:
        deep = family == "biggan-deep"
        cfg = biggan.generator_config(
            32, ch=4, deep=deep, z_dim=16 if deep else None, c_dim=3, embed_dim=6, attention=0
        )
        g = biggan.Generator(cfg)
    tensors = {f"g_ema.{n}": t for n, t in numbers(g).items()}
    save(path, Checkpoint(family.split("-", maxsplit=1)[0], {"g": g.cfg.to_dict()}, tensors, {}))
    return path


@pytest.fixture(scope="session")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A network file of every family."""
    folder = tmp_path_factory.mktemp("families")
    return {f: network_file(folder / f"{f}.safetensors", f) for f in FAMILIES}


def trainer_of(net: Path | Network, areas: Any = None, **changes: Any) -> DseTrainer:
    """A trainer of a small encoder."""
    found = net if isinstance(net, Network) else open_network(str(net))
    psi, cutoff = usual_truncation(found)
    settings: dict[str, Any] = {"psi": psi, "cutoff": cutoff, "width": 8, "batch": 2}
    config = DseTraining(network=found.story(), **(settings | changes))
    return DseTrainer(config, found, begun(config, found), perceptual.pyramid, areas=areas)


@pytest.mark.parametrize("family", FAMILIES)
def test_s4_12_a_step_moves_the_encoder_and_leaves_the_generator(
    nets: dict[str, Path], family: str
) -> None:
    """G's weights are bit-identical; every number of the encoder that has a use gets a gradient."""
    trainer = trainer_of(nets[family])
    g = {n: t.clone() for n, t in trainer.network.g.state_dict().items()}
    before = {n: t.clone() for n, t in trainer.encoder.state_dict().items()}
    trainer.step()
    assert all(torch.equal(t, g[n]) for n, t in trainer.network.g.state_dict().items())
    assert not any(p.requires_grad for p in trainer.network.g.parameters())
    idle = [n for n, p in trainer.encoder.named_parameters() if p.grad is None]
    assert not idle
    moved = trainer.encoder.state_dict()
    assert all(bool(p.isfinite().all()) for p in moved.values())
    assert not torch.equal(moved["from_rgb.weight"], before["from_rgb.weight"])
    assert trainer.images == 2


def test_s4_12_the_prior_asks_photographs_styles_to_be_usual(nets: dict[str, Path]) -> None:
    """Its weight times the mean over samples and photographs; their styles come nearer by it."""
    plain = trainer_of(nets["stylegan2"], tsa="none")
    trainer = trainer_of(nets["stylegan2"], tsa="none", prior_weight=0.5, lr=0.01)
    sample = draw(plain.network, plain.config, range(2))
    shown = draw(plain.network, plain.config, range(2, 5)).images.clamp(-1, 1)
    coded = trainer.encoder(torch.cat([sample.images.clamp(-1, 1), shown]))
    assert trainer.prior is not None and plain.prior is None
    unusual = trainer.prior(coded.w).mean().detach()
    found = [t.losses(sample, shown)[1] for t in (trainer, plain)]
    torch.testing.assert_close((found[0] - found[1]).detach(), 0.5 * unusual)
    alone = trainer_of(
        nets["stylegan2"], tsa="none", detach="all", latent_weight=0.0, prior_weight=1.0, lr=0.01
    )
    assert alone.prior is not None

    def value() -> float:
        with torch.no_grad():
            return float(alone.prior(alone.encoder(shown).w).mean())

    before = value()
    for _ in range(20):
        alone.move(range(2), shown)
    assert value() < 0.9 * before
    with pytest.raises(Usage, match="--prior-weight: the network has no w"):
        replace(plain.config, prior_weight=0.5, psi=1.0).check(open_network(str(nets["pggan"])))


@pytest.mark.parametrize("family", FAMILIES)
def test_s4_12_what_an_encoder_should_say_gives_the_picture(
    nets: dict[str, Path], family: str
) -> None:
    """w, or z and the condition, render as the sample, at its truncation."""
    trainer = trainer_of(nets[family])
    sample = draw(trainer.network, trainer.config, range(2))
    coded = trainer.ema(sample.images, sample.condition)
    names = [n for n in ("w", "z", "c") if getattr(coded, n) is not None]
    assert [p.shape for p in coded.parts] == [p.shape for p in sample.parts]
    true = replace(coded, **dict(zip(names, sample.parts, strict=True)))
    again = rendered(trainer.network, trainer.ema.config, true)
    torch.testing.assert_close(again, sample.images, rtol=1e-3, atol=1e-4)
    alone = draw(trainer.network, trainer.config, range(1, 2))
    torch.testing.assert_close(alone.images, sample.images[1:], rtol=1e-3, atol=1e-4)


def test_s4_12_truncations_of_the_families(nets: dict[str, Path]) -> None:
    """StyleGAN half of the layers, StyleGAN2 eight, both 0.7; BigGAN 0.4; PGGAN none."""
    found = {f: usual_truncation(open_network(str(path))) for f, path in nets.items()}
    assert found["stylegan"] == (0.7, 3) and found["pggan"] == (1.0, None)
    assert found["stylegan2"] == (0.7, 6) and found["biggan"] == (0.4, None)
    network = open_network(str(nets["stylegan2"]))
    config = DseTraining(network=network.story(), psi=0.0, cutoff=2)
    (w,) = draw(network, config, range(2)).parts
    assert torch.equal(w[0, :2], w[1, :2]) and not torch.equal(w[0, 2:], w[1, 2:])


def test_s4_12_samples_may_be_shown_over_and_over(tiny_network: Path) -> None:
    """--samples 3: sample 5 is sample 2; those of the sheets are others."""
    network = open_network(str(tiny_network))
    config = DseTraining(network=network.story(), samples=3)
    images = draw(network, config, range(6)).images
    assert torch.equal(images[5], images[2]) and not torch.equal(images[0], images[1])
    assert not torch.equal(draw(network, config, range(-3, -2)).images[0], images[0])


def test_s4_12_one_sample_is_learned(tiny_network: Path) -> None:
    """The loss of a single latent drops to a fifth."""
    trainer = trainer_of(tiny_network, samples=1, latent_weight=1.0, lr=0.01, tsa="none")
    sample = draw(trainer.network, trainer.config, range(2))

    def loss() -> float:
        with torch.no_grad():
            return float(sum(trainer.losses(sample)))

    before = loss()
    for _ in range(60):
        trainer.step()
    assert loss() < before / 5


def gradients(trainer: DseTrainer, loss: Tensor) -> list[Tensor]:
    """Of the encoder's parameters; 0 where there is none."""
    found = torch.autograd.grad(loss, trainer.parameters, allow_unused=True, retain_graph=True)
    return [
        torch.zeros_like(p) if g is None else g
        for p, g in zip(trainer.parameters, found, strict=True)
    ]


def test_s4_13_detached_terms_give_no_gradient(tiny_network: Path) -> None:
    """all: what is left is 0.01 of the latents' loss; attention: that and the whole picture's."""
    whole = trainer_of(tiny_network)
    sample = draw(whole.network, whole.config, range(2))
    image, latent = whole.losses(sample)
    plain = replace(whole.config, tsa="none")
    without = trainer_of(tiny_network, tsa="none")
    assert without.config == plain
    picture, _ = without.losses(sample)
    every = trainer_of(tiny_network, detach="all")
    detached, own = every.losses(sample)
    assert not detached.requires_grad
    torch.testing.assert_close(detached, image)
    for a, b in zip(gradients(every, own), gradients(whole, latent), strict=True):
        torch.testing.assert_close(a, b)
    attention = trainer_of(tiny_network, detach="attention")
    seen, _ = attention.losses(sample)
    torch.testing.assert_close(seen, image)
    for a, b in zip(gradients(attention, seen), gradients(without, picture), strict=True):
        torch.testing.assert_close(a, b)
    assert float(image.detach()) > float(picture.detach())


def test_s4_3_weights_leave_terms_out(tiny_network: Path) -> None:
    """The total is the weighted sum of what is logged; what has no weight is not computed."""
    trainer = trainer_of(tiny_network, area_weights=(5.0, 0.0), ssim_weight=0.0, kl_weight=1.0)
    image, latent = trainer.losses(draw(trainer.network, trainer.config, range(2)))
    found = {n: float(v[0] / v[1]) for n, v in trainer.sums.values.items()}
    assert set(found) == {"mse", "cos", "kl", "perceptual", "at1", "latent", "loss"}
    parts = 5 * found["mse"] + 3 * found["cos"] + found["kl"] + 2 * found["perceptual"]
    assert float(image.detach()) == pytest.approx(parts + 5 * found["at1"], rel=1e-4)
    assert float(latent.detach()) == pytest.approx(0.01 * found["latent"], rel=1e-4)


@pytest.mark.parametrize(
    ("flags", "terms"),
    [
        (["--tsa", "none"], set()),
        (["--area-weights", "5,0"], {"at1"}),
        ([], {"at1", "at2"}),
    ],
)
def test_s4_20_the_areas_of_table_iv(
    gt: Any, tiny_network: Path, tmp_path: Path, flags: list[str], terms: set[str]
) -> None:
    """Without areas, with the wider one, with both; --ssim-weight 0 (Table V) leaves SSIM out."""
    args = ("train", "encoder", *SMALL, "--net", tiny_network, "-o", tmp_path, "--steps", "1")
    assert gt(*args, *flags, "--ssim-weight", "0").code == 0
    line = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert {"at1", "at2", "ssim"} & set(line) == terms


def test_s4_7_areas_where_a_classifier_looks(tiny_network: Path) -> None:
    """Through its feature maps the encoder gets a gradient; in the released variant none."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3, padding=1)
    head = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    classifier = Classifier(conv.requires_grad_(False), head.requires_grad_(False))
    sums = {}
    for kind in ("gradcam", "dse"):
        cam = Cam(classifier, kind)  # type: ignore[arg-type]
        alone = {"mse_weight": 0.0, "cos_weight": 0.0, "ssim_weight": 0.0}
        trainer = trainer_of(tiny_network, cam.areas, area_weights=(1.0, 0.0), **alone)
        sample = draw(trainer.network, trainer.config, range(2))
        image, _ = trainer.losses(sample)
        plain = trainer_of(tiny_network, tsa="none", **alone)
        whole, _ = plain.losses(sample)
        moved = zip(gradients(trainer, image), gradients(plain, whole), strict=True)
        sums[kind] = sum(float((a - b).abs().sum()) for a, b in moved)
        assert trainer.sums.values["at1"][0] > 0
    assert sums["gradcam"] > 0 and sums["dse"] == 0


def test_s4_12_two_steps_take_the_gradients_of_one_point(tiny_network: Path) -> None:
    """As two separate LREQAdam steps of the same weights' gradients; one step is another."""
    two, one = trainer_of(tiny_network, two_step=True), trainer_of(tiny_network)
    by_hand = trainer_of(tiny_network)
    image, latent = by_hand.losses(draw(by_hand.network, by_hand.config, range(2)))
    for found in [gradients(by_hand, image), gradients(by_hand, latent)]:
        for p, g in zip(by_hand.parameters, found, strict=True):
            p.grad = g
        by_hand.adam.step()
    two.step()
    one.step()
    weight = "blocks.0.conv1.weight"
    found = [t.encoder.state_dict()[weight] for t in (two, by_hand, one)]
    torch.testing.assert_close(found[0], found[1])
    assert (found[0] - found[2]).abs().max() > 1e-5


# --- runs ---


def stored(path: Path) -> dict[str, bytes]:
    """The tensors of a state, by name."""
    return {name: value.tobytes() for name, value in tensorfile.read(path)[1].items()}


@pytest.mark.parametrize("family", ["stylegan2", "pggan", "biggan"])
def test_a_run_in_pieces_is_the_same_run(
    gt: Any, nets: dict[str, Path], tmp_path: Path, family: str
) -> None:
    """With its log, its sheets and an encoder that can be read and is its network's."""
    straight, pieces = tmp_path / "straight", tmp_path / "pieces"
    args = ("train", "encoder", *SMALL, "--net", nets[family], "--snapshot", "2")
    result = gt(*args, "-o", straight, "--steps", "4")
    assert result.code == 0, result.err
    for steps in ("2", "4"):
        assert gt(*args, "-o", pieces, "--steps", steps).code == 0
    assert stored(straight / encoder_state.NAME) == stored(pieces / encoder_state.NAME)
    line = json.loads((straight / "log.jsonl").read_text().splitlines()[-1])
    assert {"loss", "latent", "mse", "cos", "ssim", "perceptual", "at1", "at2", "psnr"} <= set(line)
    sheet = image.decode((straight / "samples" / line["samples"]).read_bytes())
    assert sheet.shape[1] % 8 == 0
    found = encoder_files.load(straight)
    network = open_network(str(nets[family]))
    found.check(network)
    assert isinstance(found, DseEncoder)
    told = json.loads((straight / "config.json").read_text())
    assert (told["arch"], told["optimiser"], told["area_weights"]) == ("dse", "lreq", [5.0, 9.0])
    changed = gt(*args, "-o", pieces, "--steps", "9", "--tsa", "none", "--optimiser", "adam")
    assert changed.code == 2
    assert "--tsa, --optimiser differ from the run in this folder" in changed.err
    other = gt("train", "encoder", "-o", pieces, "--perceptual", "pyramid", "--net", nets[family])
    assert other.code == 2
    if family == "stylegan2":
        assert "a run of --arch dse is in this folder" in other.err


def test_photographs_stand_beside_samples(gt: Any, tiny_network: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(4):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        (tmp_path / f"{i}.png").write_bytes(image.encode(pixels))
    args = ("train", "encoder", *(tmp_path / f"{i}.png" for i in range(4)), *SMALL, "--strategy=2")
    result = gt(*args, "--net", tiny_network, "--hold-out", "3", "-o", tmp_path / "r", "--steps=1")
    assert result.code == 0, result.err
    line = json.loads((tmp_path / "r" / "log.jsonl").read_text().splitlines()[-1])
    assert "psnr_held" in line
    detached = gt(*args, "--net", tiny_network, "-o", tmp_path / "s", "--strategy", "1")
    assert (detached.code, "nothing is learned of photographs" in detached.err) == (2, True)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--first", "5"], "--first is for --arch fw, and this is dse"),
        (["--cam", "dse"], "--cam goes with --tsa gradcam"),
        (["--tsa", "none", "--resize-crops"], "--resize-crops goes with --tsa centre"),
        (["--tsa", "gradcam"], "vgg16"),
        (["--area-weights", "5"], "expected two numbers"),
        (["--detach", "all", "--latent-weight", "0"], "nothing is learned"),
        (["--perceptual", "discriminator"], "sees whole pictures alone"),
        (["--psi", "nan"], "not a finite number"),
    ],
)
def test_what_cannot_be_is_one_line(
    gt: Any, tiny_network: Path, tmp_path: Path, flags: list[str], why: str
) -> None:
    args = ["--arch", "dse", "--perceptual", "pyramid", "--net", tiny_network, "-o", tmp_path / "r"]
    result = gt("train", "encoder", *args, *flags)
    assert result.code == 2
    assert why in result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "r").exists()


def test_flags_of_dse_are_refused_for_fw(gt: Any, tiny_network: Path, tmp_path: Path) -> None:
    args = ("train", "encoder", "--net", tiny_network, "-o", tmp_path / "r")
    assert "--cos is for --arch dse, and this is fw" in gt(*args, "--cos", "batch").err


@pytest.mark.parametrize("optimiser", ["lreq", "adam"])
def test_s4_11_the_first_step_of_a_weight_is_its_rate(tiny_network: Path, optimiser: str) -> None:
    """lr times the rate with LREQAdam, lr with Adam, whatever the gradient."""
    trainer = trainer_of(tiny_network, optimiser=optimiser, lr=1e-3)
    own = rates(trainer.encoder)
    before = {n: p.detach().clone() for n, p in trainer.encoder.named_parameters()}
    trainer.step()
    for name in ("from_rgb.weight", "blocks.1.conv2.weight", "blocks.2.style1.bias"):
        parameter = dict(trainer.encoder.named_parameters())[name]
        moved = (parameter.detach() - before[name]).abs().median()
        rate = own.get(name, 1.0) if optimiser == "lreq" else 1.0
        assert float(moved) == pytest.approx(1e-3 * rate, rel=0.02), name
