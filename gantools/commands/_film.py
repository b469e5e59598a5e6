"""The progress video of `project`: targets beside the current pictures."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from gantools.report import Usage

if TYPE_CHECKING:
    import numpy as np

MOST_ROWS = 8  # pictures one below another in a progress video
LEAST_HEIGHT = 256  # of a picture in it


class Film:
    """The progress video: target and current picture, a row for each picture of a batch."""

    def __init__(self, path: str | None) -> None:
        from gantools.io.sink import open_sink

        if path is not None and Path(path).suffix.lower() not in {".mp4", ".gif", ".webm"}:
            raise Usage(f"--progress-video {path}: a name that ends in .mp4, .gif or .webm")
        self.sink = open_sink(path, own="image") if path is not None else None
        self.rows = 0
        self.shape: tuple[int, ...] | None = None
        self.count = 0

    def __enter__(self) -> Film:
        if self.sink is not None:
            self.sink.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        if self.sink is not None:
            self.sink.__exit__(kind, e, t)

    def frame(self, targets: list[np.ndarray], now: np.ndarray) -> None:
        """One frame; later batches have the first one's number of rows and size, black beside."""
        if self.sink is None:
            return
        import numpy as np

        self.rows = self.rows or min(len(targets), MOST_ROWS)
        pairs = [np.concatenate([a, b], axis=1) for a, b in zip(targets, now, strict=True)]
        empty = np.zeros_like(pairs[0])
        rows = [*pairs, *[empty] * self.rows][: self.rows]
        grow = -(-LEAST_HEIGHT // len(empty)) if len(empty) < LEAST_HEIGHT else 1
        frame = np.concatenate(rows).repeat(grow, axis=0).repeat(grow, axis=1)
        self.shape = self.shape or frame.shape
        self.sink.put_frame(f"{self.count:08d}", _fitted(frame, self.shape))
        self.count += 1


def _fitted(frame: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A frame shrunk or enlarged into the middle of another's shape, black beside it."""
    import numpy as np
    from PIL import Image

    if frame.shape == shape:
        return frame
    scale = min(n / m for n, m in zip(shape[:2], frame.shape[:2], strict=True))
    height, width = (max(1, round(n * scale)) for n in frame.shape[:2])
    out = np.zeros(shape, np.uint8)
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    shown = Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS)
    out[top : top + height, left : left + width] = np.asarray(shown)
    return out
