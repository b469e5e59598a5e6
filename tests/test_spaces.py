"""Conversions between latent spaces keep the picture (papers.md S2.2)."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_network

from gantools.io.latent import Latent
from gantools.io.seeds import z_from_seed
from gantools.latents import spaces
from gantools.latents.render import images
from gantools.latents.source import NetworkSource
from gantools.networks.network import Network, open_network
from gantools.report import SampleError

LEGAL = [
    ("z", "w"), ("z", "w+"), ("z", "nw"), ("z", "nw+"),
    ("w", "w+"), ("w", "nw"), ("w", "nw+"), ("w+", "nw+"), ("nw", "nw+"),
]  # fmt: skip
LOSSY = [
    ("w+", "w", "layers"), ("nw", "w", "noise"), ("nw+", "w+", "noise"), ("nw+", "nw", "layers"),
    ("w+", "nw", "layers"), ("nw", "w+", "noise"), ("nw+", "w", "noise maps and all of the layers"),
]  # fmt: skip


@pytest.fixture(scope="module")
def network(tiny_network: Path) -> Network:
    return open_network(str(tiny_network))


def sample(space: str, network: Network, key: str = "a") -> Latent:
    """A latent of the space whose layers and noise maps all differ."""
    rng = np.random.default_rng(7)
    if space == "z":
        return Latent(key, "z", {"z": z_from_seed(1, network.g.cfg.z_dim)}, {"psi": 0.7})
    rows = network.g.num_ws if space.endswith("+") else 1
    w = rng.normal(size=(rows, network.g.cfg.w_dim)).astype(np.float32)
    tensors = {"w": w}
    if space.startswith("n"):
        for j, shape in enumerate(network.g.noise_shapes, 1):
            tensors[f"n.{j}"] = rng.normal(size=(1, *shape)).astype(np.float32)
    return Latent(key, space, tensors)


@pytest.mark.parametrize(("start", "end"), LEGAL)
@pytest.mark.parametrize("noise", ["const", "random", "none"])
def test_legal_conversions_keep_the_picture(
    network: Network, start: str, end: str, noise: str
) -> None:
    """S2.2: generate(x) = generate(convert(x)) to 1e-4, whatever the noise x is rendered with."""
    x = sample(start, network)
    y = spaces.convert(x, end, NetworkSource(network, 0.7, noise, seed=5))
    assert y.space == end and y.key == x.key and y.header == x.header
    y.check()
    network.check(y)
    before, after = (images(network, [v], psi=0.7, noise=noise, seed=5) for v in (x, y))
    assert (before - after).abs().max() < 1e-4
    assert bool(y.noise) == end.startswith("n")


def test_every_space_reaches_itself_unchanged(network: Network) -> None:
    for space in spaces.SPACES:
        x = sample(space, network)
        assert spaces.convert(x, space, NetworkSource(network)).tensors is x.tensors


@pytest.mark.parametrize(("start", "end", "what"), LOSSY)
def test_lossy_conversions_are_refused_with_the_reason(
    network: Network, start: str, end: str, what: str
) -> None:
    """S2.2: dropping noise is lossy; so is one w for many. They are done where asked for."""
    x = sample(start, network)
    with pytest.raises(SampleError, match=r"loses the noise maps.*|loses all.*") as refused:
        spaces.convert(x, end, NetworkSource(network))
    assert what in str(refused.value) and "--lossy" in str(refused.value)
    y = spaces.convert(x, end, NetworkSource(network), lossy=True)
    assert y.space == end
    y.check()
    network.check(y)


def test_the_mean_of_equal_rows_is_the_row(network: Network) -> None:
    w = sample("w", network)
    source = NetworkSource(network)
    back = spaces.convert(spaces.convert(w, "w+", source), "w", source, lossy=True)
    np.testing.assert_allclose(back.tensors["w"], w.tensors["w"], rtol=1e-6)


@pytest.mark.parametrize(("start", "end"), [("w", "z"), ("nw+", "z"), ("fw+5", "w")])
def test_no_inverse_exists(network: Network, start: str, end: str) -> None:
    latent = Latent("a", start, sample("w", network).tensors)
    with pytest.raises(SampleError, match=rf"nothing converts {start[0]}.* to {end}"):
        spaces.convert(latent, end, NetworkSource(network), lossy=True)


def test_chains_lose_as_little_as_can_be() -> None:
    """nw to w+ drops noise once; w+ to nw takes one mean: never a detour that loses more."""
    for start, end in itertools.product(spaces.SPACES, repeat=2):
        chain = spaces.chain(start, end)
        assert chain is not None
        assert [c.start for c in chain[1:]] == [c.end for c in chain[:-1]]
        lost = {c.loses for c in chain} - {""}
        assert len([c for c in chain if c.loses]) == len(lost)
        needed = (start[0] == "n") > (end[0] == "n"), start.endswith("+") > end.endswith("+")
        assert len(lost) == sum(needed)


def test_conditional_z_goes_by_its_label(tmp_path: Path) -> None:
    net = open_network(str(make_network(tmp_path / "c.safetensors", c_dim=3)))
    z = z_from_seed(1, net.g.cfg.z_dim)
    made = []
    for label in np.eye(3, dtype=np.float32)[:2]:
        x = Latent("a", "z", {"z": z, "y": label})
        y = spaces.convert(x, "nw+", NetworkSource(net))
        torch.testing.assert_close(images(net, [x]), images(net, [y]), rtol=0, atol=1e-4)
        made.append(y.tensors["w"])
    assert np.abs(made[0] - made[1]).max() > 1e-3
    with pytest.raises(SampleError, match="needs a class"):
        spaces.convert(Latent("a", "z", {"z": z}), "w", NetworkSource(net))


def test_s2_2_a_cutoff_is_kept(network: Network) -> None:
    """S2.2: a z truncated in some layers only becomes w+ as it looks, and has no w."""
    z = sample("z", network)
    z = Latent("a", "z", z.tensors, {"psi": 0.5, "cutoff": 2})
    source = NetworkSource(network)
    for space in ("w+", "nw+"):
        made = spaces.convert(z, space, source)
        assert (made.tensors["w"][0] != made.tensors["w"][2]).any()
        torch.testing.assert_close(images(network, [z]), images(network, [made]), rtol=0, atol=1e-4)
    with pytest.raises(SampleError, match=r"cutoff.*w\+"):
        spaces.convert(z, "nw", source)


def test_s0_12_the_header_truncates_every_z(tmp_path: Path) -> None:
    """S0.12: psi and cutoff of a latent's header hold for z with a class too, never for a w."""
    net = open_network(str(make_network(tmp_path / "c.safetensors", c_dim=3)))
    label = np.eye(3, dtype=np.float32)[1]
    tensors = {"z": z_from_seed(1, net.g.cfg.z_dim), "y": label}
    said = Latent("a", "zy", tensors, {"psi": 0.25, "cutoff": 2})
    assert said.truncation == (0.25, 2)
    want = images(net, [Latent("a", "zy", tensors)], psi=0.25, cutoff=2)
    assert torch.equal(images(net, [said]), want)
    assert not torch.equal(images(net, [said], psi=1.0), want)
    w = Latent("a", "w", {"w": np.zeros((1, net.g.cfg.w_dim), np.float32)}, {"psi": 0.25})
    assert w.truncation == (1.0, None)
    with pytest.raises(SampleError, match="psi is 'x'"):
        Latent("a", "zy", tensors, {"psi": "x"}).check()


def test_a_network_without_noise_maps_has_no_noise_spaces(network: Network) -> None:
    class Silent:
        num_ws = 6

        def styles(self, latent: Latent) -> np.ndarray:
            raise AssertionError

        def noise(self, latent: Latent) -> list[np.ndarray]:
            raise SampleError("it has no noise maps")

    wide = spaces.convert(sample("w", network), "w+", Silent())
    assert wide.tensors["w"].shape[0] == 6
    with pytest.raises(SampleError, match="no noise maps"):
        spaces.convert(wide, "nw+", Silent())


def test_conversions_of_w_need_no_torch() -> None:
    """edit and mix use them: design, Start-up."""
    code = "import sys, gantools.latents.spaces; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
