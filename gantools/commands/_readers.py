"""Networks that read attributes off pictures: of `train direction`, and face-api's (S0.18)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantools.report import Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.evaluation.features import Picture


@dataclass(frozen=True)
class Reading:
    """read: uint8 [n, H, W, 3] -> scores [n, K], a column for each of `columns`.

    thresholds: above which a score is the attribute, where that is known.
    """

    columns: list[str]
    read: Callable[[np.ndarray], np.ndarray]
    story: dict[str, Any]
    thresholds: dict[str, float] = field(default_factory=dict)

    def scores(
        self, pictures: Iterator[Picture], batch: int
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """(names [n], scores [n, K]) of pictures of one size, batch by batch."""
        import numpy as np

        names: list[str] = []
        group: list[np.ndarray] = []
        for name, pixels in pictures:
            names.append(name)
            group.append(_opaque(pixels))
            if len(group) == batch:
                yield names, self.read(np.stack(group))
                names, group = [], []
        if group:
            yield names, self.read(np.stack(group))


def opened(name: str, device: str) -> Reading:
    """The attribute network of --reader: a file of `train direction`, or face-api's folder."""
    path = Path(name)
    if not path.exists():
        raise Usage(f"--reader {name}: no such file or folder")
    return _of_faceapi(path) if path.is_dir() else _of_file(path, device)


def _of_file(path: Path, device: str) -> Reading:
    import torch

    from gantools.evaluation import attributes
    from gantools.io import weights

    reader, quality = attributes.load(path, device=device)

    def read(images: np.ndarray) -> np.ndarray:
        # One picture at a time on a CPU: a batch's rounding would be a choice of --batch.
        x = torch.from_numpy(images).permute(0, 3, 1, 2).to(device).float() / 127.5 - 1
        parts = x.split(1 if device == "cpu" else len(x))
        found: np.ndarray = torch.cat([reader.read(part) for part in parts]).double().cpu().numpy()
        return found

    told = {name: round(float(r), 4) for name, r in quality.items()}
    story = {"labels": path.name, "labels_sha256": weights.sha256(path), "labels_r": told}
    return Reading(list(reader.columns), read, story)


def _of_faceapi(folder: Path) -> Reading:
    import numpy as np

    from gantools.evaluation import faceapi
    from gantools.io import weights

    tensors = faceapi.load(folder)
    files = [f / f"{faceapi.MODEL}.bin" for f in (folder, folder / "faceapi")]
    marks = [weights.sha256(file) for file in files if file.is_file()]

    def read(images: np.ndarray) -> np.ndarray:
        return np.stack(faceapi.age_and_male(images, tensors, batch=1), axis=1).astype(np.float64)

    story = {"labels": f"face-api's {faceapi.MODEL}", "labels_sha256": " ".join(marks)}
    return Reading(["age", "male"], read, story, {"male": 0.5})


def _opaque(pixels: np.ndarray) -> np.ndarray:
    from gantools.io.alpha import on_white

    pixels = on_white(pixels)
    return pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels
