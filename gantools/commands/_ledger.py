"""prefilter's report: every decision counted, and a line for each (S0.4)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gantools import report
from gantools.faces.judge import Decision
from gantools.io import atomic
from gantools.io.source import known_keys, parse_shard, samples
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


def pictures(
    operands: list[str] | None, shard: str | None, first: int | None = None
) -> Iterator[Sample | Decision]:
    """Every picture of the operands, or of the first so many, with the decision on unreadable ones.

    Shows progress. What `samples` refuses is refused here, before the first picture.
    """
    lost: list[Decision] = []
    given = samples(
        operands,
        kinds=("image",),
        shard=shard,
        on_failure=lambda key, path, why: lost.append(Decision(key, "unreadable", why, path=path)),
    )
    expected = known_keys(operands, kinds=("image",), shard=shard)
    total = None if expected is None else len(expected)
    index, count = parse_shard(shard)
    most = None if first is None else len(range(index, first, count))
    if most is not None and total is not None:
        total = min(total, most)
    shown = report.progress(given, total=total, unit="image")
    return islice(with_losses(shown, lost), most)


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
