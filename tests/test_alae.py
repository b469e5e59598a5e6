"""train alae: encoder, three steps, reconstructions, its files, exact resume (papers.md S4.17)."""

from __future__ import annotations

import copy
import io
import itertools
import json
import math
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_encoder_training import _kill_after as kill_after
from test_project_encoder import kept_beside
from test_training import picture

from gantools.inversion import encoder_files, finetune
from gantools.inversion.alae import AlaeConfig, AlaeEncoder
from gantools.inversion.coded import coded
from gantools.inversion.encoding import Encoding
from gantools.io import encoder as files
from gantools.io import image, network, seeds, tensorfile
from gantools.io.latent import Latent
from gantools.latents.render import images as rendered
from gantools.networks.growing import crossfade
from gantools.networks.network import open_network
from gantools.ops import similarity
from gantools.report import Usage
from gantools.training import alae_snapshots, growing_presets, networks, report_html, state
from gantools.training.alae import AlaeTrainer
from gantools.training.reader import in_memory

SMALL = (
    "--resolution", "8", "--channel-base", "64", "--channel-max", "8", "--latent-dim", "8",
    "--map-depth", "2", "--batch", "64", "--snapshot", "1k", "--stable", "1k", "--fade", "500",
    "--device", "cpu", "--workers", "1", "-q",
)  # fmt: skip


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 30 pictures of 8x8."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(30):
        (folder / f"{i:05d}.png").write_bytes(picture(i, 8))
    return folder


@pytest.fixture(scope="module")
def run(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of 2,000 images, while it grows and grown."""
    from gantools import cli

    folder = tmp_path_factory.mktemp("run") / "run"
    argv = ("train", "alae", faces, *SMALL, "-o", folder, "--images", "2k", "--hold-out", "5")
    assert cli.run([str(a) for a in argv]) == 0
    return folder


def trainer(pixels: np.ndarray | None = None, **more: Any) -> AlaeTrainer:
    """Of pictures uint8 [N, 3, 8, 8], by default noise."""
    given = {"channel_base": 64, "channel_max": 8, "latent_dim": 8, "batch": 8, "map_depth": 2}
    config = growing_presets.resolve("alae", "auto", 8, given | {"growing": False} | more)
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), np.uint8)
    return AlaeTrainer(config, networks.new_networks(config), in_memory(config, pixels))


def encoder_of(**more: Any) -> AlaeEncoder:
    torch.manual_seed(0)
    made = AlaeEncoder(AlaeConfig(16, (6, 5, 4), 7, **more), {}).requires_grad_(False)
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            parameter.normal_()
    return made


def numbers(folder: Path) -> dict[str, bytes]:
    _, tensors = tensorfile.read(folder / state.NAME)
    return {n: t.tobytes() for n, t in tensors.items() if not n.startswith("sums.")}


def weights(module: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# The encoder.


def by_hand(e: AlaeEncoder, images: torch.Tensor, lod: float) -> torch.Tensor:
    """w of pictures of the size of lod, written out with torch's own instance norm."""
    taps = torch.tensor([1.0, 2.0, 1.0])
    blur = torch.outer(taps, taps)[None, None] / 16

    def conv(layer: Any, x: torch.Tensor) -> torch.Tensor:
        weight = layer.weight * math.sqrt(2 / layer.weight[0].numel())
        return F.conv2d(x, weight, None, padding=weight.shape[-1] // 2)

    def read(block: Any, x: torch.Tensor) -> torch.Tensor:
        layer = block.from_rgb
        return F.leaky_relu(conv(layer, x) + layer.bias[:, None, None], 0.2)

    def told(dense: Any, x: torch.Tensor) -> torch.Tensor:
        told = torch.cat([x.mean((2, 3)), x.std((2, 3), correction=0)], 1)
        return told @ (dense.weight * math.sqrt(2 / dense.weight.shape[1])).T + dense.bias

    share, top = lod % 1, 2 - int(lod)
    x, w = read(e.blocks()[top], images), torch.zeros(len(images), e.config.w_dim)
    for i in range(top, -1, -1):
        block = e.blocks()[i]
        x = F.leaky_relu(conv(block.conv1, x) + block.conv1.bias[:, None, None], 0.2)  # type: ignore[index]
        own = told(block.style1, x)
        x = F.instance_norm(x, eps=1e-5)
        x = F.conv2d(x, blur.expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])
        x = F.avg_pool2d(conv(block.conv2, x), 2) + block.conv2.bias[:, None, None]  # type: ignore[index]
        x = F.leaky_relu(x, 0.2)
        own = own + told(block.style2, x)
        x = F.instance_norm(x, eps=1e-5)
        if i == top and share:
            own = own * (1 - share)
            x = x * (1 - share) + share * read(e.blocks()[i - 1], F.avg_pool2d(images, 2))
        w = w + own
    return w


@pytest.mark.parametrize("lod", [0, 0.25, 1, 1.5])
def test_s4_17_w_is_the_sum_of_the_layers_shares(lod: float) -> None:
    """Statistics after each convolution; the uppermost block fades in with its share of w."""
    e = encoder_of()
    images = torch.randn(3, 3, 16 >> int(lod), 16 >> int(lod))
    torch.testing.assert_close(e(images, lod), by_hand(e, images, lod), rtol=1e-4, atol=1e-4)
    alone = torch.cat([e(one[None], lod) for one in images])
    torch.testing.assert_close(e(images, lod), alone, rtol=1e-4, atol=1e-4)


def test_s4_17_the_encoder_grows_without_a_step() -> None:
    """Where fading begins a picture gives the w of its half; the lod of the file is kept."""
    e = encoder_of()
    images = torch.randn(2, 3, 16, 16)
    half = F.avg_pool2d(images, 2)
    torch.testing.assert_close(e(images, 1 - 1e-6), e(half, 1), rtol=1e-4, atol=1e-4)
    assert torch.equal(encoder_of(lod=1.0)(half), e(half, 1))
    with pytest.raises(ValueError, match="levels of detail from 0 to 2"):
        e(images, 3)


def test_s4_17_other_shapes() -> None:
    """A first block of 7x5, greyscale; a gradient also for a picture of one colour."""
    e = AlaeEncoder(AlaeConfig(8, (4, 3), 5, 1, first_block=(7, 5)), {})
    grey = torch.zeros(1, 1, 14, 10, requires_grad=True)
    e(grey).square().sum().backward()
    assert grey.grad is not None and bool(grey.grad.isfinite().all())


def test_s4_14_an_encoder_of_equalised_rates_is_tuned_at_the_plain_one() -> None:
    """LREQAdam's rates are 1: the layers scale their weights where they use them (S4.11)."""
    e = encoder_of()
    assert [group["rate"] for group in finetune._groups(e)] == [1.0] * len(list(e.parameters()))
    images = torch.randn(1, 3, 16, 16)
    said = coded(e, images)
    assert said.tensors["w"].shape == (1, 1, 7) and said.features is None
    assert torch.equal(said.tensors["w"][:, 0], e(images))


# The three steps.


def test_s4_17_each_step_moves_its_own_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """E and D; then F and G; then E and G: the others' weights are bit-identical."""
    made = trainer(ema_kimg=0.01)
    parts = {"E": made.encoder, "D": made.d.latent, "F": made.g.mapping, "G": made.g.synthesis}
    moved = []
    learn = made._learn_at_once

    def watched(*args: Any, **more: Any) -> None:
        before = {n: weights(p) for n, p in parts.items()}
        learn(*args, **more)
        moved.append("".join(n for n, p in parts.items() if not same(before[n], weights(p))))

    monkeypatch.setattr(made, "_learn_at_once", watched)
    old = weights(made.e_ema)
    made.step()
    made.step()
    assert moved == ["ED", "FG", "EG"] * 2
    assert made.images == 16 and made.is_finite()
    assert not same(old, weights(made.e_ema))


def test_s4_17_d_judges_the_encoders_w_of_reals() -> None:
    """In the first step E sees the reals, then the fakes, and D what E said of each."""
    made = trainer()
    seen: dict[str, list[torch.Tensor]] = {"E": [], "D": [], "said": []}

    def of_e(_: Any, args: Any, out: torch.Tensor) -> None:
        seen["E"].append(args[0])
        seen["said"].append(out)

    def of_d(_: Any, args: Any, out: torch.Tensor) -> None:
        seen["D"].append(args[0])

    made.encoder.register_forward_hook(of_e)
    made.d.latent.register_forward_hook(of_d)
    made.step()
    reals = made.reader.pixels[torch.from_numpy(made.reader.order.take(0, 8)[0])] / 127.5 - 1
    torch.testing.assert_close(seen["E"][0], reals)
    # E is asked four times: reals, fakes; G's fakes; the pictures whose w it has to say.
    assert len(seen["E"]) == 4 and len(seen["D"]) == 3
    for heard, said in zip(seen["D"], seen["said"], strict=False):
        assert heard is said
    assert not torch.equal(seen["E"][1], seen["E"][2])


def test_s4_17_a_step_by_hand() -> None:
    """Logistic losses, R1 with gamma/2 = 5, MSE(F(z), E(G(F(z)))), Adam (0, 0.99) for each pair."""
    made = trainer(lr=0.01, mixing=0.0)
    g, d = copy.deepcopy(made.g), copy.deepcopy(made.d)
    made.step()
    draw = torch.Generator().manual_seed(seeds.derive(0, "0", "iteration"))
    reals = made.reader.pixels[torch.from_numpy(made.reader.order.take(0, 8)[0])] / 127.5 - 1

    def noise() -> list[torch.Tensor]:
        return [torch.randn(8, 1, *s, generator=draw) for s in g.noise_shapes]

    def fakes() -> torch.Tensor:
        maps = noise()
        return g.synthesis(g.mapping(torch.randn(8, 8, generator=draw)), maps)  # type: ignore[no-any-return]

    adams = [torch.optim.Adam(x.parameters(), lr=0.01, betas=(0.0, 0.99), eps=1e-8) for x in (d, g)]

    def step(loss: torch.Tensor, adam: Any, *parts: torch.nn.Module) -> None:
        for part in (g, d):
            part.zero_grad()
        own = [p for part in parts for p in part.parameters()]
        for p, gradient in zip(own, torch.autograd.grad(loss, own, allow_unused=True), strict=True):
            p.grad = gradient
        for one in adam:
            one.step()

    reals.requires_grad_()
    scores = d.latent(d.encoder(reals))
    slope = torch.autograd.grad(scores.sum(), reals, create_graph=True)[0]
    r1 = 5 * slope.square().sum((1, 2, 3)).mean()
    loss_d = F.softplus(-scores).mean() + F.softplus(d(fakes().detach())).mean()
    step(loss_d + r1, adams[:1], d)
    loss_g = F.softplus(-d(fakes())).mean()
    step(loss_g, adams[1:], g)
    with torch.no_grad():
        w = g.mapping(torch.randn(8, 8, generator=draw))
    reciprocity = (w[:, 0] - d.encoder(g.synthesis(w, noise()))).square().mean()
    step(reciprocity, adams, d.encoder, g.synthesis)
    told = made.sums.means(made.ranks)
    wanted = {"loss_d": loss_d, "r1": r1, "loss_g": loss_g, "loss_reciprocity": reciprocity}
    for name, value in wanted.items():
        assert told[name] == pytest.approx(float(value.detach()), rel=1e-3), name
    # Adam's first steps are of the gradient's sign: where that is not sure they differ.
    for ours, hand in ((made.g, g), (made.d, d)):
        apart = torch.cat(
            [(a - b).abs().flatten() for a, b in zip(weights(ours), weights(hand), strict=True)]
        )
        assert float((apart > 1e-4).float().mean()) < 0.01


class Linear(torch.nn.Module):
    """D(E(x)) = a · x."""

    def __init__(self, a: torch.Tensor) -> None:
        super().__init__()
        self.a = torch.nn.Parameter(a)

    def forward(self, images: torch.Tensor, lod: float) -> torch.Tensor:
        return (images * self.a).sum((1, 2, 3))[:, None]


@pytest.mark.parametrize("lod", [0.0, 1.0])
def test_s4_17_r1_of_a_linear_critic_is_exact(lod: float) -> None:
    """gamma/2 |a|² at every resolution, and gamma a its gradient: nothing is enlarged here."""
    made = trainer(gamma=10.0)
    size = 8 >> int(lod)
    a = torch.randn(3, size, size)
    made.d = Linear(a)
    now = made.schedule.at(0)
    now = type(now)(now.kimg, lod, size, 8, now.lr, now.tick_kimg)
    reals, none = torch.randn(4, 3, size, size), torch.zeros(4, 3, size, size)
    loss, *_ = made._d_loss(reals, none, None, now, [])
    assert made.sums.means(made.ranks)["r1"] == pytest.approx(5 * float(a.square().sum()), rel=1e-5)
    (whole,) = torch.autograd.grad(loss, made.d.a, retain_graph=True)
    (plain,) = torch.autograd.grad(
        F.softplus(-made.d(reals, lod)).mean() + F.softplus(made.d(none, lod)).mean(), made.d.a
    )
    torch.testing.assert_close(whole - plain, 10 * a, rtol=1e-4, atol=1e-4)


def test_parts_of_a_batch_give_its_step() -> None:
    """--batch-gpu: the three losses' gradients are summed."""
    whole, parts = (trainer(lr=1e-4) for _ in range(2))
    parts.batch_gpu = 2
    for made in (whole, parts):
        made.step()
    for a, b in ((whole.g, parts.g), (whole.d, parts.d)):
        torch.testing.assert_close(weights(a), weights(b), atol=1e-3, rtol=1e-3)


def test_both_grow_together_s1_7_s4_17() -> None:
    """lod goes down to 0, from 4x4; what is not yet seen stays as it was drawn in G and in E."""
    made = trainer(growing=True, stable_kimg=0.064, fade_kimg=0.064)
    assert made.lod == 1 and made.moment.resolution == 4
    tops = made.encoder.b8, made.g.synthesis.b8
    drawn = [weights(x) for x in tops]
    lods = []
    for _ in range(20):
        made.step()
        lods.append(made.lod)
        untouched = [same(a, weights(x)) for a, x in zip(drawn, tops, strict=True)]
        assert untouched == [made.lod == 1] * 2
    assert lods[0] == 1 and lods[-1] == 0 and any(x % 1 for x in lods)


def test_s4_17_reconstructions_are_those_of_their_pictures() -> None:
    """One colour: G(E(x)) is nearer to x than with an untrained encoder, and than the mean picture.

    Pictures that are not trained on; the untrained encoder's w have the moments of the other's.
    """
    colours = np.random.default_rng(0).integers(0, 256, (96, 3, 1, 1), np.uint8)
    pixels = colours.repeat(8, axis=2).repeat(8, axis=3)
    made = trainer(pixels[:64], batch=16, lr=0.01, mixing=0.0, ema_kimg=0.3)
    fresh = copy.deepcopy(made.encoder)
    for _ in range(100):
        made.step()
    first = made.sums.means(made.ranks)
    for _ in range(50):
        made.step()
    told = made.sums.means(made.ranks)
    assert all(math.isfinite(v) for v in told.values())
    assert 1 < told["loss_d"] < 1.5 and 0.5 < told["loss_g"] < 1
    assert told["loss_reciprocity"] < 0.7 * first["loss_reciprocity"]
    images = torch.from_numpy(pixels[64:]) / 127.5 - 1
    mean = images.mean(0)
    with torch.no_grad():
        w, other = made.e_ema(images), fresh(images)
        other = (other - other.mean(0)) / other.std(0) * w.std(0) + w.mean(0)
        found = [
            made.g_ema.synthesis(x[:, None].expand(-1, made.g.num_ws, -1)).clamp(-1, 1)
            for x in (w, other)
        ]
    errors = [float((x - images).square().mean()) for x in (*found, mean.expand_as(images))]
    assert errors[0] < 0.7 * errors[1], errors
    assert errors[0] < 0.8 * errors[2], errors


# The run and its files.


def test_what_a_run_leaves(gt: Any, run: Path) -> None:
    """A StyleGAN network without D, its encoder beside it, both at their lod; a report."""
    for images, lod, size in ((1, 1.0, 4), (2, 0.0, 8)):
        net = run / f"network-{images:06d}.safetensors"
        header = network.header(net)
        assert (header["family"], header["config"]["g"]["lod"]) == ("stylegan", lod)
        assert "d" not in header["config"]
        found = open_network(str(net))
        assert found.size == (size, size) and found.d is None
        beside = files.kept_for(net, {**found.meta, "id": found.id}, 1, "alae")
        assert beside == run / f"network-{images:06d}{files.SUFFIX}"
        encoder = encoder_files.load(beside)
        assert isinstance(encoder, AlaeEncoder) and encoder.config.lod == lod
        encoder.check(found)
    saved = state.read(run)
    assert saved is not None and saved.config.family == "alae"
    lines = report_html.read_log(run / "log.jsonl")
    assert all(0 < x["psnr"] < 40 for x in lines)
    sheet = image.decode((run / "samples" / lines[-1]["reconstructions"]).read_bytes())
    assert sheet.shape == (2 * 8, 8 * 8, 3)  # six pictures are held out
    held = [image.decode(picture(i, 8)) for i in range(0, 30, 5)]
    np.testing.assert_array_equal(sheet[:8, : 6 * 8], np.concatenate(held, axis=1))
    page = (run / "report.html").read_text()
    assert "Reconstructions</h2>" in page and "Reciprocity" in page


def test_sheets_while_fading_are_of_the_faded_pictures() -> None:
    """lod 0.5: the pictures half faded, as E sees them; PSNR is that of what the sheet shows."""
    made = trainer(growing=True, stable_kimg=1.0, fade_kimg=1.0)
    made.looked_at.fill_(1500)
    assert made.lod == 0.5
    shown = alae_snapshots.pictures(made, np.empty((0, 3, 8, 8), np.uint8))
    assert shown.shape == (20, 3, 8, 8)
    psnr, sheet = alae_snapshots.reconstructed(made, shown[:3])
    assert sheet.shape == (16, 64, 3) and not sheet[:, 24:].any()
    faded = crossfade(shown[:3] / 127.5 - 1, 0.5)
    levels = similarity.levels(faded).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(sheet[:8, :8], levels[0])
    below = [sheet[8:, i * 8 : i * 8 + 8].astype(float) for i in range(3)]
    errors = [np.square(a - b).mean() for a, b in zip(levels, below, strict=True)]
    assert psnr == pytest.approx(np.mean([10 * np.log10(255**2 / e) for e in errors]), rel=1e-4)


def test_interrupted_runs_are_the_same_run(gt: Any, run: Path, faces: Path, tmp_path: Path) -> None:
    """Ending and resuming, at 4x4 and while fading, changes no bit of state and files."""
    args = ("train", "alae", faces, *SMALL, "--hold-out", "5", "-o", tmp_path / "run")
    for images in ("600", "1300", "2k"):
        done = gt(*args, "--images", images)
        assert done.code == 0, done.err
    assert numbers(run) == numbers(tmp_path / "run")
    assert any(n.startswith("e_ema.") for n in numbers(run))
    for name in ("network-000002" + files.SUFFIX, "samples/000002.reconstructions.png"):
        assert (run / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


@pytest.mark.long
def test_a_killed_run_goes_on_bit_for_bit(gt: Any, faces: Path, tmp_path: Path) -> None:
    """kill -9 in the midst of it."""
    args = ("train", "alae", faces, *SMALL)
    kill_after(tmp_path / "killed", 0.3, [*args, "-o", tmp_path / "killed", "--images", "1M"])
    saved = state.read(tmp_path / "killed")
    assert saved is not None
    until = str(saved.images + 700)
    for folder in ("killed", "straight"):
        assert gt(*args, "-o", tmp_path / folder, "--images", until).code == 0
    assert numbers(tmp_path / "killed") == numbers(tmp_path / "straight")


def test_one_pass_of_its_encoder(gt: Any, run: Path, faces: Path, tmp_path: Path) -> None:
    """project --method alae: w of every picture, as the encoder says; other commands take them."""
    net = run / "network-000002.safetensors"
    args = ("project", "--net", net, faces / "00001.png", faces / "00002.png", "--align", "never")
    done = gt(*args, "--method", "alae", "-q", "-o", f"{tmp_path}/w/")
    assert done.code == 0, done.err
    latent = Latent.from_bytes((tmp_path / "w" / "00001.safetensors").read_bytes(), "00001")
    assert (latent.space, latent.tensors["w"].shape) == ("w", (1, 8))
    assert latent.header["projection"]["method"] == "alae"
    found = open_network(str(net))
    encoder = encoder_files.load(run / ("network-000002" + files.SUFFIX))
    pixels = image.decode(picture(1, 8))
    (made,) = Encoding(found, encoder, "w").latents(["00001"], [pixels])
    assert np.array_equal(made.tensors["w"], latent.tensors["w"])
    shown = found.pixels(rendered(found, [latent]))[0].astype(float)
    told = 10 * np.log10(255**2 / np.square(shown - pixels).mean())
    assert latent.header["projection"]["psnr"] == pytest.approx(told, abs=0.01)
    again = gt(*args, "--method", "encoder", "-q", "--batch", "1", "-o", f"{tmp_path}/e/")
    assert again.code == 0, again.err
    other = Latent.from_bytes((tmp_path / "e" / "00001.safetensors").read_bytes(), "00001")
    assert np.array_equal(other.tensors["w"], latent.tensors["w"])
    both = [tmp_path / "w" / f"0000{i}.safetensors" for i in (1, 2)]
    mixed = gt("mix", *both, "--net", net, "-q", "-o", tmp_path / "mixed.png")
    assert mixed.code == 0, mixed.err
    wider = gt("project", both[0], "--space", "w+", "--net", net, "-q")
    assert wider.code == 0 and space_of(wider.out) == "w+"
    for method in ("hybrid", "idinvert"):
        begun = gt(*args, "--method", method, "--steps", "1", "--perceptual", "pyramid", "-q")
        assert begun.code == 0 and space_of(begun.out) == "w", begun.err
    young = gt(*args[:1], faces / "00001.png", "--align", "never", "--method", "alae", "--net",
               run / "network-000001.safetensors", "-q", "-o", ".png")  # fmt: skip
    assert young.code == 0 and image.decode(young.out).shape == (4, 4, 3)


def space_of(stream: bytes) -> str:
    """Of the one latent in a stream."""
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            return Latent.from_bytes(file.read(), member.name).space
    raise AssertionError("no latent")


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--lr", "0.1"], "--method alae optimises nothing"),
        (["--tune", "x.safetensors"], "--method alae optimises nothing"),
        (["--space", "fw+3"], "style"),
    ],
)
def test_flags_of_an_optimisation_are_refused(
    gt: Any, run: Path, faces: Path, flags: list[str], why: str
) -> None:
    net = run / "network-000002.safetensors"
    done = gt("project", faces / "00001.png", "--net", net, "--method", "alae", *flags, "-q")
    assert done.code and why in done.err.lower() + done.err, done.err
    assert len(done.err.strip().splitlines()) == 1


def test_strangers_are_refused(gt: Any, run: Path, tiny_network: Path, tmp_path: Path) -> None:
    """A network without an ALAE's encoder; an encoder of another kind, or of another network."""
    own = tmp_path / "net.safetensors"
    own.write_bytes(tiny_network.read_bytes())
    dse = kept_beside(own)
    args = ("project", run / "samples" / "000002.png", "--method", "alae", "-q", "--net")
    none = gt(*args, own)
    assert (none.code, "train alae" in none.err) == (2, True), none.err
    kind = gt(*args, own, "--init", dse)
    assert (kind.code, "not trained by train alae" in kind.err) == (2, True), kind.err
    encoder = run / ("network-000002" + files.SUFFIX)
    for net in (own, run / "network-000001.safetensors"):
        other = gt(*args, net, "--init", encoder)
        assert (other.code, "give its own network" in other.err) == (2, True), other.err


def test_damaged_encoders_are_refused(run: Path, tmp_path: Path) -> None:
    """Impossible shapes, numbers that are missing or not finite."""
    whole = files.read(run / ("network-000002" + files.SUFFIX))
    path = tmp_path / "e.safetensors"
    changes: list[dict[str, Any]] = [
        {"resolution": 16}, {"widths": [8, 0]}, {"widths": [8, 8.5]}, {"w_dim": 1 << 20},
        {"lod": 2.0}, {"lod": float("nan")}, {"first_block": [4, 99]}, {"colour": 1},
        {"widths": []},
    ]  # fmt: skip
    tensors = [
        {n: t for n, t in whole.tensors.items() if n != "b8.conv1.weight"},
        {**whole.tensors, "b8.conv1.weight": np.full((8, 8, 3, 3), np.nan, np.float32)},
    ]
    for change, numbers in itertools.chain(
        ((c, whole.tensors) for c in changes), (({}, t) for t in tensors)
    ):
        config = {**whole.config, **change}
        files.write(path, files.EncoderFile("alae", config, numbers, whole.network))
        with pytest.raises(Usage, match="not an encoder this version can build"):
            encoder_files.load(path)


def test_other_flags_are_refused(gt: Any, run: Path, faces: Path) -> None:
    args = ("train", "alae", faces, *SMALL, "-o", run, "--images", "3k")
    done = gt(*args)
    assert (done.code, "--hold-out differs" in done.err) == (2, True), done.err
    done = gt(*args, "--hold-out", "5", "--gamma", "1", "--mixing", "0.5")
    assert (done.code, "--mixing, --gamma differ" in done.err) or "differ" in done.err, done.err
    done = gt("train", "stylegan", faces, *SMALL, "-o", run, "--images", "3k")
    assert (done.code, "trains alae, not stylegan" in done.err) == (2, True), done.err
    before = json.loads((run / "config.json").read_text())
    assert before["family"] == "alae"
