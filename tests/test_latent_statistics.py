"""`metrics w1` and `metrics latents`: what is measured, what is written (S2.16, S2.17)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance

from gantools.evaluation.latents import statistics
from gantools.io.latent import Latent
from gantools.io.seeds import z_from_seed
from gantools.latents.labelling import sample_w
from gantools.networks.network import open_network
from gantools.report import Usage

COUNT = 300


@pytest.fixture
def scalars(tiny_network: Path) -> np.ndarray:
    """The scalars of W that 300 z give."""
    return sample_w(open_network(str(tiny_network)), COUNT, seed=3).ravel()


def saved(folder: Path, *latents: Latent) -> Path:
    folder.mkdir()
    for latent in latents:
        (folder / f"{latent.key}.safetensors").write_bytes(latent.to_bytes())
    return folder


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# ---------------------------------------------------------------------------- the arithmetic


def test_s2_16_gaussian_toy_mapping() -> None:
    """w = A z: moments, quantiles and correlations of a normal distribution, to sampling error."""
    mix = np.random.default_rng(0).standard_normal((6, 6)) + 2 * np.eye(6)
    toy = SimpleNamespace(
        device="cpu",
        g=SimpleNamespace(
            cfg=SimpleNamespace(z_dim=6, c_dim=0),
            mapping=lambda z, label: (z @ torch.from_numpy(mix.T).float())[:, None],
        ),
    )
    count = 40_000
    found = statistics(sample_w(toy, count))  # type: ignore[arg-type]
    covariance = mix @ mix.T
    std = np.sqrt(np.diag(covariance))
    expected = covariance / np.outer(std, std)
    np.testing.assert_allclose(found.correlation, expected, atol=4 / np.sqrt(count))
    np.testing.assert_allclose(found.deviations, std, rtol=0.02)
    np.testing.assert_allclose(found.means, 0, atol=0.1)
    assert found.features.shape == (6, 100)
    assert (found.features.sum(1) == count).all() and found.counts.sum() == 6 * count
    results = found.results()
    off = np.abs(expected[~np.eye(6, dtype=bool)])
    assert results["correlation_max"] == pytest.approx(off.max(), abs=0.02)
    assert results["features"]["2"]["std"] == pytest.approx(std[2], rel=0.02)


def test_s2_16_independent_normal_features() -> None:
    """Moments 0, 1, 0, 0; the mean |r| is what chance gives; quantiles are the normal ones."""
    results = statistics(normal(20_000, 12)).results()
    for name, value in (("mean", 0), ("std", 1), ("skewness", 0), ("kurtosis", 0)):
        assert results[name] == pytest.approx(value, abs=0.02)
    assert results["correlation_mean"] == pytest.approx(results["correlation_chance"], rel=0.2)
    assert results["quantiles"]["0.9"] == pytest.approx(1.2816, abs=0.02)
    assert results["quantiles"]["0.5"] == pytest.approx(0, abs=0.02)


def test_s2_16_constant_features_and_too_few() -> None:
    """A feature that never moves correlates with nothing; one sample is refused."""
    w = normal(50, 3)
    w[:, 1] = 2
    found = statistics(w)
    assert (found.correlation[1] == 0).all() and np.isfinite(found.correlation).all()
    assert statistics(np.ones((4, 3))).results()["kurtosis"] == 0
    with pytest.raises(Usage, match="two latents or more, here are 1"):
        statistics(w[:1])


# ---------------------------------------------------------------------------- metrics w1


def test_s2_17_w1_of_every_space_is_scipys(
    gt: Callable, tmp_path: Path, tiny_network: Path, scalars: np.ndarray
) -> None:
    """z by way of the mapping, w, w+ with noise, style maps; the mean is the mean of them."""
    network = open_network(str(tiny_network))
    rows, story = network.g.num_ws, {"network": network.story()}
    w, plus = normal(1, 16), 2 * normal(rows, 16, seed=1)
    maps = {f"s.{j}": normal(16, 2, 3, seed=j) for j in range(1, rows + 1)}
    z = z_from_seed(5, 16)
    folder = saved(
        tmp_path / "latents",
        Latent("a", "w", {"w": w}, story),
        Latent("b", "nw+", {"w": plus, "n.1": normal(1, 4, 4)}, story),
        Latent("c", "sw+", maps, story),
        Latent("d", "z", {"z": z}, {**story, "psi": 0.5}),
    )
    done = gt(
        *("metrics", "w1", folder, "--net", tiny_network, "--num", COUNT, "--seed", 3),
        *("--each", "--json"),
    )
    assert done.code == 0, done.err
    found = json.loads(done.text)
    with torch.no_grad():
        mapped = network.g.mapping(torch.from_numpy(z)[None], psi=0.5)[0].numpy()
    everything = [w, plus, np.concatenate([*maps.values()]), mapped]
    expected = [wasserstein_distance(x.ravel(), scalars) for x in everything]
    assert list(found["each"].values()) == pytest.approx(expected, rel=1e-6)
    assert found["w1"] == pytest.approx(np.mean(expected), rel=1e-6)
    together = np.concatenate([x.ravel() for x in everything])
    assert found["w1_pooled"] == pytest.approx(wasserstein_distance(together, scalars), rel=1e-6)
    assert found["protocol"]["latents"] == 4 and found["protocol"]["exact"] is True
    assert found["protocol"]["network_id"] == network.id


def test_s2_17_generated_latents_are_near_and_others_far(
    gt: Callable, tmp_path: Path, tiny_network: Path
) -> None:
    """A stream through a pipe; w that was doubled is farther, and the seed repeats the number."""
    made = gt("generate", "--net", tiny_network, "--seeds", "0-9", "--space", "w+")
    argv = ("metrics", "w1", "--net", tiny_network, "--json")
    runs = [gt(*argv, "--seed", seed, stdin=made.out) for seed in (0, 0, 1)]
    near = [json.loads(done.text) for done in runs]
    assert near[0] == near[1] and near[0]["w1"] != near[2]["w1"]
    doubled = [Latent(str(i), "w", {"w": 2 * normal(1, 16, seed=i)}) for i in range(5)]
    far = gt(*argv, saved(tmp_path / "far", *doubled))
    assert json.loads(far.text)["w1"] > 2 * near[0]["w1"]
    assert near[0]["w1_pooled"] < near[0]["w1_min"] <= near[0]["w1"] <= near[0]["w1_max"]


def test_s2_17_what_cannot_be_measured_is_named(
    gt: Callable, tmp_path: Path, tiny_network: Path
) -> None:
    """One line each; the rest is measured; nothing at all is status 2."""
    other = {"network": {"name": "other", "id": "f" * 64}}
    folder = saved(
        tmp_path / "latents",
        Latent("good", "w", {"w": normal(1, 16)}),
        Latent("other", "w", {"w": normal(1, 16)}, other),
        Latent("wide", "w", {"w": normal(1, 17)}),
    )
    (folder / "cut.safetensors").write_bytes((folder / "good.safetensors").read_bytes()[:-9])
    argv = ("--net", tiny_network, "--num", 9)
    done = gt("metrics", "w1", folder, *argv, "--json")
    assert done.code == 1 and done.err.count("\n") == 3, done.err
    assert "a latent of network other" in done.err and "cut.safetensors" in done.err
    assert json.loads(done.text)["protocol"]["latents"] == 1
    done = gt("metrics", "w1", folder / "other.safetensors", *argv)
    assert done.code == 2 and "no latent could be measured" in done.err and not done.out
    for flags, why in (
        (("-o", "x.gif"), "x.json, x.tsv, x.png, x.svg, x.pdf or -"),
        (("--num", 1), "1 is not in the range"),
        (("--net", tmp_path / "nothing"), "no such network"),
    ):
        done = gt("metrics", "w1", folder, *flags)
        assert done.code == 2 and why in done.err and done.err.count("\n") == 1, done.err


# ---------------------------------------------------------------------------- metrics latents


def test_s2_16_the_command_of_a_network_and_of_latents(
    gt: Callable, tmp_path: Path, tiny_network: Path, scalars: np.ndarray
) -> None:
    """Its numbers are numpy's; rows of w+ are samples; the histograms are in the JSON only."""
    argv = ("metrics", "latents", "--net", tiny_network)
    done = gt(*argv, "--num", COUNT, "--seed", 3, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.text)
    assert found["mean"] == pytest.approx(scalars.mean(), abs=1e-6)
    assert found["std"] == pytest.approx(scalars.std(), rel=1e-6)
    assert found["quantiles"]["0.99"] == pytest.approx(np.quantile(scalars, 0.99), rel=1e-5)
    assert sum(found["histograms"]["all"]) == COUNT * 16
    matrix = np.corrcoef(scalars.reshape(COUNT, 16).T.astype(np.float64))
    off = np.abs(matrix[~np.eye(16, dtype=bool)])
    assert found["correlation_max"] == pytest.approx(off.max(), rel=1e-6)
    assert found["correlation_mean"] == pytest.approx(off.mean(), rel=1e-6)
    rows = open_network(str(tiny_network)).g.num_ws
    made = gt("generate", "--net", tiny_network, "--seeds", "0-3", "--space", "w+")
    done = gt(*argv, "-", stdin=made.out)
    assert f"protocol.w\t{4 * rows}\n" in done.text and "histogram" not in done.text
    done = gt(*argv, "-", "--num", 5, stdin=made.out)
    assert done.code == 2 and "leave the latents out" in done.err


@pytest.mark.parametrize("verb", ["latents", "w1"])
def test_s2_16_plots_repeat_to_the_byte(
    gt: Callable, tmp_path: Path, tiny_network: Path, verb: str
) -> None:
    """PNG, SVG, PDF by the name; nothing on standard output then; two runs agree."""
    made = gt("generate", "--net", tiny_network, "--seeds", "0-3", "--space", "w")
    heads = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    argv = ("metrics", verb, "--net", tiny_network, "-")
    for run in "ab":
        names = [tmp_path / f"{run}.{kind}" for kind in heads]
        outputs = [part for name in names for part in ("-o", name)]
        done = gt(*argv, *outputs, stdin=made.out)
        assert done.code == 0 and not done.out, done.err
    for kind, head in heads.items():
        first, second = ((tmp_path / f"{run}.{kind}").read_bytes() for run in "ab")
        assert first == second and first.startswith(head)
