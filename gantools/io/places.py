"""Where the bytes of one file are, on the disk or in an archive: any thread reads them any time."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from gantools.io import atomic
from gantools.io.stream import LIMIT, index_stream
from gantools.report import SampleError, Usage

ReadAt = Callable[[int, int], bytes]
"""(offset, size) -> bytes, fewer at the end of the file."""

_LOCAL_HEADER = 30  # bytes of a zip member's own header before its name (APPNOTE 4.3.7)


@dataclass(frozen=True, slots=True)
class Place:
    """`size` bytes as they stand in a file; calling it reads them. crc: as a zip's table has it."""

    read_at: ReadAt
    offset: int
    size: int
    crc: int | None = None

    def __call__(self) -> bytes:
        """All bytes. SampleError where they are not there any more, or not those of the crc."""
        if self.size > LIMIT:
            raise SampleError(f"more than {LIMIT} bytes in one file")
        data = self.part(0, self.size)
        if len(data) < self.size:
            raise SampleError(f"cut: {len(data)} of {self.size} bytes are there")
        _check(data, self.crc)
        return data

    def part(self, start: int, size: int) -> bytes:
        """Up to `size` bytes from `start` on."""
        return self.read_at(self.offset + start, max(0, min(size, self.size - start)))


@dataclass(frozen=True, slots=True)
class Deflated:
    """A file of `size` bytes that a zip holds deflated, in `packed` bytes."""

    packed: Place
    size: int
    crc: int

    def __call__(self) -> bytes:
        """All bytes. SampleError where they are damaged."""
        if self.size > LIMIT:
            raise SampleError(f"more than {LIMIT} bytes in one file")
        unpack = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = unpack.decompress(self.packed(), self.size + 1)
        except zlib.error as e:
            raise SampleError(f"damaged in the zip: {e}") from e
        if len(data) != self.size:
            raise SampleError("damaged in the zip: it is not as large as its table says")
        _check(data, self.crc)
        return data

    def part(self, start: int, size: int) -> bytes:
        """Up to `size` bytes from `start` on; all before them are unpacked."""
        unpack = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            return unpack.decompress(self.packed(), start + size)[start:]
        except zlib.error as e:
            raise SampleError(f"damaged in the zip: {e}") from e


@dataclass(frozen=True, slots=True)
class Made:
    """Bytes that a function makes anew each time, `size` of them; one thread at a time."""

    make: Callable[[], bytes]
    size: int

    def __call__(self) -> bytes:
        """All bytes."""
        with _lock:
            return self.make()

    def part(self, start: int, size: int) -> bytes:
        """Up to `size` bytes from `start` on."""
        return self()[start : start + size]


_lock = threading.Lock()  # an archive's object may move one file between its members
AnyPlace = Place | Deflated | Made


def _check(data: bytes, crc: int | None) -> None:
    if crc is not None and zlib.crc32(data) != crc:
        raise SampleError("damaged in the zip: bad CRC-32")


def read_at(path: str, offset: int, size: int) -> bytes:
    """Up to `size` bytes of a file; it is open only meanwhile, so any number of them may be used.

    SampleError where it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _pread(descriptor, offset, size)
        finally:
            os.close(descriptor)
    except OSError as e:
        raise SampleError(e.strerror or str(e)) from e
    except OverflowError as e:  # an offset that no file has
        raise SampleError("damaged in the archive: its table names a place beyond any file") from e


def _pread(descriptor: int, offset: int, size: int) -> bytes:
    """All that is there: one call gives 2 GiB at most, and on some file systems less."""
    data = os.pread(descriptor, size, offset)
    while len(data) < size and (more := os.pread(descriptor, size - len(data), offset + len(data))):
        data += more
    return data


@lru_cache(64)
def _reader(path: Path) -> ReadAt:
    """One object for all members of an archive: there may be millions."""
    return partial(read_at, str(path))


def of_file(path: Path) -> Place:
    """A file by itself. SampleError where there is none."""
    try:
        return Place(partial(read_at, str(path)), 0, path.stat().st_size)
    except OSError as e:
        raise SampleError(e.strerror or str(e)) from e


def of_zip_member(path: Path, info: zipfile.ZipInfo) -> Place | Deflated | None:
    """A member of a zip; None for one that is encrypted or packed in a rare way."""
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return None
    read = _reader(path)
    header = read(info.header_offset, _LOCAL_HEADER)
    if header[:4] != b"PK\3\4":
        raise SampleError("damaged in the zip: its header is not where the table says")
    name, extra = (int.from_bytes(header[i : i + 2], "little") for i in (26, 28))
    start = info.header_offset + _LOCAL_HEADER + name + extra
    if info.compress_type == zipfile.ZIP_STORED:
        return Place(read, start, info.file_size, info.CRC)
    return Deflated(Place(read, start, info.compress_size), info.file_size, info.CRC)


def of_tar(path: Path) -> Iterator[tuple[str, Place]]:
    """(name, place) of every file of a tar, from its headers alone. DamagedStream behind the good.

    Usage where the tar cannot be read.
    """
    read = _reader(path)
    try:
        with path.open("rb", buffering=0) as file:
            for name, offset, size in index_stream(file, str(path)):
                yield name, Place(read, offset, size)
    except OSError as e:
        raise Usage(f"{path}: {e.strerror or e}") from e


class Spool:
    """A temporary file without a name for what can be read only once, from front to back.

    It lasts as long as one of its places does.
    """

    def __init__(self, folder: Path) -> None:
        self.size = 0
        self._folder, self._descriptor = folder, -1

    def add(self, data: bytes) -> Place:
        """Append; Usage where the disk is full."""
        try:
            if self._descriptor < 0:
                self._descriptor, name = tempfile.mkstemp(dir=self._folder)
                weakref.finalize(self, os.close, self._descriptor)
                Path(name).unlink()
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as e:
            raise atomic.failure(self._folder, e) from None
        place = Place(self._read_at, self.size, len(data))
        self.size += len(data)
        return place

    def _read_at(self, offset: int, size: int) -> bytes:
        try:
            return _pread(self._descriptor, offset, size)
        except OSError as e:
            raise SampleError(e.strerror or str(e)) from e
