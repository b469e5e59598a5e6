"""`gantools edit`: S2.8 and S4.21, direction files, what is refused."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from gantools.io import direction as files
from gantools.io.direction import Direction
from gantools.io.latent import Latent
from gantools.io.stream import read_stream
from gantools.latents.edit import Step, edit, frames, project_out
from gantools.report import SampleError, Usage

DIM, LAYERS = 8, 6
NETWORK = {"name": "tiny", "id": "a" * 64}
SPACES = ("z", "w", "w+", "nw", "nw+", "sw+")
strengths = st.floats(-20, 20)
layer_sets = st.none() | st.sets(st.integers(0, LAYERS - 1), min_size=1).map(
    lambda s: tuple(sorted(s))
)


def latent(space: str = "w", seed: int = 0, key: str = "a") -> Latent:
    """A random latent of six layers of eight numbers."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    tensors = {
        "z": {"z": normal(DIM)},
        "w": {"w": normal(1, DIM)},
        "w+": {"w": normal(LAYERS, DIM)},
        "sw+": {f"s.{j}": normal(DIM, 2, 3) for j in range(1, LAYERS + 1)},
    }[space.removeprefix("n")]
    if space.startswith("n"):
        tensors = tensors | {f"n.{j}": normal(1, 4, 4) for j in range(1, LAYERS)}
    return Latent(key, space, dict(tensors), {"network": NETWORK})


def vector(seed: int = 1, rows: int | None = None) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(DIM if rows is None else (rows, DIM))


def save(folder: Path, *latents: Latent) -> list[Path]:
    paths = [folder / f"{one.key}.safetensors" for one in latents]
    for one, path in zip(latents, paths, strict=True):
        path.write_bytes(one.to_bytes())
    return paths


def load(path: Path) -> Latent:
    return Latent.from_bytes(path.read_bytes(), path.stem)


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A direction file of ours with age (all layers) and smile (layers 0-2)."""
    path = tmp_path / "d.safetensors"
    age = Direction("age", vector(1), "w", "sd", 8.5, None, 2.5, NETWORK)
    smile = Direction("smile", vector(2), "w", "sd", 0.3, (0, 1, 2), 3.0, NETWORK)
    files.write(path, {"age": age, "smile": smile})
    return path


# --- the arithmetic ---


@given(strengths, layer_sets, st.sampled_from(SPACES), st.booleans())
def test_s2_8_there_and_back(
    s: float, layers: tuple[int, ...] | None, space: str, by_layer: bool
) -> None:
    """Edit by s then -s returns; rows that are not named stay, to the bit (S4.21)."""
    if space == "z":
        layers, by_layer = None, False
    start = latent(space)
    v = vector(rows=LAYERS if by_layer else None)
    there = edit(start, [Step("d", v, s, layers)], num_ws=LAYERS)
    back = edit(there, [Step("d", v, -s, layers)], num_ws=LAYERS)
    wide = edit(start, [Step("d", v, 0, layers)], num_ws=LAYERS)
    assert back.space == wide.space
    for name, value in wide.tensors.items():
        np.testing.assert_allclose(back.tensors[name], value, atol=1e-4)
    if layers is not None:
        for layer in set(range(LAYERS)) - set(layers):
            for one in (wide, there):
                got = (
                    one.tensors["w"][layer] if "w" in one.tensors else one.tensors[f"s.{layer + 1}"]
                )
                kept = (
                    start.tensors["w"][layer % len(start.tensors["w"])]
                    if "w" in start.tensors
                    else start.tensors[f"s.{layer + 1}"]
                )
                assert np.array_equal(got, kept)


def test_s2_8_adds_c_times_v() -> None:
    start, v = latent("w+"), vector(rows=LAYERS)
    moved = edit(start, [Step("d", v, 1.5, (0, 3))])
    wanted = start.tensors["w"].astype(np.float64)
    wanted[[0, 3]] += 1.5 * v[[0, 3]]
    np.testing.assert_allclose(moved.tensors["w"], wanted, rtol=1e-6)
    assert moved.space == "w+"


def test_s2_8_style_maps_move_as_their_broadcast_w() -> None:
    """S2.8 check: the edit of a broadcast map is the broadcast of the edit in W."""
    flat = latent("w+")
    maps = {
        f"s.{j + 1}": np.broadcast_to(row[:, None, None], (DIM, 2, 3)).copy()
        for j, row in enumerate(flat.tensors["w"])
    }
    step = Step("d", vector(rows=LAYERS), 0.7, (0, 4))
    moved = edit(Latent("a", "sw+", maps), [step]).tensors
    for j, row in enumerate(edit(flat, [step]).tensors["w"]):
        assert np.array_equal(moved[f"s.{j + 1}"], np.broadcast_to(row[:, None, None], (DIM, 2, 3)))


def test_w_becomes_w_plus_only_where_layers_differ() -> None:
    start = latent("w")
    assert edit(start, [Step("d", vector(), 1)]).space == "w"
    assert edit(start, [Step("d", vector(rows=LAYERS), 1)]).space == "w+"
    assert edit(latent("nw"), [Step("d", vector(), 1, (0,))], num_ws=LAYERS).space == "nw+"
    with pytest.raises(SampleError, match="how many layers"):
        edit(start, [Step("d", vector(), 1, (0,))])


def test_s4_21_zero_is_the_identity() -> None:
    for space in SPACES:
        start = latent(space)
        same = edit(start, [Step("d", vector(), 0.0)])
        assert all(np.array_equal(same.tensors[n], start.tensors[n]) for n in start.tensors)


def test_conditional_projection(fixtures: Path) -> None:
    """S2.7: InterFaceGAN's projected boundaries, fixture conditional_projection."""
    t = load_file(fixtures / "numerics" / "conditional_projection.safetensors")
    boundaries = t["boundaries"]
    for count in (1, 2, 3, 4):
        conditions = list(boundaries[1 : 1 + count])
        made = project_out(boundaries[0], conditions)
        np.testing.assert_allclose(made, t[f"cond{count}"][0], rtol=1e-6, atol=1e-6)
        assert np.abs(np.array(conditions) @ made).max() < 1e-12
        assert np.linalg.norm(made) == pytest.approx(np.linalg.norm(boundaries[0]))
    with pytest.raises(ValueError, match="combination"):
        project_out(boundaries[0], [2 * boundaries[0]])


def test_linear_interpolation_of_interfacegan(fixtures: Path) -> None:
    """S2.7/S2.8: absolute distances for single codes, offsets for w+ (conditional_projection)."""
    t = load_file(fixtures / "numerics" / "conditional_projection.safetensors")
    normal = t["boundaries"][0]
    step = [Step("b", normal, 3.0)]
    single = frames(Latent("z", "z", {"z": t["z1"][0]}), step, [-3.0], 7, absolute=True)
    got = np.stack([frame.tensors["z"] for frame in single])
    np.testing.assert_allclose(got, t["linear_interp_z"], rtol=1e-5, atol=1e-5)
    plus = frames(Latent("w", "w+", {"w": t["wp"][0]}), [Step("b", normal, 2.0)], [-2.0], 5)
    got = np.stack([frame.tensors["w"] for frame in plus])
    np.testing.assert_allclose(got, t["linear_interp_wp"], rtol=1e-5, atol=1e-5)


def test_absolute_leaves_layers_that_a_direction_does_not_move() -> None:
    """A row of zeros has no distance; the others end where the strength says, maps in each cell."""
    v = vector(rows=LAYERS)
    v[2] = 0
    for space in ("w+", "sw+"):
        start = latent(space)
        made = edit(start, [Step("d", v, 1.5)], absolute=True).tensors
        for j, row in enumerate(v):
            before = start.tensors["w"][j] if space == "w+" else start.tensors[f"s.{j + 1}"]
            after = made["w"][j] if space == "w+" else made[f"s.{j + 1}"]
            if j == 2:
                assert np.array_equal(after, before)
            else:
                np.testing.assert_allclose(
                    np.tensordot(row, after, 1) / (row @ row), 1.5, rtol=1e-5
                )


@pytest.mark.parametrize(
    ("space", "step", "words"),
    [
        ("w", Step("d", vector(), 1, None, "z"), "lives in z"),
        ("z", Step("d", vector(), 1, None, "w"), "convert it first"),
        ("z", Step("d", vector(), 1, (0,)), "z has none"),
        ("w", Step("d", np.ones(5), 1), "has 5 numbers"),
        ("w+", Step("d", np.ones((4, DIM)), 1), "4 rows"),
        ("w+", Step("d", vector(), 1, (9,)), "layers 0-5"),
    ],
)
def test_directions_that_do_not_fit(space: str, step: Step, words: str) -> None:
    with pytest.raises(SampleError, match=words):
        edit(latent(space), [step])


# --- files ---


def test_direction_file_round_trip(ours: Path) -> None:
    found = files.read(ours)
    assert sorted(found) == ["age", "smile"]
    age = found["age"]
    np.testing.assert_allclose(age.vector, vector(1), rtol=1e-6)
    assert (age.space, age.unit, age.sd_in_label_units) == ("w", "sd", 8.5)
    assert (age.default_strength, age.layers, age.network) == (2.5, None, NETWORK)
    assert found["smile"].layers == (0, 1, 2)


@pytest.mark.parametrize("shape", [(DIM,), (1, DIM), (LAYERS, DIM), (1, LAYERS, DIM)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_shapes(tmp_path: Path, shape: tuple[int, ...], order: str) -> None:
    values = np.arange(np.prod(shape), dtype=np.float64).reshape(shape) + 1
    np.save(tmp_path / "x.npy", np.asarray(values, order=order))  # type: ignore[call-overload]
    found = files.read(tmp_path / "x.npy")["x"]
    assert np.array_equal(found.vector, values.reshape(-1, DIM).squeeze())
    assert (found.unit, found.default_strength, found.network) == ("raw", 1.0, {})


def _bad_files(folder: Path) -> dict[str, str]:
    np.save(folder / "object.npy", np.array({"boundary": 1}), allow_pickle=True)
    np.save(folder / "text.npy", np.array(["a"]))
    np.save(folder / "four.npy", np.ones((1, 2, 3, 4)))
    np.save(folder / "zero.npy", np.zeros(4))
    np.save(folder / "nan.npy", np.array([1.0, np.nan]))
    whole = io.BytesIO()
    np.save(whole, np.ones(64))
    (folder / "short.npy").write_bytes(whole.getvalue()[:-8])
    (folder / "huge.npy").write_bytes(whole.getvalue().replace(b"(64,), ", b"(9**9,)"))
    (folder / "noise.npy").write_bytes(b"\x93NUMPY\x09\x00junk")
    (folder / "empty.npy").write_bytes(b"")
    (folder / "text.safetensors").write_bytes(b"hello, this is no direction")
    (folder / "pickle.pt").write_bytes(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00idq\x00\x85R.")
    return {
        "object.npy": "pickled",
        "text.npy": "numbers are of type",
        "four.npy": "shape",
        "zero.npy": "is zero",
        "nan.npy": "not finite",
        "short.npy": "claims",
        "huge.npy": "not a direction file",
        "noise.npy": "not a direction file",
        "empty.npy": "not a direction file",
        "text.safetensors": "not a direction file",
        "pickle.pt": "not a direction file",
    }


def test_bad_direction_files_are_one_line(gt, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (path,) = save(tmp_path, latent())
    out = tmp_path / "out.safetensors"
    for name, words in _bad_files(tmp_path).items():
        with pytest.raises(Usage, match=words):
            files.read(tmp_path / name)
        done = gt("edit", path, "--dir", tmp_path / name, "-o", out)
        assert (done.code, done.err.count("\n")) == (2, 1), (name, done.err)
        assert name in done.err
        assert not out.exists()


def test_torch_tensors(tmp_path: Path) -> None:
    import torch

    values = torch.arange(1.0, 1 + DIM).reshape(1, DIM)
    for legacy in (True, False):
        torch.save(values, tmp_path / "d.pt", _use_new_zipfile_serialization=not legacy)
        assert np.array_equal(files.read(tmp_path / "d.pt")["d"].vector, values[0].numpy())
    parts = {"mean": values, "comp": torch.ones(3, 1, DIM), "std": torch.arange(1.0, 4.0)}
    torch.save(parts, tmp_path / "pca.pt")
    found = files.read(tmp_path / "pca.pt")
    assert list(found) == ["pca01", "pca02", "pca03"]
    assert np.array_equal(found["pca02"].vector, np.full(DIM, 2.0))


@pytest.mark.data
def test_every_published_direction(shared: Path) -> None:
    """S2.7: (512,), (1,512), (18,512), (1,18,512) load; pickled arrays are refused."""
    folder = shared / "data" / "directions"
    refused, shapes = [], set()
    for path in sorted([*folder.rglob("*.npy"), *folder.rglob("*.pt")]):
        try:
            found = files.read(path)
        except Usage as e:
            assert "pickled array" in str(e)
            refused.append(path.relative_to(folder).as_posix())
            continue
        shapes |= {direction.vector.shape for direction in found.values()}
    assert shapes == {(512,), (18, 512)}
    pickled = {f"idinvert/{n}.npy" for n in ("age", "expression", "eyeglasses", "gender", "pose")}
    rooms = sorted((folder / "higan_bedroom").glob("*.npy"))
    pickled |= {f"higan_bedroom/{p.name}" for p in rooms if p.name != "view_boundary.npy"}
    assert set(refused) == pickled
    assert len(files.read(folder / "e4e" / "ffhq_pca.pt")) == 80
    puzer = files.read(folder / "puzer" / "age.npy")["age"]
    assert puzer.vector.shape == (18, 512)


# --- the command ---


def test_default_strength_and_history(gt, tmp_path: Path, ours: Path) -> None:  # type: ignore[no-untyped-def]
    start, out = latent("w"), tmp_path / "out.safetensors"
    done = gt("edit", *save(tmp_path, start), "--dir", f"{ours}:age", "-o", out)
    assert (done.code, done.err) == (0, "")
    made = load(out)
    np.testing.assert_allclose(
        made.tensors["w"][0], start.tensors["w"][0] + 2.5 * vector(1), rtol=1e-5
    )
    entry = made.header["history"][-1]
    assert entry["command"] == "edit"
    assert entry["args"] == {"dir": ["age"], "strength": [2.5]}
    assert made.header["network"] == NETWORK


def test_pairs_layers_and_orthogonal(gt, tmp_path: Path, ours: Path) -> None:  # type: ignore[no-untyped-def]
    start, out = latent("w+"), tmp_path / "out.safetensors"
    (path,) = save(tmp_path, start)
    both = ["--dir", f"{ours}:age", "--dir", f"{ours}:smile", "--strength", "1", "--strength", "-2"]
    assert gt("edit", path, *both, "-o", out).code == 0
    wanted = start.tensors["w"] + vector(1)
    wanted[:3] -= 2 * vector(2)
    np.testing.assert_allclose(load(out).tensors["w"], wanted, rtol=1e-5, atol=1e-6)
    flags = ["--dir", f"{ours}:age", "--layers", "2,4", "--orthogonal-to", f"{ours}:smile"]
    assert gt("edit", path, *flags, "--strength", "1", "-o", out).code == 0
    change = load(out).tensors["w"] - start.tensors["w"]
    assert not change[[0, 1, 3, 5]].any()
    assert change[2] @ vector(2) == pytest.approx(0, abs=1e-5)
    assert np.linalg.norm(change[2]) == pytest.approx(np.linalg.norm(vector(1)), rel=1e-5)


def test_frames_in_a_stream(gt, tmp_path: Path, ours: Path) -> None:  # type: ignore[no-untyped-def]
    start = latent("w")
    (path,) = save(tmp_path, start)
    done = gt("edit", path, "--dir", f"{ours}:age", "--strength", "-2:2", "--frames", "5")
    assert done.code == 0, done.err
    made = {n: Latent.from_bytes(d, n) for n, d in read_stream(io.BytesIO(done.out), "out")}
    assert list(made) == [f"a/{i:04d}.safetensors" for i in range(5)]
    for strength, one in zip((-2, -1, 0, 1, 2), made.values(), strict=True):
        wanted = start.tensors["w"][0] + strength * vector(1)
        np.testing.assert_allclose(one.tensors["w"][0], wanted, rtol=1e-4, atol=1e-5)
    assert gt("edit", path, "--dir", f"{ours}:age", "--strength", "0:2", "-o", path).code == 2


def test_names_beside_the_network(gt, tmp_path: Path, tiny_network: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """NAME is looked for beside --net; --list shows it; pictures are rendered."""
    import shutil

    from gantools.io import network

    net = Path(shutil.copy(tiny_network, tmp_path / "net.safetensors"))
    head = network.header(net)
    dim = head["config"]["g"]["w_dim"]
    story = {"name": "net", "id": head["id"]}
    v = np.random.default_rng(0).standard_normal(dim)
    age = Direction("age", v, "w", "sd", 9.1, (0, 1), 2.0, story)
    files.write(tmp_path / "net.directions.safetensors", {"age": age})
    listed = gt("edit", "--list", "--net", net)
    assert listed.code == 0
    assert listed.text.split("\n")[0].split("\t")[:2] == ["age", "2"]
    table = json.loads(gt("edit", "--list", "--net", net, "--json").text)
    assert table["age"]["default_strength"] == 2.0
    one = Latent("x", "w", {"w": np.zeros((1, dim), np.float32)}, {"network": story})
    (path,) = save(tmp_path, one)
    out = tmp_path / "older.png"
    done = gt("edit", path, "--dir", "age", "--net", net, "-o", out)
    assert done.code == 0, done.err
    from gantools.io import image

    story_of = image.story(out.read_bytes())
    assert story_of is not None
    assert story_of["space"] == "w+"
    assert story_of["history"][-1]["args"]["became"] == "w+"
    unknown = gt("edit", path, "--dir", "beard", "--net", net, "-o", out)
    assert unknown.code == 2
    assert "there is age" in unknown.err
    assert unknown.err.count("\n") == 1
    stranger = Latent("s", "w", one.tensors, {"network": {"name": "other", "id": "f" * 64}})
    (other,) = save(tmp_path, stranger)
    done = gt("edit", other, path, "--dir", "age", "--net", net, "-o", f"{tmp_path}/out/")
    assert done.code == 1
    assert "s: a latent of network other (ffffffffffff), not of net (" in done.err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["x.safetensors"]
    done = gt("edit", "--list", "--net", net, "-o", tmp_path / "l.json")
    assert (done.code, done.out) == (0, b"")
    assert json.loads((tmp_path / "l.json").read_text()) == table
    assert gt("edit", "--list", "--net", net, "-o", tmp_path / "l.tsv").code == 0
    assert (tmp_path / "l.tsv").read_text() == listed.text
    assert gt("edit", "--list", "--net", net, "-o", tmp_path / "l.png").code == 2
    done = gt("edit", path, "--dir", "age", "--net", net, "--layers", "99", "-o", out)
    last = 2 * len(head["config"]["g"]["widths"]) - 1
    assert (done.code, f"layers 0-{last}" in done.err) == (1, True)


def test_the_network_that_is_named_counts(
    gt, tmp_path: Path, tiny_network: Path, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    """--net and $GANTOOLS_NET are checked where latents come out, too, as in generate."""
    start, out = latent("w"), tmp_path / "out.safetensors"
    path, other = save(tmp_path, start, latent("w", 1, key="b"))
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0 no network")
    edit_it = ["edit", path, "--dir", f"{ours}:age", "-o", out]
    mix_it = ["mix", path, other, "-o", out]
    for wrong in (tmp_path / "photo.jpg", ours, path, "nonsense"):
        for args in (edit_it, mix_it, ["edit", "--list"]):
            done = gt(*args, "--net", wrong)
            assert (done.code, done.err.count("\n")) == (2, 1), done.err
    for args, code in ((edit_it, 1), (mix_it, 2)):
        done = gt(*args, "--net", tiny_network)
        assert done.code == code
        assert "a latent of network tiny (aaaaaaaaaaaa), not of" in done.err
    monkeypatch.setenv("GANTOOLS_NET", "nonsense")
    for args in (edit_it, mix_it, ["edit", "--list"]):
        done = gt(*args)
        assert (done.code, "nonsense: no such network" in done.err) == (2, True)
    assert not out.exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--dir", "age"],
        ["--strength", "2"],
        ["--layers", "0"],
        ["--orthogonal-to", "age"],
        ["--frames", "4"],
        ["--absolute"],
        ["--scale", "2"],
        ["--paste", "x.jpg"],
        ["--batch", "2"],
        ["--no-clobber"],
    ],
)
def test_list_takes_nothing_that_it_would_not_heed(gt, flags: list[str]) -> None:  # type: ignore[no-untyped-def]
    done = gt("edit", "--list", *flags)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"{flags[0]} does nothing with --list" in done.err


def test_a_direction_of_another_network_is_refused(gt, tmp_path: Path, ours: Path) -> None:  # type: ignore[no-untyped-def]
    stranger = latent()
    stranger.header["network"] = {"name": "other", "id": "f" * 64}
    (path,) = save(tmp_path, stranger)
    done = gt("edit", path, "--dir", f"{ours}:age", "-o", tmp_path / "out.safetensors")
    assert done.code in (1, 2)
    assert "direction age was made for tiny" in done.err
    raw = tmp_path / "raw.npy"
    np.save(raw, vector())
    assert gt("edit", path, "--dir", raw, "-o", tmp_path / "out.safetensors").code == 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "give a direction with --dir"),
        (["--dir", "FILE"], "several directions"),
        (["--dir", "FILE:beard"], "no direction beard"),
        (["--dir", "FILE:age", "--strength", "x"], "expected a number"),
        (["--dir", "FILE:age", "--strength", "inf"], "finite"),
        (["--dir", "FILE:age", "--strength", "1:2"], "needs --frames"),
        (["--dir", "FILE:age", "--strength", "1", "--strength", "2"], "2 times for 1"),
        (["--dir", "FILE:age", "--layers", "7-2"], "backwards"),
        (["--dir", "FILE:age", "--layers", "0-99999999"], "no network has so many layers"),
        (["--dir", "FILE:age", "--orthogonal-to", "nope"], "--orthogonal-to nope: no such"),
        (["--dir", "nope", "--orthogonal-to", "FILE:age"], "--dir nope: no such"),
        (["--dir", "FILE:age", "--json"], "--json goes with --list"),
        (["--dir", "FILE:age", "--orthogonal-to", "FILE:age"], "combination"),
    ],
)
def test_wrong_usage_is_one_line(
    gt, tmp_path: Path, ours: Path, args: list[str], words: str
) -> None:  # type: ignore[no-untyped-def]
    (path,) = save(tmp_path, latent())
    out = tmp_path / "out.safetensors"
    done = gt("edit", path, *[a.replace("FILE", str(ours)) for a in args], "-o", out)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert words in done.err
    assert not out.exists()


def test_paste_into_the_photograph(gt, tmp_path: Path, tiny_network: Path) -> None:  # type: ignore[no-untyped-def]
    """--paste gives the whole photograph, unchanged away from the crop; --scale enlarges it."""
    from gantools.io import image, network

    head = network.header(tiny_network)
    photo = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    (tmp_path / "photo.png").write_bytes(image.encode(photo))
    crop = {"quad": [[20, 20], [20, 36], [36, 36], [36, 20]], "size": 16}
    story = {"network": {"name": "tiny", "id": head["id"]}, "crop": crop}
    zero = np.zeros((1, head["config"]["g"]["w_dim"]), np.float32)
    (path,) = save(tmp_path, Latent("x", "w", {"w": zero}, story))
    np.save(tmp_path / "d.npy", np.ones(zero.shape[1]))
    out = tmp_path / "whole.png"
    flags = ["--dir", tmp_path / "d.npy", "--net", tiny_network, "--paste", tmp_path / "photo.png"]
    done = gt("edit", path, *flags, "-o", out)
    assert (done.code, done.err) == (0, "")
    whole = image.decode(out.read_bytes())
    assert whole.shape == photo.shape
    assert np.array_equal(whole[:12], photo[:12])
    assert not np.array_equal(whole[24:32, 24:32], photo[24:32, 24:32])
    assert gt("edit", path, *flags, "--scale", "2", "-o", out).code == 0
    assert image.decode(out.read_bytes()).shape == (120, 160, 3)
    done = gt("edit", path, *flags, "-o", tmp_path / "x.tar")
    assert (done.code, "--paste makes pictures" in done.err) == (2, True)
    assert "-o DIR/{}.png" in done.err
    done = gt("edit", path, *flags[:4], "--scale", "2", "-o", out)
    assert (done.code, "--paste PHOTO" in done.err) == (2, True)


def test_no_torch_for_w(tmp_path: Path, ours: Path) -> None:
    """edit of w and w+ latents to latents never imports torch."""
    paths = [str(p) for p in save(tmp_path, latent("w"), latent("w+", key="b"))]
    args = ["edit", *paths, "--dir", f"{ours}:age", "-o", str(tmp_path / "out.tar")]
    code = (
        f"import sys; from gantools import cli; code = cli.run({args!r}); "
        "assert code == 0, code; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_networks_of_other_projects_are_compared_without_torch(
    fixtures: Path, tmp_path: Path
) -> None:
    """--net foreign.pkl: its own w, by the file's sha256 or its id, is edited; a stranger fails."""
    import hashlib

    from gantools.io import network

    net = fixtures / "sg2ada_pt_r32_skip.pkl"
    found = network.load(net)
    dim, widths = found.config["g"]["w_dim"], found.config["g"]["widths"]
    ids = (hashlib.sha256(net.read_bytes()).hexdigest(), found.meta["id"], "f" * 64)
    zero = {"w": np.zeros((1, dim), np.float32)}
    named = [{"network": {"name": "n", "id": i}} for i in ids]
    latents = [Latent(k, "w", zero, head) for k, head in zip("abc", named, strict=True)]
    paths = [str(p) for p in save(tmp_path, *latents)]
    np.save(tmp_path / "d.npy", np.ones(dim))
    args = ["edit", *paths, "--dir", str(tmp_path / "d.npy"), "--net", str(net), "--layers", "0"]
    args += ["-o", f"{tmp_path}/out/"]
    code = (
        f"import sys; from gantools import cli; code = cli.run({args!r}); "
        "assert code == 1, code; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr.startswith("gantools edit: c: a latent of network n (ffffffffffff), not of")
    made = sorted((tmp_path / "out").iterdir())
    assert [p.stem for p in made] == ["a", "b"]
    assert load(made[0]).tensors["w"].shape == (2 * len(widths), dim)
