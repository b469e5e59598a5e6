"""Faces and their five landmarks in photographs: MTCNN, weights from facenet-pytorch (S0.2)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np

Implementation = Literal["facenet-pytorch", "facenet"]
MOST_PIXELS = 1 << 22
"""A larger picture is shrunk to this many before the search, so time and memory are bounded."""


@dataclass(frozen=True, slots=True)
class Face:
    """One face: box (x1, y1, x2, y2) and landmarks [5, 2] in px of the picture, score 0..1.

    Landmarks: left eye, right eye, nose, left and right corner of the mouth, left and right as
    they stand in the picture. Boxes and landmarks are MTCNN's own numbers, whose first px is 1.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: np.ndarray

    @property
    def area(self) -> float:
        """Square px of the box."""
        x1, y1, x2, y2 = self.box
        return (x2 - x1) * (y2 - y1)

    @property
    def points(self) -> np.ndarray:
        """Landmarks [5, 2] where the picture's top left corner is (0, 0).

        Measured: in 51 mirrored portraits x and its mirror image add up to the width + 1.06.
        """
        return self.landmarks - 0.5


class Detector:
    """MTCNN; thresholds are those of S0.2.

    min_face: side in px of the smallest face looked for (in a picture of more than MOST_PIXELS:
    px after it is shrunk). rules: whose pyramid, borders and suppression (see `mtcnn`).
    """

    def __init__(
        self,
        device: str = "cpu",
        *,
        min_face: int = 20,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        factor: float = 0.709,
        rules: Implementation = "facenet-pytorch",
    ) -> None:
        import torch
        from facenet_pytorch import MTCNN

        from gantools.faces.mtcnn import LIBRARY, ORIGINAL, Cascade

        # Exact means need float64, which Apple's GPUs lack; the networks are small.
        self.device = torch.device("cpu" if device.startswith("mps") else device)
        nets = MTCNN(device=self.device).eval().to(memory_format=torch.channels_last)
        of_rules = {"facenet-pytorch": LIBRARY, "facenet": ORIGINAL}[rules]
        three = nets.pnet, nets.rnet, nets.onet
        self.cascade = Cascade(*three, min_face, thresholds, factor, of_rules)
        # Small layers gain little from several threads in each: pictures side by side gain more.
        self.workers = torch.get_num_threads() if self.device.type == "cpu" else 1
        self.pool = ThreadPoolExecutor(self.workers)

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """Faces of each uint8 [H, W, 3] picture, best score first; [] where there is none.

        Pictures of equal size are computed together; on the CPU what is found in one is the same
        to the bit whatever stands beside it. A picture smaller than a face has none.
        """
        found: list[list[Face]] = [[] for _ in images]
        shapes: dict[tuple[int, ...], list[int]] = {}
        for i, image in enumerate(images):
            assert image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8
            shapes.setdefault(image.shape, []).append(i)
        parts: list[list[int]] = []
        for (height, width, _), members in shapes.items():
            share = -(-len(members) // self.workers)
            at_once = max(1, min(share, MOST_PIXELS // self.workers // (height * width)))
            parts += [members[i : i + at_once] for i in range(0, len(members), at_once)]
        with _one_thread_each(self.workers):
            made = self.pool.map(self._equal, [[images[i] for i in part] for part in parts])
            for part, faces in zip(parts, made, strict=True):
                for i, one in zip(part, faces, strict=True):
                    found[i] = one
        return found

    def _equal(self, images: list[np.ndarray]) -> list[list[Face]]:
        """The cascade on pictures of one size, which together have at most MOST_PIXELS, or one."""
        import torch

        height, width = images[0].shape[:2]
        small = np.stack([_bounded(image) for image in images])
        owner, rows, points = self.cascade(torch.from_numpy(small).to(self.device))
        scale = np.array([width / small.shape[2], height / small.shape[1]])
        faces: list[list[Face]] = [[] for _ in images]
        for i, row, xy in zip(
            owner.tolist(), rows.double().tolist(), points.double().cpu().numpy(), strict=True
        ):
            x1, y1, x2, y2 = (np.array(row[:4]) * np.tile(scale, 2)).tolist()
            faces[i].append(Face((x1, y1, x2, y2), row[4], xy * scale))
        return faces


@contextlib.contextmanager
def _one_thread_each(workers: int) -> Iterator[None]:
    """torch with one thread for each worker, as before afterwards."""
    import torch

    before = torch.get_num_threads()
    if workers > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _bounded(image: np.ndarray) -> np.ndarray:
    """The picture, shrunk where it has more than MOST_PIXELS."""
    height, width = image.shape[:2]
    if height * width <= MOST_PIXELS:
        return image
    from PIL import Image

    shrink = (MOST_PIXELS / (height * width)) ** 0.5
    size = (max(1, int(width * shrink)), max(1, int(height * shrink)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
