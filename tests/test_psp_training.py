"""`gantools train encoder --arch psp` and `gantools project --method psp`: papers.md S4.18."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_dse_training import network_file, stored
from test_project_encoder import kept_beside, latents_of
from test_psp_encoder import idle
from torch import Tensor

from gantools.inversion import arcface, encoder_files, perceptual
from gantools.inversion.psp import PspEncoder
from gantools.io import encoder as files
from gantools.io import image
from gantools.networks.network import Network, open_network
from gantools.training import encoder_state
from gantools.training.encoder_samples import draw
from gantools.training.psp import PspTrainer, PspTraining, begun

TINY = ("--arch", "psp", "--width", "8", "--depth", "10", "--batch", "2", "-q")
SMALL = (*TINY, "--perceptual", "pyramid")


def trainer_of(
    net: Path | Network,
    identity: Any = None,
    photographs: Any = None,
    **changes: Any,
) -> PspTrainer:
    """A trainer of a small encoder."""
    found = net if isinstance(net, Network) else open_network(str(net))
    settings: dict[str, Any] = {"width": 8, "depth": 10, "batch": 2, "perceptual": "pyramid"}
    config = PspTraining(network=found.story(), **(settings | changes))
    encoder = begun(config, found)
    return PspTrainer(config, found, encoder, perceptual.pyramid, photographs, identity)


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Networks with styles, each in a folder of its own."""
    found = {}
    for family in ("stylegan2", "stylegan"):
        folder = tmp_path_factory.mktemp(family)
        found[family] = network_file(folder / "net.safetensors", family)
    return found


@pytest.mark.parametrize("family", ["stylegan2", "stylegan"])
@pytest.mark.parametrize("optimiser", ["ranger", "adam"])
def test_s4_18_a_step_moves_the_encoder_and_leaves_the_generator(
    nets: dict[str, Path], family: str, optimiser: str
) -> None:
    """G's weights are bit-identical; every number of the encoder gets a gradient, and moves."""
    trainer = trainer_of(nets[family], optimiser=optimiser, lr=0.1)
    g = {n: t.clone() for n, t in trainer.network.g.state_dict().items()}
    before = {n: t.detach().clone() for n, t in trainer.encoder.named_parameters()}
    mean = trainer.encoder.mean.clone()
    trainer.step()
    assert all(torch.equal(t, g[n]) for n, t in trainer.network.g.state_dict().items())
    assert not any(p.requires_grad for p in trainer.network.g.parameters())
    assert not idle(trainer.encoder)
    for name, parameter in trainer.encoder.named_parameters():
        moved = not torch.equal(parameter, before[name])
        assert moved or name.endswith("shortcut_layer.1.bias"), name
    assert torch.equal(trainer.ema.mean, mean)
    assert torch.equal(mean[0], trainer.network.g.mapping.w_avg)
    assert trainer.images == 2


@pytest.mark.parametrize(("optimiser", "lr"), [("ranger", 0.1), ("adam", 0.03)])
def test_s4_18_one_sample_is_learned(tiny_network: Path, optimiser: str, lr: float) -> None:
    """The loss of a single picture drops to a third, that of its w too where it counts."""
    trainer = trainer_of(tiny_network, samples=1, lr=lr, latent_weight=0.1, optimiser=optimiser)
    sample = draw(trainer.network, trainer.config, range(2))

    def now() -> tuple[float, float]:
        trainer.sums.values.clear()
        with torch.no_grad():
            loss = float(trainer.loss(sample))
        return loss, float(trainer.sums.values["latent"][0])

    before = now()
    for _ in range(60):
        trainer.step()
    after = now()
    assert after[0] < before[0] / 3 and after[1] < before[1]


def test_s4_18_the_loss_is_the_weighted_sum_of_its_terms(tiny_network: Path) -> None:
    """1 L2, 0.8 of the perceptual distance, 0.1 of identity; the length of what is added to w."""

    def identity(images: Tensor) -> Tensor:
        return torch.nn.functional.normalize(images.mean((2, 3)))

    trainer = trainer_of(tiny_network, identity, id_weight=0.1, norm_weight=0.005)
    sample = draw(trainer.network, trainer.config, range(2))
    total = float(trainer.loss(sample).detach())
    found = {n: float(v[0] / v[1]) for n, v in trainer.sums.values.items()}
    assert set(found) == {"mse", "perceptual", "identity", "norm", "loss"}
    expected = found["mse"] + 0.8 * found["perceptual"] + 0.1 * found["identity"]
    assert total == pytest.approx(expected + 0.005 * found["norm"], rel=1e-5)
    clean = sample.images.clamp(-1, 1)
    w = trainer.encoder(clean)
    added = (w - trainer.network.g.mapping.w_avg).detach()
    assert found["norm"] == pytest.approx(float(added.flatten(1).norm(dim=1).mean()), rel=1e-4)
    made = trainer.network.g.synthesis(w, "const").detach()
    assert found["mse"] == pytest.approx(float((clean - made).square().mean()), rel=1e-4)
    alike = (identity(clean) * identity(made)).sum(1).mean()
    assert found["identity"] == pytest.approx(1 - float(alike), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("own", [False, True])
def test_s4_18_photographs_alone_or_beside_samples(tiny_network: Path, own: bool) -> None:
    """As published the network's samples change nothing; with --own they do."""
    shown = torch.rand(2, 3, 16, 16)

    def trained(seed: int) -> Tensor:
        trainer = trainer_of(tiny_network, photographs=lambda position, count: shown, own=own)
        start = {n: t.clone() for n, t in trainer.encoder.state_dict().items()}
        trainer.config = PspTraining(**{**trainer.config.to_dict(), "seed": seed})
        trainer.step()
        found = trainer.encoder.latlayer1.weight.detach()
        assert not torch.equal(found, start["latlayer1.weight"])
        return found

    assert torch.equal(trained(0), trained(1)) is not own


def test_a_pretrained_backbone_begins_with_the_published_numbers() -> None:
    """By name; of grey pictures all but the first layer, as that sees another count of channels."""
    torch.manual_seed(0)
    other = arcface.ArcFace()
    state = {n.removeprefix("trunk."): t for n, t in other.state_dict().items()}
    with torch.no_grad():
        for tensor in state.values():
            if tensor.is_floating_point():
                tensor.add_(0.5)
    trunk = arcface.IrSe(1, arcface.WIDTH, 50)
    first = trunk.input_layer[0].weight.clone()
    trunk.fill(state)
    assert torch.equal(trunk.input_layer[0].weight, first)
    name = "body.3.res_layer.4.running_var"
    assert torch.equal(trunk.state_dict()[name], state[name])


# --- runs ---


@pytest.mark.parametrize("optimiser", ["ranger", "adam"])
def test_a_run_in_pieces_is_the_same_run(
    gt: Any, tiny_network: Path, tmp_path: Path, optimiser: str
) -> None:
    """Past Lookahead's sixth step, with its log, its sheets and an encoder that can be read."""
    straight, pieces = tmp_path / "straight", tmp_path / "pieces"
    args = ("train", "encoder", *SMALL, "--net", tiny_network, "--snapshot", "4")
    args = (*args, "--optimiser", optimiser, "--norm-weight", "0.005")
    result = gt(*args, "-o", straight, "--steps", "8")
    assert result.code == 0, result.err
    for steps in ("4", "8"):
        assert gt(*args, "-o", pieces, "--steps", steps).code == 0
    assert stored(straight / encoder_state.NAME) == stored(pieces / encoder_state.NAME)
    line = json.loads((straight / "log.jsonl").read_text().splitlines()[-1])
    assert {"loss", "mse", "perceptual", "norm", "psnr"} <= set(line)
    assert "identity" not in line
    sheet = image.decode((straight / "samples" / line["samples"]).read_bytes())
    assert sheet.shape[1] % 8 == 0
    found = encoder_files.load(straight)
    assert isinstance(found, PspEncoder)
    found.check(open_network(str(tiny_network)))
    told = json.loads((straight / "config.json").read_text())
    assert (told["arch"], told["optimiser"], told["id_weight"]) == ("psp", optimiser, 0.0)
    assert not told["pretrained"] and told["lr"] == 1e-4
    changed = gt(*args, "-o", pieces, "--steps", "9", "--depth", "18", "--id-weight", "0")
    assert (changed.code, "--depth differs from the run" in changed.err) == (2, True)
    other = gt("train", "encoder", "-o", pieces, "--perceptual", "pyramid", "--net", tiny_network)
    assert (other.code, "a run of --arch psp is in this folder" in other.err) == (2, True)


def photographs(folder: Path, side: int = 16) -> list[Path]:
    """Four pictures of noise."""
    rng = np.random.default_rng(0)
    found = [folder / f"{i}.png" for i in range(4)]
    for path in found:
        path.write_bytes(image.encode(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)))
    return found


def test_photographs_are_learned(gt: Any, tiny_network: Path, tmp_path: Path) -> None:
    """Alone; what is asked of samples then needs --own. Identity's weight is said."""
    args = ("train", "encoder", *photographs(tmp_path), *SMALL[:-3], "--perceptual", "pyramid")
    args = (*args, "--net", tiny_network, "--hold-out", "3", "--steps=1")
    result = gt(*args, "-o", tmp_path / "r")
    assert result.code == 0, result.err
    assert "identity counts nothing: no weights ir-se50" in result.err
    line = json.loads((tmp_path / "r" / "log.jsonl").read_text().splitlines()[-1])
    assert {"psnr", "psnr_held"} <= set(line)
    idle = gt(*args, "-o", tmp_path / "s", "--psi", "0.5")
    assert (idle.code, "add --own" in idle.err) == (2, True)
    beside = gt(*args, "-o", tmp_path / "s", "--psi", "0.5", "--own", "--latent-weight", "1")
    assert beside.code == 0, beside.err


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--first", "5"], "--first is for --arch fw, and this is psp"),
        (["--tsa", "none"], "--tsa is for --arch dse, and this is psp"),
        (["--optimiser", "lreq"], "--optimiser lreq: --arch psp has ranger and adam"),
        (["--depth", "20"], "'20' is not one of"),
        (["--id-weight", "0.1"], "weights ir-se50 (ArcFace's IR-SE50"),
        (["--pretrained"], "--pretrained: the weights are those of --depth 50 --width 512"),
        (["--own"], "--own goes with DATA"),
        (["--mse-weight", "0", "--perceptual-weight", "0"], "nothing is learned"),
        (["--norm-weight", "nan"], "not a finite number"),
        (["--arch", "dse", "--depth", "10"], "--depth is for --arch psp, and this is dse"),
        (["--arch", "fw", "--psi", "1"], "--psi is for --arch dse and psp, and this is fw"),
        (["--arch", "dse", "--optimiser", "ranger"], "--arch dse has lreq and adam"),
    ],
)
def test_what_cannot_be_is_one_line(
    gt: Any, tiny_network: Path, tmp_path: Path, flags: list[str], why: str
) -> None:
    args = ["--perceptual", "pyramid", "--net", tiny_network, "-o", tmp_path / "r", "-q"]
    if "--arch" not in flags:
        args = [*SMALL, *args]
    result = gt("train", "encoder", *args, *flags)
    assert result.code == 2
    assert why in result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "r").exists()


# --- project ---


@pytest.mark.parametrize("family", ["stylegan2", "stylegan"])
def test_one_pass_gives_latents_of_the_network(
    gt: Any, nets: dict[str, Path], tmp_path: Path, family: str
) -> None:
    """Whatever the batch, by --method psp and encoder, which say the same and who says it."""
    net = nets[family]
    network = open_network(str(net))
    config = PspTraining(network=network.story(), width=8, depth=10)
    encoder = begun(config, network).eval()
    kept = net.with_name("net.psp" + files.SUFFIX)
    files.write(kept, encoder_files.to_file(encoder, {}))
    args = ("project", "--net", net, *photographs(tmp_path), "--align", "never", "-q")
    result = gt(*args, "--method", "psp")
    assert result.code == 0, result.err
    assert result.out == gt(*args, "--method", "psp", "--batch", "3").out
    found = latents_of(result.out)
    assert [x.space for x in found] == ["w+"] * 4
    told = found[0].header["projection"]
    assert (told["method"], told["arch"]) == ("psp", "psp")
    (pixels,) = [image.decode((tmp_path / "0.png").read_bytes())]
    seen = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        own = encoder(seen)[0].numpy()
    np.testing.assert_allclose(found[0].tensors["w"], own, rtol=1e-4, atol=1e-5)
    again = latents_of(gt(*args, "--method", "encoder").out)
    assert np.array_equal(again[0].tensors["w"], found[0].tensors["w"])
    assert again[0].header["projection"]["arch"] == "psp"
    (start,) = latents_of(gt(*args[:4], *args[-3:], "--steps", "0", "--perceptual", "pyramid").out)
    assert start.header["projection"]["init"] == "encoder"


def test_the_method_takes_its_own_kind_alone(gt: Any, tiny_network: Path, tmp_path: Path) -> None:
    """Without one, with another and with flags of an optimisation: one line."""
    net = network_file(tmp_path / "net.safetensors", "stylegan")
    residual = kept_beside(net)
    picture = photographs(tmp_path)[0]
    args = ("project", "--net", net, picture, "--method", "psp", "-q")
    for flags, why in (
        ([], "no encoder is kept for net: train one (gantools train encoder --arch psp)"),
        (["--space", "w"], "no encoder for w is kept"),
        (["--init", residual], "an encoder of kind dse, not trained by train encoder --arch psp"),
        (["--init", "mean"], "no encoder, with which --method psp begins"),
        (["--steps", "3"], "--method psp optimises nothing"),
    ):
        result = gt(*args, *flags)
        assert result.code == 2, flags
        assert why in result.err and len(result.err.splitlines()) == 1
    assert gt("project", "--net", net, picture, "--method", "encoder", "-q").code == 0
