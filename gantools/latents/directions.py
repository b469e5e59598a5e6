"""Fits of attribute directions in a latent space (papers.md S2.7): labelled, SeFa, GANSpace.

Shen et al. 2020 (InterFaceGAN), Shen and Zhou 2021 (SeFa), Härkönen et al. 2020 (GANSpace).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gantools.report import SampleError

RIDGE = 1e-3  # of the mean variance of the latents; keeps a flat spectrum invertible
SPLIT = 0.7  # share of the samples that are fitted; the rest validates


@dataclass
class Fit:
    """A direction of length 1 and how well it tells the label.

    slope: change of the label per unit along the normal, by least squares; sd: the label's own.
    quality: numbers for the file and for stderr (r, accuracy, counts).
    """

    normal: np.ndarray  # [dim]
    sd: float
    slope: float
    quality: dict[str, Any] = field(default_factory=dict)

    @property
    def vector(self) -> np.ndarray:
        """The normal, scaled so that strength 1 is one standard deviation of the label."""
        return self.normal * (self.sd / self.slope)


def unit(v: np.ndarray) -> np.ndarray:
    """v / |v|."""
    return v / np.linalg.norm(v)


def regression(x: np.ndarray, a: np.ndarray, ridge: float = RIDGE) -> np.ndarray:
    """beta [dim] of a ≈ <beta, x> + const by ridge regression; x [N, dim], a [N], float64."""
    centred, target = x - x.mean(axis=0), a - a.mean()
    count, dim = x.shape
    weight = ridge * np.square(centred).sum() / count / dim
    if dim <= count:
        covariance = centred.T @ centred / count
        return np.linalg.solve(covariance + weight * np.eye(dim), centred.T @ target / count)
    gram = centred @ centred.T / count  # the same beta from the smaller system
    return centred.T @ np.linalg.solve(gram + weight * np.eye(count), target / count)


def logistic(x: np.ndarray, a: np.ndarray, share: float = 0.5) -> np.ndarray:
    """Normal [dim] of logistic regression between the upper and the lower `share` by label."""
    from sklearn.linear_model import LogisticRegression

    chosen, positive = _classes(a, share)
    scale = x.std() or 1.0  # so that the regularisation does not depend on the latents' unit
    model = LogisticRegression(max_iter=2000).fit(x[chosen] / scale, positive)
    return unit(model.coef_[0])


def svm(x: np.ndarray, a: np.ndarray, share: float = 0.02) -> np.ndarray:
    """Normal [dim] of a linear SVM between the upper and the lower `share` by label."""
    from sklearn.svm import SVC

    chosen, positive = _classes(a, share)
    return unit(SVC(kernel="linear").fit(x[chosen], positive).coef_[0])


def _classes(a: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Which samples are used, and whether each is positive; labels of two values are classes."""
    values = np.unique(a)
    if len(values) < 2:
        raise SampleError("every sample has the same label")
    if len(values) == 2:
        return np.arange(len(a)), a == values[1]
    positive, negative = extremes(a, share)
    return np.concatenate([positive, negative]), np.repeat([True, False], len(positive))


def extremes(a: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the highest and the lowest labels: a share (up to 1/2), or a number above 1."""
    order = np.argsort(a, kind="stable")[::-1]
    count = int(len(a) * share) if share <= 1 else int(share)
    count = max(min(count, len(a) // 2), 1)
    return order[:count], order[-count:]


@dataclass
class Boundary:
    """InterFaceGAN's boundary: its unit normal, and (right, all) of the samples left out."""

    normal: np.ndarray
    validation: tuple[int, int]
    remaining: tuple[int, int]


def boundary(
    x: np.ndarray,
    a: np.ndarray,
    *,
    share: float = 0.02,
    split: float = SPLIT,
    invalid: float | None = None,
    shuffle: Callable[[int], np.ndarray],
) -> Boundary:
    """InterFaceGAN's linear SVM on the extreme labels, with its 70/30 split (S2.7).

    x [N, dim], a [N]. `shuffle(n)` gives a permutation of n, for the positives and then for the
    negatives; samples whose label is `invalid` are left out.
    """
    from sklearn.svm import SVC

    if invalid is not None:
        x, a = x[a != invalid], a[a != invalid]
    order = np.argsort(a, kind="stable")[::-1]
    count = len(extremes(a, share)[0])
    positive, negative = order[:count], order[-count:]
    positive, negative = positive[shuffle(count)], negative[shuffle(count)]
    cut = int(count * split)
    model = SVC(kernel="linear").fit(
        x[np.concatenate([positive[:cut], negative[:cut]])], np.repeat([1, 0], cut)
    )

    def right(chosen: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
        if not len(chosen):
            return 0, 0
        return int(np.sum(model.predict(x[chosen]) == labels)), len(chosen)

    held_out = np.concatenate([positive[cut:], negative[cut:]])
    rest = order[count:-count]
    middle = (a.max() + a.min()) / 2
    return Boundary(
        unit(model.coef_[0]),
        right(held_out, np.repeat([1, 0], count - cut)),
        right(rest, (a[rest] >= middle).astype(int)),
    )


def fit(
    x: np.ndarray, a: np.ndarray, method: str, *, share: float | None, rng: np.random.Generator
) -> Fit:
    """The direction of a label by `method` (regression, logistic, svm), judged on a held-out part.

    x [N, dim] latents, a [N] labels. The slope along the normal is that of the least-squares plane
    through all labels, so the three methods share one unit. SampleError where there is nothing to
    fit: fewer than ten samples, one label only, or no relation.
    """
    x, a = x.astype(np.float64), a.astype(np.float64)
    if len(x) < 10 or not a.std() > 0:
        raise SampleError(f"{len(x)} samples with {len(np.unique(a))} different labels")
    order = rng.permutation(len(x))
    train, test = np.split(order, [int(len(x) * SPLIT)])
    beta = regression(x[train], a[train])
    if method == "regression":
        normal = unit(beta)
    elif method == "logistic":
        normal = logistic(x[train], a[train], 0.5 if share is None else share)
    else:
        normal = svm(x[train], a[train], 0.02 if share is None else share)
    r = float(np.corrcoef(x[test] @ normal, a[test])[0, 1])
    if not r > 0:
        raise SampleError(f"the latents do not tell this label (held-out correlation {r:.2f})")
    quality = {"method": method, "samples": len(x), "r": round(r, 4)}
    return Fit(normal, float(a.std()), float(beta @ normal), quality)


def sefa(weights: Sequence[np.ndarray], *, normalise: bool) -> tuple[np.ndarray, np.ndarray]:
    """SeFa: directions [w_dim, w_dim] as rows and their eigenvalues, largest first.

    weights: style matrices [C, w_dim] of the chosen layers. normalise: every row (one style
    channel) to length 1, as genforce/sefa does and rosinality does not.
    """
    a = np.concatenate(weights).astype(np.float64)
    if normalise:
        a = a / np.linalg.norm(a, axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(a.T @ a)
    return _signed(vectors.T[::-1]), values[::-1]


def sefa_weights(
    tensors: Mapping[str, np.ndarray], *, layers: Sequence[int] | None = None, first_rgb: bool
) -> list[np.ndarray]:
    """The style matrices of StyleGAN 1 or 2 by 0-based layer, one ToRGB as the two codes have it.

    tensors: g_ema by NVIDIA's names. first_rgb: the 4x4 ToRGB (rosinality) instead of the last one
    (genforce). Only all layers together have a ToRGB, and StyleGAN1's has no style.
    """
    convs: dict[tuple[int, str], np.ndarray] = {}
    rgbs: dict[int, np.ndarray] = {}
    for name, value in tensors.items():
        found = re.fullmatch(r"synthesis\.b(\d+)\.(conv0|conv1|torgb)\.affine\.weight", name)
        if found and found[2] == "torgb":
            rgbs[int(found[1])] = value
        elif found:
            convs[int(found[1]), found[2]] = value
    in_order = [convs[key] for key in sorted(convs)]
    if not in_order:
        raise SampleError("SeFa reads StyleGAN's and StyleGAN2's style matrices; here are none")
    if layers is not None:
        return [in_order[i] for i in layers if i < len(in_order)]
    return in_order + [rgbs[size] for size in sorted(rgbs)[:: 1 if first_rgb else -1][:1]]


def pca(x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """GANSpace: the first principal directions [count, dim] of x [N, dim] and their sd [count]."""
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred / (len(x) - 1))
    first = slice(None, -count - 1, -1)
    return _signed(vectors.T[first]), np.sqrt(np.maximum(values[first], 0))


def _signed(rows: np.ndarray) -> np.ndarray:
    """A direction and its opposite are one: the largest entry of each row is made positive."""
    at = np.argmax(np.abs(rows), axis=1)
    return rows * np.sign(rows[np.arange(len(rows)), at])[:, None]
