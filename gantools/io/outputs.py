"""The ways to write samples: a stream, bare on stdout, one file, a file per key.

Each has begin, wanted(key), put(key, data), finish (all is well) and abort (leave nothing behind).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

from gantools import report
from gantools.io import atomic
from gantools.io.stream import StreamWriter


class Stdout:
    """Standard output for data: flushed sample by sample; a closed reader is BrokenPipeError."""

    def __init__(self) -> None:
        if sys.stdout is None:
            raise report.Usage("standard output is closed: name an output with -o FILE")
        self._file = sys.stdout.buffer

    def write(self, data: bytes) -> int:
        """Append bytes. Usage where the disk behind a redirection is full."""
        try:
            left = memoryview(data)
            while left:  # without a buffer (PYTHONUNBUFFERED) a write may take a part only
                left = left[self._file.write(left) :]
        except BrokenPipeError:
            raise
        except OSError as e:
            raise report.Usage(f"cannot write standard output: {e.strerror or e}") from e
        return len(data)

    def flush(self) -> None:
        """Hand what was written to the reader."""
        try:
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as e:
            raise report.Usage(f"cannot write standard output: {e.strerror or e}") from e


class Stream:
    """The tar stream, on stdout (path None) or in a file."""

    def __init__(self, path: Path | None, suffix: str, no_clobber: bool) -> None:
        self._path = path
        self._suffix = suffix
        self._skip = no_clobber and path is not None and path.exists()
        self._stdout = Stdout() if path is None else None
        self._file: atomic.AtomicFile | None = None
        self._tar: StreamWriter | None = None

    def begin(self) -> None:
        if self._path is not None and not self._skip:
            self._file = atomic.AtomicFile(self._path)
        if not self._skip:
            self._tar = StreamWriter(cast(IO[bytes], self._file or self._stdout))

    def wanted(self, key: str) -> bool:
        return not self._skip

    def put(self, key: str, data: bytes) -> None:
        assert self._tar is not None or self._skip, "put before the sink was entered"
        if self._tar is not None:
            self._tar.write(key + self._suffix, data)

    def finish(self) -> None:
        if self._tar is not None:
            self._tar.close()
        if self._file is not None:
            self._file.commit()

    def abort(self) -> None:
        if self._tar is not None:
            self._tar.abort()
        if self._file is not None:
            self._file.abort()


class Bare:
    """The files themselves, one after another, on stdout."""

    def __init__(self) -> None:
        self._stdout = Stdout()

    def begin(self) -> None: ...

    def wanted(self, key: str) -> bool:
        return True

    def put(self, key: str, data: bytes) -> None:
        self._stdout.write(data)
        self._stdout.flush()

    def finish(self) -> None: ...

    def abort(self) -> None: ...


class Single:
    """Exactly one sample in a file: it takes its name at the end, when there was no second one."""

    def __init__(self, path: Path, shown: str, no_clobber: bool) -> None:
        self._path = path
        self._shown = shown
        self._skip = no_clobber and path.exists()
        self._first: tuple[str, bytes | atomic.AtomicFile] | None = None

    @property
    def takes_parts(self) -> bool:
        """Whether `put_parts` leaves nothing behind where there is a second sample."""
        return not atomic.is_special(self._path)

    def begin(self) -> None: ...

    def wanted(self, key: str) -> bool:
        return not self._skip

    def put(self, key: str, data: bytes) -> None:
        if self._skip:
            return
        self._check_alone(key)
        self._first = (key, data)

    def put_parts(self, key: str, parts: Iterable[bytes]) -> None:
        """`put` of what is still being made: it goes into the temporary file at once."""
        self._check_alone(key)
        file = atomic.AtomicFile(self._path)
        try:
            for part in parts:
                file.write(part)
        except BaseException:
            file.abort()
            raise
        self._first = (key, file)

    def _check_alone(self, key: str) -> None:
        if self._first is not None:
            raise report.Usage(
                f"{self._shown} takes one sample, and there are more ({self._first[0]}, {key}): "
                f"nothing was written; use a folder (-o DIR/ or -o 'DIR/{{}}{self._path.suffix}')"
            )

    def finish(self) -> None:
        if self._skip:
            return
        if self._first is None:
            if not report.failures():
                report.failed(self._shown, "not written: there was no sample")
        elif isinstance(self._first[1], bytes):
            atomic.write_bytes(self._path, self._first[1])
        else:
            self._first[1].commit()

    def abort(self) -> None:
        if self._first is not None and not isinstance(self._first[1], bytes):
            self._first[1].abort()


class PerKey:
    """A file per sample; `{}` in the pattern is the key, whose folders are made."""

    def __init__(self, pattern: str, no_clobber: bool) -> None:
        self._pattern = pattern
        self._no_clobber = no_clobber
        fixed = Path(pattern.split("{}", maxsplit=1)[0] + "x").parent
        if fixed.exists() and not fixed.is_dir():
            raise report.Usage(f"cannot write {pattern}: {fixed} is not a folder")
        self._folder = fixed
        self._made = False

    def begin(self) -> None:
        self._made = not self._folder.exists()
        self._make(self._folder)
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise report.Usage(f"cannot write {self._pattern}: no permission in {self._folder}")

    def wanted(self, key: str) -> bool:
        return not (self._no_clobber and self._is_there(key))

    takes_parts = True

    def put(self, key: str, data: bytes) -> None:
        if self.wanted(key):
            self.put_parts(key, [data])

    def put_parts(self, key: str, parts: Iterable[bytes]) -> None:
        """`put` of what is still being made."""
        path = self._path(key)
        try:
            self._make(path.parent)
            atomic.write_parts(path, parts)
        except report.Usage as e:
            if atomic.is_of_the_name(e.__cause__):
                raise report.SampleError(e) from e
            raise

    def finish(self) -> None: ...

    def abort(self) -> None:
        if self._made:
            with contextlib.suppress(OSError):  # it is not empty: what is complete stays
                self._folder.rmdir()

    def _is_there(self, key: str) -> bool:
        try:
            return self._path(key).exists()
        except OSError:  # a name that cannot be: `put` will say so
            return False

    def _path(self, key: str) -> Path:
        return Path(self._pattern.replace("{}", key))

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise atomic.failure(folder, e) from e
