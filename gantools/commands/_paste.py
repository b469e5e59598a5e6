"""Putting a crop back into the photograph that it came from: what project and edit share."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gantools import options
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.io.latent import Latent

NO_PICTURES = (
    "--paste makes pictures: name them with -o, such as -o whole.png, or -o DIR/{}.png for several"
)
HAS_ALPHA = "--paste: the network's pictures have alpha of their own, lay them on the photograph"
Paste = Annotated[
    str | None,
    typer.Option(
        "--paste",
        metavar="PHOTO|FOLDER",
        help="Put each picture back into the whole photograph that it was cropped from, blended "
        "at the border: one photograph for all, or a folder in which a sample's key is looked up.",
        show_default=False,
    ),
]
Scale = Annotated[
    float,
    typer.Option(
        "--scale",
        metavar="X",
        min=0.01,
        callback=options.finite,
        help="With --paste: enlarge the photograph.",
    ),
]


def paste_back(latent: Latent, pixels: np.ndarray, where: str, scale: float = 1) -> np.ndarray:
    """The photograph (uint8 [H,W,3], times scale) with the latent's picture in its place.

    where: a photograph, or a folder that holds it under the latent's key (`a/7` for the key `a/7`
    and for its frames `a/7/0001`). SampleError where the latent has no crop, or the photograph is
    not there, or is not the one that was projected. Usage where there is no such file or folder.
    """
    path = _photograph(latent.key, where)
    return paste_into(latent, pixels, _decoded(path, path.stat().st_mtime_ns), scale, path.name)


def paste_into(
    latent: Latent, pixels: np.ndarray, photo: np.ndarray, scale: float = 1, name: str = "the photo"
) -> np.ndarray:
    """`paste_back` with the photograph at hand."""
    from gantools.faces.paste import paste

    if pixels.shape[2] == 4:
        raise SampleError(HAS_ALPHA)
    crop = latent.header.get("crop")
    if not isinstance(crop, dict) or "quad" not in crop:
        raise SampleError("it names no place in a photograph (its header has no crop)")
    height, width = photo.shape[:2]
    source = crop.get("source")
    if source is not None and list(source) != [width, height]:
        raise SampleError(
            f"{name} is {width}x{height}, the photograph that was projected {source[0]}x{source[1]}"
        )
    return paste(photo, pixels, crop["quad"], scale)


def _photograph(key: str, where: str) -> Path:
    place = Path(where)
    if place.is_file():
        return place
    if not place.is_dir():
        raise Usage(f"--paste {where}: no such photograph or folder")
    for name in _names(key):
        folder = (place / name).parent
        stem = (place / name).name
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if path.is_file() and stem in (path.name, path.stem):
                return path
    raise SampleError(f"no photograph of the key {key} in {where}")


def _names(key: str) -> Iterator[str]:
    """The key, then the keys above it: frames are `key/0001`."""
    while key:
        yield key
        key = key.rpartition("/")[0]


@lru_cache(maxsize=1)  # the frames of one photograph come one after another
def _decoded(path: Path, changed: int) -> np.ndarray:
    from gantools.io.image import decode

    return decode(path.read_bytes())
