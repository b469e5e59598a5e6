"""Huge pictures as chunked Zarr arrays [H,W,C], so that any part of one is read alone (S2.23).

A store is a Zarr group with an array of uint8 for each raster, its key the array's path.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from gantools.io import archives, atomic
from gantools.report import SampleError, Usage

CHUNK = 256  # pixels a side: a crop of 64 reads one to four chunks
CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Raster:
    """One array of a store: uint8 [height, width] or [height, width, 1, 3 or 4]."""

    key: str
    name: str
    height: int
    width: int
    array: Any

    def crop(self, y: int, x: int, height: int, width: int) -> np.ndarray:
        """Its part from (y, x) on, uint8 [height, width, C]. SampleError where a chunk is damaged.

        The same as slicing the whole array.
        """
        try:
            pixels = np.asarray(self.array[y : y + height, x : x + width])
        except Exception as e:  # zarr and its codecs raise what they like on a broken chunk
            raise SampleError(f"cannot be read: {e}") from e
        return pixels.reshape(height, width, -1)


def is_store(operand: str) -> bool:
    """Whether an operand holds rasters: a Zarr group, or an array [H,W] or [H,W,C] by itself.

    An array [N,H,W,C] or [N,H,W] holds pictures.
    """
    path = Path(operand)
    if not path.is_dir() or not archives.is_zarr(path):
        return False
    node = archives.open_zarr(path)
    return not hasattr(node, "dtype") or _is_raster(node.shape)


def _is_raster(shape: Sequence[int]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in CHANNELS)


def read(operands: Sequence[str]) -> list[Raster]:
    """Every raster of the stores, sorted by key in each. Usage for what is none, or repeated."""
    found: dict[str, Raster] = {}
    for operand in operands:
        path = Path(operand)
        for key, array in _arrays(path):
            name = f"{operand}: {key}"
            if str(array.dtype) != "uint8" or not _is_raster(array.shape):
                raise Usage(
                    f"{name}: an array of {array.dtype} {list(array.shape)}; rasters are uint8, "
                    "[H, W] or [H, W, C] with 1, 3 or 4 channels (gantools prefilter --zarr)"
                )
            if key in found:
                raise Usage(f"two rasters have the key {key}: {found[key].name} and {name}")
            found[key] = Raster(key, name, int(array.shape[0]), int(array.shape[1]), array)
    return list(found.values())


def _arrays(path: Path) -> list[tuple[str, Any]]:
    node = archives.open_zarr(path)
    if hasattr(node, "dtype"):
        return [(path.name.removesuffix(".zarr") or path.name, node)]
    try:
        members = node.members(max_depth=None)
    except Exception as e:  # zarr raises what it likes on a broken store
        raise Usage(f"{path}: the Zarr group cannot be read: {e}") from e
    return sorted((name, node) for name, node in members if hasattr(node, "dtype"))


class Writer:
    """Makes a store of pictures; it is there whole at the end, or not at all."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise Usage(f"{path} is there: remove it, or name another store")
        self._path = path
        self._temporary = path.parent / f".{path.name}.tmp"

    def put(self, key: str, pixels: np.ndarray) -> None:
        """One raster, uint8 [H,W,C]. SampleError where its key cannot be; Usage for a full disk."""
        try:
            array = self._group.create_array(
                key,
                shape=pixels.shape,
                chunks=(CHUNK, CHUNK, pixels.shape[2]),
                dtype="uint8",
            )
            array[...] = pixels
        except OSError as e:
            raise atomic.failure(self._path, e) from e
        except Exception as e:  # a key inside another raster's, or one that Zarr forbids
            raise SampleError(f"Zarr takes no array of this name: {e}") from e

    def __enter__(self) -> Writer:
        import zarr

        try:
            if self._temporary.exists():
                shutil.rmtree(self._temporary)
            self._group = zarr.open_group(str(self._temporary), mode="w")
        except OSError as e:
            raise atomic.failure(self._path, e) from e
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._temporary.rename(self._path)
        except OSError as error:
            raise atomic.failure(self._path, error) from error
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)


def writer(output: str | None) -> Writer:
    """For -o. Usage for a name that cannot be one."""
    if output is None or output in ("", "-"):
        raise Usage("--zarr needs a name: -o STORE.zarr")
    path = Path(output)
    if not path.parent.is_dir():
        raise Usage(f"-o {output}: the folder {path.parent} does not exist")
    return Writer(path)
