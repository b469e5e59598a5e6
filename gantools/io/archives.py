"""What holds many samples: compressed files, zip, Zarr arrays; each by its bytes.

An entry is a sample whose bytes are not read yet: (name inside, function that reads them).
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from gantools import report
from gantools.io import sample
from gantools.io.stream import LIMIT, DamagedStream

Entry = tuple[str, Callable[[], bytes]]


class Peekable:
    """A binary stream whose first bytes can be looked at, and whose reads never wait for more."""

    def __init__(self, fileobj: IO[bytes], name: str) -> None:
        self._read = getattr(fileobj, "read1", fileobj.read)  # what is there, at least one byte
        self.name = name
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end; they stay to be read."""
        while len(self._ahead) < size:
            more = self._get(size - len(self._ahead))
            if not more:
                break
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; all that is left for a negative size."""
        if size < 0:
            size = LIMIT
        if not self._ahead:
            return self._get(size)
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def _get(self, size: int) -> bytes:
        try:
            return bytes(self._read(size))
        except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as e:
            raise DamagedStream(f"{self.name}: damaged or cut compressed data: {e}") from e
        except OSError as e:
            raise report.Usage(f"{self.name}: cannot be read: {e.strerror or e}") from e


def unpacked(stream: Peekable, name: str) -> Peekable:
    """The stream itself, or what its gzip, xz or bzip2 data hold."""
    kind = sample.kind(stream.peek(sample.HEAD))
    source = cast(IO[bytes], stream)
    if kind == "gz":
        return Peekable(cast(IO[bytes], gzip.GzipFile(fileobj=source)), name)
    if kind == "xz":
        return Peekable(cast(IO[bytes], lzma.LZMAFile(source)), name)
    if kind == "bz2":
        return Peekable(cast(IO[bytes], bz2.BZ2File(source)), name)
    if kind == "zst":
        raise report.Usage(f"{name}: Zstandard data: unpack them first (zstd -dc {name} | …)")
    return stream


def bare(stream: Peekable) -> Iterator[bytes]:
    """Files one after another with nothing between (`-o .png`, `-o .safetensors`).

    PNG and safetensors say where they end; anything else is one file up to the end.
    """
    while head := stream.peek(16):
        if head[:8] == _PNG:
            yield _one_png(stream)
        elif sample.kind(head) in ("latent", "network"):
            yield _one_safetensors(stream)
        else:
            yield read_all(stream)


_PNG = b"\x89PNG\r\n\x1a\n"


def _one_png(stream: Peekable) -> bytes:
    parts = [exactly(stream, 8)]
    while len(head := exactly(stream, 8)) == 8:
        size = int.from_bytes(head[:4], "big")
        if size + 4 > LIMIT:
            raise DamagedStream(f"{stream.name}: damaged PNG: a chunk claims {size} bytes")
        parts += [head, exactly(stream, size + 4)]
        if head[4:] == b"IEND":
            if stream.peek(8)[:8] != _PNG:  # what hangs behind a file belongs to it
                parts.append(read_all(stream))
            return b"".join(parts)
    return b"".join([*parts, head])  # cut: its decoder will say so


def _one_safetensors(stream: Peekable) -> bytes:
    prefix = exactly(stream, 8)
    header = exactly(stream, struct.unpack("<Q", prefix)[0])
    try:
        tensors = [v for k, v in json.loads(header).items() if k != "__metadata__"]
        size = max((int(tensor["data_offsets"][1]) for tensor in tensors), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as e:
        raise DamagedStream(f"{stream.name}: a broken safetensors header") from e
    if size > LIMIT:
        raise DamagedStream(f"{stream.name}: a latent that claims {size} bytes")
    return prefix + header + exactly(stream, size)


def read_all(stream: Peekable) -> bytes:
    """The rest of the stream; SampleError where that is more than one sample may have."""
    parts = []
    size = 0
    while part := stream.read(1 << 20):
        parts.append(part)
        size += len(part)
        if size > LIMIT:
            raise report.SampleError(f"more than {LIMIT} bytes in one file")
    return b"".join(parts)


def zip_entries(path: Path) -> list[Entry]:
    """The files of a zip in the archive's order. Usage where the zip itself is broken."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as e:
        raise report.Usage(f"{path}: the zip cannot be read: {e}") from e
    files = [info for info in archive.infolist() if not info.is_dir()]
    return [(info.filename, partial(read_zip, archive, info)) for info in files]


def read_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """One member. The head is judged first, so that a bomb of zeros is never unpacked."""
    try:
        with archive.open(info) as file:
            head = file.read(sample.HEAD)
            if sample.kind(head) not in ("image", "latent"):
                return head
            return head + read_all(Peekable(file, info.filename))
    except (DamagedStream, zipfile.BadZipFile, zlib.error, EOFError, OSError) as e:
        raise report.SampleError(f"damaged in the zip: {e}") from e
    except (RuntimeError, NotImplementedError) as e:  # encrypted; an unknown compression
        raise report.SampleError(f"cannot be unpacked: {e}") from e


def exactly(stream: Peekable, size: int) -> bytes:
    """The next `size` bytes; fewer only where the stream ends."""
    parts = []
    while size > 0 and (part := stream.read(min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def numbered(stem: str, i: int, count: int) -> str:
    """The name of picture i of an array: `train-images-idx3-ubyte/00042`."""
    return f"{stem}/{i:0{len(str(max(count - 1, 0)))}d}"


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr array or group (version 2 or 3)."""
    return any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))


def zarr_entries(path: Path) -> list[Entry]:
    """The pictures of a Zarr array of uint8 or uint16.

    [H, W], [H, W, 1|3|4] is one picture, [N, H, W] or [N, H, W, 1|3|4] is N of them, numbered;
    only the picture that is read is in memory.
    """
    array = _zarr_array(path)
    shape, stem = tuple(int(n) for n in array.shape), path.name.removesuffix(".zarr") or path.name
    if str(array.dtype) not in ("uint8", "uint16") or len(shape) not in (2, 3, 4):
        raise report.Usage(
            f"{path}: a Zarr array of {array.dtype} {list(shape)}: pictures are uint8 or uint16, "
            "[H, W], [H, W, C], [N, H, W] or [N, H, W, C]"
        )
    has_channels = len(shape) > 2 and shape[-1] in (1, 3, 4)
    if len(shape) == 4 and not has_channels:
        raise report.Usage(f"{path}: {shape[-1]} channels; pictures have 1, 3 or 4")
    if len(shape) - has_channels == 2:
        return [(stem, partial(_read_zarr, array, ...))]
    count = shape[0]
    return [(numbered(stem, i, count), partial(_read_zarr, array, i)) for i in range(count)]


def open_zarr(path: Path) -> Any:
    """A Zarr array, which has a dtype, or a group. Usage where there is none, or no zarr."""
    try:
        import zarr
    except ImportError as e:
        raise report.Usage(f"{path}: a Zarr array, but zarr is not installed") from e
    try:
        return zarr.open(str(path), mode="r")
    except Exception as e:  # zarr and its codecs raise what they like on a broken store
        raise report.Usage(f"{path}: the Zarr array cannot be read: {e}") from e


def _zarr_array(path: Path) -> Any:
    array = open_zarr(path)
    if hasattr(array, "dtype"):
        return array
    names = ", ".join(sorted(str(name) for name in array.array_keys())) or "none"
    raise report.Usage(f"{path}: a Zarr group: name one of its arrays ({names}), {path}/NAME")


def _read_zarr(array: Any, index: Any) -> bytes:
    import numpy as np

    from gantools.io import image

    try:
        pixels = np.asarray(array[index])
    except Exception as e:  # a missing or broken chunk
        raise report.SampleError(f"cannot be read: {e}") from e
    return image.encode_exact(pixels)
