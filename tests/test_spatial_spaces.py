"""Spaces with style maps and features, and all conversions between them (papers.md S2.1, S2.2)."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Result, make_network
from PIL import Image

from gantools.io.latent import Latent
from gantools.io.seeds import z_from_seed
from gantools.io.space import scaled, spatial, split
from gantools.latents import pictures, spaces
from gantools.latents.render import images
from gantools.latents.source import NetworkSource
from gantools.networks.network import Network, open_network
from gantools.report import SampleError

L = 6  # of the tiny network, 16x16
KINDS = ("fw+", "fsw+", "fnw+", "fnsw+", "fnz")
PLAIN = ("z", "w", "w+", "nw", "nw+", "sw+", "nsw+")
INDEXED = tuple(f"{kind}{i}" for i in range(1, L + 1) for kind in KINDS)
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def network(tiny_network: Path) -> Network:
    return open_network(str(tiny_network))


def sample(space: str, network: Network, size: tuple[int, int] | None = None) -> Latent:
    """A latent whose every number is its own; `size` is that of f (by default wide, and odd)."""
    kind, index = split(space)
    first, cfg = index or 1, network.g.cfg
    rng = np.random.default_rng(7)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    height, width = size or ((5, 7) if first < 3 else (6, 10) if first < 5 else (12, 20))
    tensors: dict[str, np.ndarray] = {}
    if index is None:
        height, width = cfg.sizes[0]
    else:
        tensors["f"] = normal(cfg.widths[(first - 1) // 2], height, width)
        if first > 2:
            tensors["r"] = normal(3, height // 2, width // 2)
    if "z" in kind:
        tensors["z"] = z_from_seed(1, cfg.z_dim)
    elif "s" in kind:
        for j in range(first, L + 1):
            tensors[f"s.{j}"] = normal(cfg.w_dim, *scaled((height, width), first, j))
    else:
        tensors["w"] = normal(L + 1 - first if kind.endswith("+") else 1, cfg.w_dim)
    if "n" in kind:
        for j in range(first, L):
            tensors[f"n.{j}"] = normal(1, *scaled((height, width), first, j + 1))
    return Latent("a", space, tensors, {"psi": 0.7} if "z" in kind else {})


def legal(start: str) -> list[str]:
    """What a space can be converted to without loss, from S2.2's sentences alone."""
    kind, index = split(start)
    first = index or 1
    ends = []
    for end in (*PLAIN, *INDEXED):
        to, block = split(end)
        if kind == "z":
            fits = end != "z"
        elif to == "z" or ("z" in to and "z" not in kind):
            fits = False
        elif index is not None and (block is None or block < first):
            fits = False
        elif block is None and "+" in kind and "+" not in to:
            fits = False
        else:
            silent = block == L  # all noise has been used before it, so none is lost
            fits = silent or "n" not in kind or "n" in to
            fits &= "s" not in kind or "s" in to
        if fits and end != start:
            ends.append(end)
    return ends


@pytest.mark.parametrize("start", [*PLAIN, *INDEXED])
def test_s2_2_every_legal_chain_keeps_the_picture(network: Network, start: str) -> None:
    """S2.2: generate(x) = generate(convert(x)) to 1e-4, all i, odd and wide sizes."""
    x = sample(start, network)
    x.check()
    network.check(x)
    source = NetworkSource(network)
    before = images(network, [x])
    ends = legal(start)
    assert ends or start == f"fnsw+{L}"
    for end in ends:
        y = spaces.convert(x, end, source)
        assert y.space == end and y.key == x.key
        y.check()
        network.check(y)
        after = images(network, [Latent.from_bytes(y.to_bytes(), "a")])
        assert after.shape == before.shape
        assert (after - before).abs().max() < 1e-4, end


@pytest.mark.parametrize("noise", ["const", "random", "none"])
@pytest.mark.parametrize("start", ["z", "w", "w+", "fw+1", "fw+3", "fsw+3", "fsw+5", "fw+4"])
def test_s2_2_whatever_noise_it_is_rendered_with(network: Network, start: str, noise: str) -> None:
    """S2.2: what has no noise maps of its own keeps the picture of any noise mode."""
    for size in (None, network.g.cfg.sizes[(split(start)[1] or 1) // 2]):
        x = sample(start, network, size)
        source = NetworkSource(network, noise_mode=noise, seed=5)
        before = images(network, [x], noise=noise, seed=5)
        for end in legal(start):
            after = images(network, [spaces.convert(x, end, source)], noise=noise, seed=5)
            assert (after - before).abs().max() < 1e-4, end


@pytest.mark.parametrize("start", [*PLAIN, *INDEXED])
def test_s2_2_all_else_is_refused_with_its_reason(network: Network, start: str) -> None:
    """S2.2: inverse directions do not exist; what loses something says so and needs --lossy."""
    x = sample(start, network)
    source = NetworkSource(network)
    (kind, i), lossy = split(start), 0
    for end in (*PLAIN, *INDEXED, "fw+7"):
        if end in legal(start) or end == start:
            continue
        with pytest.raises(SampleError) as refused:
            spaces.convert(x, end, source)
        why = str(refused.value)
        _, j = split(end)
        if "loses" in why:
            y = spaces.convert(x, end, source, lossy=True)
            y.check()
            network.check(y)
            lossy += 1
            assert ("noise maps" in why) == ("n" in kind and "n" not in end and j != L)
            assert ("style maps" in why) == ("s" in kind and "s" not in end)
            continue
        assert f"nothing converts {start} to {end}: " in why
        reason = "constant" if i == 1 and j is None else "cannot be undone"
        if "z" in end and "z" not in start:
            reason = "back from w to z"
        if end == "fw+7":
            reason = "blocks 1 to 6"
        assert reason in why
    assert lossy or kind in {"z", "w", "fw+"} or start in {f"fnw+{L}", f"fnz{L}"}


def test_s2_1_the_numbers_of_the_paper() -> None:
    """S2.1: FW_i has L + 1 - i styles; names with an index from 1 on, nothing else."""
    for name in (*PLAIN, *INDEXED, "zy", "fnsw+18"):
        assert spatial(name) == (name not in {"z", "zy", "w", "w+", "nw", "nw+"})
    for name in ("fw+0", "fw+", "fw5", "sw", "fz5", "fnzw+1", "nz", "fw+05", "fw+100", "W+", ""):
        with pytest.raises(ValueError, match="unknown latent space"):
            split(name)


def test_s2_2_style_maps_at_the_mean_are_their_w(network: Network) -> None:
    """S2.2: the mean of a constant map is its vector, so w+ comes back from sw+ (--lossy)."""
    for start, there in (("w+", "sw+"), ("fnw+3", "fnsw+3")):
        x, source = sample(start, network), NetworkSource(network)
        back = spaces.convert(spaces.convert(x, there, source), start, source, lossy=True)
        np.testing.assert_allclose(back.tensors["w"], x.tensors["w"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("start", ["sw+", "nsw+", *INDEXED])
def test_s2_1_damaged_latents_are_refused(network: Network, start: str) -> None:
    """S2.1: each tensor missing, of another size, or too many; each in one line."""
    x = sample(start, network)
    good = x.tensors
    broken = [{n: t for n, t in good.items() if n != name} for name in good if name[0] != "y"]
    broken += [{**good, n: t[..., :-1]} for n, t in good.items() if n[0] in "rsn"]
    broken += [{**good, n: t[:-1]} for n, t in good.items() if n not in {"f"} and len(t) > 1]
    broken += [{**good, "q": good[next(iter(good))]}, {**good, "s.9": np.ones((4, 4, 4))}]
    if "f" in good:
        broken.append({**good, "f": good["f"][:-1]})
    if "f" in good and start not in {"fw+1", "fw+2"}:  # there f alone says how large it is
        broken.append({**good, "f": good["f"][:, :-1]})
    for tensors in broken:
        with pytest.raises(SampleError) as refused:
            bad = replace(x, tensors=tensors)
            bad.check()
            network.check(bad)
        assert "\n" not in str(refused.value)


def test_a_noise_map_without_a_block_is_refused() -> None:
    """n.x instead of n.3, in any space: a line."""
    tensors = {"w": np.zeros((1, 4), np.float32), "n.x": np.zeros((1, 4, 4), np.float32)}
    with pytest.raises(SampleError, match=r"tensor n\.x: noise maps are n\.1"):
        Latent.from_bytes(Latent("a", "nw", tensors).to_bytes(), "a")


def test_s2_1_sizes_of_style_maps_without_features(network: Network) -> None:
    """S2.1: sw+ stands before the constant, whose size is the network's; fsw+1 is of any."""
    x = sample("fsw+1", network)
    tensors = {n: t for n, t in x.tensors.items() if n != "f"}
    with pytest.raises(SampleError, match=r"s\.1 is 5x7.*4x4.*fsw\+1"):
        network.check(Latent("a", "sw+", tensors))


def test_other_networks_refuse_in_one_line(tmp_path: Path) -> None:
    net = open_network(str(make_network(tmp_path / "r.safetensors", architecture="resnet")))
    with pytest.raises(SampleError, match="architecture is resnet"):
        spaces.convert(sample("w+", net), "fw+3", NetworkSource(net))
    other = open_network(str(make_network(tmp_path / "o.safetensors", first_block=(4, 6))))
    x = spaces.convert(sample("nw+", other), "fnw+4", NetworkSource(other))
    assert x.tensors["f"].shape[1:] == (8, 12) and x.tensors["r"].shape == (3, 4, 6)
    shallow = open_network(str(make_network(tmp_path / "8.safetensors", resolution=8)))
    for bad in (sample("fw+5", other), sample("fw+3", other)):
        with pytest.raises(SampleError, match=r"blocks 1 to 4|block 6"):
            shallow.check(bad)


def test_s2_20_a_class_stays_with_fnz(tmp_path: Path) -> None:
    """fnz of a conditional network keeps z and its class; without a class it is refused."""
    net = open_network(str(make_network(tmp_path / "c.safetensors", c_dim=3)))
    label = np.eye(3, dtype=np.float32)[1]
    x = Latent("a", "zy", {"z": z_from_seed(1, 16), "y": label}, {"psi": 0.5})
    y = spaces.convert(x, "fnz3", NetworkSource(net))
    assert (y.tensors["y"] == label).all()
    torch.testing.assert_close(images(net, [x]), images(net, [y]), rtol=0, atol=1e-4)
    del y.tensors["y"]
    with pytest.raises(SampleError, match="needs a class"):
        images(net, [y])


def test_pictures_of_any_size_in_batches(network: Network) -> None:
    """latents/pictures: sizes mixed in one run; psi for z alone; --noise-mode drops own maps."""
    from gantools.latents.pictures import Cell, Look, Picture

    names = ("w+", "fnw+5", "fsw+1", "fnw+3", "nsw+", "fnz4", "fnw+5")
    some = [Picture(n, [Cell(sample(n, network), Look())]) for n in names]
    shapes = [p.pixels().shape[:2] for p in pictures.rendered(network, some, 4)]  # type: ignore[union-attr]
    sizes = [(16, 16), (12, 20), (20, 28), (12, 20), (16, 16), (12, 20), (12, 20)]
    assert shapes == sizes
    alone = images(network, [sample("fnw+5", network)])
    assert (some[-1].pixels() == network.pixels(alone)[0]).all()  # type: ignore[union-attr]
    with pytest.raises(SampleError, match="--psi and --cutoff"):
        pictures.truncated(network, sample("fw+3", network), Look(psi=0.5))
    z = sample("fnz4", network)
    for psi in (0.0, 1.0):
        made = pictures.truncated(network, z, Look(psi=psi))
        mean = network.g.mapping.w_avg.numpy()
        assert made.space == "fnw+4" and (made.tensors["w"] == mean).all() == (psi == 0)
    quiet = pictures.truncated(network, sample("fnsw+3", network), Look(noise="none"))
    assert quiet.space == "fsw+3" and not quiet.noise
    sheet = Picture("s", [some[0].cells[0], some[1].cells[0]], 2)
    next(pictures.rendered(network, [sheet], 4))
    assert sheet.pixels().shape == (16, 40, 3)  # type: ignore[union-attr]


def test_s2_2_on_the_command_line(gt: Run, tiny_network: Path, tmp_path: Path) -> None:
    """project --space converts along a pipe; generate renders; one line where it cannot be."""
    net = ("--net", tiny_network)
    z = gt("generate", *net, "--seeds", 3, "--space", "z", "-o", ".safetensors").out
    want = np.asarray(Image.open(io.BytesIO(gt("generate", *net, "-o", ".png", stdin=z).out)))
    stream = z
    for space in ("nw+", "fnw+2", "fnw+5", "fnsw+5"):
        run = gt("project", *net, "--space", space, "-o", ".safetensors", "-", stdin=stream)
        assert run.code == 0, run.err
        stream = run.out
        latent = Latent.from_bytes(stream, "a")
        said = latent.header
        assert said["space"] == space and said.get("first") == split(space)[1]
        assert said["history"][-1]["args"] == {"space": space}
        made = gt("generate", *net, "-o", ".png", stdin=stream).out
        got = np.asarray(Image.open(io.BytesIO(made)))
        assert np.abs(got.astype(int) - want).max() <= 1
    story = Image.open(io.BytesIO(made)).info["gantools"]
    assert json.loads(story)["space"] == "fnsw+5" and json.loads(story)["first"] == 5
    for space, code, why in (
        ("fnw+5", 1, "loses all of the style maps but their mean"),
        ("fnsw+4", 1, "block 4 cannot be undone"),
        ("fw+19", 1, "blocks 1 to 6"),
        ("w", 1, "cannot be undone"),
        ("fw+0", 2, "none of z, zy, w, w+"),
        ("q", 2, "none of z, zy, w, w+"),
    ):
        run = gt("project", *net, "--space", space, "-o", ".safetensors", "-", stdin=stream)
        assert (run.code, run.out) == (code, b"") and why in run.err, run.err
    lossy = gt("project", *net, "--space", "fw+5", "--lossy", "-o", ".png", "-", stdin=stream)
    assert lossy.code == 0 and lossy.out[:4] == b"\x89PNG"
    wide = gt("generate", *net, "--space", "w", stdin=stream)
    assert wide.code == 1 and "gantools project --space w" in wide.err
    cut = gt("generate", *net, "--psi", 0.5, "-o", ".png", stdin=stream)
    assert cut.code == 1 and "truncate z and w alone" in cut.err
    photo = tmp_path / "p.png"
    photo.write_bytes(made)
    run = gt("project", *net, photo, "--space", "fnz5", "-o", f"{tmp_path}/x.safetensors")
    assert run.code == 2 and "projected to styles, not to z" in run.err


def test_s2_3_taps_on_the_command_line(gt: Run, tiny_network: Path, tmp_path: Path) -> None:
    """The other normalisation: another picture along the borders, told in its history."""
    net = ("--net", tiny_network)
    made = gt("generate", *net, "--seeds", "0", "--space", "w")
    maps = gt("project", *net, "--space", "sw+", "-", stdin=made.out)
    shown = {}
    for name, flags in (("cells", ()), ("taps", ("--taps",))):
        run = gt("generate", *net, *flags, "-o", ".png", stdin=maps.out)
        assert run.code == 0, run.err
        shown[name] = np.asarray(Image.open(io.BytesIO(run.out))).astype(int)
        args = json.loads(Image.open(io.BytesIO(run.out)).info["gantools"])["history"][-1]["args"]
        assert args.get("taps") == (True if flags else None)
    assert np.abs(shown["cells"] - shown["taps"]).max() > 2
    plain = gt("generate", *net, "--taps", "-o", ".png", stdin=made.out)
    assert plain.code == 1 and "--taps: a w latent has no style maps" in plain.err
    seeds = gt("generate", *net, "--taps", "--seeds", "0", "-o", ".png")
    assert seeds.code == 2 and "--taps is for the pictures of latents" in seeds.err
