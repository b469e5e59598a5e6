"""Files that appear whole or not at all: a temporary file beside the target, then `os.replace`."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO

from gantools import report

_OF_THE_NAME = frozenset(
    {
        errno.ENAMETOOLONG,
        errno.EILSEQ,
        errno.EINVAL,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.ENOTEMPTY,
    }
)


def failure(path: Path | str, error: OSError) -> report.Usage:
    """The line for an OSError while writing `path`: the disk is full, the place is read-only."""
    return report.Usage(f"cannot write {path}: {error.strerror or error}")


def is_of_the_name(error: BaseException | None) -> bool:
    """Whether only this name cannot be (too long, a folder in its place), and others can."""
    return isinstance(error, OSError) and error.errno in _OF_THE_NAME


def is_special(path: Path) -> bool:
    """A named pipe or a device (`/dev/null`): written as it is, nothing can be put in its place."""
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except OSError:
        return False


def real_target(path: Path) -> Path:
    """Where the bytes go: behind a symbolic link, so that the link stays one. Usage if nowhere."""
    if is_special(path):
        return path
    try:
        target = path.resolve()
    except (OSError, ValueError, RuntimeError) as e:  # a loop of links; a zero byte
        raise report.Usage(f"cannot write {path}: {e}") from e
    if not target.parent.is_dir():
        raise report.Usage(f"cannot write {path}: the folder {path.parent} does not exist")
    if target.is_dir():
        raise report.Usage(f"cannot write {path}: it is a folder")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise report.Usage(f"cannot write {path}: no permission to write in {path.parent}")
    return target


class AtomicFile:
    """A binary file that takes its name at `commit`, and leaves nothing behind at `abort`.

    As a context manager it commits, or aborts on an exception. Errors of the system become Usage;
    a reader of a named pipe that went away stays a BrokenPipeError.
    """

    def __init__(self, path: Path, suffix: str = ".tmp") -> None:
        self.path = path
        self.temporary = path
        self._special = is_special(path)
        try:
            self.file = self._create(suffix)
        except OSError as e:
            raise failure(path, e) from e

    def _create(self, suffix: str) -> IO[bytes]:
        if self._special:
            return self.path.open("wb")
        self.temporary = self.path.parent / f".gantools-{secrets.token_hex(8)}{suffix}"
        report.cleanup(self.temporary)
        return self.temporary.open("xb")

    def write(self, data: bytes | memoryview) -> int:
        """Append bytes."""
        try:
            return self.file.write(data)
        except BrokenPipeError:
            raise
        except OSError as e:
            raise failure(self.path, e) from e

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        try:
            self.file.flush()
        except BrokenPipeError:
            raise
        except OSError as e:
            raise failure(self.path, e) from e

    def sync(self) -> None:
        """Hand everything to the disk, so that a file which took its name survives a power cut."""
        self.flush()
        if self._special:
            return
        try:
            os.fsync(self.file.fileno())
        except OSError as e:
            raise failure(self.path, e) from e

    def commit(self) -> None:
        """Close the file and put it in its place."""
        try:
            self.file.close()
            if not self._special:
                self.temporary.replace(self.path)
        except OSError as e:
            self.abort()
            raise failure(self.path, e) from e
        report.forget(self.temporary)

    def abort(self) -> None:
        """Close and remove it; the target stays as it was."""
        with contextlib.suppress(OSError):  # what could not be flushed is thrown away anyhow
            self.file.close()
        if not self._special:
            with contextlib.suppress(OSError):
                self.temporary.unlink()
        report.forget(self.temporary)

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.abort()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file atomically; Usage where that fails."""
    write_parts(path, [data])


def write_parts(path: Path, parts: Iterable[bytes]) -> None:
    """`write_bytes` of what is still being made: nothing is left of it where that ends early."""
    with AtomicFile(path) as out:
        for part in parts:
            out.write(part)
