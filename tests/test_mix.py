"""`gantools mix` and its arithmetic: S0.20, S2.4, identities of lerp and slerp."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gantools.commands._mixing import joined
from gantools.io.latent import Latent
from gantools.io.stream import read_stream
from gantools.latents import mixing
from gantools.report import SampleError

NETWORK = {"name": "tiny", "id": "a" * 64}
vectors = hnp.arrays(np.float32, (3, 8), elements=st.floats(-5, 5, width=32))
fractions = st.floats(0, 1)


def latent(key: str, space: str = "w", rows: int = 1, seed: int = 0, **header: object) -> Latent:
    """A random latent of 6 layers (w+), of one row (w), or z."""
    rng = np.random.default_rng(seed)
    if space == "z":
        tensors = {"z": rng.standard_normal(8).astype(np.float32)}
    else:
        count = 6 if space.endswith("+") else rows
        tensors = {"w": rng.standard_normal((count, 8)).astype(np.float32)}
    if space.startswith("n"):
        tensors |= {
            f"n.{j}": rng.standard_normal((1, 32, 32)).astype(np.float32) for j in range(1, 6)
        }
    return Latent(key, space, tensors, {"network": NETWORK, **header})


def save(folder: Path, *latents: Latent) -> list[Path]:
    """Each latent in a file of its key."""
    paths = [folder / f"{one.key}.safetensors" for one in latents]
    for one, path in zip(latents, paths, strict=True):
        path.write_bytes(one.to_bytes())
    return paths


def load(path: Path) -> Latent:
    return Latent.from_bytes(path.read_bytes(), path.stem)


@given(vectors, vectors, fractions)
def test_lerp_and_slerp_identities(a: np.ndarray, b: np.ndarray, t: float) -> None:
    for way in (mixing.lerp, mixing.slerp):
        assert np.array_equal(way(a, b, 0), a)
        assert np.array_equal(way(a, b, 1), b)
        np.testing.assert_allclose(way(a, b, t), way(b, a, 1 - t), atol=1e-5)
        np.testing.assert_allclose(way(a, a, t), a, atol=1e-5)


@given(hnp.arrays(np.float64, 8, elements=st.floats(-5, 5)), fractions)
def test_slerp_keeps_the_angle_uniform(a: np.ndarray, t: float) -> None:
    if np.linalg.norm(a) < 1e-3:
        return
    b = np.roll(a, 1) * np.array([1, -1] * 4)
    length = np.linalg.norm(a)
    cosine = np.clip(a @ b / length**2, -1, 1)
    if abs(cosine) > 0.999:
        return
    c = mixing.slerp(a, b, t)
    assert np.linalg.norm(c) == pytest.approx(length)
    assert a @ c / length**2 == pytest.approx(np.cos(t * np.arccos(cosine)), abs=1e-9)


@given(fractions)
def test_mix_is_symmetric(t: float) -> None:
    for space in ("z", "w", "w+", "nw+"):
        a, b = latent("a", space, seed=1), latent("b", space, seed=2)
        forth, back = mixing.mix([a, b], [1 - t, t]), mixing.mix([b, a], [t, 1 - t])
        for name in forth:
            np.testing.assert_allclose(forth[name], back[name], atol=1e-5)


def test_ends_are_exact() -> None:
    """S2.4 check: m = 0 and m = 1 give the inputs."""
    for space in ("z", "w", "w+", "nw", "nw+"):
        a, b = latent("a", space, seed=1), latent("b", space, seed=2)
        for shares, wanted in (([1, 0], a), ([0, 1], b)):
            made = mixing.mix([a, b], shares)
            assert made.keys() == wanted.tensors.keys()
            assert all(np.array_equal(made[n], wanted.tensors[n]) for n in made)


def test_s2_4_noise_keeps_its_variance() -> None:
    """S2.4 check: std of mixed noise is 1 within 0.5 %; a shared map is not divided."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 1, 600, 600)).astype(np.float32)
    for m in (0.1, 0.5, 0.8):
        assert mixing.blend_noise([x, y], [1 - m, m]).std() == pytest.approx(1, abs=0.005)
        plain = (1 - m) * x + m * y
        wanted = plain / np.sqrt(2 * m * m - 2 * m + 1)
        np.testing.assert_allclose(mixing.blend_noise([x, y], [1 - m, m]), wanted, atol=1e-6)
        assert np.array_equal(mixing.blend_noise([x, x], [1 - m, m]), x)
    three = mixing.blend_noise([x, y, x], [0.25, 0.5, 0.25])
    assert np.array_equal(three, mixing.blend_noise([x, y], [0.5, 0.5]))


def test_s0_20_style_mixing_by_layers() -> None:
    """S0.20: chosen layers and their noise from the second, the rest of the first, to the bit."""
    a, b = latent("a", "nw+", seed=1), latent("b", "nw+", seed=2)
    made = mixing.mix([a, b], [0, 1], layers=[0, 1, 4])
    for layer in range(6):
        source = b if layer in (0, 1, 4) else a
        assert np.array_equal(made["w"][layer], source.tensors["w"][layer])
        if layer < 5:
            noise = f"n.{layer + 1}"
            assert np.array_equal(made[noise], source.tensors[noise])
    everything = mixing.mix([a, b], [0, 1], layers=range(6))
    assert all(np.array_equal(everything[n], b.tensors[n]) for n in b.tensors)


def test_w_meets_w_plus_by_broadcasting() -> None:
    a, b = latent("a", "w", seed=1), latent("b", "w+", seed=2)
    made = mixing.mix([a, b], [0.5, 0.5])["w"]
    np.testing.assert_allclose(made, (a.tensors["w"] + b.tensors["w"]) / 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("spaces", "layers", "words"),
    [
        (("z", "w"), None, "mapping network"),
        (("z", "z"), [0], "z has no layers"),
        (("w+", "nw+"), None, "some have none"),
        (("w", "w"), [0], "how many layers"),
        (("w+", "w+"), [7], "layers 0-5"),
    ],
)
def test_spaces_that_do_not_meet(
    spaces: tuple[str, str], layers: list[int] | None, words: str
) -> None:
    latents = [latent(str(i), space, seed=i) for i, space in enumerate(spaces)]
    with pytest.raises(SampleError, match=words):
        mixing.mix(latents, [0.5, 0.5], layers=layers)


def test_mix_of_files(gt, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    a, b = latent("a", seed=1, crop={"size": 3}), latent("b", seed=2, crop={"size": 4})
    out = tmp_path / "out.safetensors"
    done = gt("mix", *save(tmp_path, a, b), "--at", "0.25", "-o", out)
    assert (done.code, done.err) == (0, "")
    mixed = load(out)
    np.testing.assert_allclose(
        mixed.tensors["w"], 0.75 * a.tensors["w"] + 0.25 * b.tensors["w"], rtol=1e-6
    )
    assert mixed.header["key"] == "a+b"
    assert mixed.header["network"] == NETWORK
    assert "crop" not in mixed.header
    assert mixed.header["history"][-1]["args"]["shares"] == [0.75, 0.25]


def test_mix_of_a_stream_and_frames(gt, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    latents = [latent(k, "z", seed=i) for i, k in enumerate("abc")]
    folder = tmp_path / "in"
    folder.mkdir()
    save(folder, *latents)
    stream = subprocess.run(["tar", "cf", "-", "."], cwd=folder, capture_output=True, check=True)
    done = gt("mix", "--frames", "5", stdin=stream.stdout)
    assert done.code == 0, done.err
    import io

    frames = {n: Latent.from_bytes(d, n) for n, d in read_stream(io.BytesIO(done.out), "out")}
    assert list(frames) == [f"a+b+c/{i:04d}.safetensors" for i in range(5)]
    z = [frame.tensors["z"] for frame in frames.values()]
    for at, one in zip((0, 2, 4), latents, strict=True):
        assert np.array_equal(z[at], one.tensors["z"])
    np.testing.assert_allclose(
        z[1], mixing.slerp(latents[0].tensors["z"], latents[1].tensors["z"], 0.5)
    )


def test_three_are_mixed_by_shares(gt, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    latents = [latent(k, "w+", seed=i) for i, k in enumerate("abc")]
    files, out = save(tmp_path, *latents), tmp_path / "out.safetensors"
    assert gt("mix", *files, "-o", out).code == 0
    mean = np.mean([one.tensors["w"] for one in latents], axis=0)
    np.testing.assert_allclose(load(out).tensors["w"], mean, rtol=1e-5, atol=1e-6)
    assert gt("mix", *files, "--at", "0.5,0.5", "-o", out).code == 0
    mean = np.mean([one.tensors["w"] for one in latents[1:]], axis=0)
    np.testing.assert_allclose(load(out).tensors["w"], mean, rtol=1e-5, atol=1e-6)


def test_layers_of_w_come_from_the_network(gt, tmp_path: Path, tiny_network: Path) -> None:  # type: ignore[no-untyped-def]
    from gantools.io import network

    story = {"name": "tiny", "id": network.header(tiny_network)["id"]}
    cfg = network.header(tiny_network)["config"]["g"]
    rng = np.random.default_rng(0)
    pair = [
        Latent(
            k, "w", {"w": rng.standard_normal((1, cfg["w_dim"])).astype("f4")}, {"network": story}
        )
        for k in "ab"
    ]
    out = tmp_path / "out.safetensors"
    done = gt("mix", *save(tmp_path, *pair), "--layers", "0-3", "--net", tiny_network, "-o", out)
    assert done.code == 0, done.err
    mixed = load(out)
    assert mixed.space == "w+"
    assert len(mixed.tensors["w"]) == 2 * len(cfg["widths"])
    assert np.array_equal(mixed.tensors["w"][:4], np.repeat(pair[1].tensors["w"], 4, 0))
    assert np.array_equal(mixed.tensors["w"][4], pair[0].tensors["w"][0])
    picture = tmp_path / "out.png"
    done = gt("mix", *save(tmp_path, *pair), "--net", tiny_network, "-o", picture)
    assert done.code == 0, done.err
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--at", "2"], "shares lie from 0 to 1"),
        (["--at", "0.2,0.3"], "shares"),
        (["--at", "x"], "expected a share"),
        (["--at", "0.1", "--frames", "4"], "--at and --frames"),
        (["--layers", "3-1"], "runs backwards"),
        (["--layers", "99"], "the latents have layers 0-5"),
        (["--at", "0.2,0.3"], "--at has 2 shares, and 2 latents take 1:"),
    ],
)
def test_wrong_usage_is_one_line(gt, tmp_path: Path, args: list[str], words: str) -> None:  # type: ignore[no-untyped-def]
    files = save(tmp_path, latent("a", "w+", seed=1), latent("b", "w+", seed=2))
    out = tmp_path / "out.safetensors"
    done = gt("mix", *files, *args, "-o", out)
    assert done.code == 2
    assert words in done.err
    assert done.err.count("\n") == 1
    assert not out.exists()


def test_what_cannot_be_mixed(gt, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "out.safetensors"
    a, b = save(tmp_path, latent("a", seed=1), latent("b", seed=2))
    done = gt("mix", a, "-o", out)
    assert (done.code, "two latents or more" in done.err) == (2, True)
    other = latent("c", seed=3)
    other.header["network"] = {"name": "else", "id": "b" * 64}
    done = gt("mix", a, *save(tmp_path, other), "-o", out)
    assert (done.code, "of network else" in done.err) == (2, True)
    b.write_bytes(b.read_bytes()[:-9])
    done = gt("mix", a, b, "-o", out)
    assert done.code == 2
    assert "b.safetensors" in done.err
    assert not out.exists()


def test_one_share_for_three(gt, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    paths = save(tmp_path, *(latent(k, seed=i) for i, k in enumerate("abc")))
    done = gt("mix", *paths, "--at", "0.3", "-o", tmp_path / "out.safetensors")
    assert done.code == 2
    assert "--at has 1 share, and 3 latents take 2: one for each after the first" in done.err


def test_labelled_z_of_two_truncations_is_refused(gt, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    label = np.eye(3, dtype=np.float32)[0]
    pair = [latent(k, "z", seed=i, psi=psi) for i, (k, psi) in enumerate((("a", 1.0), ("b", 0.5)))]
    labelled = [Latent(x.key, "zy", {**x.tensors, "y": label}, x.header) for x in pair]
    done = gt("mix", *save(tmp_path, *labelled), "-o", tmp_path / "out.safetensors")
    assert (done.code, "differ in their truncation" in done.err) == (2, True)


def test_long_keys_are_counted() -> None:
    assert joined(["x/a", "x/b"]) == "x/a+b"
    assert joined([f"seed{i:06d}" for i in range(50)]) == "seed000000+seed000001+48more"


def test_no_torch_for_w(tmp_path: Path) -> None:
    """mix of w latents to latents never imports torch."""
    files = save(tmp_path, latent("a", seed=1), latent("b", "w+", seed=2))
    args = ["mix", *map(str, files), "-o", str(tmp_path / "o.tar")]
    code = (
        "import sys; from gantools import cli; "
        f"code = cli.run({args!r}); "
        "assert code == 0, code; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
