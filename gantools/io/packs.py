"""Pictures as one data set that trainers read: prefilter's --pack (S0.5).

zip: a PNG per picture, stored as it is, and `dataset.json`; NVIDIA's PyTorch tools read it, and
every command here. tar: 00000.tar, 00001.tar, ... of PNGs, for streaming. tfrecord: a file per
resolution down to 4x4, for PGGAN's and StyleGAN's TensorFlow code. The last two are shuffled as
there, by RandomState(123); until their number is known they wait in a temporary file.
"""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from gantools.io import atomic
from gantools.io.image import decode, encode
from gantools.io.labels import Labels
from gantools.io.stream import StreamWriter
from gantools.io.tfrecord import pyramid, record
from gantools.report import SampleError, Usage

SHARD = 1000  # crops in a tar
SHUFFLE = 123


class Given:
    """The labels of the crops in their order, a row of numbers for each."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []

    def classes(self) -> list[int] | None:
        """The rows as numbers of classes, where that is what they are."""
        if not all(len(row) == 1 and row[0] >= 0 and row[0] % 1 == 0 for row in self.rows):
            return None
        return [int(row[0]) for row in self.rows]

    def matrix(self) -> np.ndarray:
        """float32 [N, L]: one-hot rows of classes, else the numbers themselves."""
        classes = self.classes()
        if classes is None:
            return np.array(self.rows, np.float32)
        return np.eye(max(classes) + 1, dtype=np.float32)[classes]


class Pack:
    """Takes crops as a sink does; what it makes is there whole at the end, or not at all."""

    def __init__(self, out: Zip | Tars | Tfrecords, labels: Labels | None) -> None:
        self._out, self._labels = out, labels
        self._given = Given()
        self._keys: set[str] = set()

    def wanted(self, key: str) -> bool:
        """A pack is always made whole."""
        return True

    def put_frame(self, key: str, pixels: np.ndarray, story: dict[str, Any] | None = None) -> None:
        """One crop, uint8 [R, R, 3 or 4]."""
        self.put(key, encode(pixels, "png", story))

    def put(self, key: str, data: bytes) -> None:
        """One crop's PNG. SampleError where its label or its name cannot be."""
        if key in self._keys:
            raise SampleError(f"a sample with the key {key} was already written")
        label = None if self._labels is None else self._label(self._labels, key)
        self._out.add(key, data)
        self._keys.add(key)
        if label is not None:
            self._given.rows.append(label)

    def _label(self, labels: Labels, key: str) -> list[float]:
        """Of the crop, else of the picture that it is of (`key/0` with --select all)."""
        for name in (key, key.rpartition("/")[0]):
            found = labels.values(name, labels.columns)
            if found is not None and np.isfinite(found).all():
                return list(found.tolist())
        raise SampleError(f"no label in {labels.name}, or not all of them")

    def __enter__(self) -> Pack:
        self._out.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        if kind is not None:
            self._out.abort()
            return
        try:
            self._out.finish(self._given)
        except BaseException:
            self._out.abort()
            raise


class Zip:
    """PNGs and dataset.json; names and times are fixed, so that equal crops give equal bytes."""

    def __init__(self, path: Path, *, labelled: bool) -> None:
        self._path, self._labelled = atomic.real_target(path), labelled
        self._names: list[str] = []

    def begin(self) -> None:
        self._file = atomic.AtomicFile(self._path)
        self._zip = zipfile.ZipFile(self._file.file, "w", zipfile.ZIP_STORED)

    def add(self, key: str, data: bytes) -> None:
        name = f"{key}.png"
        try:
            name.encode()
        except UnicodeEncodeError:
            raise SampleError("its name is not UTF-8, as a zip's names are") from None
        self._write(name, data)
        if self._labelled:
            self._names.append(name)

    def _write(self, name: str, data: bytes) -> None:
        try:
            self._zip.writestr(zipfile.ZipInfo(name), data)
        except OSError as e:
            raise atomic.failure(self._path, e) from e

    def finish(self, given: Given) -> None:
        values = given.classes() or given.rows
        labels = [list(pair) for pair in zip(self._names, values, strict=True)] if values else None
        self._write("dataset.json", json.dumps({"labels": labels}).encode())
        try:
            self._zip.close()
        except OSError as e:
            raise atomic.failure(self._path, e) from e
        self._file.commit()

    def abort(self) -> None:
        self._file.abort()
        # Closing it would write its directory into the file that is closed.
        self._zip.fp = None


class Spool:
    """Byte strings in a temporary file, shuffled in the end. Memory: a number for each."""

    def __init__(self) -> None:
        try:
            self._file = tempfile.TemporaryFile()
        except OSError as e:
            raise atomic.failure("the temporary file of --pack", e) from e
        self._ends = [0]

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, data: bytes) -> None:
        """One more. Usage where the disk is full."""
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as e:
            raise atomic.failure("the temporary file of --pack", e) from e
        self._ends.append(self._ends[-1] + len(data))

    def order(self) -> list[int]:
        """PGGAN's order: RandomState(123) shuffles the numbers."""
        numbers = np.arange(len(self))
        np.random.RandomState(SHUFFLE).shuffle(numbers)
        return list(numbers.tolist())

    def shuffled(self) -> Iterator[bytes]:
        """All of them in that order."""
        for i in self.order():
            self._file.seek(self._ends[i])
            yield self._file.read(self._ends[i + 1] - self._ends[i])

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()


def _folder(path: Path, suffix: str) -> None:
    """Make it. Usage where it cannot be, or holds a pack, whose rest would mix with this one."""
    if path.is_dir() and any(path.glob(f"*{suffix}")):
        raise Usage(f"{path} holds {suffix} files: remove them, or name another folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise atomic.failure(path, e) from e


class Tars:
    """Shards of PNGs, shuffled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: list[str] = []

    def begin(self) -> None:
        _folder(self._folder, ".tar")
        self._spool = Spool()

    def add(self, key: str, data: bytes) -> None:
        self._spool.append(data)
        self._keys.append(key)

    def finish(self, given: Given) -> None:
        keys = (self._keys[i] for i in self._spool.order())
        members = zip(keys, self._spool.shuffled(), strict=True)
        for number in range(-(-len(self._spool) // SHARD)):
            with atomic.AtomicFile(self._folder / f"{number:05d}.tar") as file:
                tar = StreamWriter(file.file)
                for key, data in islice(members, SHARD):
                    tar.write(f"{key}.png", data)
                tar.close()
        self._spool.close()

    def abort(self) -> None:
        self._spool.close()


class Tfrecords:
    """NAME-r02.tfrecords, NAME-r03.tfrecords, .. and NAME-rxx.labels in the folder NAME."""

    def __init__(self, folder: Path, size: int) -> None:
        if size < 4 or size & (size - 1):
            raise Usage(f"--pack tfrecord: --size {size} is not 4, 8, 16, ...")
        self._folder, self._log2 = folder, size.bit_length() - 1

    def begin(self) -> None:
        _folder(self._folder, ".tfrecords")
        self._spool = Spool()
        self._files: list[atomic.AtomicFile] = []

    def add(self, key: str, data: bytes) -> None:
        self._spool.append(data)

    def finish(self, given: Given) -> None:
        start = self._folder / self._folder.resolve().name
        self._files = [
            atomic.AtomicFile(Path(f"{start}-r{level:02d}.tfrecords"))
            for level in range(self._log2, 1, -1)
        ]
        for data in self._spool.shuffled():
            levels = pyramid(decode(data).transpose(2, 0, 1))
            for file, pixels in zip(self._files, levels, strict=True):
                file.write(record(pixels))
        if given.rows:
            buffer = io.BytesIO()
            np.save(buffer, given.matrix()[self._spool.order()])
            atomic.write_bytes(Path(f"{start}-rxx.labels"), buffer.getvalue())
        for file in self._files:
            file.commit()
        self._spool.close()

    def abort(self) -> None:
        for file in self._files:
            file.abort()
        self._spool.close()


def open_pack(kind: str, output: str | None, size: int, labels: Labels | None) -> Pack:
    """The pack for -o. Usage for a name that cannot be one."""
    if output is None or output in ("", "-"):
        raise Usage(f"--pack {kind} needs a name: -o {'FILE.zip' if kind == 'zip' else 'FOLDER/'}")
    path = Path(output)
    if kind == "zip":
        if path.suffix.lower() != ".zip":
            raise Usage(f"-o {output}: --pack zip writes a FILE.zip")
        return Pack(Zip(path, labelled=labels is not None), labels)
    if path.exists() and not path.is_dir():
        raise Usage(f"-o {output}: --pack {kind} writes a folder")
    if kind == "tar":
        return Pack(Tars(path), labels)
    return Pack(Tfrecords(path, size), labels)
