"""Photographs brought to a network's framing, and how a training set is framed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Literal, TypeVar

import numpy as np

from gantools.faces import warp
from gantools.faces.detect import Detector, Face
from gantools.faces.find import find, refined
from gantools.faces.framing import deviation, is_framed, quad
from gantools.report import SampleError, Usage

T = TypeVar("T")
Mode = Literal["auto", "never", "always"]


def align(
    photo: np.ndarray,
    crop: dict[str, Any] | None,
    size: int,
    mode: Mode,
    detector: Detector | None,
) -> tuple[np.ndarray, np.ndarray, Face | None]:
    """A uint8 [H, W, 3] photograph as the network wants it: pixels [size, size, 3], quad, face.

    quad: the crop's corners in the photograph, for `paste`. mode: `always` cuts the face out,
    `never` takes the largest centred square, `auto` does this where the picture already is framed
    as the training pictures (or is `size` x `size` px, and no face is found in it), and cuts the
    face out where not. A network without `crop` (no faces) makes `auto` be `never`, and no
    detector is needed. Of several faces S0.3's choice is taken.

    SampleError: no face found. Usage: `always` for a network without `crop`.
    """
    if mode == "always" and crop is None:
        raise Usage("--align always: the network does not say where its pictures have the face")
    if mode == "never" or crop is None:
        return *_whole(photo, size), None
    assert detector is not None
    (faces,) = find([photo], detector)
    if not faces and mode == "auto" and photo.shape[0] == photo.shape[1] == size:
        return *_whole(photo, size), None
    if not faces:
        raise SampleError("no face found")
    (face,) = refined([photo], faces[:1], crop, detector)
    height, width = photo.shape[:2]
    if mode == "auto" and is_framed(face, height, width, crop):
        return *_whole(photo, size), face
    corners = quad(face.points, crop)
    return warp.crop_quad(photo, corners, size), corners, face


def _whole(photo: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest centred square, and its corners."""
    corners = warp.whole_square(*photo.shape[:2])
    return warp.crop_quad(photo, corners, size), corners


def mean_landmarks(
    images: Iterable[np.ndarray], detector: Detector, *, batch: int = 16
) -> dict[str, Any]:
    """`crop` (see `framing`) of a set of square training pictures, uint8 [R, R, 3].

    Pictures with no face, or more than one, are left out. Usage if none is left.
    """
    alone: list[tuple[np.ndarray, Face]] = []
    for part in _parts(images, batch):
        found = zip(part, find(part, detector), strict=True)
        alone += [(photo, faces[0]) for photo, faces in found if len(faces) == 1]
    if not alone:
        raise Usage("no face was found in any of the training pictures")
    rough = {"landmarks": np.mean([_share(*one) for one in alone], 0)}
    points = []
    for some in _parts(alone, batch):
        photos, faces = zip(*some, strict=True)
        again = refined(photos, faces, rough, detector)
        points += [_share(*one) for one in zip(photos, again, strict=True)]
    mean = np.mean(points, 0)  # [5, 2]
    away = [deviation(quad(p * 1000, {"landmarks": mean}), 1000, 1000) for p in points]
    return {
        "landmarks": mean.round(5).tolist(),
        "spread": np.std(away, 0).round(5).tolist(),
        "count": len(points),
    }


def _share(photo: np.ndarray, face: Face) -> np.ndarray:
    """Landmarks [5, 2] in sides of the picture."""
    return face.points / np.array(photo.shape[1::-1])


def _parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(items)
    while part := list(islice(left, size)):
        yield part
