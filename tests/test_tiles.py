"""Pictures of any size in tiles: no seam, and memory of one tile (papers.md S2.22)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Result, make_network
from PIL import Image
from torch import Tensor, nn

from gantools.io.latent import Latent
from gantools.io.space import scaled
from gantools.latents import pictures, spatial
from gantools.networks import stylegan2_tiles as tiles
from gantools.networks.network import open_network
from gantools.networks.stylegan2 import Generator
from gantools.networks.stylegan2_blocks import State, picture_from
from gantools.networks.stylegan2_config import GeneratorConfig
from gantools.ops.blurred_noise import blurred_noise

Run = Callable[..., Result]
CLOSE = 1e-5
"""Of the picture's range: a convolution may add in another order where its map is smaller."""


def generator(resolution: int = 32, first: int = 3, **more: object) -> Generator:
    torch.manual_seed(0)
    widths = (8,) * (int(np.log2(resolution)) - 1)
    values = {"z_dim": 16, "w_dim": 16, "mapping_layers": 2, "fnz": first, **more}
    made = Generator(GeneratorConfig(resolution, widths, **values))  # type: ignore[arg-type]
    for layer in made.synthesis.layers():
        nn.init.constant_(layer.noise_strength, 0.3)
    return made.eval().requires_grad_(False)


Inputs = tuple[State, list[Tensor], list[Tensor | None]]


def inputs(g: Generator, size: tuple[int, int], *, maps: bool = False) -> Inputs:
    """f, r where its size is even, styles (vectors or maps) and noise, all random."""
    cfg, first = g.cfg, g.cfg.first
    channels = cfg.features[0]
    f = blurred_noise((1, channels, *size), cfg.noise_blur, torch.Generator().manual_seed(0))
    even = first > 2 and not (size[0] % 2 or size[1] % 2)
    r = torch.randn(1, 3, size[0] // 2, size[1] // 2) if even else None
    blocks = range(first, cfg.num_ws + 1)
    styles = [torch.randn(1, 16, *(scaled(size, first, j) if maps else ())) for j in blocks]
    noise: list[Tensor | None] = [
        torch.randn(1, 1, *scaled(size, first, j + 1)) for j in blocks if j < cfg.num_ws
    ]
    return State(first, f, r), styles, noise


def canvas(given: Inputs) -> tiles.Canvas:
    state, styles, noise = given
    height, width = state.f.shape[2:]
    return tiles.Canvas(state.index, (height, width), state.f, state.r, styles, noise)


def in_tiles(g: Generator, given: Inputs, tile: int, dtype: torch.dtype | None = None) -> Tensor:
    cell = tiles.cell(g.cfg, given[0].index)
    made = torch.full((1, 3, *(n * cell for n in given[0].f.shape[2:])), torch.nan)
    for place, part in tiles.tiles(g.synthesis, canvas(given), tile=tile, dtype=dtype):
        assert max(part.shape[2:]) <= tile
        tiles.cut(made, place).copy_(part)
    return made


def same(made: Tensor, whole: Tensor) -> None:
    assert made.shape == whole.shape
    assert (made - whole).abs().max() <= CLOSE * (whole.max() - whole.min())


@pytest.mark.parametrize("first", range(1, 9))
@pytest.mark.parametrize("maps", [False, True])
def test_s2_22_tiles_are_the_whole_picture(first: int, maps: bool) -> None:
    """Every start, with and without style maps, odd sizes, tiles that do not divide the picture."""
    g = generator(first=first)
    cell = tiles.cell(g.cfg, first)
    size = (72 // cell, 104 // cell + first % 2)
    given = inputs(g, size, maps=maps)
    same(in_tiles(g, given, 24), picture_from(g.synthesis, *given))


def test_s2_22_no_seam_is_larger_than_the_inside() -> None:
    """Where tiles meet the difference to the whole is what it is inside them: rounding."""
    g = generator(64)
    given = inputs(g, (16, 32))
    whole = picture_from(g.synthesis, *given)
    off = (in_tiles(g, given, 64) - whole).abs().amax(dim=(0, 1))
    at_seams = torch.cat([off[62:66].flatten(), off[:, 62:66].flatten(), off[:, 126:130].flatten()])
    assert at_seams.max() <= CLOSE * (whole.max() - whole.min())
    assert off.max() <= CLOSE * (whole.max() - whole.min())


def test_s2_22_half_precision_is_tiled_alike() -> None:
    g = generator(num_fp16_res=2)
    given = inputs(g, (16, 24))
    whole = picture_from(g.synthesis, *given, dtype=torch.bfloat16)
    made = in_tiles(g, given, 32, torch.bfloat16)
    assert (made - whole).abs().max() <= 0.02 * (whole.max() - whole.min())


@pytest.mark.parametrize("first", [1, 2, 3, 5, 8])
def test_s2_22_the_receptive_field_is_exact(first: int) -> None:
    """Cut off a part: within `reach` of the cut pixels differ, beyond they do not."""
    g = generator(first=first)
    cell, reach = tiles.cell(g.cfg, first), tiles.reach(g.cfg, first)
    size, kept = (128 // cell, 64 // cell), 96 // cell
    (state, styles, noise) = inputs(g, size)
    whole = picture_from(g.synthesis, state, styles, noise)

    def part(rows: slice, share: float) -> Tensor:
        def cut(x: Tensor) -> Tensor:
            n = round(x.shape[2] * share)
            return x[:, :, :n] if rows.start == 0 else x[:, :, -n:]

        r = None if state.r is None else cut(state.r)
        maps = [None if n is None else cut(n) for n in noise]
        return picture_from(g.synthesis, State(first, cut(state.f), r), styles, maps)

    upper = (part(slice(0, kept), 0.75) - whole[:, :, :96]).abs().amax(dim=(0, 1, 3)) > 1e-4
    lower = (part(slice(1, kept), 0.75) - whole[:, :, 32:]).abs().amax(dim=(0, 1, 3)) > 1e-4
    near = [96 - int(upper.nonzero().min()), int(lower.nonzero().max()) + 1]
    assert max(near) <= reach <= max(near) + 1
    assert tiles.halo(g.cfg, first) == -(-reach // cell)


def test_s2_22_the_margin_of_the_papers_networks_is_four_cells() -> None:
    cfg = GeneratorConfig(1024, (1,) * 9, z_dim=1, w_dim=1, mapping_layers=1)
    assert [tiles.halo(cfg, i) for i in (3, 5, 7)] == [4, 4, 4]
    assert tiles.cell(cfg, 3) == 128  # a 32x32 F_3 makes 4096x4096


def test_s2_22_interior_is_that_of_a_crop() -> None:
    """Evaluating a crop of the features alone gives the large picture's inside."""
    g = generator()
    state, styles, noise = inputs(g, (16, 40))
    whole = picture_from(g.synthesis, state, styles, noise)
    at, n, cell = 12, 16, tiles.cell(g.cfg, 3)
    assert state.r is not None
    crop = State(3, state.f[..., at : at + n], state.r[..., at // 2 : (at + n) // 2])

    def cut(x: Tensor) -> Tensor:
        scale = x.shape[3] // 40
        return x[..., at * scale : (at + n) * scale]

    part = picture_from(g.synthesis, crop, styles, [None if m is None else cut(m) for m in noise])
    edge = tiles.reach(g.cfg, 3)
    same(part[..., edge:-edge], whole[..., at * cell + edge : (at + n) * cell - edge])


def test_s2_22_memory_is_that_of_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest activation does not grow with the picture."""
    g = generator()
    largest = 0

    def look(module: nn.Module, given: object, made: Tensor) -> None:
        nonlocal largest
        largest = max(largest, made.numel())

    for module in (*g.synthesis.layers(), *(b.torgb for b in g.synthesis.blocks())):
        module.register_forward_hook(look)
    seen = []
    for size in ((16, 24), (32, 24), (32, 64)):
        largest = 0
        in_tiles(g, inputs(g, size), 32)
        seen.append(largest)
    window = 32 + 2 * tiles.halo(g.cfg, 3) * 4
    assert seen[1] == seen[2] == 8 * window * window
    largest = 0
    picture_from(g.synthesis, *inputs(g, (32, 64)))
    assert largest == 8 * 128 * 256


# ------------------------------------------------------------------------------- the command line


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiles") / "fnz5.safetensors"
    return make_network(path, resolution=32, fnz=5, noise_blur=2.0)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_s2_22_generate_size(gt: Run, net: Path, tmp_path: Path) -> None:
    """Any multiple of a cell (2 pixels), tiled or not the same, one z, its own size by default."""
    sizes = {"44x150": ("--tile", "4096"), "44x150 again": ("--tile", "20")}
    for name, more in sizes.items():
        size = name.split()[0]
        made = gt("generate", "--net", net, "--seeds", "7", "--size", size, *more,
                  "-o", tmp_path / f"{name}.png")  # fmt: skip
        assert made.code == 0, made.err
    whole, tiled = (pixels(tmp_path / f"{name}.png") for name in sizes)
    assert whole.shape == (44, 150, 3)
    assert np.abs(whole - tiled).max() <= 1 and (whole != tiled).mean() < 1e-3
    assert whole.std() > 5
    gt("generate", "--net", net, "--seeds", "7", "--size", "32x32", "-o", tmp_path / "own.png")
    gt("generate", "--net", net, "--seeds", "7", "-o", tmp_path / "default.png")
    assert (pixels(tmp_path / "own.png") == pixels(tmp_path / "default.png")).all()
    latents = gt("generate", "--net", net, "--seeds", "7", "--size", "44x152", "--space", "fnz")
    gt("generate", "--net", net, "--seeds", "7", "--size", "44x152", "-o", tmp_path / "b.png")
    gt("generate", "--net", net, "--tile", "30", "-o", tmp_path / "c.png", stdin=latents.out)
    assert np.abs(pixels(tmp_path / "b.png") - pixels(tmp_path / "c.png")).max() <= 1


def test_large_canvases_are_tiled_too(tiny_network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A latent with a wide f of a network with a constant: the same function, the same picture."""
    network = open_network(str(tiny_network))
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    tensors = {"f": normal(8, 12, 60), "r": normal(3, 6, 30), "w": normal(4, 16)}
    latent = Latent("wide", "fw+3", tensors)
    whole = spatial.picture(network, latent)
    monkeypatch.setattr(tiles, "SIDE", 16)
    assert spatial.is_large(network, latent)
    tiled = spatial.picture(network, latent)
    assert tiled.shape == whole.shape == (1, 3, 24, 120)
    same(tiled, whole)
    cell = pictures.Cell(latent, pictures.Look())
    (made,) = pictures.rendered(network, [pictures.Picture("x", [cell])], 8)
    shown = made.pixels()
    assert shown is not None
    assert np.abs(shown.astype(int) - network.pixels(whole)[0].astype(int)).max() <= 1
