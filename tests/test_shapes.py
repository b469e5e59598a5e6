"""Networks whose pictures are not square: first blocks of other sizes, in all families."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gantools import options
from gantools.io.network import Checkpoint, save
from gantools.networks import (
    pggan,
    pggan_discriminator,
    sngan,
    sngan_discriminator,
    stylegan,
    stylegan2,
    stylegan2_config,
    stylegan2_discriminator,
)
from gantools.networks.growing import crossfade, shrunk
from gantools.networks.network import new_discriminator, new_generator, numbers, open_network
from gantools.networks.sizes import first_block
from gantools.report import Usage
from gantools.training import shape

FAMILIES = ("pggan", "sngan", "stylegan", "stylegan2")
BLOCK = (4, 6)


def tiny(family: str, block: tuple[int, int] = BLOCK, **more: Any) -> tuple[Any, Any]:
    """Generator and discriminator of 16 x 24 pixels, or so (SNGAN: 32 x 48)."""
    torch.manual_seed(0)
    square: Any = (16, (5, 4, 3))
    if family == "sngan":
        g = sngan.GeneratorConfig(32, (5, 4, 4, 3), z_dim=7, first_block=block, **more)
        d = sngan_discriminator.DiscriminatorConfig(32, (3, 4, 5, 5), 2, first_block=block, **more)
        return sngan.Generator(g), sngan_discriminator.Discriminator(d)
    if family == "stylegan2":
        made: Any = stylegan2.Generator(
            stylegan2_config.GeneratorConfig(
                *square, z_dim=7, w_dim=6, mapping_layers=2, first_block=block, **more
            )
        )
        d2 = stylegan2_discriminator.DiscriminatorConfig(*square, first_block=block, **more)
        return made, stylegan2_discriminator.Discriminator(d2)
    if family == "stylegan":
        made = stylegan.Generator(
            stylegan.GeneratorConfig(
                *square, z_dim=7, w_dim=6, mapping_layers=2, first_block=block, **more
            )
        )
        extra = stylegan.discriminator_defaults()
    else:
        made = pggan.Generator(pggan.GeneratorConfig(*square, z_dim=7, first_block=block, **more))
        extra = {}
    config = pggan_discriminator.DiscriminatorConfig(*square, first_block=block, **extra, **more)
    return made, pggan_discriminator.Discriminator(config)


def noisy(g: Any) -> Any:
    """Its noise in use, so that noise maps are tested with the rest."""
    for name, parameter in g.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(parameter, 0.3)
    return g


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sizes_and_gradients(family: str, channels: int) -> None:
    """Pictures are first block x 2^k; every number of G and D has a gradient, which is right."""
    g, d = tiny(family, img_channels=channels)
    g, d = noisy(g).double(), d.double()
    wanted = (32, 48) if family == "sngan" else (16, 24)
    assert g.cfg.size == d.cfg.size == wanted
    z = torch.randn(4, 7, dtype=torch.float64)
    images = g(z)
    assert images.shape == (4, channels, *wanted)
    score = d(images)
    assert score.shape == (4, 1)
    score.square().sum().backward()
    top = "b16."  # a network that grows reads and writes pictures at other sizes in other blocks
    for name, parameter in [*g.named_parameters(), *d.named_parameters()]:
        if family in ("pggan", "stylegan") and "rgb" in name and top not in name:
            continue
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert not torch.equal(images.flip(3), images)
    x = images.detach().requires_grad_()
    d.eval()
    direction = torch.randn_like(x)
    (slope,) = torch.autograd.grad(d(x).sum(), x)
    step = 1e-6
    change = (d(x + step * direction) - d(x - step * direction)).sum() / (2 * step)
    torch.testing.assert_close((slope * direction).sum(), change, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_first_block_of_4x4_is_the_square_network(family: str) -> None:
    """The same names, shapes and initial numbers, and the configuration's default."""
    square, given_one = tiny(family, (4, 4)), tiny(family, (4, 4))
    for one, two in zip(square, given_one, strict=True):
        config = {k: v for k, v in two.cfg.to_dict().items() if k != "first_block"}
        assert type(one.cfg).from_dict(config) == two.cfg
    side = 32 if family == "sngan" else 16
    assert square[0].cfg.size == (side, side)
    wide = tiny(family)
    names = [list(dict(m.named_parameters())) for m in (*square, *wide)]
    assert names[0] == names[2] and names[1] == names[3]


@pytest.mark.parametrize("family", ["stylegan2", "pggan", "sngan"])
def test_convolutions_do_not_know_the_size(family: str) -> None:
    """A wide network whose start is the square one's twice: on the left it makes its picture.

    (Not StyleGAN: its instance norm looks at all of a map.)
    """
    wide, square = (noisy(tiny(family, block)[0]).eval() for block in ((8, 16), (8, 8)))
    state = wide.state_dict()
    for name, value in square.state_dict().items():
        if name.endswith(("const", "noise_const")):
            repeated = torch.cat([value, value], dim=-1)
            state[name].copy_(repeated)
        elif name.endswith(("dense.weight", "fc.weight", "fc.bias")) and value.shape != (
            state[name].shape
        ):
            rest = value.shape[1:]
            cells = value.reshape(-1, 8, 8, *rest)
            state[name].copy_(torch.cat([cells, cells], dim=2).reshape(state[name].shape))
        else:
            state[name].copy_(value)
    wide.load_state_dict(state)
    z = torch.randn(2, 7)
    with torch.no_grad():
        one = square(z)
        other = wide(z)
    far = one.shape[3] // 4  # from the border that only the square one has
    torch.testing.assert_close(other[..., :far], one[..., :far], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_comes_back(family: str, tmp_path: Path) -> None:
    """Save, load, the same pictures and scores; the header says the first block."""
    g, d = tiny(family, img_channels=4)
    noisy(g).eval(), d.eval()
    tensors = {f"g_ema.{n}": t for n, t in numbers(g).items()}
    tensors |= {f"d.{n}": t for n, t in numbers(d).items()}
    config = {"g": g.cfg.to_dict(), "d": d.cfg.to_dict()}
    save(tmp_path / "x.safetensors", Checkpoint(family, config, tensors, {}))
    network = open_network(str(tmp_path / "x.safetensors"), discriminator=True)
    assert network.d is not None
    assert network.g.cfg == g.cfg and network.d.cfg == d.cfg
    assert (network.size, network.channels) == (g.cfg.size, 4)
    z = torch.randn(3, 7)
    with torch.no_grad():
        images = g(z)
        assert torch.equal(network.g(z), images)
        torch.testing.assert_close(network.d(images), d(images))


@pytest.mark.parametrize("family", ["pggan", "stylegan"])
@pytest.mark.parametrize("lod", [0.0, 0.5, 1.0, 1.25, 2.0])
def test_growing_networks_grow_in_their_shape(family: str, lod: float) -> None:
    """S1.7: at lod pictures of 16 x 24 >> floor(lod), in G, D and the reals."""
    g, d = tiny(family)
    z = torch.randn(2, 7)
    images = g(z, lod=lod)
    size = tuple(n >> int(lod) for n in (16, 24))
    assert images.shape == (2, 3, *size)
    assert d(images, lod=lod).shape == (2, 1)
    reals = torch.randn(2, 3, 16, 24)
    small = shrunk(reals, (size[0], size[1]))
    assert crossfade(small, lod).shape == small.shape == images.shape
    # D takes larger ones, and averages them.
    torch.testing.assert_close(d(reals, lod=lod), d(small, lod=lod))
    with pytest.raises(ValueError, match="16x24"):
        shrunk(reals[..., :20], (16, 24))


@pytest.mark.parametrize("value", [[4], [4, 4, 4], 4, "44", [4, 4.0], [True, 4], [3, 4], [4, 17]])
def test_nonsense_first_blocks_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="two numbers from 4 to 16"):
        first_block(value)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_with_a_huge_first_block_takes_no_memory(family: str, tmp_path: Path) -> None:
    """One line, before anything of that size is made."""
    g, d = tiny(family)
    tensors = {f"g_ema.{n}": t for n, t in numbers(g).items()}
    for part in ("g", "d"):
        config = {"g": g.cfg.to_dict(), "d": d.cfg.to_dict()}
        config[part]["first_block"] = [10**9, 10**9]
        save(tmp_path / "x.safetensors", Checkpoint(family, config, tensors, {}))
        with pytest.raises(Usage, match="first_block") as caught:
            open_network(str(tmp_path / "x.safetensors"), discriminator=True)
        assert "\n" not in str(caught.value)
    for make, cfg in ((new_generator, g.cfg), (new_discriminator, d.cfg)):
        with pytest.raises(ValueError, match="first_block"):
            make(family, {**cfg.to_dict(), "first_block": [4, 10**9]})


# ---------------------------------------------------------------------------- --resolution


@pytest.mark.parametrize(
    ("text", "resolution", "block"),
    [
        ("8", 8, (4, 4)),
        ("64", 64, (4, 4)),
        ("64x96", 64, (4, 6)),
        ("96x64", 64, (6, 4)),
        ("48", 32, (6, 6)),
        ("24x16", 16, (6, 4)),
        ("18x32", 8, (9, 16)),
        ("576x1024", 256, (9, 16)),
    ],
)
def test_sizes_as_shapes(text: str, resolution: int, block: tuple[int, int]) -> None:
    """The most doublings that leave 4 cells or more."""
    made = shape.of(*options.parse_size(text, "--resolution"))
    assert made == {"resolution": resolution, "first_block": block}


@pytest.mark.parametrize("text", ["", "64x", "x64", "0", "-8", "64x96x3", "99999999", "6 4", "8x0"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(Usage, match="HEIGHTxWIDTH"):
        options.parse_size(text, "--resolution")


@pytest.mark.parametrize("text", ["4", "100", "178x218", "64x2048", "9x16", "1080x1920", "1"])
def test_sizes_that_no_network_has_name_some_that_are_near(text: str) -> None:
    with pytest.raises(Usage, match="near sizes: ") as caught:
        shape.of(*options.parse_size(text, "--resolution"))
    for near in str(caught.value).split("near sizes: ")[1].split(", "):
        assert shape.of(*options.parse_size(near, "--resolution"))


@given(st.integers(4, 16), st.integers(4, 16), st.integers(1, 8))
def test_every_block_doubled_is_a_shape(height: int, width: int, times: int) -> None:
    made = shape.of(height << times, width << times)
    h, w = made["first_block"]
    assert (made["resolution"] * h // 4, made["resolution"] * w // 4) == (
        height << times,
        width << times,
    )
    assert json.loads(json.dumps(made))["first_block"] == [h, w]
