"""The run folder as a place: made, locked, swept; and how a run there is interrupted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from gantools import report
from gantools.report import Usage
from gantools.training.distributed import Ranks


def make(folder: Path) -> None:
    """Make the run folder; Usage where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise Usage(f"-o {folder}: {(e.strerror or str(e)).lower()}") from None


@contextlib.contextmanager
def locked_log(folder: Path) -> Iterator[IO[bytes]]:
    """log.jsonl, open for appending; the lock on it is the run's."""
    try:
        log = (folder / "log.jsonl").open("ab", buffering=0)
    except OSError as e:
        raise Usage(f"-o {folder}: {(e.strerror or str(e)).lower()}") from None
    with log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Usage(f"{folder}: another process trains in this folder") from None
        yield log


@contextlib.contextmanager
def opened(folder: Path, ranks: Ranks) -> Iterator[IO[bytes]]:
    """The run's log, once the first process has made, locked and swept the folder.

    The other processes get a log that nobody reads, and say nothing but why they end.
    """
    if ranks.first:
        make(folder)
        with locked_log(folder) as log:
            sweep(folder)
            ranks.wait()
            yield log
        return
    report.hush()
    ranks.wait()
    with Path(os.devnull).open("ab", buffering=0) as nowhere:
        yield nowhere


def sweep(folder: Path) -> None:
    """Remove what a killed run left half written."""
    for temporary in [*folder.glob(".*.tmp"), *folder.glob("samples/.*.tmp")]:
        temporary.unlink(missing_ok=True)


class Interruption:
    """Ctrl-C and SIGTERM as a request: the iteration ends, the state is written, then it raises.

    A second one ends the run at once; but for SAME seconds another SIGTERM is the first again: a
    job's processes get it from Slurm and from torchrun.
    """

    SAME = 5.0

    def __init__(self) -> None:
        self.wanted: type[BaseException] | None = None
        self._asked = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        with contextlib.suppress(ValueError):  # not in the main thread: nobody interrupts us
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if self.wanted is None:
            self.wanted = KeyboardInterrupt if number == signal.SIGINT else report.Terminated
            self._asked = now
        elif number == signal.SIGINT or now - self._asked > self.SAME:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def __exit__(self, *_: object) -> None:
        self._restore()
