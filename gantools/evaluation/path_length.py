"""Perceptual path length: NVIDIA's percentile rule, its crop, and distances that merge (S0.17)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from gantools.evaluation import bootstrap
from gantools.evaluation.bootstrap import resamples

LOW, HIGH = 1, 99  # percentiles
RULE = "mean of the distances from the 1st (lower) to the 99th (higher) percentile"
ROWS, COLUMNS = (3, 7), (2, 6)  # eighths of the height in which a face of FFHQ lies


def cuts(distances: np.ndarray) -> tuple[float, float]:
    """The 1st and 99th percentile of distances [N]: of numpy the methods lower and higher."""
    last = len(distances) - 1
    at = math.floor(last * (LOW / 100)), math.ceil(last * (HIGH / 100))
    ordered = np.partition(distances, at)
    return float(ordered[at[0]]), float(ordered[at[1]])


def path_length(distances: np.ndarray) -> float:
    """The mean of distances [N] within `cuts`, those included."""
    low, high = cuts(distances)
    return float(distances[(distances >= low) & (distances <= high)].mean())


def summary(name: str, distances: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """{ppl_name: path length, ppl_name_ci: its 95 % interval}; cuts are made in every resample."""
    found: dict[str, Any] = {f"ppl_{name}": path_length(distances)}
    if len(distances) > 1:
        resampled = (path_length(distances[i]) for i in resamples(len(distances), seed))
        found[f"ppl_{name}_ci"] = bootstrap.ends(np.array([*resampled])[:, None])[0].tolist()
    return found


def face(images: Tensor) -> Tensor:
    """The part of square pictures [N, C, H, H] in which FFHQ has the face: [N, C, H/2, H/2]."""
    c = images.shape[2] // 8
    return images[:, :, ROWS[0] * c : ROWS[1] * c, COLUMNS[0] * c : COLUMNS[1] * c]


def has_face(crop: dict[str, Any] | None) -> bool:
    """Whether a network's framing (shares of the picture) has all landmarks in `face`."""
    if not crop:
        return False
    low = np.array([COLUMNS[0], ROWS[0]]) / 8
    high = np.array([COLUMNS[1], ROWS[1]]) / 8
    points = np.array(crop["landmarks"], np.float64)
    return bool(((points > low) & (points < high)).all())
