"""Which face, and which part of the picture: boxes (S0.3, S1.15), CelebA-HQ's square (S1.16)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gantools.faces.detect import Face
from gantools.report import SampleError


def choose(boxes: np.ndarray, height: int, width: int) -> int:
    """Index of the box [n, 4] with the largest area - 2 distance², the first of equals (S0.3).

    distance: from the box's centre to the picture's, px.
    """
    centre = (boxes[:, 0:2] + boxes[:, 2:4]) / 2
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    away = ((centre - np.array([width, height]) / 2) ** 2).sum(1)
    return int(np.argmax(area - 2.0 * away))


def order(faces: Sequence[Face], height: int, width: int) -> list[int]:
    """Indices of the faces, S0.3's choice first, then by area from the largest."""
    if not faces:
        return []
    first = choose(np.array([face.box for face in faces]), height, width)
    rest = sorted((i for i in range(len(faces)) if i != first), key=lambda i: -faces[i].area)
    return [first, *rest]


def facenet_box(
    box: Sequence[float], height: int, width: int, margin: float = 50
) -> tuple[int, int, int, int]:
    """The box with `margin` px more per axis in all, clipped and truncated: x1 y1 x2 y2 (S0.3)."""
    x1, y1, x2, y2 = box
    return (
        int(max(x1 - margin / 2, 0)),
        int(max(y1 - margin / 2, 0)),
        int(min(x2 + margin / 2, width)),
        int(min(y2 + margin / 2, height)),
    )


def facenet_crop(photo: np.ndarray, box: tuple[int, int, int, int], size: int) -> np.ndarray:
    """The box's content as [size, size, 3] uint8, bilinear, not kept square (S0.3)."""
    from PIL import Image

    x1, y1, x2, y2 = box
    if x2 <= x1 or y2 <= y1:
        raise SampleError("the face lies outside the picture")
    part = Image.fromarray(np.ascontiguousarray(photo[y1:y2, x1:x2]))
    return np.asarray(part.resize((size, size), Image.Resampling.BILINEAR))


def celeba_box(photo: np.ndarray) -> tuple[int, int, int, int]:
    """CelebA's aligned pictures, 178x218, about (89, 121): x1 y1 x2 y2 of 128x128 px (S1.15)."""
    height, width = photo.shape[:2]
    if (width, height) != (178, 218):
        raise SampleError(f"{width}x{height} px: CelebA's aligned pictures have 178x218")
    return 25, 57, 153, 185


def square_box(photo: np.ndarray) -> tuple[int, int, int, int]:
    """The largest square in the middle, in whole px, as LSUN is prepared: x1 y1 x2 y2 (S1.15)."""
    height, width = photo.shape[:2]
    side = min(height, width)
    x, y = (width - side) // 2, (height - side) // 2
    return x, y, x + side, y + side


def padded_box(photo: np.ndarray, size: int) -> tuple[int, int, int, int]:
    """The square of `size` px about the whole picture, as MNIST is prepared: x1 y1 x2 y2 (S1.15).

    28x28 px get 2 more on each side for 32; an odd px goes to the right and below.
    """
    height, width = photo.shape[:2]
    if max(height, width) > size:
        raise SampleError(f"{width}x{height} px is larger than --size {size}")
    x, y = -((size - width) // 2), -((size - height) // 2)
    return x, y, x + size, y + size


def box_crop(photo: np.ndarray, box: tuple[int, int, int, int], size: int) -> np.ndarray:
    """A square box's content as [size, size, 3] uint8, Lanczos; as it is where it has this size.

    Outside the picture the box is black.
    """
    from PIL import Image

    part = Image.fromarray(photo).crop(box)
    return np.asarray(part.resize((size, size), Image.Resampling.LANCZOS))


def celebahq_quad(landmarks: np.ndarray) -> np.ndarray:
    """CelebA-HQ's square about the landmarks [5, 2] px, turned with the face (S1.16, X.6-7).

    FFHQ's is the same. Corners [4, 2]: top left, bottom left, bottom right, top right. The
    half-pixel shift is in it.
    """
    eye_left, eye_right, _, mouth_left, mouth_right = np.asarray(landmarks, np.float64) + 0.5
    eyes = (eye_left + eye_right) / 2
    across = eye_right - eye_left  # x'
    up = eyes - (mouth_left + mouth_right) / 2  # y'
    half = max(2.0 * np.hypot(*across), 1.8 * np.hypot(*up))  # s / 2
    x = across - np.array([up[1], -up[0]])
    length = np.hypot(*x)
    if not length > 0:
        raise SampleError("the face's landmarks coincide")
    x *= half / length
    y = np.array([-x[1], x[0]])  # x turned by 90 degrees: downwards in the picture
    centre = eyes - 0.1 * up
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
