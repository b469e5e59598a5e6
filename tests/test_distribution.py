"""Distributions of scalars: W1, streaming targets, interpolation, the regulariser (S2.17-S2.19)."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from gantools.inversion.usual import distribution_loss
from gantools.io.latent import Latent
from gantools.latents.distribution import equalize, parts
from gantools.ops.quantiles import Distribution, Pool, equalized
from gantools.ops.quantiles import w1 as distance
from gantools.report import SampleError


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def w1(scalars: np.ndarray, target: Distribution) -> float:
    return distance(Distribution.of(scalars), target)


numbers = st.lists(
    st.floats(-8, 8, width=32) | st.integers(-2, 2).map(float), min_size=1, max_size=40
).map(lambda x: np.array(x, np.float32))


# ---------------------------------------------------------------------------- W1


@given(numbers, numbers)
def test_s2_17_w1_is_scipys(a: np.ndarray, b: np.ndarray) -> None:
    """Equal to scipy's for any counts, with ties, and symmetric."""
    found = w1(a, Distribution.of(b))
    assert found == pytest.approx(wasserstein_distance(a, b), abs=1e-9)
    assert found == pytest.approx(w1(b, Distribution.of(a)), abs=1e-9)


def test_s2_17_w1_closed_forms() -> None:
    """A shift by d has W1 = |d|; a scale by a of N(0, 1) has (a - 1) sqrt(2/pi)."""
    x = normal(200_000)
    of_x = Distribution.of(x)
    assert w1(x, of_x) == pytest.approx(0, abs=1e-12)
    assert w1(x + 0.5, of_x) == pytest.approx(0.5, rel=1e-6)
    assert w1(1.7 * x, of_x) == pytest.approx(0.7 * np.sqrt(2 / np.pi), rel=0.01)
    assert w1(x[::100], of_x) == pytest.approx(wasserstein_distance(x[::100], x), rel=1e-9)


def test_s2_17_w1_of_weights_is_scipys() -> None:
    """Values that stand for several scalars."""
    target = Distribution(np.array([-1.0, 0.5, 2.0]), np.array([3.0, 1.0, 4.0]))
    x = normal(17)
    whole = wasserstein_distance(x, target.values, v_weights=target.counts)
    assert w1(x, target) == pytest.approx(whole, rel=1e-12)


# ---------------------------------------------------------------------------- targets


def test_s2_19_targets_are_means_of_groups_of_the_full_sort() -> None:
    """T [dim]: sort everything, average consecutive groups."""
    x = normal(64, 24)
    groups = np.sort(x, axis=None).astype(np.float64).reshape(24, 64).mean(1)
    np.testing.assert_allclose(Distribution.of(x).targets(24), groups, rtol=1e-12, atol=1e-14)


def test_s2_19_layers_that_repeat_w_do_not_matter() -> None:
    """T of w+ is T of w at the same length: every scalar stands there L times."""
    w = normal(50, 8)
    plus = np.repeat(w[:, None], 6, axis=1)
    both = [Distribution.of(x).targets(48) for x in (w, plus)]
    np.testing.assert_allclose(*both, rtol=1e-12, atol=1e-14)


@given(numbers, st.integers(1, 60))
def test_s2_19_targets_keep_order_and_mean(x: np.ndarray, dim: int) -> None:
    """Any dim: ascending, inside the values, with their mean."""
    targets = Distribution.of(x).targets(dim)
    assert (np.diff(targets) >= 0).all()
    assert float(x.min()) - 1e-9 <= targets[0] and targets[-1] <= float(x.max()) + 1e-9
    assert targets.mean() == pytest.approx(x.astype(np.float64).mean(), abs=1e-9)


def test_s2_19_a_small_pool_is_the_full_sort() -> None:
    """However it is cut and ordered."""
    x = normal(4000)
    pool = Pool()
    for block in np.split(np.random.default_rng(1).permutation(x), [5, 700, 701]):
        pool.update(block)
    whole = Distribution.of(x)
    np.testing.assert_array_equal(pool.distribution().values, whole.values)
    np.testing.assert_array_equal(pool.distribution().targets(77), whole.targets(77))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_s2_19_bins_move_nothing_by_more_than_their_width(scale: float) -> None:
    """A pool beyond its exact size: T, W1 and the mean against the full sort, for any order."""
    x = scale * normal(60_000) + np.float32(0.3 * scale)
    x[:500], x[500:900] = 0, -0.0
    pool, other = Pool(exact=1000), Pool(exact=10)
    for block in np.array_split(x, 13):
        pool.update(block)
    other.update(x[::-1].reshape(300, 200))
    found, whole = pool.distribution(), Distribution.of(x)
    for mine in (found, other.distribution()):
        np.testing.assert_allclose(
            mine.targets(600), whole.targets(600), rtol=1 / 4096, atol=1e-5 * scale
        )
    np.testing.assert_allclose(found.values, other.distribution().values, rtol=1e-12)
    assert found.counts.sum() == len(x)
    width = float(np.abs(x).mean()) / 4096
    assert w1(x, found) < width
    y = 1.3 * normal(500, seed=2) * scale
    assert w1(y, found) == pytest.approx(w1(y, whole), abs=width)
    assert np.average(found.values, weights=found.counts) == pytest.approx(
        float(x.astype(np.float64).mean()), rel=1e-9
    )


def test_s2_19_memory_does_not_grow_with_the_pool() -> None:
    """160 MB of scalars go through two tables of 16 MB; a pool that kept them would need them."""
    block, pool = normal(1_000_000), Pool(exact=100_000)
    tracemalloc.start()
    for i in range(40):
        pool.update(block + np.float32(0.01 * i))
    targets = pool.distribution().targets(4096)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert pool.count == 40_000_000
    assert peak < 110e6
    assert targets.mean() == pytest.approx(block.mean() + 0.195, abs=1e-3)


# ---------------------------------------------------------------------------- the regulariser


def test_s2_19_loss_is_zero_for_permutations_with_its_gradient() -> None:
    """2 (S - T_rank) / n, whatever the shape; 0, with gradient 0, for a permutation of T."""
    targets = torch.from_numpy(Distribution.of(normal(4096)).targets(24))
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    same = targets[order].reshape(1, 4, 6).requires_grad_()
    loss = distribution_loss(same, targets)
    loss.sum().backward()
    assert loss.shape == (1,) and loss.item() == 0 and same.grad is not None
    assert not same.grad.any()
    values = torch.from_numpy(normal(3, 4, 6, seed=3)).double().requires_grad_()
    distribution_loss(values, targets).sum().backward()
    flat = values.detach().flatten(1)
    ranks = flat.argsort(1).argsort(1)
    expected = 2 * (flat - targets[ranks]) / 24
    torch.testing.assert_close(values.grad.flatten(1), expected)


def test_s2_19_loss_gradcheck() -> None:
    """Analytic against finite differences in float64, away from ties."""
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    values = (torch.linspace(-2, 2, 12, dtype=torch.float64)[order] ** 3).reshape(2, 6)
    targets = torch.linspace(-1, 1, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: distribution_loss(x, targets), values.requires_grad_()
    )


def test_s2_19_descent_brings_the_distribution() -> None:
    """Gradient steps end at T with the ranks that the scalars had; wrong counts are refused."""
    targets = torch.from_numpy(Distribution.of(normal(999)).targets(30)).float()
    start = torch.from_numpy(3 * normal(1, 30, seed=4) + 1)
    values = start.clone().requires_grad_()
    optimiser = torch.optim.SGD([values], lr=30 / 2 * 0.5)
    for _ in range(40):
        optimiser.zero_grad()
        distribution_loss(values, targets).sum().backward()
        optimiser.step()
    torch.testing.assert_close(values.detach().sort().values[0], targets)
    assert (values.argsort() == start.argsort()).all()
    with pytest.raises(ValueError, match="30 scalars a sample"):
        distribution_loss(values, targets[1:])


# ---------------------------------------------------------------------------- interpolation


@given(numbers, numbers, st.floats(0, 1))
def test_s2_18_order_is_kept_and_w1_falls_linearly(s, t, c: float) -> None:
    """mean |sorted(S) - T| = (1 - c) times what it was; c = 0 is the identity."""
    s = np.unique(s)
    target = Distribution.of(t)
    moved = equalized(s.astype(np.float64), target, c)
    assert (np.diff(moved) >= 0).all()
    quantiles = target.targets(len(s))
    before, after = (np.abs(x - quantiles).mean() for x in (s, moved))
    assert after == pytest.approx((1 - c) * before, abs=1e-8)
    assert equalized(s, target, 0) is s


def test_s2_18_c_1_gives_the_quantiles() -> None:
    """In the places of the ranks, in the type that came."""
    s, target = 2 * normal(6, 8, seed=5) + 1, Distribution.of(normal(10_000))
    moved = equalized(s, target, 1)
    assert moved.dtype == np.float32 and moved.shape == s.shape
    np.testing.assert_allclose(np.sort(moved, axis=None), target.targets(48), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(moved.argsort(axis=None), s.argsort(axis=None))


def test_s2_18_a_repeated_w_stays_one() -> None:
    """Equalising w and repeating it is repeating it and equalising: equal numbers stay equal."""
    w, target = normal(1, 8), {"w": Distribution.of(normal(5000, seed=6) * 2)}
    one = equalize(Latent("a", "w", {"w": w}), target, 0.7).tensors["w"]
    plus = Latent("a", "w+", {"w": np.repeat(w, 6, 0)})
    np.testing.assert_allclose(equalize(plus, target, 0.7).tensors["w"], np.repeat(one, 6, 0))


def test_s2_18_parts_are_equalised_by_themselves() -> None:
    """Styles, F and R each to its own target; noise stays; maps of the styles count together."""
    tensors = {"f": normal(4, 2, 3), "r": normal(3, 1, 2), "s.5": normal(8, 2, 3, seed=1),
               "s.6": 3 * normal(8, 2, 3, seed=2), "n.5": normal(1, 4, 4)}  # fmt: skip
    latent = Latent("a", "fnsw+5", tensors)
    assert parts(latent) == {"f": ["f"], "r": ["r"], "w": ["s.5", "s.6"]}
    targets = {n: Distribution.of(normal(600, seed=i) + 9 * i) for i, n in enumerate("wfr")}
    moved = equalize(latent, targets, 1).tensors
    assert moved["n.5"] is tensors["n.5"]
    styles = np.sort(np.concatenate([moved[n].ravel() for n in ("s.5", "s.6")]))
    np.testing.assert_allclose(styles, targets["w"].targets(96), rtol=1e-5, atol=1e-6)
    assert moved["f"].mean() == pytest.approx(9, abs=0.2)
    assert moved["r"].mean() == pytest.approx(18, abs=0.2)
    with pytest.raises(SampleError, match="not fnsw"):
        equalize(latent, {"w": targets["w"]}, 1)
    with pytest.raises(SampleError, match="not z"):
        equalize(Latent("a", "z", {"z": normal(8)}), targets, 1)
