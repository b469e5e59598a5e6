"""Attribute models: training, files, and features that are edited (papers.md S2.8, S2.9)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Result
from safetensors.numpy import load_file
from test_spatial_spaces import sample

from gantools.io import attribute_model as files
from gantools.io import direction, image, tensorfile
from gantools.io import network as networks
from gantools.io.attribute_model import AttributeModel
from gantools.io.direction import Direction
from gantools.io.latent import Latent
from gantools.latents import attribute_model, spaces
from gantools.latents import attribute_training as training
from gantools.latents.edit import Step, edit
from gantools.latents.source import NetworkSource
from gantools.networks.network import Network, open_network
from gantools.networks.stylegan2_blocks import State
from gantools.report import SampleError, Usage

Run = Callable[..., Result]
L = 6  # of the tiny network, 16x16
CHANNELS = {2: (8, 0), 3: (8, 3), 5: (8, 3)}


@pytest.fixture(scope="module")
def network(tiny_network: Path) -> Network:
    return open_network(str(tiny_network))


def random_model(network: Network, first: int = 5, seed: int = 0, name: str = "age") -> Any:
    """A model of random numbers and a direction with a row for each layer."""
    rng = np.random.default_rng(seed)
    vector = rng.normal(size=(L, network.g.cfg.w_dim)).astype(np.float32)
    d = Direction(name, vector, "w+", "sd", 9.0, None, 1.5, network.story())
    c, r = CHANNELS[first]
    weight = rng.normal(size=(c + r, c + r)).astype(np.float32) / 5
    return AttributeModel(d, first, (c, r), weight, {"steps": 3})


def step(model: AttributeModel, strength: float, **more: Any) -> Step:
    return Step("age", model.direction.vector, strength, space="w+", model=model, **more)


def mse(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a - b).square().mean((1, 2, 3))


# --- the arithmetic ---


@pytest.mark.parametrize("first", [2, 3, 5])
@pytest.mark.parametrize("kind", ["fw+", "fnw+", "fsw+", "fnsw+"])
def test_s2_9_features_and_styles_move(kind: str, first: int, network: Network) -> None:
    """(f, r) + c M(f, r) and w_j + c v_j for j >= i, on maps that are wide and not the network's.

    M on f beside r repeated to f's size; dr averaged back; noise stays.
    """
    start, model = sample(f"{kind}{first}", network), random_model(network, first)
    made = edit(start, [step(model, 0.7)]).tensors
    f, r = start.tensors["f"], start.tensors.get("r")
    cells = f if r is None else np.concatenate([f, np.kron(r, np.ones((1, 2, 2)))])
    change = np.einsum("oc,chw->ohw", model.weight, cells)
    np.testing.assert_allclose(made["f"], f + 0.7 * change[: len(f)], atol=1e-5)
    if r is not None:
        dr = change[len(f) :].reshape(3, r.shape[1], 2, r.shape[2], 2).mean((2, 4))
        np.testing.assert_allclose(made["r"], r + 0.7 * dr, atol=1e-5)
    for j in range(first, L + 1):
        v = model.direction.vector[j - 1]
        if "w" in made:
            moved = made["w"][j - first] - start.tensors["w"][j - first]
            np.testing.assert_allclose(moved, 0.7 * v, atol=1e-5)
        else:
            moved = made[f"s.{j}"] - start.tensors[f"s.{j}"]
            wanted = np.broadcast_to(0.7 * v[:, None, None], moved.shape)
            np.testing.assert_allclose(moved, wanted, atol=1e-5)
    for j, n in start.noise.items():
        assert made[f"n.{j}"] is n


def test_s2_9_identity_linear_and_at_home_everywhere(network: Network) -> None:
    """M = 0 keeps f and r to the bit; the move is linear in c, and follows shifts by 2 cells."""
    start, model = sample("fnw+5", network), random_model(network)
    still = replace(model, weight=np.zeros_like(model.weight))
    for one in (step(still, 2.0), step(model, 0.0)):
        made = edit(start, [one]).tensors
        assert all(np.array_equal(made[n], start.tensors[n]) for n in ("f", "r"))
    once, twice = (edit(start, [step(model, c)]).tensors for c in (0.4, 0.8))
    for name in ("f", "r", "w"):
        change = once[name] - start.tensors[name]
        np.testing.assert_allclose(twice[name] - start.tensors[name], 2 * change, atol=1e-5)

    def shifted(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        by = {"f": (2, 4), "r": (1, 2)}
        return {n: np.roll(t, by[n], (1, 2)) if n in by else t for n, t in tensors.items()}

    after = edit(replace(start, tensors=shifted(start.tensors)), [step(model, 0.4)]).tensors
    before = shifted(once)
    assert all(np.array_equal(after[name], before[name]) for name in ("f", "r"))


def test_training_and_editing_apply_one_formula(network: Network) -> None:
    """The torch of training and the numpy of edit are the same function."""
    start, model = sample("fnw+5", network), random_model(network)
    f, r = (torch.from_numpy(start.tensors[n])[None] for n in ("f", "r"))
    made = training.moved(torch.from_numpy(model.weight), State(5, f, r), torch.tensor([0.7]))
    moved = attribute_model.moved(start, model, 0.7)
    assert made.r is not None
    np.testing.assert_allclose(made.f[0], moved["f"], atol=1e-5)
    np.testing.assert_allclose(made.r[0], moved["r"], atol=1e-5)


def test_s2_8_without_a_model_the_later_styles_move_as_in_w_plus(network: Network) -> None:
    """Baseline 2 of Fig 6.8: what fnw+i has left of the edited nw+; features stay to the bit."""
    whole, model = sample("nw+", network), random_model(network)
    whole = replace(whole, tensors={n: t for n, t in whole.tensors.items() if n == "w"}, space="w+")
    source = NetworkSource(network)
    plain = Step("age", model.direction.vector, 0.7)
    for space in ("fw+5", "fnw+5", "fnw+2", "fsw+3"):
        start = spaces.convert(whole, space, source)
        made = edit(start, [plain]).tensors
        wanted = spaces.convert(edit(whole, [plain]), space, source).tensors
        for name, value in made.items():
            still = name in {"f", "r"} or name.startswith("n.")
            assert np.array_equal(value, (start.tensors if still else wanted)[name]), name


def test_layers_take_features_whole_or_not_at_all(network: Network) -> None:
    start, model = sample("fnw+5", network), random_model(network)
    late = edit(start, [step(model, 1.0, layers=(4, 5))]).tensors
    assert np.array_equal(late["f"], start.tensors["f"])
    assert not np.array_equal(late["w"], start.tensors["w"])
    early = edit(start, [step(model, 1.0, layers=(0, 1, 2, 3))]).tensors
    assert np.array_equal(early["w"], start.tensors["w"])
    assert not np.array_equal(early["f"], start.tensors["f"])
    with pytest.raises(SampleError, match="stand for the layers 0-3, which go all together"):
        edit(start, [step(model, 1.0, layers=(0, 1))])
    with pytest.raises(SampleError, match="only an attribute model moves"):
        edit(start, [Step("age", model.direction.vector, 1.0, (0, 1))])
    with pytest.raises(SampleError, match="no distance along a direction"):
        edit(start, [step(model, 1.0)], absolute=True)


def test_models_for_other_features_are_refused(network: Network) -> None:
    for space, words in (
        ("fnw+3", r"moves the features of block 5.*block 3 \(gantools project --space fnw\+5\)"),
        ("fnw+6", "the latent's are those of block 6$"),
    ):
        with pytest.raises(SampleError, match=words):
            edit(sample(space, network), [step(random_model(network), 1.0)])
    narrow = replace(random_model(network), channels=(4, 3))
    with pytest.raises(SampleError, match="is for 4 and 3 channels of f and r, the latent has 8"):
        edit(sample("fnw+5", network), [step(narrow, 1.0)])
    with pytest.raises(SampleError, match="no styles before its z is mapped"):
        edit(sample("fnz5", network), [step(random_model(network), 1.0)])


# --- training ---


def test_s2_9_the_exact_offset_is_found_where_blocks_are_linear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Features that are linear in w, with a constant channel: M becomes what they move by."""
    dim, width, draws = 4, 3, torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, dim, generator=draws) for n in (width, 2))
    synthesis = SimpleNamespace()

    def advance(_: Any, state: State, styles: list[torch.Tensor], noise: Any) -> State:
        f = (styles[0] @ a.T)[:, :, None, None].expand(-1, -1, 4, 6)
        r = (styles[0] @ b.T)[:, :, None, None].expand(-1, -1, 2, 3)
        return State(3, torch.cat([torch.ones_like(f[:, :1]), f], 1), r)

    def picture(_: Any, state: State, styles: Any, noise: Any) -> torch.Tensor:
        assert state.r is not None
        return torch.cat([state.f, state.r.repeat_interleave(2, 2).repeat_interleave(2, 3)], 1)

    monkeypatch.setattr(training, "advance", advance)
    monkeypatch.setattr(training, "first", lambda _, n: None)
    monkeypatch.setattr(training, "picture_from", picture)
    monkeypatch.setattr(training, "channels", lambda g, block: (width + 1, 2))

    def mapping(z: torch.Tensor, label: None) -> torch.Tensor:
        return z[:, None].expand(-1, 4, -1)

    mapping.w_avg = torch.zeros(dim)  # type: ignore[attr-defined]
    g: Any = SimpleNamespace(
        mapping=mapping, synthesis=synthesis, num_ws=4, noise_shapes=[],
        cfg=SimpleNamespace(z_dim=dim, c_dim=0),
    )  # fmt: skip
    v = np.array([0.5, -1.0, 0.3, 0.8])
    settings = training.Settings(3, 1.0, 500, lr=0.02)
    weight, held = training.learn(g, v, settings, mse)
    offset = np.concatenate([a.numpy() @ v, b.numpy() @ v])
    np.testing.assert_allclose(weight[1:, 0], offset, atol=0.02)
    assert np.abs(weight[:, 1:]).max() < 0.02
    assert held["features"] < 1e-3 * held["features_styles_only"]
    assert held["distance"] < 1e-3 * held["distance_styles_only"]


@pytest.mark.parametrize("first", [2, 3])
def test_s2_9_training_comes_nearer_than_styles_alone(first: int, network: Network) -> None:
    """On held-out samples of a network; the same seed gives the same model."""
    v = np.random.default_rng(1).normal(size=network.g.cfg.w_dim)
    reach = training.reach_of(v, L, "fro") / 10
    settings = training.Settings(first, reach, 60, lr=0.01, batch=6)
    weight, held = training.learn(network.g, v, settings, mse)
    assert weight.shape == (sum(CHANNELS[first]),) * 2
    assert held["features"] < 0.9 * held["features_styles_only"]
    assert held["distance"] < 0.9 * held["distance_styles_only"]
    assert np.array_equal(training.learn(network.g, v, settings, mse)[0], weight)


def test_s2_9_samples_are_what_the_network_makes(network: Network) -> None:
    """Features and pictures of a batch are those of w + c v through all blocks, same noise."""
    v = torch.from_numpy(np.random.default_rng(1).normal(size=(L, 16)).astype(np.float32))
    settings = training.Settings(5, 0.5, 1, batch=3)
    batch = training.batch_of(network.g, v, settings, torch.Generator().manual_seed(1))
    draws = torch.Generator().manual_seed(1)
    z = torch.randn(3, 16, generator=draws)
    noise = [torch.randn(3, 1, *shape, generator=draws) for shape in network.g.noise_shapes]
    ws = network.g.mapping(z) + batch.c[:, None, None] * v
    whole = network.g.synthesis(ws, noise)
    assert torch.allclose(batch.picture, whole, atol=1e-5)
    assert torch.allclose(batch.finished(network.g, batch.target), whole, atol=1e-5)
    assert batch.source.index == batch.target.index == 5
    assert not torch.allclose(batch.source.f, batch.target.f, atol=1e-3)
    assert batch.c.abs().max() <= 0.5


def test_s2_9_the_largest_displacement_is_20_units() -> None:
    """Of all layers together, or of the longest; one vector counts for each layer."""
    v = np.full(16, 0.5)  # of length 2
    for shape in (v, np.tile(v, (9, 1))):
        assert training.reach_of(shape, 9, "fro") == pytest.approx(20 / 6)
        assert training.reach_of(shape, 9, "row") == pytest.approx(10)
    rows = np.zeros((9, 16))
    rows[3, :2] = 3, 4
    rows[5, 0] = 12
    assert training.reach_of(rows, 9, "fro") == pytest.approx(20 / 13)
    assert training.reach_of(rows, 9, "row") == pytest.approx(20 / 12)


def test_a_direction_that_features_do_not_know_is_refused(network: Network) -> None:
    late = np.zeros((L, 16))
    late[4:] = 1
    with pytest.raises(SampleError, match="does not move the layers 0-3"):
        training.learn(network.g, late, training.Settings(5, 1.0, 1), mse)
    with pytest.raises(SampleError, match="diverged at step"):
        training.learn(network.g, late + 1, training.Settings(5, 1e30, 9, lr=1e30, batch=1), mse)


# --- files ---


def test_file_round_trip(network: Network, tmp_path: Path) -> None:
    made = {n: random_model(network, i, i, n) for n, i in (("age", 5), ("yaw", 2))}
    files.write(tmp_path / "m.safetensors", made)
    again = files.read(tmp_path / "m.safetensors")
    assert list(again) == ["age", "yaw"]
    for name, one in again.items():
        wanted = made[name]
        assert np.array_equal(one.weight, wanted.weight)
        assert np.array_equal(one.direction.vector, wanted.direction.vector)
        assert replace(one.direction, vector=wanted.direction.vector) == wanted.direction
        told = (one.first, one.channels, one.training)
        assert told == (wanted.first, wanted.channels, wanted.training)
    assert files.is_one(tmp_path / "m.safetensors")
    files.write(tmp_path / "half.safetensors", made, "float16")
    small = files.read(tmp_path / "half.safetensors")["age"]
    assert small.weight.dtype == np.float32
    np.testing.assert_allclose(small.weight, made["age"].weight, rtol=1e-3, atol=1e-6)


def damaged(network: Network, folder: Path) -> dict[str, str]:
    """Files with one thing wrong each, and a word of what is said."""
    model = random_model(network)
    files.write(folder / "good.safetensors", {"age": model})
    story, tensors = tensorfile.read(folder / "good.safetensors")
    entry = story["models"]["age"]

    def save(
        name: str, change: dict[str, Any], numbers: dict[str, np.ndarray] | None = None
    ) -> None:
        tensorfile.write(folder / name, {**tensors, **(numbers or {})}, {**story, **change})

    save("format.safetensors", {"format": 7})
    save("models.safetensors", {"models": 3})
    save("none.safetensors", {"models": {}})
    save("more.safetensors", {}, {"x": np.zeros(1, np.float32)})
    save("first.safetensors", {"models": {"age": {**entry, "first": 2}}})
    save("shape.safetensors", {"models": {"age": {**entry, "channels": [7, 3]}}})
    save("nan.safetensors", {}, {"m.age": np.full((11, 11), np.nan, np.float32)})
    save("zero.safetensors", {}, {"v.age": np.zeros(16, np.float32)})
    save("lost.safetensors", {"models": {"age": entry, "smile": entry}})
    whole = (folder / "good.safetensors").read_bytes()
    (folder / "short.safetensors").write_bytes(whole[:-100])
    return {
        "format": "format 7",
        "models": "not a file of attribute models",
        "none": "its tensors are not those",
        "more": "its tensors are not those",
        "first": "in front of block 2",
        "shape": r"not \[10, 10\]",
        "nan": "not finite",
        "zero": "or zero",
        "lost": "no tensor m.smile",
        "short": "damaged",
    }


def test_damaged_files_are_one_line(gt: Run, network: Network, tmp_path: Path) -> None:
    latent = tmp_path / "a.safetensors"
    latent.write_bytes(sample("fnw+5", network).to_bytes())
    for name, words in damaged(network, tmp_path).items():
        path, out = tmp_path / f"{name}.safetensors", tmp_path / "out.safetensors"
        with pytest.raises(Usage, match=words):
            files.read(path)
        done = gt("edit", latent, "--dir", path, "-o", out)
        assert (done.code, done.err.count("\n"), out.exists()) == (2, 1, False), done.err
        assert path.name in done.err


# --- the commands ---


@pytest.fixture
def at_home(network: Network, tiny_network: Path, tmp_path: Path) -> Path:
    """A network with directions age and smile beside it, and an attribute model for age."""
    net = Path(shutil.copy(tiny_network, tmp_path / "net.safetensors"))
    model = random_model(network)
    smile = replace(model.direction, name="smile", vector=model.direction.vector[::-1].copy())
    directions = {"age": model.direction, "smile": smile}
    direction.write(tmp_path / "net.directions.safetensors", directions)
    files.write(tmp_path / "net.attributes.safetensors", {"age": model})
    return net


def save(folder: Path, network: Network, *names: str) -> list[Path]:
    """Latents of these spaces, each of the network."""
    paths = []
    for space in names:
        one = sample(space, network)
        one.header["network"] = network.story()
        paths.append(folder / f"{space}.safetensors")
        paths[-1].write_bytes(one.to_bytes())
    return paths


def load(path: Path) -> Latent:
    return Latent.from_bytes(path.read_bytes(), path.stem)


def test_names_find_the_model_for_the_latent_s_block(
    gt: Run, network: Network, at_home: Path, tmp_path: Path
) -> None:
    """The model of block 5 for fnw+5; styles only, and a remark, for fnw+3 and for smile."""
    five, three, plain = save(tmp_path, network, "fnw+5", "fnw+3", "w+")
    out, net = tmp_path / "out.safetensors", ["--net", at_home]
    done = gt("edit", five, "--dir", "age", *net, "-o", out)
    assert (done.code, done.err) == (0, "")
    wanted = edit(load(five), [step(random_model(network), 1.5)]).tensors
    made = load(out)
    assert all(np.array_equal(made.tensors[n], t) for n, t in wanted.items())
    args = made.header["history"][-1]["args"]
    assert args == {"dir": ["age"], "strength": [1.5], "attribute_model": ["age"]}
    for path, name, block in ((three, "age", 3), (five, "smile", 5)):
        done = gt("edit", path, "--dir", name, *net, "-o", out)
        assert (done.code, done.err.count("\n")) == (0, 1)
        assert f"--dir {name}: without an attribute model for block {block} only" in done.err
        assert np.array_equal(load(out).tensors["f"], load(path).tensors["f"])
        assert gt("edit", path, "--dir", name, *net, "-q", "-o", out).err == ""
    done = gt("edit", five, "--dir", "smile", "--layers", "4-5", *net, "-o", out)
    assert (done.code, done.err) == (0, "")
    done = gt("edit", plain, "--dir", "age", *net, "-o", out)
    assert (done.code, done.err) == (0, "")
    listed = gt("edit", "--list", *net).text
    assert [line.split("\t")[-1] for line in listed.strip().split("\n")] == ["block 5", "no model"]


def test_files_of_models_are_known_by_their_bytes(
    gt: Run, network: Network, tiny_network: Path, tmp_path: Path
) -> None:
    """They move features of their block, and what has none as a plain direction does."""
    five, three, plain, z = save(tmp_path, network, "fnw+5", "fnw+3", "w+", "fnz5")
    model, out = random_model(network), tmp_path / "out.safetensors"
    files.write(tmp_path / "age.bin", {"age": model})
    flags = ["--dir", tmp_path / "age.bin", "--net", tiny_network, "-o", out]
    assert gt("edit", five, *flags).code == 0
    wanted = edit(load(five), [step(model, 1.5)]).tensors
    assert np.array_equal(load(out).tensors["f"], wanted["f"])
    assert gt("edit", plain, *flags).code == 0
    moved = load(plain).tensors["w"] + 1.5 * model.direction.vector
    np.testing.assert_allclose(load(out).tensors["w"], moved, atol=1e-5)
    done = gt("edit", three, *flags)
    assert (done.code, "moves the features of block 5" in done.err) == (1, True)
    done = gt("edit", z, *flags)
    assert (done.code, done.err) == (0, "")
    made = load(out)
    assert (made.space, made.header["history"][-1]["args"]["became"]) == ("fnw+5", "fnw+5")
    np.save(tmp_path / "other.npy", np.ones(16))
    for more, words in (
        (["--absolute"], "--absolute: features have no distance"),
        (["--orthogonal-to", tmp_path / "other.npy"], "leave it out, or move the styles alone"),
        (["--layers", "0-2"], "stand for the layers 0-3"),
    ):
        done = gt("edit", five, *flags, *more)
        assert (done.code, words in done.err, done.err.count("\n")) == (1, True, 1), done.err


def test_frames_of_features(gt: Run, network: Network, tiny_network: Path, tmp_path: Path) -> None:
    """--frames: each at its own strength, from the latent itself."""
    (five,) = save(tmp_path, network, "fnw+5")
    model = random_model(network)
    files.write(tmp_path / "m.safetensors", {"age": model})
    flags = ["--dir", tmp_path / "m.safetensors", "--net", tiny_network, "--frames", "3"]
    done = gt("edit", five, *flags, "--strength", "-1:1", "-o", f"{tmp_path}/out/")
    assert (done.code, done.err) == (0, "")
    frames = [load(path) for path in sorted((tmp_path / "out").rglob("*.safetensors"))]
    start = load(five)
    for frame, strength in zip(frames, (-1, 0, 1), strict=True):
        wanted = attribute_model.moved(start, model, strength)
        assert np.array_equal(frame.tensors["r"], wanted["r"])


def test_models_beside_a_network_are_no_networks(
    at_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`model list` shows what can be given to --net."""
    monkeypatch.setattr(networks, "networks_folder", lambda: tmp_path)
    assert "net" in dict(networks.known())
    assert not [name for name, _ in networks.known() if name.startswith("net.")]


TRAIN = ("train", "attribute", "--steps", "2", "--batch", "2", "--perceptual", "pyramid")


def test_train_attribute(gt: Run, at_home: Path, tmp_path: Path) -> None:
    """Two directions into one file; the layers of a direction are those that it moves."""
    found = direction.read(tmp_path / "net.directions.safetensors")
    some = replace(found["smile"], layers=(0, 4))
    direction.write(tmp_path / "some.safetensors", {"smile": some})
    out = tmp_path / "m.safetensors"
    words = [*TRAIN, "--net", at_home, "--dir", "age", "--dir", tmp_path / "some.safetensors"]
    done = gt(*words, "-o", out)
    assert (done.code, done.out) == (0, b"")
    assert "held-out error of features" in done.err
    assert "styles only" in done.err
    made = files.read(out)
    assert sorted(made) == ["age", "smile"]
    assert made["age"].first == 5
    assert made["age"].weight.any()
    assert made["age"].direction.default_strength == 1.5
    assert made["age"].direction.network["id"] == networks.header(at_home)["id"]
    told = made["age"].training
    assert (told["steps"], told["lr"], told["batch"], told["perceptual"]) == (2, 1e-4, 2, "pyramid")
    assert set(told["held_out"]) >= {"features", "distance_styles_only"}
    vector = made["smile"].direction.vector
    assert [bool(row.any()) for row in vector] == [True, False, False, False, True, False]
    first = load_file(out)
    wild = gt(*TRAIN, "--net", at_home, "--dir", "age", "--lr", "1e5", "-o", out)
    assert (wild.code, "age: this model is no better than moving the styles" in wild.err) == (
        0,
        True,
    )
    assert gt(*words, "-o", out).code == 0
    assert all(np.array_equal(first[n], t) for n, t in load_file(out).items())


def test_ctrl_c_leaves_what_was_there(
    gt: Run, at_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing half-written: the file of before, or that of the directions that are done."""
    real, calls = training.losses, iter(range(1000))

    def losses(*args: Any) -> Any:
        if next(calls) == stop:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(training, "losses", losses)
    words = [*TRAIN, "--net", at_home, "--dir", "age", "--dir", "smile"]
    before = sorted(tmp_path.iterdir())
    stop = 1
    assert gt(*words, "-o", tmp_path / "m.safetensors").code == 130
    assert sorted(tmp_path.iterdir()) == before
    stop = 2 + 2 + 2 * training.HELD_OUT + 1
    assert gt(*words, "-o", tmp_path / "m.safetensors").code == 130
    assert sorted(files.read(tmp_path / "m.safetensors")) == ["age"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["-o", "m.npy"], "-o FILE.safetensors"),
        (["-o", "no/such/m.safetensors"], "no/such"),
        (["--dir", "beard"], "--dir beard: no such"),
        (["--dir", "age"], "two directions of one name"),
        (["--first", "7"], "the network has blocks 1 to 6"),
        (["--first", "1"], "--first"),
        (["--max-strength", "0"], "--max-strength"),
        (["--lr", "nan"], "not a finite number"),
        (["--perceptual", "lpips-vgg"], "vgg16"),
        (["--perceptual-weight", "0", "--feature-weight", "0"], "nothing is learned"),
        (["--dir", "wide.npy"], "the network's w is [6, 16]"),
        (["--dir", "late.safetensors"], "does not move the layers 0-3"),
    ],
)
def test_wrong_usage_is_one_line(
    gt: Run,
    at_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("wide.npy", np.ones(17))
    age = direction.read(tmp_path / "net.directions.safetensors")["age"]
    direction.write(Path("late.safetensors"), {"late": replace(age, name="late", layers=(4, 5))})
    output = [] if "-o" in more else ["-o", "m.safetensors"]
    first = [] if "late.safetensors" in more else ["--dir", "age"]
    done = gt(*TRAIN, "--net", at_home, *first, *output, *more)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert words in done.err
    assert not Path("m.safetensors").exists()


def test_networks_without_blocks_are_refused(gt: Run, fixtures: Path, tmp_path: Path) -> None:
    """StyleGAN3 and the like have no features to start from."""
    np.save(tmp_path / "d.npy", np.ones(16))
    for net in (fixtures / "sg3t_r32.pkl", fixtures / "sg1_tf_uncond.pkl"):
        words = ["--dir", tmp_path / "d.npy", "--net", net, "-o", tmp_path / "m.safetensors"]
        done = gt(*TRAIN, *words)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert "an attribute model is StyleGAN2's" in done.err


def test_figures(gt: Run, network: Network, at_home: Path, tmp_path: Path) -> None:
    """Rows of latents from -S to S with the latent in the middle; models: Fig 6.8's two rows."""
    paths = save(tmp_path, network, "fnw+5", "fnw+6")
    net, out = ["--net", at_home], tmp_path / "sheet.png"
    first = ["edit", paths[0], "--dir", "age", *net]
    assert gt(*first, "--figure", "models", "-o", out).code == 0
    sheet = image.decode(out.read_bytes())
    story = image.story(out.read_bytes())
    assert story is not None
    assert (story["kind"], story["columns"], len(story["cells"])) == ("sheet", 5, 10)
    assert story["history"][0]["args"]["attribute_model"] == ["age"]
    height, width = 12, 20
    assert sheet.shape == (2 * height, 5 * width, 3)
    assert gt("generate", paths[0], *net, "-o", tmp_path / "before.png").code == 0
    before = image.decode((tmp_path / "before.png").read_bytes())
    cells = sheet.reshape(2, height, 5, width, 3).swapaxes(1, 2)
    assert np.array_equal(cells[0, 2], before)
    assert np.array_equal(cells[1, 2], before)
    for row, flags in ((1, []), (0, ["--layers", "4-5"])):
        words = [*first, *flags, "--strength", "-1.5", "-o", tmp_path / "one.png"]
        assert gt(*words).code == 0
        one = image.decode((tmp_path / "one.png").read_bytes())
        assert np.array_equal(cells[row, 0], one)
    assert not np.array_equal(cells[0, 4], cells[1, 4])
    words = ["edit", *paths, "--dir", "smile", *net, "--figure", "strengths", "--frames", "3"]
    done = gt(*words, "--strength", "0:2", "-q", "-o", out)
    assert (done.code, done.err) == (0, "")
    assert image.decode(out.read_bytes()).shape == (2 * height, 3 * width, 3)
    for more in (["--paste", out], ["--list"]):
        done = gt(*first, "--figure", "models", *more, "-o", tmp_path / "x.png")
        assert (done.code, done.err.count("\n")) == (2, 1)
