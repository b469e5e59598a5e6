"""`gantools generate`: seeds, truncation, noise, classes, latents, sheets, video (S0.12-S1.25)."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_network

from gantools.commands import _generating
from gantools.io import image
from gantools.io import network as files
from gantools.io.latent import Latent
from gantools.io.stream import read_stream
from gantools.latents.figures import PSIS
from gantools.networks.network import Network, open_network
from gantools.ops.pixels import to_uint8

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def network(tiny_network: Path) -> Network:
    return open_network(str(tiny_network))


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_network(tmp_path_factory.mktemp("nets") / "cond.safetensors", c_dim=3)


@pytest.fixture
def generate(gt: Run, tiny_network: Path) -> Run:
    def run(*argv: object, stdin: bytes = b"", net: Path = tiny_network) -> Any:
        return gt("generate", "--net", net, "--device", "cpu", *argv, stdin=stdin)

    return run


def members(data: bytes) -> dict[str, bytes]:
    return dict(read_stream(io.BytesIO(data), "stream"))


def pictures(data: bytes) -> dict[str, np.ndarray]:
    return {name.removesuffix(".png"): image.decode(d) for name, d in members(data).items()}


def latents(data: bytes) -> dict[str, Latent]:
    found = members(data).items()
    return {n: Latent.from_bytes(d, n.removesuffix(".safetensors")) for n, d in found}


@torch.no_grad()
def rendered(network: Network, seed: int, noise: Any = "const", **truncation: Any) -> np.ndarray:
    z = np.random.RandomState(seed).randn(1, network.g.cfg.z_dim).astype(np.float32)
    ws = network.g.mapping(torch.from_numpy(z), None, **truncation)
    picture: np.ndarray = to_uint8(network.g.synthesis(ws, noise))[0]
    return picture


# ----------------------------------------------------------------------------
# Seeds, truncation, noise.


def test_seeds_are_nvidias(generate: Run, network: Network) -> None:
    """z = RandomState(seed).randn(1, z_dim); keys; the picture's story."""
    result = generate("--seeds", "7,2-3")
    assert result.code == 0 and result.err == ""
    found = pictures(result.out)
    assert list(found) == ["seed000007", "seed000002", "seed000003"]
    for seed in (7, 2, 3):
        np.testing.assert_array_equal(found[f"seed{seed:06d}"], rendered(network, seed))
    story = image.story(members(result.out)["seed000007.png"])
    assert story is not None
    assert story["seed"] == 7 and story["space"] == "z" and story["kind"] == "latent"
    assert story["network"] == {"name": "tiny", "id": network.id}
    assert story["noise"] == {"mode": "const"}
    assert story["history"] == [{"command": "generate", "args": {}, "version": "0.1.0"}]


@pytest.mark.parametrize("noise", ["const", "random", "none"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_pictures_do_not_depend_on_batch_shard_or_order(
    generate: Run, noise: str, dtype: str
) -> None:
    """Byte for byte."""
    common = ("--noise-mode", noise, "--dtype", dtype)
    one = members(generate("--seeds", "0-8", "--batch", 1, *common).out)
    eight = members(generate("--seeds", "0-8", "--batch", 8, *common).out)
    turned = members(generate("--seeds", "8,7,6,5,4,3,2,1,0", "--batch", 4, *common).out)
    assert len(one) == 9 and one == eight and one == turned
    shards = [
        members(generate("--seeds", "0-8", "--shard", f"{i}/3", *common).out) for i in (0, 1, 2)
    ]
    assert [len(s) for s in shards] == [3, 3, 3]
    assert list(shards[1]) == [f"seed{i:06d}.png" for i in (1, 4, 7)]
    assert {n: d for s in shards for n, d in s.items()} == one


def test_truncation(generate: Run, network: Network) -> None:
    """S0.12: psi 1 is the identity, psi 0 one picture for all seeds, cutoff the lower layers."""
    plain = pictures(generate("--seeds", "0-2").out)
    same = pictures(generate("--seeds", "0-2", "--psi", "1").out)
    assert all((plain[k] == same[k]).all() for k in plain)
    zero = pictures(generate("--seeds", "0-2", "--psi", "0").out)
    assert all((picture == zero["seed000000"]).all() for picture in zero.values())
    half = pictures(generate("--seeds", "1", "--psi", "-0.5", "--cutoff", "2").out)
    want = rendered(network, 1, psi=-0.5, cutoff=2)
    np.testing.assert_array_equal(half["seed000001"], want)
    whole = rendered(network, 1, psi=-0.5)
    assert (want != whole).any()
    all_six = pictures(generate("--seeds", "1", "--psi", "-0.5", "--cutoff", "6").out)
    np.testing.assert_array_equal(all_six["seed000001"], whole)


def test_truncation_is_linear_in_w(generate: Run, network: Network) -> None:
    """S0.12: w' = w_avg + psi (w - w_avg), in layers below the cutoff for w+."""
    w = latents(generate("--seeds", "4", "--space", "w").out)["seed000004.safetensors"]
    assert w.space == "w" and w.tensors["w"].shape == (1, 16) and "psi" not in w.header
    half = latents(generate("--seeds", "4", "--space", "w", "--psi", 0.5).out)
    avg = network.g.mapping.w_avg.numpy()
    (got,) = half.values()
    np.testing.assert_allclose(got.tensors["w"], avg + 0.5 * (w.tensors["w"] - avg), atol=1e-6)
    assert got.header["psi"] == 0.5 and got.header["seed"] == 4
    (plus,) = latents(
        generate("--seeds", "4", "--space", "w+", "--psi", 0.5, "--cutoff", 2).out
    ).values()
    assert plus.space == "w+" and plus.tensors["w"].shape == (6, 16)
    np.testing.assert_array_equal(plus.tensors["w"][:2], np.repeat(got.tensors["w"], 2, 0))
    np.testing.assert_array_equal(plus.tensors["w"][2:], np.repeat(w.tensors["w"], 4, 0))


def test_noise_modes_and_layers(generate: Run, network: Network) -> None:
    """S0.13: none is deterministic; which layers have noise; random noise follows seed and key."""
    none = pictures(generate("--seeds", 1, "--noise-mode", "none").out)["seed000001"]
    np.testing.assert_array_equal(none, rendered(network, 1, "none"))
    some = pictures(generate("--seeds", 1, "--noise-layers", "0,2").out)["seed000001"]
    maps = [m.noise_const[None, None] for m in network.g.synthesis.layers()]
    want = [m if i in (0, 2) else None for i, m in enumerate(maps)]
    np.testing.assert_array_equal(some, rendered(network, 1, want))
    random = ["--seeds", "1-2", "--noise-mode", "random"]
    first, again = (generate(*random).out for _ in range(2))
    other = generate(*random, "--seed", 1).out
    assert first == again
    assert (pictures(first)["seed000001"] != pictures(other)["seed000001"]).any()
    assert (pictures(first)["seed000001"] != none).any()
    result = generate("--seeds", 1, "--noise-layers", "5")
    assert result.code == 2 and "the network has layers 0-4" in result.err


def test_classes(generate: Run, conditional: Path) -> None:
    net = open_network(str(conditional))
    result = generate("--seeds", "0", "--class", 2, net=conditional)
    z = torch.from_numpy(np.random.RandomState(0).randn(1, 16).astype(np.float32))
    with torch.no_grad():
        want = to_uint8(net.g.synthesis(net.g.mapping(z, torch.eye(3)[2:])))[0]
    np.testing.assert_array_equal(pictures(result.out)["seed000000"], want)
    (latent,) = latents(
        generate("--seeds", 0, "--class", 2, "--space", "z", net=conditional).out
    ).values()
    assert latent.space == "zy" and latent.tensors["y"].tolist() == [0, 0, 1]
    again = generate("-", net=conditional, stdin=latent.to_bytes())
    np.testing.assert_array_equal(next(iter(pictures(again.out).values())), want)
    missing = generate("--seeds", "0", net=conditional)
    assert missing.code == 2 and "give --class 0-2" in missing.err
    beyond = generate("--seeds", "0", "--class", 3, net=conditional)
    assert beyond.code == 2 and "classes 0-2" in beyond.err
    unconditional = generate("--seeds", "0", "--class", 0)
    assert unconditional.code == 2 and "unconditional" in unconditional.err


def test_classes_have_names(generate: Run, conditional: Path, tmp_path: Path) -> None:
    """A name of the file comes first, then a number; what is none is told with near names."""
    checkpoint = files.load(conditional)
    checkpoint.meta.pop("id", None)
    checkpoint.meta["classes"] = ["cat", "wild dog", "1"]
    named = tmp_path / "named.safetensors"
    files.save(named, checkpoint)

    def number(given: str) -> int:
        made = generate("--seeds", 0, "--class", given, "--space", "z", net=named)
        (latent,) = latents(made.out).values()
        return int(latent.tensors["y"].argmax())

    assert [number(given) for given in ("cat", "wild dog", "1", "0", "2")] == [0, 1, 2, 0, 2]
    unknown = generate("--seeds", 0, "--class", "dog", net=named)
    assert (unknown.code, unknown.err.count("\n")) == (2, 1)
    assert "--class dog: the network has classes 0-2 (wild dog, cat, 1)" in unknown.err
    missing = generate("--seeds", 0, net=named)
    assert missing.code == 2 and "give --class 0-2 (cat, wild dog, 1)" in missing.err
    checkpoint.meta["classes"] = ["too", "few"]
    files.save(named, checkpoint)
    assert number("1") == 1
    assert "classes 0-2\n" in generate("--seeds", 0, "--class", "few", net=named).err


# ----------------------------------------------------------------------------
# Latents in and out.


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_latents_render_as_their_seeds(generate: Run, space: str) -> None:
    """generate --space X | generate: the pictures of the seeds, truncated once."""
    stream = generate("--seeds", "0-3", "--psi", 0.6, "--space", space)
    assert stream.code == 0
    assert {x.space for x in latents(stream.out).values()} == {space}
    want = pictures(generate("--seeds", "0-3", "--psi", 0.6).out)
    for argv in ([], ["-"], ["-", "--batch", 3]):
        got = pictures(generate(*argv, stdin=stream.out).out)
        assert list(got) == list(want)
        assert all((got[key] == want[key]).all() for key in want)


def test_the_command_lines_psi_wins_over_the_latents_own(generate: Run, network: Network) -> None:
    z = generate("--seeds", 5, "--psi", 0.6, "--space", "z").out
    (got,) = pictures(generate("--psi", 0.3, stdin=z).out).values()
    np.testing.assert_array_equal(got, rendered(network, 5, psi=0.3))
    w = generate("--seeds", 5, "--psi", 0.5, "--space", "w").out
    (got,) = pictures(generate("--psi", 0.5, stdin=w).out).values()
    near = np.abs(got.astype(int) - rendered(network, 5, psi=0.25).astype(int))
    assert near.max() <= 1  # a w is truncated from where it is


def test_a_latents_own_noise(generate: Run, network: Network) -> None:
    """nw: its maps are used, and --noise-mode none really means none."""
    maps = [np.full((1, h, w), 0.1 * h, np.float32) for h, w in network.g.noise_shapes]
    (w,) = latents(generate("--seeds", 1, "--space", "w").out).values()
    own = {f"n.{j}": m for j, m in enumerate(maps, 1)}
    latent = Latent("a", "nw", {**w.tensors, **own}, w.header)
    (got,) = pictures(generate("-", stdin=latent.to_bytes()).out).values()
    np.testing.assert_array_equal(
        got, rendered(network, 1, [torch.from_numpy(m)[None] for m in maps])
    )
    (got,) = pictures(generate("-", "--noise-mode", "none", stdin=latent.to_bytes()).out).values()
    np.testing.assert_array_equal(got, rendered(network, 1, "none"))


def test_a_latent_of_another_network_fails_alone(
    generate: Run, tmp_path: Path, conditional: Path
) -> None:
    folder = tmp_path / "in"
    assert generate("--seeds", "0-1", "--space", "w", "-o", f"{folder}/").code == 0
    foreign = generate("--seeds", 9, "--class", 0, "--space", "w", net=conditional).out
    (folder / "other.safetensors").write_bytes(next(iter(members(foreign).values())))
    (folder / "broken.safetensors").write_bytes(b"\x20\0\0\0\0\0\0\0{}")
    result = generate(folder)
    assert result.code == 1
    assert list(pictures(result.out)) == ["seed000000", "seed000001"]
    lines = result.err.strip().splitlines()
    assert len(lines) == 2 and any("other" in x and "network cond" in x for x in lines)


def test_only_z_is_converted(generate: Run) -> None:
    w = generate("--seeds", 1, "--space", "w").out
    wide = generate("--space", "w+", stdin=w)
    assert wide.code == 1 and "gantools project --space w+" in wide.err
    assert generate("--space", "w", "--psi", 0.5, stdin=w).code == 1
    same = generate("--space", "w", stdin=w)
    assert same.code == 0 and len(latents(same.out)) == 1


def test_no_clobber_skips_before_any_work(generate: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert generate("--seeds", "0-2", "-o", f"{out}/").code == 0
    (out / "seed000001.png").unlink()
    (out / "seed000002.png").write_bytes(b"mine")
    assert generate("--seeds", "0-2", "-o", f"{out}/", "--no-clobber").code == 0
    assert (out / "seed000002.png").read_bytes() == b"mine"
    assert (out / "seed000001.png").exists()
    gone = tmp_path / "gone.safetensors"  # not even the network is opened
    assert generate("--seeds", "0-2", "-o", f"{out}/", "--no-clobber", net=gone).code == 0
    assert generate("--seeds", "0-3", "-o", f"{out}/", "--no-clobber", net=gone).code == 2


# ----------------------------------------------------------------------------
# Sheets, figures, video.


def only(data: bytes) -> np.ndarray:
    (picture,) = pictures(data).values()
    return picture


def cells(picture: np.ndarray, size: int = 16) -> list[list[np.ndarray]]:
    rows, columns = picture.shape[0] // size, picture.shape[1] // size
    return [
        [picture[size * r : size * (r + 1), size * c : size * (c + 1)] for c in range(columns)]
        for r in range(rows)
    ]


def test_grids(generate: Run, tmp_path: Path) -> None:
    """S0.14: 2x3 sheets of seven pictures; each cell is the picture of its seed."""
    singles = pictures(generate("--seeds", "0-6", "--psi", 0.7).out)
    argv = ["--seeds", "0-6", "--psi", 0.7, "--grid", "2x3"]
    sheets = pictures(generate(*argv, "--batch", 4).out)
    assert list(sheets) == ["grid/0000", "grid/0001"]
    assert sheets["grid/0000"].shape == (32, 48, 3)
    flat = [c for sheet in sheets.values() for row in cells(sheet) for c in row]
    for i, want in enumerate(singles.values()):
        np.testing.assert_array_equal(flat[i], want)
    assert all((blank == 255).all() for blank in flat[7:])
    story = image.story(members(generate(*argv).out)["grid/0001.png"])
    assert story is not None and story["cells"] == ["seed000006"] and story["columns"] == 3
    two = generate(*argv, "-o", tmp_path / "x.png")
    assert two.code == 2 and not (tmp_path / "x.png").exists()
    assert generate("--seeds", "0-5", "--grid", "2x3", "-o", tmp_path / "x.png").code == 0
    late = pictures(generate(*argv, "--shard", "1/2").out)
    assert list(late) == ["grid/0001"]


def test_truncation_figure(generate: Run, network: Network) -> None:
    """S0.12, Figure 8: rows seeds, columns psi."""
    rows = cells(only(generate("--figure", "truncation", "--seeds", "3-4").out))
    assert len(rows) == 2 and len(rows[0]) == len(PSIS)
    for row, seed in zip(rows, (3, 4), strict=True):
        for cell, psi in zip(row, PSIS, strict=True):
            np.testing.assert_array_equal(cell, rendered(network, seed, psi=psi))
    argv = ["--figure", "truncation", "--seeds", 3, "--psi", "0.5,-2", "--cutoff", 3]
    ((left, right),) = cells(only(generate(*argv).out))
    np.testing.assert_array_equal(left, rendered(network, 3, psi=0.5, cutoff=3))
    np.testing.assert_array_equal(right, rendered(network, 3, psi=-2.0, cutoff=3))


def test_noise_figure(generate: Run, network: Network) -> None:
    """S0.13, Figure 7: noise in all layers, none, fine, coarse."""
    ((everything, none, fine, coarse),) = cells(
        only(generate("--figure", "noise", "--seeds", 3).out)
    )
    maps = [m.noise_const[None, None] for m in network.g.synthesis.layers()]
    np.testing.assert_array_equal(everything, rendered(network, 3))
    np.testing.assert_array_equal(none, rendered(network, 3, "none"))
    np.testing.assert_array_equal(fine, rendered(network, 3, [None, *maps[1:]]))
    np.testing.assert_array_equal(coarse, rendered(network, 3, [maps[0], None, None, None, None]))


def test_mixing_figure(generate: Run, network: Network) -> None:
    """S0.20: sources on top, rows on the left; all layers reproduce the source."""
    argv = ["--figure", "mixing", "--seeds", "1-3", "--sources", "8-9", "--psi", 0.8]
    rows = cells(only(generate(*argv, "--layers", "0-5").out))
    assert len(rows) == 4 and len(rows[0]) == 3
    assert (rows[0][0] == 255).all()
    for i, seed in enumerate((8, 9), start=1):
        want = rendered(network, seed, psi=0.8)
        assert all((row[i] == want).all() for row in rows)
    for row, seed in zip(rows[1:], (1, 2, 3), strict=True):
        np.testing.assert_array_equal(row[0], rendered(network, seed, psi=0.8))
    middle = cells(only(generate(*argv).out))[2][1]
    zs = [np.random.RandomState(s).randn(1, 16).astype(np.float32) for s in (2, 8)]
    with torch.no_grad():
        ws, source = (network.g.mapping(torch.from_numpy(z), None, 0.8) for z in zs)
        ws[:, 2:4] = source[:, 2:4]  # thirds of six layers
        np.testing.assert_array_equal(middle, to_uint8(network.g.synthesis(ws))[0])


def test_walks(generate: Run, tmp_path: Path) -> None:
    """S1.25: frames as a stream, as latents, as a video, and side by side."""
    argv = ["--video", "--seconds", 0.5, "--fps", 10, "--smoothing", 0.1]
    frames = pictures(generate(*argv).out)
    assert list(frames) == [f"walk/{i:04d}" for i in range(5)]
    assert (frames["walk/0000"] != frames["walk/0001"]).any()
    assert (pictures(generate(*argv, "--seed", 1).out)["walk/0000"] != frames["walk/0000"]).any()
    z = np.stack([x.tensors["z"] for x in latents(generate(*argv, "--space", "z").out).values()])
    assert z.shape == (5, 16) and np.sqrt((z**2).mean()) == pytest.approx(1, abs=1e-5)
    grid = pictures(generate(*argv, "--grid", "1x2", "--noise-mode", "none").out)
    assert list(grid) == list(frames) and grid["walk/0004"].shape == (16, 32, 3)
    none = pictures(generate(*argv, "--noise-mode", "none").out)
    np.testing.assert_array_equal(grid["walk/0003"][:, :16], none["walk/0003"])
    assert (grid["walk/0003"][:, 16:] != none["walk/0003"]).any()
    for name in ("x.gif", "x.mp4"):
        assert generate(*argv, "-o", tmp_path / name).code == 0
        assert (tmp_path / name).stat().st_size > 100


def test_random_noise_stands_still_in_a_grid_of_walks(generate: Run) -> None:
    argv = ["--video", "--seconds", 0.2, "--fps", 10, "--grid", "1x1", "--psi", 0]
    first, second = pictures(generate(*argv, "--noise-mode", "random").out).values()
    np.testing.assert_array_equal(first, second)


def test_stylegan3(generate: Run, fixtures: Path) -> None:
    net = fixtures / "sg3t_r32.pkl"
    one = generate("--seeds", "0-2", "--psi", 0.7, "--batch", 1, net=net)
    assert one.code == 0 and one.err == ""
    assert one.out == generate("--seeds", "0-2", "--psi", 0.7, "--batch", 3, net=net).out
    g = open_network(str(net)).g
    z = torch.from_numpy(np.random.RandomState(1).randn(1, 32).astype(np.float32))
    with torch.no_grad():
        want = to_uint8(g.synthesis(g.mapping(z, psi=0.7)))[0]
    np.testing.assert_array_equal(pictures(one.out)["seed000001"], want)
    for argv in (["--noise-layers", "0"], ["--figure", "noise"]):
        refused = generate("--seeds", 0, *argv, net=net)
        assert refused.code == 2 and "no noise" in refused.err


def test_encoding_ahead_gives_the_same_stream(
    generate: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As beside a GPU: threads encode, the order stays; a sink that fails ends the run."""
    argv = ["--seeds", "0-20", "--batch", 4]
    want = generate(*argv).out
    monkeypatch.setattr(_generating, "_encoders", lambda device: 3)
    assert generate(*argv).out == want
    assert generate("--seeds", "0", "-o", tmp_path / "x.png").code == 0
    assert generate(*argv, "-o", tmp_path / "y.png").code == 2
    assert generate(*argv, "-o", tmp_path / "z.gif").code == 0


# ----------------------------------------------------------------------------
# What is refused, and how.


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["--seeds", "5-1"], "runs backwards"),
        (["--seeds", "x"], "expected numbers and ranges"),
        (["--seeds", "1,1"], "a number is there twice"),
        (["--seeds", "1", "a.safetensors"], "give one of them"),
        (["--seeds", "1", "--psi", "x"], "expected a number such as 0.7"),
        (["--seeds", "1", "--psi", "nan"], "expected a number such as 0.7"),
        (["--seeds", "1", "--psi", "1,0"], "only with --figure truncation"),
        (["--seeds", "1", "--cutoff", "-1"], "--cutoff"),
        (["--seeds", "1", "--psi", "0.5", "--cutoff", "30"], "--cutoff 30: the network has layers"),
        (
            ["--seeds", "1", "--psi", "0.5", "--cutoff", "30", "--space", "z"],
            "--cutoff 30: the network has layers",
        ),
        (["--seeds", "1", "--grid", "3"], "ROWSxCOLUMNS"),
        (["--seeds", "1", "--grid", "2x2", "--figure", "noise"], "give one of them"),
        (["--seeds", "1", "--figure", "mixing"], "--sources"),
        (["--seeds", "1", "--sources", "1"], "--figure mixing"),
        (["--seeds", "1", "--space", "w", "--cutoff", "2"], "--space w+"),
        (["--seeds", "1", "--space", "w", "--grid", "2x2"], "gives latents"),
        (["--seeds", "1", "--video"], "gantools mix --frames"),
        (["--seeds", "1", "--seconds", "3"], "belong to --video"),
        (["--seeds", "1", "--cutoff", "2"], "--psi"),
        (["--seeds", "1", "--space", "w", "--noise-mode", "none"], "gives latents"),
        (["--seeds", "1", "--shard", "3/3"], "--shard"),
        (["--seeds", "1", "--noise-mode", "loud"], "--noise-mode"),
        (["--seeds", "1", "-o", "x.safetensors"], "--space z, w, w+ or fnz"),
        (["--seeds", "1", "--space", "v"], "--space"),
        (["missing.safetensors"], "missing.safetensors"),
    ],
)
def test_wrong_usage(
    generate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = generate(*argv)
    assert result.code == (1 if argv == ["missing.safetensors"] else 2)
    assert why in result.err and len(result.err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_two_seeds_into_one_file(generate: Run, tmp_path: Path) -> None:
    result = generate("--seeds", "0-1", "-o", tmp_path / "x.png")
    assert result.code == 2 and "takes one sample" in result.err
    assert not list(tmp_path.iterdir())


def test_nothing_to_do_at_a_terminal(tiny_network: Path) -> None:
    """Neither seeds nor latents, and stdin is a terminal: what to do, at once."""
    master, slave = os.openpty()
    try:
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "gantools",
                "generate",
                "--net",
                str(tiny_network),
                "-o",
                ".png",
            ],
            stdin=slave,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(master)
        os.close(slave)
    assert run.returncode == 2 and "give --seeds 0-9" in run.stderr and run.stdout == ""


@pytest.mark.long
def test_memory_is_constant(tiny_network: Path) -> None:
    """`generate --seeds 0-999 -o .png`: peak memory within 5 % of that of 100 pictures."""
    code = (
        "import resource, sys; from gantools import cli; status = cli.run(sys.argv[1:]); "
        "print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    peak = {}
    for last in (99, 999):
        argv = ["generate", "--net", str(tiny_network), "--seeds", f"0-{last}"]
        argv += ["--threads", "1", "-o", ".png"]
        run = subprocess.run(
            [sys.executable, "-c", code, *argv], capture_output=True, check=True, timeout=300
        )
        assert run.stdout.count(b"\x89PNG\r\n\x1a\n") == last + 1
        status, rss = run.stderr.split()
        assert status == b"0"
        peak[last] = int(rss)
    assert peak[999] <= 1.05 * peak[99]
