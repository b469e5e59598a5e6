"""f and noise of pictures of any size, drawn part by part (papers.md S2.21, S2.22)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_network
from hypothesis import given
from hypothesis import strategies as st

from gantools.io.latent import Latent
from gantools.latents import drawn, pictures, sampled, spatial
from gantools.networks.network import Network, open_network
from gantools.networks.stylegan2_tiles import Window
from gantools.ops.blurred_noise import gaussians

SIGMA = 2.0


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32x32, from block 5 on, blurred: a cell is 2x2 pixels, the network's own f 16x16."""
    path = tmp_path_factory.mktemp("drawn") / "fnz5.safetensors"
    return make_network(path, resolution=32, fnz=5, noise_blur=SIGMA)


@pytest.fixture(scope="module")
def network(net: Path) -> Network:
    return open_network(str(net))


def z(key: str = "k") -> Latent:
    return Latent(key, "z", {"z": np.random.default_rng(0).normal(size=16).astype(np.float32)})


# ------------------------------------------------------------------------------------ white noise

spans = st.tuples(st.integers(0, 99), st.integers(1, 40)).map(lambda s: (s[0], s[0] + s[1]))


@given(spans, spans, st.integers(1, 3))
def test_s2_22_a_window_is_a_part_of_the_whole(
    rows: tuple[int, int], columns: tuple[int, int], channels: int
) -> None:
    """Bit for bit, wherever it is cut."""
    whole = drawn.white(7, channels, ((0, 139), (0, 139)))
    part = drawn.white(7, channels, (rows, columns))
    assert part.dtype == torch.float32
    assert torch.equal(part, whole[:, slice(*rows), slice(*columns)])


def test_s2_22_white_noise_is_normal_and_white() -> None:
    """Moments, and correlations with neighbours, also over the borders of what is drawn at once."""
    n = 30 * drawn.BLOCK
    x = drawn.white(3, 1, ((0, n), (0, n)))[0].double()
    few = 5 / n  # five standard deviations of a mean over n² numbers
    assert abs(x.mean()) < few and abs(x.square().mean() - 1) < few * 2**0.5
    assert abs(x.pow(3).mean()) < few * 15**0.5 and abs(x.pow(4).mean() - 3) < few * 96**0.5
    for by in ((0, 1), (1, 0), (0, drawn.BLOCK), (drawn.BLOCK, drawn.BLOCK)):
        assert abs((x * x.roll(by, (0, 1))).mean()) < few
    borders = x[:, drawn.BLOCK - 1 :: drawn.BLOCK][:, :-1] * x[:, drawn.BLOCK :: drawn.BLOCK]
    assert abs(borders.mean()) < 5 / borders.numel() ** 0.5


def test_s2_22_no_two_blocks_are_alike() -> None:
    """Neither of one stream, nor of others: 1200 blocks, no number twice in the same place."""
    made = [drawn.white(s, 1, ((0, 640), (0, 640))) for s in (0, 1, 2**62)]
    blocks = torch.cat(made).unfold(1, 32, 32).unfold(2, 32, 32).reshape(-1, 1024)
    assert len(blocks) == 1200 and len(blocks[:, 0].unique()) > 1190
    assert len(blocks[:, :4].double().sum(1).unique()) == 1200


# --------------------------------------------------------------------------------------- features


def test_s2_21_features_of_a_window(network: Network) -> None:
    """Blurred by what stands around the window, at the picture's border as well."""
    whole = drawn.features(network, 1, "k", ((0, 70), (0, 90)))
    assert whole.shape == (1, 8, 70, 90)
    for window in (((0, 70), (0, 90)), ((0, 9), (80, 90)), ((31, 33), (5, 70))):
        part = drawn.features(network, 1, "k", window)
        rows, columns = window
        torch.testing.assert_close(
            part, whole[:, :, slice(*rows), slice(*columns)], rtol=1e-5, atol=1e-5
        )


def test_s2_21_large_features_are_blurred_noise(network: Network) -> None:
    """Unit variance of each channel and the correlation of its Gaussian, over blocks' borders too:
    Σ g(i) g(i+1) / Σ g² at lag 1."""
    side = 16 * drawn.BLOCK
    f = drawn.features(network, 0, "k", ((0, side), (0, side)))[0].double()
    g = gaussians(8, SIGMA)
    lag = (g[:, 1:] * g[:, :-1]).sum(1) / g.square().sum(1)
    inside = (f[:, :, 1:] * f[:, :, :-1]).mean((1, 2))
    # The white noise begins 3 sigma before the cells, so its blocks' borders are there as well.
    over = f[:, :, drawn.BLOCK :: drawn.BLOCK] * f[:, :, drawn.BLOCK - 1 : -1 : drawn.BLOCK]
    assert (f.square().mean((1, 2)) - 1).abs().max() < 0.05
    assert (f[:, :2].square().mean((1, 2)) - 1).abs().max() < 0.3
    assert (inside - lag).abs().max() < 0.05
    assert (over.mean((1, 2)) - lag).abs().max() < 0.15


# ---------------------------------------------------------------------------------------- latents


@pytest.mark.parametrize("mode", ["random", "const", "none"])
@pytest.mark.parametrize("tile", [None, 32, 50])
def test_s2_22_drawn_parts_are_the_whole_latent(
    network: Network, mode: str, tile: int | None
) -> None:
    """The picture of f and noise that are there, and of those that are drawn tile by tile."""
    part = sampled.drawn(network, z(), noise=mode, seed=5, size=(30, 51))
    whole = sampled.completed(network, z(), noise=mode, seed=5, size=(30, 51))
    assert isinstance(part, drawn.DrawnLatent) and set(part.tensors) == {"z"}
    assert type(whole) is Latent and whole.tensors["f"].shape == (8, 30, 51)
    assert "r" not in whole.tensors and whole.tensors["n.7"].shape == (1, 60, 102)
    one = spatial.picture(network, whole)
    other = spatial.picture(network, part, tile=tile)
    assert one.shape == (1, 3, 60, 102)
    torch.testing.assert_close(other, one, rtol=0, atol=1e-5 * float(one.max() - one.min()))


def test_s2_22_the_networks_own_size_is_as_it_was(network: Network) -> None:
    """One generator for all of f, another for all noise maps, as in pictures without --size."""
    latent = sampled.drawn(network, z(), size=(16, 16))
    assert type(latent) is Latent
    f = network.g.sampled(1, torch.Generator().manual_seed(drawn.derive(0, "k", "features")))
    assert (latent.tensors["f"] == f[0].numpy()).all()
    generator = torch.Generator().manual_seed(drawn.derive(0, "k", "noise"))
    maps = [torch.randn(1, *shape, generator=generator) for shape in network.g.noise_shapes]
    assert (latent.tensors["n.7"] == maps[6].numpy()).all()


def test_s2_22_noise_follows_seed_key_and_layer(network: Network) -> None:
    """The maps of two layers, keys or seeds have nothing in common; each is N(0, 1)."""
    size = (40, 60)
    latents = [
        sampled.completed(network, z(key), seed=seed, size=size)
        for key, seed in (("k", 0), ("l", 0), ("k", 1))
    ]
    maps = [latent.tensors[f"n.{j}"].ravel()[:2400] for latent in latents for j in (5, 6, 7)]
    alike = np.corrcoef(maps) - np.eye(9)
    assert np.abs(alike).max() < 0.1
    assert all(abs(n.mean()) < 0.1 and abs(n.std() - 1) < 0.1 for n in maps)


def test_layers_and_modes_of_drawn_latents(network: Network) -> None:
    """--noise-layers and --noise-mode mean what they mean of latents that hold their noise."""
    for look in (
        pictures.Look(noise_layers=[4]),
        pictures.Look(noise="none"),
        pictures.Look(noise="const", noise_layers=[6]),
        pictures.Look(noise="random", seed=3),
    ):
        how = {"noise": look.noise or "random", "seed": look.seed, "size": (24, 20)}
        made = []
        for latent in (sampled.drawn(network, z(), **how), sampled.completed(network, z(), **how)):
            place = pictures.Picture("x", [pictures.Cell(latent, look)])
            (picture,) = pictures.rendered(network, [place], 8)
            shown = picture.pixels()
            assert shown is not None
            made.append(shown.astype(int))
        assert np.abs(made[0] - made[1]).max() <= 1 and (made[0] != made[1]).mean() < 1e-3


def test_s2_22_windows_are_those_of_a_tile(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No part of f or of a noise map that is drawn grows with the picture."""
    seen: list[int] = []
    real = drawn.white

    def look(stream: int, channels: int, window: Window) -> torch.Tensor:
        seen.append(max(stop - start for start, stop in window))
        return real(stream, channels, window)

    monkeypatch.setattr(drawn, "white", look)
    largest = []
    for size in ((48, 64), (48, 128), (160, 64)):
        seen.clear()
        latent = sampled.drawn(network, z(), size=size)
        for _ in spatial.tiles(network, latent, tile=32):
            pass
        largest.append(max(seen))
    assert largest[0] == largest[1] == largest[2] < 64


MEMORY = """
import resource, sys
from gantools.cli import run
peaks = []
for size in ("256x512", "512x512", "4096x512"):
    code = run(["generate", "--net", sys.argv[1], "--seeds", "1", "--size", size, "--tile", "128",
                "--no-clobber", "-o", f"{sys.argv[2]}/{len(peaks)}.png"])
    assert code == 0, code
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(*peaks)
"""


def test_s2_22_peak_memory_does_not_grow_with_the_picture(tmp_path: Path) -> None:
    """Eight times the pixels, hardly more; the 8-bit picture alone has 6, its noise 20."""
    net = make_network(tmp_path / "n.safetensors", resolution=32, fnz=5, channels=2)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(net), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(drawn.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    _, small, large = map(int, done.stdout.split())  # KiB
    assert large - small < 3 * 1024, done.stdout
