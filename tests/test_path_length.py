"""`metrics ppl` (S0.17): formulas, percentile rule, crops, shards that merge, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_network
from safetensors.numpy import load_file
from torch.nn import functional

from gantools.evaluation import path_length, plots, shards
from gantools.evaluation.shards import Rows
from gantools.latents import paths
from gantools.latents.mixing import slerp
from gantools.latents.paths import Pair
from gantools.networks.network import Network, open_network
from gantools.report import Usage

OWN = ("--perceptual", "pyramid", "--device", "cpu")


@pytest.fixture(scope="module")
def golden() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    folder = Path(__file__).parent / "fixtures" / "numerics"
    told = json.loads((folder / "ppl.json").read_text())
    return told["values"], load_file(folder / "ppl.safetensors")


# ---------------------------------------------------------------------------- formulas


def test_the_percentile_rule_is_nvidias(golden) -> None:
    """S0.17: lower at 1, higher at 99, both included; ties too. Not the interpolated percentile."""
    values, tensors = golden
    for name in ("filter0", "filter1"):
        distances, wanted = tensors[f"{name}.values"], values[name]
        assert path_length.cuts(distances) == pytest.approx((wanted["lo"], wanted["hi"]))
        assert path_length.path_length(distances) == pytest.approx(wanted["ppl"], rel=1e-9)
        assert abs(wanted["linear_interpolation_would_give"] / wanted["ppl"] - 1) > 1e-3
    for count in (1, 2, 3, 50, 100, 101, 102, 1000, 1001, 5000, 5001):
        made = np.random.default_rng(count).lognormal(size=count)
        low, high = (np.percentile(made, p, method=m) for p, m in ((1, "lower"), (99, "higher")))
        assert path_length.cuts(made) == (low, high)
    made = np.random.default_rng(0).lognormal(size=137)
    low, high = (np.percentile(made, p, method=m) for p, m in ((1, "lower"), (99, "higher")))
    inside = [x for x in made if low <= x <= high]
    assert len(inside) < 137 and low in made and high in made
    assert path_length.path_length(made[::-1]) == pytest.approx(np.mean(inside), rel=1e-12)


def test_arcs_go_from_one_direction_to_the_other(golden) -> None:
    """S0.17: slerp of unit vectors against the fixture; t = 0 and t = 1 are its ends."""
    tensors = golden[1]
    z0, z1 = (tensors[n] / np.linalg.norm(tensors[n], axis=1)[:, None] for n in ("z0", "z1"))
    for a, b, t, here, there in zip(z0, z1, tensors["t_full"], tensors["slerp_z_full"],
                                    tensors["slerp_z_full_eps"], strict=True):  # fmt: skip
        np.testing.assert_allclose(slerp(a, b, t), here, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(slerp(a, b, t + 1e-4), there, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(slerp(a, b, 0), a, atol=1e-12)
        np.testing.assert_allclose(slerp(a, b, 1), b, atol=1e-12)


class Linear:
    """The fixture's generator, float64 inside: pictures are linear in its two rows of w."""

    num_ws = 2
    cfg = SimpleNamespace(c_dim=0, z_dim=8, w_dim=8, size=(16, 16))
    noise_shapes = ((16, 16),)
    starts_from_features = False

    def __init__(self, tensors: dict[str, np.ndarray], radius: float) -> None:
        self.tensors = {name: torch.from_numpy(t) for name, t in tensors.items()}
        self.radius = radius

    def mapping(self, z: torch.Tensor, *_: object) -> torch.Tensor:
        z = z.double() / self.radius
        w = functional.leaky_relu(z @ self.tensors["map_w"].T + self.tensors["map_b"], 0.2)
        return w[:, None].repeat(1, 2, 1)

    def synthesis(
        self, ws: torch.Tensor, noise: list[torch.Tensor], dtype: object = None
    ) -> torch.Tensor:
        t, (own,) = self.tensors, noise
        flat = ws[:, 0].double() @ t["syn_w0"].T + ws[:, 1].double() @ t["syn_w1"].T + t["syn_b"]
        return flat.view(-1, 3, 16, 16) + t["noise_strength"] * own


def linear(tensors: dict[str, np.ndarray], radius: float = 1.0) -> Network:
    return Network("linear", "0", "stylegan2", Linear(tensors, radius), None)


def pairs_of(tensors: dict[str, np.ndarray]) -> list[Pair]:
    both = np.stack([tensors["z0"], tensors["z1"]], axis=1).astype(np.float32)
    noise = {"n.1": tensors["noise"][None].astype(np.float32)}
    return [
        Pair(str(i), z, np.zeros(0, np.float32), noise, float(t))
        for i, (z, t) in enumerate(zip(both, tensors["t_full"], strict=True))
    ]


@pytest.mark.parametrize("cropped", [False, True])
@pytest.mark.parametrize("path", paths.PATHS)
def test_distances_are_the_references(golden, path: str, cropped: bool) -> None:
    """S0.17 fixture: its linear generator with convolutional features, of float32 latents."""
    values, tensors = golden
    conv = torch.from_numpy(tensors["dist_conv"])

    def seen(x: torch.Tensor) -> torch.Tensor:
        x = path_length.face(x) if cropped else x
        x = functional.conv2d((x + 1) * 127.5, conv, stride=2)
        return functional.leaky_relu(x, 0.2).flatten(1)

    radius = 8**0.5 if path.startswith("z") else 1.0  # the reference's arcs have length 1
    (rows,) = paths.lengths(
        linear(tensors, radius), pairs_of(tensors), [path],
        lambda a, b: (seen(a) - seen(b)).square().sum(1), epsilon=values["epsilon"],
    )  # fmt: skip
    name = f"{path[0]}_{path[1:]}_{'crop' if cropped else 'nocrop'}"
    np.testing.assert_allclose(rows[:, 0], tensors[f"dist_{name}"], rtol=0.03)
    assert rows.mean() == pytest.approx(values[f"ppl_mean_{name}_unfiltered"], rel=0.01)


@pytest.mark.parametrize("epsilon", [1e-4, 1e-2, 1.0])
def test_a_linear_generator_has_the_closed_form_whatever_epsilon(golden, epsilon: float) -> None:
    """S0.17: squared Euclidean distance along lines in w is |J (w1 - w0)|², everywhere on them."""
    tensors = golden[1]
    rows = np.concatenate([*paths.lengths(
        linear(tensors), pairs_of(tensors), ["wend", "wfull"],
        lambda a, b: ((a - b) * 127.5).square().flatten(1).sum(1), epsilon=epsilon, batch=4,
    )])  # fmt: skip
    closed = np.repeat(tensors["closed_form_w_l2"][:, None], 2, axis=1)
    np.testing.assert_allclose(rows, closed, rtol=0.01 if epsilon < 1e-3 else 1e-4)


def test_no_convolution_is_rounded_to_tf32(golden) -> None:
    """S0.17: on a GPU neither pictures nor features are; what was set before is set again."""
    seen = []

    def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        seen.append(torch.backends.cudnn.allow_tf32)
        return (a - b).square().flatten(1).sum(1)

    before = torch.backends.cudnn.allow_tf32
    rows = paths.lengths(linear(golden[1]), pairs_of(golden[1]), ["wend"], distance)
    assert len([*rows]) == 1 and not any(seen)
    assert torch.backends.cudnn.allow_tf32 == before


def test_the_interval_cuts_every_resample(golden) -> None:
    """S0.17: an outlier that the rule drops does not widen the interval without end."""
    made = np.random.default_rng(1).normal(10, 1, 400)
    made[7] = 1e9
    found = path_length.summary("wend", made)
    low, high = found["ppl_wend_ci"]
    assert low < found["ppl_wend"] < 10.1 and low < 10 < high
    assert path_length.summary("wend", made)["ppl_wend_ci"] == [low, high]
    assert "ppl_x_ci" not in path_length.summary("x", made[:1])


def test_where_ffhq_has_the_face() -> None:
    """S0.17: rows 3c to 7c and columns 2c to 6c, c an eighth of the height."""
    x = torch.arange(16 * 16).view(1, 1, 16, 16).float()
    assert (path_length.face(x) == x[:, :, 6:14, 4:12]).all()
    inside = {"landmarks": [[0.38, 0.48], [0.62, 0.48], [0.5, 0.6], [0.4, 0.7], [0.6, 0.7]]}
    higher = {"landmarks": [[x, y - 0.15] for x, y in inside["landmarks"]]}
    assert path_length.has_face(inside)
    assert not path_length.has_face(higher) and not path_length.has_face(None)


# ---------------------------------------------------------------------------- networks


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("nets")
    return {
        "stylegan2": make_network(folder / "a.safetensors"),
        "conditional": make_network(folder / "c.safetensors", c_dim=3),
        "fnz": make_network(folder / "f.safetensors", fnz=3),
        "stylegan": growing(folder / "s.safetensors", "stylegan", mapping_layers=1, w_dim=8),
        "pggan": growing(folder / "p.safetensors", "pggan"),
    }


def growing(path: Path, family: str, **config: object) -> Path:
    """A seeded, untrained network that grew to 8x8."""
    from gantools.io.network import Checkpoint, save
    from gantools.networks.network import new_generator, numbers

    torch.manual_seed(0)
    cfg = {"resolution": 8, "widths": (4, 4), "z_dim": 8, **config}
    g = new_generator(family, cfg)
    for name, value in g.named_parameters():
        if "noise" in name:
            torch.nn.init.normal_(value)
    tensors = {f"g_ema.{n}": t for n, t in numbers(g).items()}
    save(path, Checkpoint(family, {"g": g.cfg.to_dict()}, tensors, {"images_shown": 0}))
    return path


def moved(network: Network, path: str, seed: int = 0) -> tuple[Any, Any]:
    between = paths.pair(network, 3, seed)
    return paths.ends(network, between, path, 0.5)


@pytest.mark.parametrize("name", ["stylegan2", "conditional", "fnz", "stylegan"])
def test_both_ends_share_all_but_the_point(nets, name: str) -> None:
    """S0.17: the same noise maps, features and class at both ends; only w is another."""
    network = open_network(str(nets[name]), device="cpu")
    for path in paths.PATHS:
        a, b = moved(network, path)
        assert a.key == b.key and set(a.tensors) == set(b.tensors)
        for tensor in a.tensors:
            same = np.array_equal(a.tensors[tensor], b.tensors[tensor])
            assert same == (tensor != "w"), (path, tensor)
        assert len(a.noise) == (len(network.g.noise_shapes) if name != "fnz" else len(b.noise))
    zend, wend = (moved(network, path)[0].tensors["w"] for path in ("zend", "wend"))
    np.testing.assert_allclose(zend, wend, atol=1e-5)  # both begin at the pair's first latent
    assert not np.allclose(wend, moved(network, "wfull")[0].tensors["w"])
    assert not np.allclose(wend, moved(network, "wend", seed=1)[0].tensors["w"])


def test_arcs_of_a_network_without_w_stay_where_its_z_are(nets) -> None:
    """S0.17: z of PGGAN on the sphere of radius √z_dim; the angle grows by epsilon's share."""
    network = open_network(str(nets["pggan"]), device="cpu")
    a, b = (x.tensors["z"].astype(np.float64) for x in moved(network, "zend"))
    dim = len(a)
    assert a @ a == pytest.approx(dim, rel=1e-5) and b @ b == pytest.approx(dim, rel=1e-5)
    z = paths.pair(network, 3).z.astype(np.float64)
    whole = np.arccos(z[0] @ z[1] / np.linalg.norm(z[0]) / np.linalg.norm(z[1]))
    assert np.arccos(a @ b / dim) == pytest.approx(whole / 2, rel=1e-4)


@pytest.mark.parametrize("name", ["stylegan2", "conditional", "fnz", "stylegan", "pggan"])
def test_no_batch_and_no_shard_changes_it(gt, nets, tmp_path: Path, name: str) -> None:
    """S0.17: to the bit; parts merge in any order to what one process finds."""
    own = ("metrics", "ppl", "--net", nets[name], "--num", "5", *OWN, "--json")
    whole = gt(*own, "-o", tmp_path / "all.safetensors", "-o", "-")
    assert whole.code == 0, whole.err
    told = json.loads(whole.text)
    wanted = {"ppl_zfull", "ppl_zend"} | ({"ppl_wfull", "ppl_wend"} if name != "pggan" else set())
    assert {key for key in told if key[:3] == "ppl" and key[-3:] != "_ci"} == wanted
    assert all(told[key] > 0 for key in wanted)
    assert json.loads(gt(*own, "--batch", "3").text) == told
    for i in (1, 0):
        part = gt(*own, "--shard", f"{i}/2", "-o", tmp_path / f"{i}.safetensors")
        assert part.code == 0 and json.loads(part.text)["protocol"]["shards"] == [f"{i}/2"]
    merged = gt("metrics", "ppl", *(tmp_path / f"{i}.safetensors" for i in (1, 0)), "--json")
    assert merged.code == 0 and merged.err == ""
    found = json.loads(merged.text)
    assert found["protocol"].pop("shards") == ["1/2", "0/2"]
    assert found == told


def test_what_the_flags_change(gt, nets, tmp_path: Path) -> None:
    """S0.17: crop, paths, distance, seed; the protocol says each."""

    def run(*argv: object) -> dict[str, Any]:
        done = gt("metrics", "ppl", "--net", nets["stylegan2"], "--num", "4", "--device", "cpu",
                  "--path", "wend", "--json", *argv)  # fmt: skip
        assert done.code == 0, done.err
        return json.loads(done.text)

    plain = run(*OWN)
    assert [key for key in plain if key.startswith("ppl")] == ["ppl_wend", "ppl_wend_ci"]
    assert plain["protocol"]["crop"] == "none" and plain["protocol"]["count"] == 4
    cropped = run(*OWN, "--crop", "face")
    assert cropped["protocol"]["crop"] == "face" and cropped["ppl_wend"] != plain["ppl_wend"]
    assert run(*OWN, "--seed", "1")["ppl_wend"] != plain["ppl_wend"]
    own = run("--perceptual", "discriminator")
    assert own["protocol"]["perceptual_sha256"] == own["protocol"]["network_id"]


def test_downscaling_by_the_picture_or_by_the_crop(nets, monkeypatch) -> None:
    """S0.17, X.6: NVIDIA's PyTorch code shrinks a crop of 1024 px to 128, StyleGAN's to 256."""
    from gantools.commands import metrics_ppl
    from gantools.inversion import perceptual

    seen = []

    class Net(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            seen.append(images.shape[2])
            return [images]

    monkeypatch.setattr(perceptual, "vgg19", Net)
    network = open_network(str(nets["stylegan2"]), device="cpu")
    for side, crop, shrink, wanted in ((1024, "face", "picture", 128), (1024, "face", "crop", 256),
                                       (1024, "none", "crop", 256), (256, "face", "picture", 128),
                                       (16, "face", "picture", 8)):  # fmt: skip
        job = metrics_ppl._Job("", 2, None, "vgg19", metrics_ppl.Crop(crop),
                               metrics_ppl.Shrink(shrink), 1e-4, None, 0, 1, "cpu")  # fmt: skip
        job.network = network
        monkeypatch.setattr(Network, "size", property(lambda _, side=side: (side, side)))
        x = torch.zeros(1, 3, side, side)
        job.distance()(x, x + 1)
        assert seen.pop() == wanted


def test_a_plot_of_the_distances() -> None:
    """S0.17: every path has its histogram, the bytes repeat; zeros have no logarithm."""
    made = np.random.default_rng(0).lognormal(size=(200, 3))
    made[:5, 1] = 0
    columns = dict(zip(("zfull", "zend", "wend"), made.T, strict=True))
    first = plots.of_paths(columns, "png")
    assert first.startswith(b"\x89PNG") and first == plots.of_paths(columns, "png")


# ---------------------------------------------------------------------------- what is refused


def refused(result: Any, *words: str) -> None:
    assert result.code == 2 and len(result.err.splitlines()) == 1, result.err
    for word in words:
        assert word in result.err


def test_one_line_for_what_cannot_be_done(gt: Callable[..., Any], nets, tmp_path: Path) -> None:
    """S0.17: before any work, with the flag or the file that is wrong."""
    run = ("metrics", "ppl", "--net")
    refused(gt(*run, nets["pggan"], "--path", "wfull", *OWN), "--path wfull", "no w")
    refused(gt(*run, nets["stylegan2"], "--num", "2"), "vgg16", "missing")
    refused(gt(*run, nets["stylegan2"], "--shard", "0/2", *OWN), "--shard", "part.safetensors")
    refused(gt(*run, nets["stylegan2"], "--shard", "2/2", *OWN), "--shard 2/2")
    refused(gt(*run, nets["stylegan2"], "-o", "x.gif", *OWN), "x.gif")
    refused(gt(*run, nets["stylegan2"], "x.safetensors"), "leave --net")
    refused(gt("metrics", "ppl", tmp_path / "no.safetensors"), "no such file")
    refused(gt("metrics", "ppl", nets["stylegan2"]), "no part of metrics ppl")
    other = tmp_path / "cut.safetensors"
    other.write_bytes(nets["stylegan2"].read_bytes()[:1000])
    refused(gt("metrics", "ppl", other), "cut.safetensors")
    refused(gt(*run, nets["stylegan2"], "--perceptual", "squeeze"), "--perceptual")


def rows(*index: int, columns: tuple[str, ...] = ("a",), **protocol: object) -> Rows:
    values = np.array(index, np.float64)[:, None].repeat(len(columns), axis=1)
    return Rows(np.array(index), values, [*columns], dict(protocol), [], f"of {index}")


def test_parts_that_do_not_merge(tmp_path: Path) -> None:
    """S0.17: another protocol, other columns, a sample twice; each is named."""
    found = shards.merged([rows(1, 3), rows(0, 2)])
    assert found.index.tolist() == found.values[:, 0].tolist() == [0, 1, 2, 3]
    for other, why in (
        (rows(3, 4), r"of \(3, 4\): what it measured is in of \(0, 3\)"),
        (rows(4, seed=1), r"seed 1, and None in"),
        (rows(4, columns=("b",)), "of b"),
    ):
        with pytest.raises(Usage, match=why):
            shards.merged([rows(0, 3), other])
    assert shards.missing(["1/3", "0/2", "9", "x/y"]) == ["1/2", "0/3", "2/3"]
    shards.save(tmp_path / "x.safetensors", rows(1, 3, seed=2), "ls")
    with pytest.raises(Usage, match="no part of metrics ppl"):
        shards.load(tmp_path / "x.safetensors", "ppl")
    assert shards.load(tmp_path / "x.safetensors", "ls").protocol == {"seed": 2}


def test_a_distance_that_is_no_number_is_named(gt, nets, tmp_path: Path) -> None:
    """S0.17: and left out; the rest counts, and the run ends with 1."""
    from gantools.io import network as files

    ckpt = files.load(nets["stylegan2"])
    tensors = dict(ckpt.tensors)
    name = next(n for n in tensors if n.startswith("g_ema.synthesis") and n.endswith("bias"))
    tensors[name] = np.full_like(tensors[name], np.nan)
    path = tmp_path / "nan.safetensors"
    files.save(path, files.Checkpoint(ckpt.family, ckpt.config, tensors, {}))
    done = gt("metrics", "ppl", "--net", path, "--num", "2", "--path", "wend", *OWN)
    assert "pair 0: its distance is not finite" in done.err
    assert done.code == 2 and "no pair could be measured" in done.err
