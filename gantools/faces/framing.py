"""Framings: where a network's training pictures have the face, and the square that puts it there.

A network's `crop` says where its training pictures have the landmarks:
{"landmarks": [[x, y]] * 5, "spread": [scale, angle, x, y], "count": n}. The landmarks are means
over n pictures in units of the picture's side: left eye, right eye, nose, left and right corner of
the mouth, as in the picture. The spread is what the training pictures' own framing varies by about
them: standard deviations of log scale, angle (radians) and centre (sides); where a file does not
say, CelebA's are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gantools.faces.detect import Face
from gantools.report import SampleError, Usage

# A framed picture is within so many spreads of the crop in all four. Measured for CelebA's crop:
# 200 held-out CelebA pictures within 5.1, FFHQ from 8.9, LFW from 10.2.
FRAMED = 6.0
SPREAD = (0.033, 0.028, 0.011, 0.009)  # CelebA's
SQUARE = 0.02  # the sides of a framed picture differ by no more than this share


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The 2x3 matrix [aR | t] that minimises sum |aR source + t - target|², without reflection.

    Closed form: points [n, 2] as complex numbers, a e^(i angle) = <s, t> / <s, s> about the means;
    the rotation and translation are Umeyama's (1991), the scale is that of this error.
    SampleError where all source points coincide.
    """
    s, t = (p[:, 0] + 1j * p[:, 1] for p in (np.asarray(source), np.asarray(target)))
    s0, t0 = s - s.mean(), t - t.mean()
    power = (np.abs(s0) ** 2).sum()
    if not (np.isfinite(power) and power > 0):
        raise SampleError("the face's landmarks coincide")
    turn = (s0.conj() * t0).sum() / power
    shift = t.mean() - turn * s.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def quad(points: np.ndarray, crop: dict[str, Any]) -> np.ndarray:
    """Corners [4, 2] in the photograph of the crop whose landmarks fit `points` [5, 2] best.

    The error is measured in the photograph: over CelebA's crops this finds their scale without
    bias, where measuring it in the crop gives 2 % too much.
    """
    onto = similarity(np.array(crop["landmarks"], np.float64), points)
    if np.linalg.det(onto[:, :2]) < 1:
        raise SampleError("the face's landmarks have no direction")
    corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], np.float64)
    return corners @ onto[:, :2].T + onto[:, 2]


def scale(faces: Sequence[Face], crop: dict[str, Any], size: int) -> float:
    """By how much a photograph has to be scaled for crops of its median face to be `size` px.

    SampleError for a face without direction.
    """
    sides = [
        np.linalg.norm(corners[3] - corners[0]) for corners in (quad(f.points, crop) for f in faces)
    ]
    return size / float(np.median(sides))


def deviation(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """How a quad differs from the whole picture: log scale, angle, centre x and y [4]."""
    side = (height * width) ** 0.5
    across = corners[3] - corners[0]
    centre = (corners.mean(0) - np.array([width, height]) / 2) / side
    return np.array([np.log(np.hypot(*across) / side), np.arctan2(across[1], across[0]), *centre])


def is_framed(face: Face, height: int, width: int, crop: dict[str, Any]) -> bool:
    """Whether a picture with this face looks cut as the network's training pictures were.

    Usage where the crop's spread is not four numbers.
    """
    spread = np.array(crop.get("spread", SPREAD), np.float64)
    if spread.shape != (4,):
        raise Usage("the network's crop is damaged: its spread is scale, angle, x and y")
    if abs(height - width) > SQUARE * max(height, width):
        return False
    away = deviation(quad(face.points, crop), height, width) / np.maximum(spread, 0.005)
    return bool(np.abs(away).max() <= FRAMED)
