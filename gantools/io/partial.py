"""A file that is not whole yet: FILE.part, and FILE.part.json that says what it will be.

Both stay when the process ends, so that a later one goes on.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from gantools import report
from gantools.report import Usage


@dataclass
class Part:
    """The file in which the bytes gather; old: whether some of them are of an earlier call."""

    path: Path
    file: FileIO
    old: bool

    @property
    def size(self) -> int:
        """Bytes so far."""
        return os.fstat(self.file.fileno()).st_size

    @property
    def _notes(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def cut(self, size: int) -> None:
        """Keep the first bytes."""
        self.file.truncate(size)
        self.old = self.old and size > 0

    def append(self, block: bytes) -> None:
        """Add bytes; Usage where the disk is full."""
        rest = memoryview(block)
        try:
            while rest:
                rest = rest[self.file.write(rest) :]
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EDQUOT):
                why = f"the disk is full; {megabytes(self.size)} are kept"
                raise Usage(f"{self.path}: {why}, run it again to go on") from None
            raise Usage(f"{self.path}: {in_words(e)}") from None

    def note(self, story: dict[str, Any]) -> None:
        """Remember what the bytes are the beginning of."""
        self._notes.write_text(json.dumps(story))

    def told(self) -> dict[str, Any]:
        """What was remembered, if it can be read."""
        try:
            story = json.loads(self._notes.read_bytes())
        except (OSError, ValueError):
            return {}
        return story if isinstance(story, dict) else {}

    def remove(self) -> None:
        """Both files, where they are."""
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)


@contextlib.contextmanager
def opened(target: Path) -> Iterator[Part]:
    """The part file of a target, for this process alone."""
    path = target.with_name(target.name + ".part")
    with path.open("ab", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Usage(f"{path.name}: another process is fetching it") from None
        part = Part(path, file, old=True)
        part.cut(part.size)
        try:
            yield part
        finally:
            if not part.size:  # nothing to go on from
                part.remove()


def in_words(error: object) -> str:
    """The reason that an error gives, on one line."""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return report.one_line(why).lower()


def megabytes(count: int) -> str:
    """`12.3 MB`, or `7289 bytes`."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count} bytes"
