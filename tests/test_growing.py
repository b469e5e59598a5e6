"""PGGAN and StyleGAN1: the reference's numbers, growing, and the closed forms of their rows."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import FIXTURES
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from gantools.io import network as files
from gantools.io.describe import parameters
from gantools.networks import growing, pggan, pggan_discriminator, stylegan
from gantools.networks.network import Network, build, fill, generator, numbers
from gantools.networks.stylegan2_config import widths
from gantools.ops.resample import nearest_up

# atol of the fixtures' README: max(5e-5, 8 x the references' own rounding differences)
ATOL = {
    "pggan_tf_unfused.pkl": 8e-5,
    "pggan_in_sg1repo_fused.pkl": 5e-5,
    "sg1_tf_uncond.pkl": 2e-4,
}
FAMILIES = {"pggan": pggan, "stylegan": stylegan}


@cache
def fixture(name: str) -> tuple[files.Checkpoint, Network, dict[str, Tensor]]:
    """(checkpoint, network with discriminator, expected tensors) of a fixture file."""
    ckpt = files.load(FIXTURES / name)
    expected = load_file(FIXTURES / f"{Path(name).stem}.expected.safetensors")
    return ckpt, build(ckpt, name, discriminator=True), expected


def full_size(images: Tensor, size: int) -> Tensor:
    """NVIDIA's networks enlarge what they make at a level of detail."""
    while images.shape[-1] < size:
        images = nearest_up(images)
    return images


def close(value: Tensor, wanted: Tensor, name: str) -> None:
    assert value.shape == wanted.shape
    error = (value - wanted).abs() - (ATOL[name] + 1e-4 * wanted.abs())
    assert error.max() <= 0, f"exceeds the tolerance by {float(error.max()):.2e}"


def number(text: str) -> float:
    return float(text.replace("p", "."))


# -- parity ---------------------------------------------------------------------------------------

SHOWN = re.compile(
    r"(?P<raw>G_)?image(_psi(?P<psi>\d+)(_cut(?P<cut>\d+)|_all)?)?(_lod(?P<lod>\dp\d+))?"
    r"(_(?P<noise>const|none))?"
)


def _shown(name: str, match: re.Match[str]) -> Tensor:
    ckpt, network, expected = fixture(name)
    g: Any = network.g
    if match["raw"]:
        g = generator(ckpt.family, ckpt.config["g"], ckpt.part("g"))
    lod = number(match["lod"] or "0p0")
    if ckpt.family == "pggan":
        return g(expected["z"], expected.get("label"), lod=lod)  # type: ignore[no-any-return]
    psi = float(f"{match['psi'][0]}.{match['psi'][1:]}") if match["psi"] else 1.0
    cutoff = int(match["cut"]) if match["cut"] else None
    ws = g.mapping(expected["z"], expected.get("label"), psi, cutoff)
    return g.synthesis(ws, match["noise"] or "const", lod=lod)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ATOL)
def test_images_equal_the_reference(name: str) -> None:
    """S0.6, S0.7, S0.12, S1.1: every image of the fixture, fractional lod among them, and w."""
    _, network, expected = fixture(name)
    size = network.g.cfg.resolution
    seen = {"z", "label", "w_mix", "grad_y"}
    for tensor, wanted in expected.items():
        if match := SHOWN.fullmatch(tensor):
            close(full_size(_shown(name, match).detach(), size), wanted, name)
        elif tensor == "image_wmix_const":
            close(network.g.synthesis(expected["w_mix"]), wanted, name)
        elif tensor == "w":
            close(network.g.mapping(expected["z"], expected.get("label")), wanted, name)
        else:
            continue
        seen.add(tensor)
    rest = set(expected) - seen
    assert all(n.startswith(("logits", "image_in", "d_label", "r1_", "grad_")) for n in rest), rest
    assert sum("lod" in tensor for tensor in seen) >= 2


@pytest.mark.parametrize("name", [n for n in ATOL if n.startswith("sg1")])
def test_gradient_with_respect_to_w(name: str) -> None:
    """S0.7: d sum(image · y) / dw equals finite differences, and the fixture's where it has one."""
    ckpt, network, expected = fixture(name)
    g: Any = generator(ckpt.family, ckpt.config["g"], ckpt.part("g_ema")).double()
    ws = expected["w_mix"][:1].double().requires_grad_()
    y = torch.randn(1, 3, *[g.cfg.resolution] * 2, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((g.synthesis(ws) * y).sum(), ws)
    step = torch.randn_like(ws) * 1e-6
    with torch.no_grad():
        moved = [(g.synthesis(ws + s * step) * y).sum() for s in (1, -1)]
    torch.testing.assert_close(
        (moved[0] - moved[1]) / 2, (gradient * step).sum(), rtol=1e-4, atol=0
    )
    if "grad_wmix" in expected:
        ws = expected["w_mix"].clone().requires_grad_()
        images = network.g.synthesis(ws)
        (gradient,) = torch.autograd.grad((images * expected["grad_y"]).sum(), ws)
        close(gradient, expected["grad_wmix"], name)


@pytest.mark.parametrize("name", ATOL)
def test_logits_equal_the_reference(name: str) -> None:
    """S0.8, S1.2, S1.6: D at every level of detail, in groups and alone; R1's gradient."""
    _, network, expected = fixture(name)
    d: Any = network.d
    images = expected["image_in"].clone().requires_grad_()
    label = expected.get("d_label")
    logits = d(images, label)
    for tensor, wanted in expected.items():
        if match := re.fullmatch(r"logits(_lod(?P<lod>\dp\d+))?", tensor):
            close(d(images, label, lod=number(match["lod"] or "0p0")).detach(), wanted, name)
    if "logits_first1" in expected:
        first = d(images[:1], None if label is None else label[:1])
        close(first.detach(), expected["logits_first1"], name)
    (gradient,) = torch.autograd.grad(logits.sum(), images)
    assert gradient.abs().amax(dim=(1, 2, 3)).min() > 0
    if "r1_sqnorm" in expected:
        squares = gradient.square().sum(dim=(1, 2, 3))
        torch.testing.assert_close(squares, expected["r1_sqnorm"], rtol=1e-3, atol=0)
        torch.testing.assert_close(gradient[:1], expected["r1_grad_sample0"], rtol=1e-3, atol=1e-7)


def test_the_fixtures_say_what_they_were_computed_with() -> None:
    """What the readers derive from shapes is what the files' writers were given."""
    for name in ATOL:
        ckpt = fixture(name)[0]
        with safe_open(FIXTURES / f"{Path(name).stem}.expected.safetensors", "pt") as file:
            said = {k: json.loads(file.metadata()[k]) for k in ("G_static", "D_static")}
        g, d = ckpt.config["g"], ckpt.config["d"]
        assert (g["resolution"], g["z_dim"]) == (
            said["G_static"]["resolution"],
            said["G_static"]["latent_size"],
        )
        assert d["mbstd_group"] == said["D_static"]["mbstd_group_size"]
        assert d["fused_scale"] == said["D_static"].get("fused_scale", ckpt.family == "stylegan")
        assert d["resample_filter"] == ([1, 2, 1] if ckpt.family == "stylegan" else [])


# -- counts ---------------------------------------------------------------------------------------


def count(module: nn.Module, *, without: str = "$^") -> int:
    """Trained numbers, without the tensors whose names match."""
    state = {n: t for n, t in module.state_dict().items() if not re.search(without, n)}
    return parameters(state)


def test_numbers_of_parameters_at_1024() -> None:
    """S1.1, S1.2, S0.6, formats.md: the published totals, exact."""
    channels = widths(1024, 16384)
    assert channels == (512, 512, 512, 512, 256, 128, 64, 32, 16)
    lower = r"b(4|8|16|32|64|128|256|512)\.(torgb|fromrgb)"
    with torch.device("meta"):
        g = pggan.Generator(pggan.GeneratorConfig(1024, channels))
        d = pggan_discriminator.Discriminator(
            pggan_discriminator.DiscriminatorConfig(1024, channels)
        )
        style = stylegan.Generator(stylegan.GeneratorConfig(1024, channels))
    assert count(g, without=lower) == 23_071_507
    assert count(d, without=lower) == 23_077_137
    assert count(style.mapping) == 2_101_248
    assert count(style) == 26_219_627  # with every ToRGB
    assert style.num_ws == len(style.noise_shapes) == len(style.synthesis.layers()) == 18


# -- growing --------------------------------------------------------------------------------------


def tiny(family: str, resolution: int = 32, seed: int = 0) -> tuple[Any, Any]:
    """A seeded generator with noise and biases, and the family's discriminator."""
    torch.manual_seed(seed)
    channels = (6, 6, 5, 4)[: int(math.log2(resolution)) - 1]
    g: Any
    if family == "pggan":
        g = pggan.Generator(pggan.GeneratorConfig(resolution, channels, z_dim=7))
    else:
        sizes = {"z_dim": 7, "w_dim": 5, "mapping_layers": 2}
        g = stylegan.Generator(stylegan.GeneratorConfig(resolution, channels, **sizes))
    extra = stylegan.discriminator_defaults() if family == "stylegan" else {}
    cfg = pggan_discriminator.DiscriminatorConfig(resolution, channels, **extra)
    d = pggan_discriminator.Discriminator(cfg)
    with torch.no_grad():
        for module in (g, d):
            for name, value in module.named_parameters():
                if name.endswith(("bias", "noise_strength")):
                    value.normal_(0, 0.3)
    return g.eval(), d.eval()


def cropped(module: Any, resolutions: int) -> Any:
    """The network of the lower resolutions alone, with the same numbers."""
    cfg = module.cfg.to_dict()
    cfg |= {"widths": cfg["widths"][:resolutions], "resolution": 2 << resolutions}
    made = type(module)(type(module.cfg).from_dict(cfg))
    tensors = numbers(module)
    return fill(made, {name: tensors[name] for name in made.state_dict()}).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_at_integer_lod_it_is_the_smaller_network(family: str) -> None:
    """S0.7, S1.7: what is above the level of detail takes no part, in G and in D."""
    g, d = tiny(family)
    z = torch.randn(3, 7)
    for lod, count_ in ((1, 3), (2, 2), (3, 1)):
        size = 32 >> lod
        if count_ > 1:
            small_g, small_d = cropped(g, count_), cropped(d, count_)
            torch.testing.assert_close(g(z, lod=lod), small_g(z), rtol=1e-5, atol=1e-6)
            images = torch.randn(5, 3, size, size)
            assert torch.equal(d(images, torch.ones(5, 1), lod=lod), small_d(images))
            # Pictures of full size, as NVIDIA's networks take them, are averaged.
            torch.testing.assert_close(d(full_size(images, 32), lod=lod), small_d(images))
        assert g(z, lod=lod).shape == (3, 3, size, size)


@pytest.mark.parametrize("family", FAMILIES)
def test_fades_are_linear_and_end_in_the_neighbours(family: str) -> None:
    """S1.7: lod k + a is (1 - a) of lod k and a of lod k + 1; G's change goes to 0 with a's."""
    g, d = tiny(family)
    z = torch.randn(2, 7)
    fine, coarse = g(z, lod=1.0), nearest_up(g(z, lod=2.0))
    for share in (1e-6, 0.25, 0.75, 1 - 1e-6):
        torch.testing.assert_close(g(z, lod=1 + share), fine.lerp(coarse, share))
    torch.testing.assert_close(g(z, lod=2 - 1e-6), coarse, atol=1e-4, rtol=1e-4)
    images = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(d(images, lod=1 + 1e-6), d(images, lod=1), atol=1e-4, rtol=1e-4)
    below = d(growing.shrunk(images, (8, 8)), lod=2)
    torch.testing.assert_close(d(images, lod=2 - 1e-6), below, atol=1e-4, rtol=1e-4)
    # In D features fade: between the ends its logit is continuous, and not linear in general.
    values = [d(images, lod=1 + i / 64) for i in range(64)]
    steps = torch.stack(values).diff(dim=0).abs()
    assert steps.max() < 8 * (values[0] - values[-1]).abs().max() / 64 + 0.05


@pytest.mark.parametrize("family", FAMILIES)
def test_levels_of_detail_end_at_4x4(family: str) -> None:
    g, d = tiny(family)
    for lod in (-0.5, 3.01):
        with pytest.raises(ValueError, match="levels of detail from 0 to 3"):
            g(torch.randn(1, 7), lod=lod)
        with pytest.raises(ValueError, match="levels of detail from 0 to 3"):
            d(torch.randn(1, 3, 32, 32), lod=lod)
    with pytest.raises(ValueError, match="8 pixels where 16"):
        d(torch.randn(1, 3, 8, 8), lod=1)


def test_reals_fade_like_fakes() -> None:
    """S1.8: fraction 0 is the identity, 1 the box-blurred picture, linear between."""
    x = torch.randn(2, 3, 8, 8)
    blurred = x.reshape(2, 3, 4, 2, 4, 2).mean(dim=(3, 5)).repeat_interleave(2, 2)
    blurred = blurred.repeat_interleave(2, 3)
    assert growing.crossfade(x, 2.0) is x
    torch.testing.assert_close(growing.crossfade(x, 1.25), 0.75 * x + 0.25 * blurred)
    torch.testing.assert_close(growing.crossfade(x, 1 - 1e-7), blurred)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_saved_while_growing_is_shown_at_its_lod(family: str, tmp_path: Path) -> None:
    """S1.7: the level of detail stands in the configuration, of both networks."""
    g, d = tiny(family)
    cfgs = {"g": g.cfg.to_dict() | {"lod": 1.5}, "d": d.cfg.to_dict() | {"lod": 1.5}}
    tensors = {f"g_ema.{n}": t for n, t in numbers(g).items()}
    tensors |= {f"d.{n}": t for n, t in numbers(d).items()}
    files.save(tmp_path / "n.safetensors", files.Checkpoint(family, cfgs, tensors))
    network = build(files.load(tmp_path / "n.safetensors"), "n", discriminator=True)
    z, images = torch.randn(2, 7), torch.randn(2, 3, 16, 16)
    assert network.size == (16, 16)
    assert network.d is not None
    assert torch.equal(network.g(z), g(z, lod=1.5).detach())
    assert torch.equal(network.d(images), d(images, lod=1.5).detach())
    assert network.d.features(images)[0].shape[2:] == (16, 16)


# -- closed forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4, 8, 16, 20])
def test_fused_resampling_is_what_it_stands_for(size: int) -> None:
    """S0.7, S0.8: up and 3x3, 3x3 and down in one kernel; on the border too, twice derivable."""
    from gantools.ops.resample import box_down, conv_box_down, nearest_up_conv

    x = torch.randn(2, 3, size, size, dtype=torch.float64)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    plain = nn.functional.conv2d(nearest_up(x), weight, padding=1)
    torch.testing.assert_close(nearest_up_conv(x, weight), plain)
    large = torch.randn(2, 3, 2 * size, 2 * size, dtype=torch.float64)
    plain = box_down(nn.functional.conv2d(large, weight, padding=1))
    torch.testing.assert_close(conv_box_down(large, weight), plain)
    if size == 16:  # the smallest that is fused
        part = torch.randn(1, 1, 32, 32, dtype=torch.float64, requires_grad=True)
        kernel = torch.randn(1, 1, 3, 3, dtype=torch.float64, requires_grad=True)
        for made in (conv_box_down(part, kernel), nearest_up_conv(part[..., :16, :16], kernel)):
            (first,) = torch.autograd.grad(made.square().sum(), kernel, create_graph=True)
            assert torch.autograd.grad(first.sum(), part)[0].abs().sum() > 0


def test_equalised_learning_rate() -> None:
    """S1.4: after one step of Adam every layer has moved by the same part of its own deviation."""
    g, d = tiny("pggan")
    for layers in (g, d):
        moved = []
        for layer in layers.modules():
            if not isinstance(layer, growing.Weight):
                continue
            before = layer.scaled(torch.float32).detach().clone()
            layer.weight.grad = torch.randn_like(layer.weight).sign()
            torch.optim.Adam([layer.weight], lr=0.001, betas=(0.0, 0.99)).step()
            change = (layer.scaled(torch.float32).detach() - before).abs().mean()
            moved.append(float(change / layer.scale))  # the deviation is `scale` by design
            deviation = float(before.std()) / layer.scale
            assert abs(deviation - 1) < 6 / math.sqrt(2 * before.numel())
        assert len(moved) > 8
        assert max(moved) - min(moved) < 1e-6


def test_weights_that_are_not_equalised_are_he_s() -> None:
    """S1.14, a to e: stored as they are used, of deviation gain/√fan_in."""
    torch.manual_seed(0)
    layer = growing.Conv(64, 64, 3, equalized=False)
    assert torch.equal(layer.scaled(torch.float32), layer.weight)
    assert abs(float(layer.weight.detach().std()) / math.sqrt(2 / (64 * 9)) - 1) < 0.02


def test_pixel_norm() -> None:
    """S1.5: the root mean square over channels is 1 in every pixel; float16 does not overflow."""
    x = torch.randn(2, 9, 4, 4)
    torch.testing.assert_close(growing.feature_norm(x).square().mean(dim=1), torch.ones(2, 4, 4))
    large = (x * 3000).half()
    found = growing.feature_norm(large)
    assert found.dtype is torch.float16
    torch.testing.assert_close(found.float(), growing.feature_norm(x), atol=2e-3, rtol=2e-3)
    assert torch.equal(growing.feature_norm(torch.zeros(1, 4, 2, 2)), torch.zeros(1, 4, 2, 2))


def test_z_is_on_the_hypersphere() -> None:
    """S1.1: z's length does not matter; without the norm (S1.14) it does."""
    g, _ = tiny("pggan")
    z = torch.randn(2, 7)
    torch.testing.assert_close(g(z * 5), g(z), atol=1e-4, rtol=1e-4)
    free = pggan.Generator(
        pggan.GeneratorConfig(8, (4, 4), z_dim=7, latent_norm=False, norm="none")
    )
    assert not torch.allclose(free(z * 5), free(z))


def test_stylegan_mapping() -> None:
    """S0.6: f(cz) = f(z); He's √2 is in the weights, so a bias counts once."""
    g, _ = tiny("stylegan")
    z = torch.randn(2, 7)
    torch.testing.assert_close(g.mapping(z * 7), g.mapping(z), rtol=1e-5, atol=1e-6)
    x = growing.feature_norm(z)
    for i in range(2):
        layer = g.mapping.get_submodule(f"fc{i}")
        gain = math.sqrt(2 / layer.weight.shape[1]) * 0.01
        x = nn.functional.leaky_relu(x @ layer.weight.T * gain + layer.bias * 0.01, 0.2)
    torch.testing.assert_close(g.mapping(z)[:, 3], x)


def test_stylegan_epilogue() -> None:
    """S0.7: noise, bias, lrelu, instance norm, style; mean s1 and deviation |s0 + 1| in the end."""
    torch.manual_seed(0)
    cfg = stylegan.GeneratorConfig(8, (6, 6), w_dim=5)
    layer = stylegan.Epilogue(6, cfg, 8)
    with torch.no_grad():
        layer.noise_strength.normal_()
        layer.bias.normal_()
    x, w, noise = torch.randn(3, 6, 8, 8), torch.randn(3, 5), torch.randn(1, 1, 8, 8)
    y = layer(x, w, noise)
    styles = layer.affine(w).reshape(3, 2, 6)
    torch.testing.assert_close(y.mean(dim=(2, 3)), styles[:, 1])
    deviation = y.var(dim=(2, 3), unbiased=False).sqrt()
    torch.testing.assert_close(deviation, (styles[:, 0] + 1).abs(), rtol=1e-4, atol=1e-5)
    a = x + noise * layer.noise_strength[:, None, None] + layer.bias[:, None, None]
    a = torch.where(a < 0, 0.2 * a, a)
    a = (a - a.mean(dim=(2, 3), keepdim=True)) / (
        a.var(dim=(2, 3), unbiased=False, keepdim=True) + 1e-8
    ).sqrt()
    wanted = a * (styles[:, 0, :, None, None] + 1) + styles[:, 1, :, None, None]
    torch.testing.assert_close(y, wanted, rtol=1e-4, atol=1e-5)


def test_stylegan_noise() -> None:
    """S0.7: without strength noise does nothing; each of the L maps has its own layer."""
    g, _ = tiny("stylegan")
    ws = g.mapping(torch.randn(1, 7))
    maps = [torch.randn(1, 1, *shape) for shape in g.noise_shapes]
    assert len(maps) == g.num_ws == 8
    image = g.synthesis(ws, maps)
    for i in range(8):
        changed = [m if j != i else torch.randn_like(m) for j, m in enumerate(maps)]
        assert not torch.equal(g.synthesis(ws, changed), image)
    stored = [layer.noise_const[None, None] for layer in g.synthesis.layers()]
    assert torch.equal(g.synthesis(ws, stored), g.synthesis(ws))
    assert torch.equal(g.synthesis(ws, [None] * 8), g.synthesis(ws, "none"))
    # At a level of detail only the maps that are used have to be drawn.
    assert torch.equal(g.synthesis(ws, maps[:6], lod=1.0), g.synthesis(ws, maps, lod=1.0))
    with pytest.raises(ValueError, match="7 noise maps for 8 layers"):
        g.synthesis(ws, maps[:7])
    with torch.no_grad():
        for layer in g.synthesis.layers():
            layer.noise_strength.zero_()
    assert torch.equal(g.synthesis(ws, maps), g.synthesis(ws, "none"))


def test_a_new_stylegan_is_as_the_paper_starts_it() -> None:
    """S0.7: the constant is ones, noise strengths are 0, styles start at scale 1 and shift 0."""
    g = stylegan.Generator(stylegan.GeneratorConfig(8, (4, 4), z_dim=3, w_dim=5))
    assert torch.equal(g.synthesis.b4.const, torch.ones(4, 4, 4))  # type: ignore[union-attr]
    for layer in g.synthesis.layers():
        assert not layer.noise_strength.any()
        assert layer.affine.bias is not None
        assert not layer.affine.bias.any()
    deviation = float(g.mapping.fc0.weight.detach().std())  # type: ignore[union-attr, operator]
    assert 60 < deviation < 140


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_do_not_depend_on_their_batch(family: str) -> None:
    """design.md 2: the same picture whatever --batch, to the bit; gradients change nothing."""
    g, _ = tiny(family)
    made, x = (g, torch.randn(4, 7)) if family == "pggan" else (g.synthesis, torch.randn(4, 8, 5))
    with torch.no_grad():
        together = made(x)
        assert torch.equal(together, torch.cat([made(row) for row in x.split(1)]))
    torch.testing.assert_close(made(x), together, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_fp32(family: str, dtype: torch.dtype) -> None:
    """The upper resolutions in half precision: rounding only, and float32 comes out."""
    g, d = tiny(family)
    z = torch.randn(2, 7)
    with torch.no_grad():
        full, half = g(z), g(z, dtype=dtype)
        logits = d(full, dtype=dtype)
    limit = 0.02 if dtype is torch.bfloat16 else 0.002
    assert half.dtype is logits.dtype is torch.float32
    assert 0 < (full - half).abs().mean() < limit * full.std()
    assert (logits - d(full).detach()).abs().max() < limit * 10


# -- discriminators -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_discriminator_takes_any_batch(family: str) -> None:
    """S1.6: groups of 4 or as near to that as the batch allows; equal pictures, equal logits."""
    _, d = tiny(family)
    for n in range(1, 10):
        assert d(torch.randn(n, 3, 32, 32)).shape == (n, 1)
    same = torch.randn(1, 3, 32, 32).expand(7, -1, -1, -1)
    logits = d(same)
    torch.testing.assert_close(logits, logits[:1].expand(7, 1))
    seen: list[Tensor] = []
    d.b4.conv.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    d(same)
    torch.testing.assert_close(seen[0][:, -1], torch.full((7, 4, 4), 1e-4))


def test_r1_can_be_derived_again() -> None:
    """S0.9: the gradient of the gradient's norm, against finite differences on 8x8, in float64."""
    for family in FAMILIES:
        _, d = tiny(family, 8)
        d = d.double()
        images = torch.randn(2, 3, 8, 8, dtype=torch.float64)

        def r1(weight: Tensor, d: Any = d, images: Tensor = images) -> Tensor:
            x = images.clone().requires_grad_()
            logits = torch.func.functional_call(d, {"b8.conv1.weight": weight}, (x,))
            (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
            return gradient.square().sum()

        assert torch.autograd.gradcheck(r1, d.b8.conv1.weight.detach().clone().requires_grad_())


def test_labels_of_acgan() -> None:
    """S1.11: one-hot behind z in G; K logits beside the score in D; K = 0 has none."""
    torch.manual_seed(0)
    g = pggan.Generator(pggan.GeneratorConfig(8, (4, 4), z_dim=3, c_dim=2))
    assert g.b4.dense.weight.shape == (64, 5)
    z = torch.randn(1, 3)
    first, second = (g(z, torch.eye(2)[i : i + 1]) for i in (0, 1))
    assert not torch.equal(first, second)
    with pytest.raises(ValueError, match="needs a label"):
        g(z)
    d = pggan_discriminator.Discriminator(
        pggan_discriminator.DiscriminatorConfig(8, (4, 4), c_dim=2)
    )
    images = torch.randn(3, 3, 8, 8)
    score, classes = d.score_and_classes(images)
    assert (score.shape, classes.shape) == ((3, 1), (3, 2))
    assert torch.equal(d(images), score)
    plain = pggan_discriminator.Discriminator(pggan_discriminator.DiscriminatorConfig(8, (4, 4)))
    assert plain.score_and_classes(images)[1].shape == (3, 0)


@pytest.mark.parametrize("mode", ["projection", "logits"])
def test_a_label_decides_the_score(mode: Any) -> None:
    """Projection: linear in the label, the score itself for none; logits: the label picks one."""
    torch.manual_seed(0)
    cfg = pggan_discriminator.DiscriminatorConfig(8, (4, 4), c_dim=3, label_mode=mode)
    d = pggan_discriminator.Discriminator(cfg)
    images, labels = torch.randn(2, 3, 8, 8), torch.eye(3)[[0, 2]]
    scores = [d(images, torch.eye(3)[[k, k]]) for k in range(3)]
    assert torch.equal(d(images, labels), torch.stack([scores[0][0], scores[2][1]]))
    mixed = d(images, torch.full((2, 3), 1 / 3))
    torch.testing.assert_close(mixed, sum(scores) / 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a label"):
        d(images)
    with pytest.raises(ValueError, match="no logits of the classes"):
        d.score_and_classes(images)


@pytest.mark.parametrize("family", FAMILIES)
def test_perturbation_stands_before_every_convolution(family: str) -> None:
    """S1.10: once before each 3x3 and 4x4 convolution, by sample and channel; 1 changes nothing."""
    _, d = tiny(family)
    seen: list[tuple[int, ...]] = []

    def perturb(x: Tensor) -> Tensor:
        seen.append(tuple(x.shape))
        return x

    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(d(images, perturb=perturb), d(images))
    assert len(seen) == 2 * 3 + 2
    assert seen[-2:] == [(2, 7, 4, 4), (2, 6, 4, 4)]
    assert not torch.equal(d(images, perturb=lambda x: x * 1.1), d(images))


ABLATIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "batch": (
        {"norm": "batch", "activation": "relu", "tanh": True, "latent_norm": False}
        | {"equalized": False},
        {"norm": "layer", "mbstd_group": 1, "equalized": False},
    ),
    "none": ({"norm": "none", "equalized": False}, {"mbstd_group": 1, "mbdisc_kernels": 6}),
}


@pytest.mark.parametrize("row", ABLATIONS)
def test_the_ablation_s_networks(row: str, tmp_path: Path) -> None:
    """S1.14: BatchNorm, LayerNorm, minibatch discrimination; saved and read back to the bit."""
    torch.manual_seed(0)
    g_extra, d_extra = ABLATIONS[row]
    g: Any = pggan.Generator(pggan.GeneratorConfig(16, (6, 6, 4), z_dim=5, **g_extra))
    cfg = pggan_discriminator.DiscriminatorConfig(16, (6, 6, 4), **d_extra)
    d: Any = pggan_discriminator.Discriminator(cfg)
    z, images = torch.randn(6, 5), torch.randn(6, 3, 16, 16)
    loss = d(g(z)).sum() + d(images).square().sum()
    loss.backward()
    used = [n for m in (g, d) for n, p in m.named_parameters() if p.grad is not None]
    unused = r"b(4|8)\.(torgb|fromrgb)"
    names = [n for m in (g, d) for n, _ in m.named_parameters() if not re.match(unused, n)]
    assert sorted(used) == sorted(names)
    tensors = {f"g_ema.{n}": t for n, t in numbers(g).items()}
    tensors |= {f"d.{n}": t for n, t in numbers(d).items()}
    config = {"g": g.cfg.to_dict(), "d": d.cfg.to_dict()}
    files.save(tmp_path / "n.safetensors", files.Checkpoint("pggan", config, tensors))
    network = build(files.load(tmp_path / "n.safetensors"), "n", discriminator=True)
    assert network.d is not None
    with torch.no_grad():
        assert torch.equal(network.g(z), g.eval()(z))
        assert torch.equal(network.d(images), d.eval()(images))
    with torch.no_grad():
        g.b16.torgb.bias.fill_(5)
    assert bool(g(z).abs().max() <= 1) == g_extra.get("tanh", False)


def test_layer_norm_and_minibatch_discrimination() -> None:
    """S1.14: one gain, a bias per channel, eps 1e-4; Σ over the others of exp(-L1 distance)."""
    torch.manual_seed(0)
    norm = pggan_discriminator.LayerNorm(5)
    with torch.no_grad():
        norm.gain.fill_(1.5)
        norm.bias.normal_()
    x = torch.randn(2, 5, 3, 3)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    var = x.var(dim=(1, 2, 3), keepdim=True, unbiased=False)
    wanted = (x - mean) / (var + 1e-4).sqrt() * 1.5 + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), wanted)
    assert len(list(norm.parameters())) == 2
    cfg = pggan_discriminator.DiscriminatorConfig(8, (4, 4), mbdisc_kernels=3)
    layer = pggan_discriminator.MinibatchDiscrimination(cfg)
    h = torch.randn(1, 4).expand(5, -1)
    torch.testing.assert_close(layer(h)[:, 4:], torch.full((5, 3), 4.0))  # four equal others
    far = torch.randn(5, 4) * 1000
    torch.testing.assert_close(layer(far)[:, 4:], torch.zeros(5, 3))


def blocks(module: Any) -> Iterator[str]:
    """Names of the modules that a test may hook."""
    return (name for name, _ in module.named_modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_only_what_lod_needs_is_computed(family: str) -> None:
    """S1.27: a level of detail costs no more than its own network."""
    g, d = tiny(family)
    ran: set[str] = set()

    def mark(name: str) -> Callable[..., None]:
        return lambda *_: ran.add(name)

    for module in (g, d):
        for name in blocks(module):
            module.get_submodule(name).register_forward_hook(mark(name))
    g(torch.randn(1, 7), lod=1.5)
    d(torch.randn(1, 3, 16, 16), lod=1.5)
    assert not any("b32" in name for name in ran)
    assert any(name.endswith("b16.fromrgb") for name in ran)
