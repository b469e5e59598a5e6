"""prefilter's report: every decision counted, and a line for each (S0.4)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gantools import report
from gantools.faces.judge import Decision
from gantools.io import atomic
from gantools.report import Usage

if TYPE_CHECKING:
    from gantools.io.sample import Sample

THERE = "was there already"


class Ledger:
    """Counts the decisions, and writes --report; kept even where a damaged stream ends the run.

    keep: with --no-clobber, lines of an earlier report stay for pictures that are there already.
    """

    def __init__(self, path: str | None, *, keep: bool) -> None:
        self.counts = {"accepted": 0, "rejected": 0, "unreadable": 0}
        self._earlier = _lines(Path(path)) if path and keep else {}
        self._file = atomic.AtomicFile(atomic.real_target(Path(path))) if path else None

    def add(self, line: dict[str, Any]) -> None:
        """Count a decision's line and write it."""
        self.counts[line["decision"]] += 1
        if self._file is None:
            return
        if line["reason"] == THERE:
            line = self._earlier.get(line["key"], line)
        self._file.write(
            json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        )

    def summary(self) -> str:
        """`3 accepted, 1 rejected, 0 unreadable, 4 in all`."""
        counted = ", ".join(f"{n} {what}" for what, n in self.counts.items())
        return f"{counted}, {sum(self.counts.values())} in all"

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        if kind is None or issubclass(kind, Usage):
            self._file.commit()
        else:
            self._file.abort()


def _lines(path: Path) -> dict[str | None, dict[str, Any]]:
    """An earlier report by key; {} where there is none that can be read."""
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return {line["key"]: line for line in lines}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def with_losses(given: Iterator[Sample], lost: list[Decision]) -> Iterator[Sample | Decision]:
    """The samples, and between them what the source could not read, which it puts into `lost`.

    A member of a stream that has no key, such as a hard link, is told by standard error alone.
    """
    before = report.failures()

    def losses() -> Iterator[Decision]:
        nameless = report.failures() - before - len(lost)
        yield from lost
        for _ in range(nameless):
            yield Decision(None, "unreadable", "could not be read: see standard error")
        lost.clear()

    for sample in given:
        yield from losses()
        yield sample
        before = report.failures()
    yield from losses()
