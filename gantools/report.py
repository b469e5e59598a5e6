"""What a person or a script is told: stderr lines, progress, exit codes, clean-up."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class Exit(IntEnum):
    """Exit status (gantools(1), EXIT STATUS); 130, 141 and 143 are 128 + the signal's number."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    INTERRUPTED = 130
    PIPE = 141
    TERMINATED = 143


class Usage(Exception):
    """Wrong usage, or the command could not go on: one line, exit status 2."""


class SampleError(Exception):
    """This sample fails and is skipped; the rest is done; exit status 1."""


class Terminated(BaseException):
    """SIGTERM arrived: raised by the handler so that every `finally` runs."""


class _State:
    """What one run of one command remembers."""

    def __init__(self) -> None:
        self.command = ""
        self.quiet = False
        self.hushed = False
        self.failures = 0
        self.noted: set[str] = set()
        self.litter: dict[Path, None] = {}
        self.write_above_bar: Callable[[str], None] | None = None


_state = _State()


def reset() -> None:
    """Forget the last run (the process's own start, and each in-process test)."""
    global _state  # noqa: PLW0603 - one run, one state
    _state = _State()


def begin(command: str, *, quiet: bool = False) -> None:
    """Name the running command (`edit`, `model info`); called first by every command."""
    _state.command = command
    _state.quiet = quiet


def command() -> str:
    """The running command's name, for histories and messages."""
    return _state.command


def quiet() -> bool:
    """Whether --quiet was given."""
    return _state.quiet


def one_line(text: object) -> str:
    """Any message as one line: no newline, no control character reaches a terminal or a log."""
    words = " ".join(str(text).split())
    return "".join(c if c.isprintable() else "?" for c in words)


def say(text: object) -> None:
    """One line on stderr, `gantools edit: …`, above a progress bar if there is one."""
    head = f"gantools {_state.command}".rstrip()
    line = f"{head}: {one_line(text)}"
    if _state.write_above_bar is not None:
        _state.write_above_bar(line)
        return
    with contextlib.suppress(OSError, ValueError):  # stderr closed: nobody to tell
        print(line, file=sys.stderr, flush=True)  # noqa: T201


def note(text: object, *, once: bool = False) -> None:
    """A remark on stderr; silent under --quiet. once: not again in this run."""
    if once and str(text) in _state.noted:
        return
    _state.noted.add(str(text))
    if not (_state.quiet or _state.hushed):
        say(text)


def failed(name: str, why: object, *, alone: bool = False) -> None:
    """One sample failed: `gantools project: photos/7.jpg: no face found`; the run ends with 1.

    alone: no other process of the run knows of it, so that it is said although this one is hushed.
    """
    _state.failures += 1
    if _state.hushed and not alone:
        return
    say(f"{name}: {one_line(why)}" if name else why)


def failed_elsewhere(count: int) -> None:
    """So many more samples failed in other processes of the run, which told it."""
    _state.failures += count


def hush() -> None:
    """Leave remarks, failed samples and bars to another process of the same run."""
    _state.hushed = True


def failures() -> int:
    """How many samples have failed so far."""
    return _state.failures


def cleanup(path: Path) -> None:
    """Remember a temporary file: it is removed when the command ends early."""
    _state.litter[path] = None


def forget(path: Path) -> None:
    """The temporary file has become the real one, or is gone."""
    _state.litter.pop(path, None)


def remove_litter() -> None:
    """Remove what `cleanup` remembers; safe at any moment, twice."""
    for path in list(_state.litter):
        with contextlib.suppress(OSError):
            path.unlink()
        forget(path)


def refuse_terminal() -> None:
    """Raise Usage where binary data would go to a terminal; called before any work."""
    if sys.stdout is not None and sys.stdout.isatty():
        raise Usage(
            "standard output is a terminal: name an output with -o FILE, or pipe it on "
            "(| gantools …, > file.tar)"
        )


def _shows_progress() -> bool:
    import os
    import stat

    if _state.quiet or _state.hushed or sys.stderr is None or not sys.stderr.isatty():
        return False
    try:
        return not stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):
        return True


def progress(
    items: Iterable[T], *, total: int | None = None, unit: str = "it", desc: str = ""
) -> Iterator[T]:
    """The items, with a bar if stderr is a terminal and stdout is no pipe."""
    if not _shows_progress():
        yield from items
        return
    bar = progress_bar(total=total, unit=unit, desc=desc)
    try:
        for item in items:
            yield item
            bar.update(1)
    finally:
        bar.close()


class _NoBar:
    """The bar of a run that shows none."""

    def update(self, n: float = 1) -> None: ...
    def set_postfix_str(self, s: str) -> None: ...
    def close(self) -> None: ...


def progress_bar(
    *, total: int | None = None, unit: str = "it", desc: str = "", scale: bool = False
) -> Any:
    """A bar moved by hand (`update(n)`, `set_postfix_str`, `close`), or one that is silent.

    scale: whether large numbers are shown in thousands and millions of the unit.
    """
    if not _shows_progress():
        return _NoBar()
    from tqdm import tqdm

    def write(line: str) -> None:
        tqdm.write(line, file=sys.stderr)

    class Bar(tqdm):  # type: ignore[type-arg,misc,unused-ignore]
        def close(self) -> None:
            _state.write_above_bar = outer
            super().close()

    outer, _state.write_above_bar = _state.write_above_bar, write
    name = desc or _state.command
    return Bar(total=total, unit=unit, unit_scale=scale, desc=name, file=sys.stderr, leave=False)
