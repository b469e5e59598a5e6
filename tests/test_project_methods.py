"""`project --method` i2s, i2s-lreq, idinvert, dse-finetune, and z (papers.md S4.1, S4.14-S4.16)."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_network
from test_dse_training import network_file
from test_project_encoder import kept_beside
from torch import Tensor, nn

from gantools.inversion import coded, encoder_files, finetune, optimise, quality
from gantools.inversion.coded import AnyEncoder
from gantools.inversion.dse import Coded
from gantools.inversion.dse_loss import centre, image_terms, weighted
from gantools.inversion.encoder import Encoder, EncoderConfig
from gantools.inversion.image_loss import image_loss
from gantools.inversion.methods import FAMILIES, METHODS
from gantools.inversion.perceptual import Vgg16, distance, pyramid
from gantools.inversion.project import Projector
from gantools.inversion.start import Given
from gantools.inversion.z_space import CUT_SD, ZStarts, deviation
from gantools.io import encoder as files
from gantools.io import image
from gantools.io.latent import Latent
from gantools.io.network import Checkpoint, load, save
from gantools.io.seeds import truncated
from gantools.networks import biggan, sngan
from gantools.networks.network import Network, numbers, open_network
from gantools.report import Usage

PLAIN = ("--perceptual", "pyramid", "--align", "never")


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Untrained networks, those of paper 004 with encoders beside them."""
    found = {}
    for family in ("stylegan2", "pggan", "biggan"):
        found[family] = network_file(tmp_path_factory.mktemp(family) / "net.safetensors", family)
        if family == "biggan":  # whose tanh would be as good as flat
            ckpt = load(found[family])
            ckpt.tensors["g_ema.norm.gain"] = ckpt.tensors["g_ema.norm.gain"] * 0.05
            save(found[family], replace(ckpt, meta={}))
        kept_beside(found[family])
    torch.manual_seed(0)
    g = sngan.Generator(sngan.GeneratorConfig(16, (8, 8, 8), z_dim=8, c_dim=3))
    found["sngan"] = tmp_path_factory.mktemp("sngan") / "net.safetensors"
    tensors = {f"g_ema.{n}": t for n, t in numbers(g).items()}
    save(found["sngan"], Checkpoint("sngan", {"g": g.cfg.to_dict()}, tensors, {}))
    return found


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two smooth pictures of 32x32."""
    folder = tmp_path_factory.mktemp("photos")
    for name, x in zip("ab", pictures(32), strict=True):
        (folder / f"{name}.png").write_bytes(image.encode(x))
    return folder


def pictures(size: int) -> list[np.ndarray]:
    """Two colour ramps, uint8."""
    ramp = np.linspace(40, 200, size)
    one = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 128.0), 2)
    return [one.astype(np.uint8), (255 - one).astype(np.uint8)]


def latents_of(stream: bytes) -> dict[str, Latent]:
    assert stream
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        found = [(m.name.partition(".")[0], tar.extractfile(m)) for m in tar]
        return {key: Latent.from_bytes(f.read(), key) for key, f in found if f is not None}


def projector(net: Path, method: str, space: str, init: Any = "random", **more: Any) -> Projector:
    changes = {"steps": more.pop("steps", 3)} | more.pop("changes", {})
    network, settings = open_network(str(net)), replace(METHODS[method], **changes)
    return Projector(network, space, method, settings, "pyramid", init, **more)


def unchanged(network: Network, net: Path) -> bool:
    """Whether the generator has the bits of its file, and takes no gradient."""
    fresh = open_network(str(net)).g.state_dict()
    same = all(torch.equal(t, fresh[n]) for n, t in network.g.state_dict().items())
    return same and not any(p.requires_grad or p.grad is not None for p in network.g.parameters())


# ---------------------------------------------------------------------------- S4.15


def toy(w: Tensor) -> Tensor:
    """w [N, 2, 24] -> pictures [N, 3, 16, 16], smooth and bounded."""
    g = torch.Generator().manual_seed(3)
    basis = torch.randn(48, 3 * 4 * 4, generator=g) / 48**0.5
    small = (w.flatten(1) @ basis).tanh().view(-1, 3, 4, 4)
    return nn.functional.interpolate(small, size=(16, 16), mode="bilinear")


def test_s4_15_recovers_what_the_toy_made() -> None:
    """From the mean with Adam at 0.01: G(w*) to more than 35 dB."""
    true = torch.randn(2, 2, 24, generator=torch.Generator().manual_seed(0)) / 2
    target, method = toy(true), replace(METHODS["i2s"], steps=260)
    assert (method.lr, method.optimiser, method.init) == (0.01, "adam", "mean")
    loss = optimise.objective(pyramid, target, method)
    found = optimise.optimise(
        {"w": torch.zeros(2, 2, 24)}, lambda t: toy(t["w"]), loss, method
    ).tensors["w"]
    made, wanted = (((x + 1) * 127.5).round().byte().numpy() for x in (toy(found), target))
    assert all(quality.psnr(a, b) > 35 for a, b in zip(made, wanted, strict=True))


def test_s4_15_as_paper_004_ran_it() -> None:
    """N(0, 1), LREQAdam at 0.0015, whose first step is the rate in every number, and L_IMG."""
    method = replace(METHODS["i2s-lreq"], steps=1)
    assert (METHODS["i2s-lreq"].steps, method.lr, method.init) == (30_000, 0.0015, "normal")
    start = torch.randn(1, 2, 24, generator=torch.Generator().manual_seed(1))
    loss = optimise.objective(pyramid, toy(-start), method)
    found = optimise.optimise({"w": start}, lambda t: toy(t["w"]), loss, method).tensors["w"]
    torch.testing.assert_close((found - start).abs(), torch.full_like(start, 0.0015), rtol=0.02,
                               atol=0)  # fmt: skip


def test_s4_14_image_loss_is_of_the_whole_and_two_areas() -> None:
    """L_IMG + 0.375 L_IMG(AT1) + 0.625 L_IMG(AT2), each sample by itself; 0 at the target."""
    method = METHODS["dse-finetune"]
    g = torch.Generator().manual_seed(0)
    true, said = (torch.rand(2, 3, 32, 32, generator=g) * 2 - 1 for _ in range(2))
    found = image_loss(pyramid, true, method)(said)
    weights = finetune.LATENT  # 5, 3, 2 and 1 for pictures too
    one = [true[:1], said[:1]]
    parts = [1.0 * weighted(image_terms(*one, weights, pyramid), weights)]
    for share, (_, a, b) in zip((0.375, 0.625), centre(*one), strict=True):
        parts.append(share * weighted(image_terms(a, b, weights, pyramid), weights))
    assert found[0].item() == pytest.approx(sum(parts).item(), rel=1e-5)  # type: ignore[attr-defined]
    assert image_loss(pyramid, true, method)(true).abs().max() < 1e-5
    bare = replace(method, ssim=0.0)  # Table V, without SSIM
    assert image_loss(pyramid, true, bare)(said)[0] < found[0]


def test_s4_15_starts(nets: dict[str, Path], gt: Any, photos: Path) -> None:
    """i2s at the mean though an encoder is kept; i2s-lreq at N(0, 1) of the picture's key."""
    argv = ("project", "--net", nets["stylegan2"], "--steps", 0, photos, *PLAIN)
    plain = latents_of(gt(*argv, "--method", "i2s").out)["a"]
    assert plain.header["projection"]["init"] == "mean"
    assert (plain.tensors["w"] == plain.tensors["w"][0]).all()
    drawn = latents_of(gt(*argv, "--method", "i2s-lreq").out)
    story = drawn["a"].header["projection"]
    assert (story["init"], story["optimiser"], story["area_weights"]) == (
        "normal",
        "lreq",
        [0.375, 0.625],
    )
    assert (story["cos_weight"], story["ssim_weight"], story["mse_weight"]) == (3.0, 1.0, 5.0)
    w = drawn["a"].tensors["w"]
    assert w.std() == pytest.approx(1, abs=0.25) and not (w == drawn["b"].tensors["w"]).any()


# ---------------------------------------------------------------------------- S4.16


class Factor(nn.Module):
    """An encoder of pictures that are their own w: what it says is `factor` times that."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor, condition: Tensor | None) -> Coded:
        return Coded(images, w=self.factor * images.reshape(len(images), 2, -1))


def test_s4_16_w_stays_where_the_picture_is_the_target_and_comes_back() -> None:
    """x' = x and E∘G = id: no step moves w, to the bit; another encoder moves it."""
    w = torch.randn(2, 2, 24, generator=torch.Generator().manual_seed(0))
    method = replace(METHODS["idinvert"], steps=5)
    loss = optimise.objective(pyramid, w.view(2, 3, 4, 4), method)

    def found(factor: float) -> Tensor:
        beside = coded.echo(Factor(factor), method.echo)  # type: ignore[arg-type]
        render: optimise.Render = lambda t: t["w"].reshape(-1, 3, 4, 4)  # noqa: E731
        return optimise.optimise({"w": w}, render, loss, method, beside=beside).tensors["w"]

    assert torch.equal(found(1.0), w)
    assert not torch.equal(found(3.0), w)
    value = coded.echo(Factor(3.0), 2.0)({"w": w}, w.view(2, 3, 4, 4))  # type: ignore[arg-type]
    torch.testing.assert_close(value, 2.0 * (2 * w).square().mean((1, 2)))


def test_s4_16_from_what_an_encoder_sees(gt: Any, nets: dict[str, Path], photos: Path) -> None:
    """100 steps at 0.01 of MSE + 5e-5 VGG + 2 MSE(w, E(G(w))); without steps the encoder's own."""
    argv = ("project", "--net", nets["stylegan2"], photos, "--align", "never")
    missing = gt(*argv, "--method", "idinvert", "--steps", 2)
    assert missing.code == 2 and "vgg16" in missing.err and missing.err.count("\n") == 1
    own = (*argv, "--method", "idinvert", "--perceptual", "pyramid", "--steps")
    encoded, start = (latents_of(r.out) for r in (gt(*argv, "--method", "encoder"), gt(*own, 0)))
    np.testing.assert_array_equal(encoded["a"].tensors["w"], start["a"].tensors["w"])
    made = latents_of(gt(*own, 3).out)
    story = made["b"].header["projection"]
    assert (story["init"], story["echo_weight"], story["mse_weight"]) == ("encoder", 2.0, 1.0)
    assert (story["lr"], story["perceptual_weight"]) == (0.01, 5e-5)
    assert METHODS["idinvert"].steps == 100
    moved = np.abs(made["b"].tensors["w"] - start["b"].tensors["w"])
    assert 0 < moved.max() < 0.031
    alone = latents_of(gt(*own, 3, "--batch", 1).out)
    np.testing.assert_allclose(alone["b"].tensors["w"], made["b"].tensors["w"], atol=1e-4)
    other = gt(*own, 1, "--space", "fw+3", "--init", files_beside(nets["stylegan2"]))
    assert other.code == 2 and "stays in the encoder's space, w+" in other.err


def files_beside(net: Path) -> Path:
    return net.with_name(net.stem + files.SUFFIX)


def test_s4_16_the_distance_of_vgg16() -> None:
    """A mean square of what the trunk gives, in Keras' size: of pictures themselves 255² / 4."""
    embed = Vgg16(nn.Sequential(*(nn.Identity() for _ in range(30))))
    embed.std.fill_(0.5)
    a, b = torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 0.2)
    found = distance(embed(a), embed(b))
    torch.testing.assert_close(found, torch.full((2,), (0.2 * 255 / 2) ** 2))
    assert len(embed.trunk) == 23  # modules up to relu4_3


# ---------------------------------------------------------------------------- S4.14


def encoder_of(net: Path) -> AnyEncoder:
    return encoder_files.load(files_beside(net))


def fw_encoder(net: Path) -> Encoder:
    """An untrained one of fw+3."""
    network = open_network(str(net))
    torch.manual_seed(0)
    found = Encoder(EncoderConfig.of(network, 3, "small", 4), network.story())
    for head in (found.f, found.r, found.s):
        nn.init.normal_(head.weight, std=0.05)
    return found.eval().requires_grad_(False)


@pytest.mark.parametrize("family", ["stylegan2", "fw", "pggan", "biggan"])
def test_s4_14_the_encoder_is_tuned_for_each_picture(nets: dict[str, Path], family: str) -> None:
    """The loss falls; encoder and generator keep their bits; each picture begins afresh."""
    net = nets["stylegan2" if family == "fw" else family]
    encoder = fw_encoder(net) if family == "fw" else encoder_of(net)
    before = {n: t.clone() for n, t in encoder.state_dict().items()}
    labels = [1, 2] if family == "biggan" else None
    one = projector(
        net, "dse-finetune", encoder.space, Given("encoder", lambda key, x, label: None),  # type: ignore[arg-type,return-value]
        steps=8, changes={"lr": 3e-4 if family == "biggan" else 0.002}, encoder=encoder,
    )  # fmt: skip
    losses: list[float] = []
    pixels = pictures(one.network.size[0])
    blank = [Latent(key, encoder.space, {}) for key in "ab"]

    def watch(step: int, tensors: Any, images: Tensor, now: Tensor) -> None:
        losses.append(now.item())

    both = one.run("ab", pixels, watch, blank, labels)
    assert len(losses) == 16 and min(losses[5:8]) < losses[0]
    assert both[0].header["projection"]["loss"] == pytest.approx(min(losses[4:8]), rel=1e-5)
    assert all(torch.equal(t, before[n]) for n, t in encoder.state_dict().items())
    assert not any(p.requires_grad for p in encoder.parameters())
    assert unchanged(one.network, net)
    alone = one.run("b", pixels[1:], None, blank[1:], labels and labels[1:])[0]
    for name, value in alone.tensors.items():
        np.testing.assert_array_equal(value, both[1].tensors[name])


def test_s4_14_settings_of_the_families(gt: Any, nets: dict[str, Path], photos: Path) -> None:
    """2001 at 0.005; StyleGAN 1501; BigGAN 1501 at 3e-4; 0.01 L_LV and 3e-4 ‖w‖."""
    method = METHODS["dse-finetune"]
    assert (method.steps, method.lr, method.latent, method.norm) == (2001, 0.005, 0.01, 3e-4)
    assert method.areas == (0.375, 0.625) and method.optimiser == "lreq"
    assert FAMILIES["dse-finetune", "stylegan"] == {"steps": 1501}
    argv = ("project", "--method", "dse-finetune", "--steps", 2, photos, *PLAIN)
    result = gt(*argv, "--net", nets["biggan"], "--class", 1)
    assert (result.code, result.err) == (0, "")
    story = latents_of(result.out)["b"].header
    assert story["projection"]["lr"] == 3e-4 and story["psi"] == 0.4
    again = gt(*argv, "--net", nets["biggan"], "--class", 1, "--batch", 1)
    assert again.out == result.out
    assert "give --class" in gt(*argv, "--net", nets["biggan"]).err
    seen = gt(*argv, "--net", nets["stylegan2"], "--perceptual", "discriminator")
    assert seen.code == 2 and "whole pictures alone" in seen.err
    # Without LPIPS the default is not the discriminator's, which sees no areas.
    found = gt(*argv, "--net", nets["stylegan2"])
    assert latents_of(found.out)["b"].header["projection"]["perceptual"] == "pyramid"
    bare = gt(*argv, "--net", nets["sngan"])
    assert bare.code == 2 and "no encoder is kept" in bare.err


# ---------------------------------------------------------------------------- z


@pytest.mark.parametrize(
    ("family", "space", "prior"),
    [("pggan", "z", "normal"), ("sngan", "zy", "normal"), ("biggan", "zy", "truncated normal")],
)
def test_s4_1_networks_without_w_are_projected_to_z(
    gt: Any, nets: dict[str, Path], photos: Path, family: str, space: str, prior: str
) -> None:
    """The picture comes nearer, whatever the batch; BigGAN's z stays between -2 and 2."""
    argv = ("project", "--net", nets[family], "--perceptual", "pyramid", photos, "--lr", 0.02,
            "--method", "quick")  # fmt: skip
    start, made = (gt(*argv, "--steps", n) for n in (0, 12))
    assert (made.code, made.err) == (0, "")
    alone = latents_of(gt(*argv, "--steps", 12, "--batch", 1).out)
    for key, latent in latents_of(made.out).items():
        story = latent.header["projection"]
        assert (latent.space, story["prior"], story["init"]) == (space, prior, "random")
        assert story["loss"] < latents_of(start.out)[key].header["projection"]["loss"]
        assert np.abs(latent.tensors["z"]).max() <= 2 or family != "biggan"
        for name, value in alone[key].tensors.items():
            np.testing.assert_allclose(value, latent.tensors[name], atol=1e-3)
    rendered = gt("generate", "--net", nets[family], "-", "-o", "-", stdin=made.out)
    assert (rendered.code, rendered.err) == (0, "")


def test_s4_1_a_given_class_stays(gt: Any, nets: dict[str, Path], photos: Path) -> None:
    """--class 2: y is that class. Without it what stands for a class is optimised too."""
    for family, width in (("sngan", 3), ("biggan", 6)):
        argv = ("project", "--net", nets[family], "--perceptual", "pyramid", photos, "--steps", 4,
                "--method", "quick")  # fmt: skip
        fixed, free = latents_of(gt(*argv, "--class", 2).out), latents_of(gt(*argv).out)
        assert fixed["a"].tensors["y"].tolist() == [0, 0, 1]
        y = free["a"].tensors["y"]
        assert y.shape == (width,)
        if family == "sngan":  # shares of the classes
            assert y.min() >= 0 and y.sum() == pytest.approx(1, abs=1e-6) and y.max() < 1


def test_s4_10_the_truncated_prior(nets: dict[str, Path]) -> None:
    """Its deviation; z that a step carries beyond 2 comes back; a start at another psi fits."""
    drawn = truncated(np.random.default_rng(0).standard_normal(200_000).astype(np.float32))
    assert drawn.std() == pytest.approx(CUT_SD, abs=0.003) and np.abs(drawn).max() <= 2
    network = open_network(str(nets["biggan"]))
    assert deviation(network) == pytest.approx(CUT_SD * network.g.cfg.z_dim**0.5)
    one = projector(nets["biggan"], "quick", "zy", steps=3, changes={"lr": 50.0, "prior": 0.0})
    latent = one.run("a", pictures(32)[:1])[0]
    assert np.abs(latent.tensors["z"]).max() == 2
    assert unchanged(one.network, nets["biggan"])
    y = np.eye(3, dtype=np.float32)[0]
    z = np.full(network.g.cfg.z_dim, 0.5, np.float32)
    given = Given("latent", lambda key, x, label: Latent(key, "zy", {"z": z, "y": y}, {"psi": 0.4}))
    starts = ZStarts(network, given, 0, psi=0.8)
    found = starts(one.canvas((32, 32)), "a", torch.zeros(1, 3, 32, 32))  # type: ignore[arg-type]
    np.testing.assert_allclose(found.tensors["z"], 0.25, rtol=1e-6)
    assert found.tensors["y"].shape == (6,)


def truncating(path: Path) -> Path:
    """A BigGAN with batch statistics of its own for psi 0, 0.5 and 1."""
    torch.manual_seed(0)
    cfg = biggan.generator_config(32, ch=4, c_dim=3, embed_dim=6, attention=0, n_stats=3)
    tensors = {f"g_ema.{n}": t for n, t in numbers(biggan.Generator(cfg)).items()}
    drawn = np.random.default_rng(0)
    for name, value in tensors.items():
        if value.ndim == 2 and value.shape[0] == 3 and name.endswith((".mean", ".var")):
            tensors[name] = drawn.uniform(0.5, 2, value.shape).astype(np.float32)
    tensors["g_ema.norm.gain"] = tensors["g_ema.norm.gain"] * 0.5
    save(path, Checkpoint("biggan", {"g": cfg.to_dict()}, tensors, {}))
    return path


def test_s4_10_a_truncation_with_its_own_statistics(gt: Any, tmp_path: Path) -> None:
    """--psi: the latent of a picture at psi 0.5 is its own there alone, and the header says so."""
    net = truncating(tmp_path / "net.safetensors")
    made = gt("generate", "--net", net, "--seeds", "3", "--class", "1", "--psi", "0.5", "--space",
              "z", "-o", tmp_path / "true.safetensors")  # fmt: skip
    assert made.code == 0, made.err
    gt("generate", "--net", net, tmp_path / "true.safetensors", "-o", tmp_path / "true.png")
    argv = ("project", "--net", net, tmp_path / "true.png", *PLAIN, "--class", "1", "-q")
    there = (*argv, "--init", tmp_path / "true.safetensors", "--steps", "0")
    found = {psi: latents_of(gt(*there, "--psi", psi).out)["true"] for psi in ("0.5", "1")}
    assert [x.header["psi"] for x in found.values()] == [0.5, 1.0]
    at_half, at_one = (x.header["projection"]["psnr"] for x in found.values())
    assert at_half is None or at_half > 45
    assert at_one is not None and at_one < 40  # z · psi is the same, the statistics are not
    z, same = found["0.5"].tensors["z"], found["1"].tensors["z"]
    np.testing.assert_allclose(same, z / 2, rtol=1e-5)
    shown = tmp_path / "shown.png"
    gt(*argv, "--psi", "0.5", "--steps", "4", "-o", tmp_path / "near.safetensors")
    gt("generate", "--net", net, tmp_path / "near.safetensors", "-o", shown)
    gt(*argv, "--psi", "0.5", "--steps", "4", "-o", tmp_path / "alone.png")
    pixels = [image.decode(path.read_bytes()) for path in (shown, tmp_path / "alone.png")]
    assert np.array_equal(*pixels)


@pytest.mark.parametrize(
    ("family", "argv", "why"),
    [
        ("pggan", ("--space", "w+"), "has z and no w"),
        ("pggan", ("--psi", "0.5"), "--psi is BigGAN's"),
        ("stylegan2", ("--psi", "0.5"), "--psi is BigGAN's"),
        ("biggan", ("--psi", "0"), "every z would give the same picture"),
        ("biggan", ("--psi", "0.5", "--method", "idinvert", "--class", "1"), "psi, 0.4"),
        ("biggan", ("--psi", "-1"), "--psi"),
        ("pggan", ("--space", "zy"), "has no classes: --space z"),
        ("pggan", ("--method", "stylegan2"), "has z and no w"),
        ("pggan", ("--init", "mean"), "take random"),
        ("pggan", ("--class", "1"), "no classes"),
        ("pggan", ("--dist-weight", "1"), "--dist-weight"),
        ("pggan", ("--tune", "x.safetensors"), "--tune is for w"),
        ("biggan", ("--space", "z"), "has classes: --space zy"),
        ("biggan", ("--class", "7"), "--class 7"),
        ("stylegan2", ("--space", "z"), "to styles, not to z"),
        ("stylegan2", ("--class", "1"), "has no classes"),
    ],
)
def test_what_does_not_fit_is_one_line(
    gt: Any, nets: dict[str, Path], photos: Path, family: str, argv: tuple[str, ...], why: str
) -> None:
    result = gt("project", "--net", nets[family], photos, "--perceptual", "pyramid", *argv)
    assert result.code == 2 and why in result.err and result.err.count("\n") == 1, result.err


def test_class_is_for_networks_of_z(gt: Any, tmp_path: Path, photos: Path) -> None:
    """A conditional network of styles has no use for one."""
    net = make_network(tmp_path / "classes.safetensors", c_dim=3)
    result = gt("project", "--net", net, photos, "--class", 1, *PLAIN)
    assert result.code == 2 and "--class is for networks of z" in result.err


def test_pictures_below_16_pixels_have_no_areas(tmp_path: Path) -> None:
    """S4.6: a loss of areas needs them."""
    small = make_network(tmp_path / "small.safetensors", resolution=8)
    with pytest.raises(Usage, match="have no areas"):
        projector(small, "i2s-lreq", "w+", "normal")
