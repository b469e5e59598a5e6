"""Statistics of features in files: partial sums that merge (S0.16), and others' mu and sigma.

Ours are safetensors with `count` int64 [1], `mean` [D] and `scatter` Σ (x - mean)(x - mean)ᵀ [D, D]
in float64, and their parts' stories. pytorch-fid, clean-fid and NVIDIA's EDM write .npz files with
`mu` [D] and `sigma` [D, D], divided by N - 1, without N.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gantools.evaluation import shards
from gantools.evaluation.frechet import Gaussian, Moments
from gantools.io import tensorfile
from gantools.report import Usage

OURS = ("count", "mean", "scatter")
THEIRS = ("mu", "sigma")
SYMMETRIC = 1e-5  # of the largest entry; float32 statistics are in circulation


@dataclass
class Statistics:
    """Moments of one set, where they are from, and what made the features (empty: unknown).

    parts: a story for each set of pictures that is in the sums, with their `sums_sha256`; none of
    mu and sigma.
    """

    name: str
    moments: Moments | Gaussian
    extractor: dict[str, Any]
    parts: list[dict[str, Any]]

    def as_set(self) -> dict[str, Any]:
        """The story of the set in a metric's protocol."""
        story: dict[str, Any] = {"source": self.name, "kind": "statistics"}
        if isinstance(self.moments, Moments):
            story |= {"count": self.moments.count, "parts": self.parts}
        else:
            story["count"] = "not in the file"
        if self.extractor:
            story["extractor"] = self.extractor
        return story


def measured(
    name: str, moments: Moments, extractor: dict[str, Any], story: dict[str, Any]
) -> Statistics:
    """Statistics of one part, with a mark by which it is known again."""
    digest = hashlib.sha256(np.array([moments.count], "<i8").tobytes())
    for array in (moments.mean, moments.scatter):
        digest.update(array.astype("<f8").tobytes())
    part = {**story, "sums_sha256": digest.hexdigest()}
    return Statistics(name, moments, extractor, [part])


def merged(parts: Sequence[Statistics]) -> Statistics:
    """All parts together, in any order; one alone is as it is.

    Usage for features of different networks or dimensions, for a part that is there twice, and for
    mu and sigma, whose weight is not known.
    """
    if len(parts) == 1:
        return parts[0]
    first, seen = parts[0], dict[str, str]()
    whole = Moments(len(first.moments.mean))
    for part in parts:
        if isinstance(part.moments, Gaussian):
            raise Usage(f"{part.name}: mu and sigma without a count cannot be merged")
        if len(part.moments.mean) != len(whole.mean):
            dims = f"{len(whole.mean)} and of {len(part.moments.mean)}"
            raise Usage(f"{part.name}: features of {dims} dimensions do not merge")
        if part.extractor.get("features_sha256") != first.extractor.get("features_sha256"):
            raise Usage(f"{part.name}: of other features than {first.name}")
        for story in part.parts:
            mark = str(story.get("sums_sha256"))
            if mark in seen:
                raise Usage(f"{part.name}: what it counts is in {seen[mark]} already")
            seen[mark] = part.name
        whole.merge(part.moments)
    names = f"{first.name} and {len(parts) - 1} more"
    stories = [story for part in parts for story in part.parts]
    return Statistics(names, whole, first.extractor, stories)


def missing(parts: Sequence[dict[str, Any]]) -> list[str]:
    """The shards I/N that no part has, of every N that one has."""
    return shards.missing(str(part["shard"]) for part in parts if "shard" in part)


# ---------------------------------------------------------------------------- files


def is_file_of_statistics(path: Path) -> bool:
    """Whether it is a file of ours or an .npz of mu and sigma, by its bytes."""
    if not path.is_file():
        return False
    if tensorfile.looks_like(path):
        return set(OURS) <= set(tensorfile.read(path)[1])
    try:
        with zipfile.ZipFile(path) as file:
            return {f"{name}.npy" for name in THEIRS} <= set(file.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def save(path: Path, found: Statistics) -> None:
    """Write statistics with a count atomically; the same ones give the same bytes."""
    if isinstance(found.moments, Gaussian):
        raise Usage(f"{found.name}: mu and sigma have no count, there is nothing to add to them")
    moments = found.moments
    tensors = {"mean": moments.mean, "scatter": moments.scatter}
    count = np.array([moments.count], np.int64)
    story = {"extractor": found.extractor, "parts": found.parts}
    tensorfile.write(path, {"count": count, **tensors}, story)


def load(path: Path) -> Statistics:
    """The statistics of a file of either kind; Usage where it is damaged."""
    if not tensorfile.looks_like(path):
        return _theirs(path)
    story, tensors = tensorfile.read(path)
    count, mean, scatter = (tensors[name] for name in OURS)
    _check(path, mean, scatter)
    if count.shape != (1,) or count.dtype.kind not in "iu" or count[0] < 0:
        raise Usage(f"{path.name}: its count is no number of pictures")
    moments = Moments(len(mean))
    moments.count = int(count[0])
    moments.mean, moments.scatter = mean.astype(np.float64), scatter.astype(np.float64)
    extractor, parts = story.get("extractor", {}), story.get("parts", [])
    if not isinstance(extractor, dict) or not isinstance(parts, list):
        raise Usage(f"{path.name}: its story is not one of metrics stats")
    parts = [part for part in parts if isinstance(part, dict)]
    return Statistics(path.name, moments, extractor, parts)


def _theirs(path: Path) -> Statistics:
    try:
        with np.load(path, allow_pickle=False) as file:
            mean, matrix = (file[name] for name in THEIRS)
    except (KeyError, ValueError, EOFError, MemoryError, OSError, zipfile.BadZipFile) as e:
        raise Usage(f"{path.name}: damaged statistics ({e})") from None
    _check(path, mean, matrix)
    gaussian = Gaussian(mean.astype(np.float64), matrix.astype(np.float64))
    return Statistics(path.name, gaussian, {}, [])


def _check(path: Path, mean: np.ndarray, matrix: np.ndarray) -> None:
    if mean.ndim != 1 or matrix.shape != (len(mean), len(mean)) or not len(mean):
        shapes = f"{list(mean.shape)} and {list(matrix.shape)}"
        raise Usage(f"{path.name}: mean and covariance are {shapes}, expected [D] and [D, D]")
    if mean.dtype.kind != "f" or matrix.dtype.kind != "f":
        raise Usage(f"{path.name}: mean and covariance are {mean.dtype} and {matrix.dtype}")
    if not (np.isfinite(mean).all() and np.isfinite(matrix).all()):
        raise Usage(f"{path.name}: its statistics are not finite")
    if np.abs(matrix - matrix.T).max() > SYMMETRIC * np.abs(matrix).max():
        raise Usage(f"{path.name}: its covariance is not symmetric")
