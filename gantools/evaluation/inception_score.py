"""Inception score (Salimans et al. 2016; S1.20): exp of the mean KL of p(y|x) and p(y)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gantools.report import Usage

SPLITS = 10


@dataclass(frozen=True)
class Score:
    """A score, its deviation (of the population), and over what: splits, or runs."""

    value: float
    deviation: float


def of_splits(logits: np.ndarray, splits: int = SPLITS) -> np.ndarray:
    """The score of each split of logits [N, classes], in float64 [splits].

    Split i has the rows from i N / splits (rounded down) on. Usage where one would be empty.
    """
    count = len(logits)
    if count < splits:
        raise Usage(f"{splits} splits need {splits} pictures or more, here are {count}")
    ends = [i * count // splits for i in range(splits + 1)]
    parts = (logits[a:b] for a, b in pairwise(ends))
    return np.array([_score(part.astype(np.float64)) for part in parts])


# exp of the mean over x of Σ p(y|x) (ln p(y|x) - ln p(y)); a class that nobody has counts nothing.
def _score(logits: np.ndarray) -> float:
    logits -= logits.max(axis=1, keepdims=True)
    p = np.exp(logits)
    total = p.sum(axis=1, keepdims=True)
    p /= total
    logits -= np.log(total)
    marginal = p.mean(axis=0)
    entropy = (marginal * np.log(np.where(marginal > 0, marginal, 1.0))).sum()
    return float(np.exp((p * logits).sum(axis=1).mean() - entropy))


def summary(scores: np.ndarray) -> Score:
    """Mean and standard deviation of scores [K]: of the splits of a set, or of runs (method ii)."""
    return Score(float(scores.mean()), float(scores.std()))


def interval(scores: np.ndarray) -> tuple[float, float]:
    """A 95 % interval of the mean of two scores or more, by Student's t."""
    from scipy.special import stdtrit

    half = stdtrit(len(scores) - 1, 0.975) * scores.std(ddof=1) / np.sqrt(len(scores))
    return float(scores.mean() - half), float(scores.mean() + half)


def best(scores: Sequence[Score]) -> int:
    """Which has the highest value, with its own deviation (method i); of equal ones the first."""
    return max(range(len(scores)), key=lambda i: scores[i].value)
