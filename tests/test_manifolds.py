"""Precision and recall, density and coverage (S0.16 family): fixtures, closed forms, exactness."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from gantools.evaluation import manifolds, matrices
from gantools.report import Usage


@pytest.fixture
def fixture(fixtures: Path) -> tuple[dict[str, np.ndarray], dict]:
    """The recorded features and what three references made of them."""
    file = fixtures / "numerics" / "precision_recall"
    values = json.loads(file.with_suffix(".json").read_text())["values"]
    return load_file(file.with_suffix(".safetensors")), values


@pytest.fixture
def by_distance_matrix() -> Callable[..., tuple[float, ...]]:
    """The definitions, with every distance in float64 at once."""

    def measures(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, ...]:
        def squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return ((a.astype(float)[:, None] - b.astype(float)) ** 2).sum(axis=2)

        r, f = (np.sort(squared(x, x), axis=1)[:, k] for x in (real, fake))
        d = squared(fake, real)
        precision, recall = (d <= r).any(axis=1).mean(), (d <= f[:, None]).any(axis=0).mean()
        return precision, recall, (d < r).sum(axis=1).mean() / k, (d < r).any(axis=0).mean()

    return measures


def test_fixture_counts_exactly(fixture) -> None:
    """The counts of the fixture for every k, and its radii."""
    t, values = fixture
    wanted = {3: [values["precision"], values["recall"]]}
    wanted |= {int(name[1:]): pair for name, pair in values["other_k"].items()}
    for k, pair in wanted.items():
        found = manifolds.compare(t["real"], t["gen"], k)
        assert [found.precision, found.recall] == pair
    found = manifolds.compare(t["real"], t["gen"])
    np.testing.assert_allclose(found.real, t["kth_radius_real"], rtol=1e-12)
    np.testing.assert_allclose(found.fake, t["kth_radius_gen"], rtol=1e-12)


def test_equals_torch_fidelity() -> None:
    """torch-fidelity's own function on the same features (its input1 is generated)."""
    from torch_fidelity.metric_prc import prc_features_to_metric

    rng = np.random.default_rng(0)
    real, fake = rng.standard_normal((400, 12)), rng.standard_normal((300, 12)) * 0.8 + 0.3
    x, y = real.astype(np.float32), fake.astype(np.float32)
    theirs = prc_features_to_metric(
        torch.from_numpy(y), torch.from_numpy(x), prc_neighborhood=3, verbose=False
    )
    found = manifolds.compare(x, y)
    assert found.precision == pytest.approx(theirs["precision"], rel=1e-6)
    assert found.recall == pytest.approx(theirs["recall"], rel=1e-6)


@pytest.mark.parametrize("offset", [0, 1e4])
@pytest.mark.parametrize("tile", [4, 256])
def test_blocks_and_rounding_change_no_count(
    monkeypatch: pytest.MonkeyPatch, by_distance_matrix, tile: int, offset: float
) -> None:
    """Neither blocks, nor duplicates, ties on a grid, outliers or a far centre change a count."""
    monkeypatch.setattr(matrices, "TILE", tile)
    monkeypatch.setattr(manifolds, "EXACT", 40)
    rng = np.random.default_rng(1)
    for scale in (1.0, 1e-3):
        real, fake = rng.integers(0, 4, (60, 4)), rng.integers(0, 5, (50, 4))
        real[0], fake[0] = 9999, -9999
        real, fake = (x.astype(np.float32) * np.float32(scale) + offset for x in (real, fake))
        x, y = real.astype(np.float32), fake.astype(np.float32)
        for k in (1, 3):
            found = manifolds.compare(x, y, k).results()
            assert [*found.values()] == pytest.approx(by_distance_matrix(x, y, k), abs=1e-12)


def test_a_set_with_itself_and_one_far_away() -> None:
    """Itself: all 1, each ball holding its k - 1 inner neighbours and its centre. Far away: 0."""
    x = np.random.default_rng(2).standard_normal((200, 6)).astype(np.float32)
    assert [*manifolds.compare(x, x).results().values()] == [1, 1, 1, 1]
    assert [*manifolds.compare(x, x + 100).results().values()] == [0, 0, 0, 0]


def test_a_mode_dropped_costs_recall_and_a_mode_added_precision() -> None:
    """Two far modes, of which FAKE has one: recall and coverage are a half, precision is whole."""
    rng = np.random.default_rng(3)
    near, far = (rng.standard_normal((300, 2)).astype(np.float32) + at for at in (0, 1000))
    both = np.concatenate([near, far]).astype(np.float32)
    dropped = manifolds.compare(both, near[::2])
    assert dropped.precision == 1 and dropped.recall <= 0.5 and dropped.coverage <= 0.5
    added = manifolds.compare(near[::2], both)
    assert added.precision <= 0.51 and added.recall == 1


def test_nearest_and_radii_by_hand() -> None:
    """Points on a line."""
    x = np.array([[0], [1], [3], [7]], np.float32)
    assert manifolds.radii(x, 1).tolist() == [1, 1, 2, 4]
    assert manifolds.radii(x, 3).tolist() == [7, 6, 4, 7]
    assert manifolds.compare(x, np.array([[2.5], [9]], np.float32), 1).nearest.tolist() == [0.5, 2]


def test_interval_covers_and_says_its_name() -> None:
    """The jackknife's interval is around the value, in [0, 1]; too few pictures are refused."""
    rng = np.random.default_rng(4)
    x, y = (rng.standard_normal((n, 3)).astype(np.float32) for n in (90, 80))
    _, values, protocol = manifolds.measure([x[:50], x[50:]], [y], splits=4)
    for name in manifolds.MEASURES:
        low, high = values[f"{name}_ci"]
        assert 0 <= low <= values[name] <= high and high > low
    assert protocol["interval"] == "95 %, jackknife over 4 parts of each set"
    with pytest.raises(Usage, match="25 parts need 100 pictures or more, here are 80"):
        manifolds.measure([x], [y], splits=25)
    with pytest.raises(Usage, match="neighbour 3 needs 4 pictures or more, here are 3"):
        manifolds.measure([x], [y[:3]])


def test_command(gt: Callable, fixture, tmp_path: Path) -> None:
    """Files of features in, JSON with its protocol and a plot out."""
    t, values = fixture
    np.savez(tmp_path / "x.npz", features=t["real"])
    np.savez(tmp_path / "y.npz", features=t["gen"])
    plot, table = tmp_path / "pr.png", tmp_path / "pr.json"
    done = gt("metrics", "pr", tmp_path / "x.npz", tmp_path / "y.npz", "-o", plot, "-o", table)
    assert done.code == 0, done.err
    found = json.loads(table.read_text())
    assert found["precision"] == values["precision"] and found["recall"] == values["recall"]
    assert found["protocol"]["k"] == 3
    assert found["protocol"]["fake"] == {"source": "y.npz", "kind": "features", "count": 130}
    assert plot.read_bytes().startswith(b"\x89PNG")
    done = gt("metrics", "pr", tmp_path / "x.npz", tmp_path / "y.npz", "--neighbours", 130)
    assert done.code == 2 and "neighbour 130 needs 131 pictures" in done.err
