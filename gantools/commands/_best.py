"""prefilter --keep: the N best crops of a run, which is known at its end (S1.17)."""

from __future__ import annotations

import heapq
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from gantools import report
from gantools.io import atomic
from gantools.report import SampleError

NUMBER = "number"  # of a cut in this run, in the entries while they wait


class Best:
    """Crops wait in a temporary folder, N at most, and the report's lines in a file beside them.

    Memory holds N scores. Of equal scores the earlier one is better.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._heap: list[tuple[float, int]] = []  # score, -number: the worst first
        self._offered = 0
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="gantools-")
        except OSError as e:
            raise atomic.failure("a temporary folder for --keep", e) from e
        self._lines = atomic.AtomicFile(self._at("lines"))

    def _at(self, name: object) -> Path:
        return Path(self._folder.name) / str(name)

    def offer(self, entry: dict[str, Any], data: bytes) -> bytes | None:
        """One crop's file, its `quality` in the report's entry; returns what drops out, if any."""
        number = self._offered
        self._offered += 1
        entry[NUMBER] = number
        score = entry["quality"], -number
        if len(self._heap) == self.count and score < self._heap[0]:
            return data
        atomic.write_bytes(self._at(number), data)
        if len(self._heap) < self.count:
            heapq.heappush(self._heap, score)
            return None
        dropped = self._at(-heapq.heapreplace(self._heap, score)[1])
        data = dropped.read_bytes()
        dropped.unlink()
        return data

    def note(self, line: dict[str, Any]) -> None:
        """The report's line of a picture, whose crops were offered before."""
        self._lines.write(json.dumps(line).encode() + b"\n")

    def settle(self, put: Callable[[str, bytes], None]) -> Iterator[dict[str, Any]]:
        """The lines as they are now known, in their order, each after its crops went to `put`."""
        best = {-number for _, number in self._heap}
        self._lines.commit()
        with self._at("lines").open(encoding="utf-8") as lines:
            yield from (self._settled(json.loads(line), best, put) for line in lines)

    def _settled(
        self, line: dict[str, Any], best: set[int], put: Callable[[str, bytes], None]
    ) -> dict[str, Any]:
        offered = [entry for entry in (*line["faces"], line) if NUMBER in entry]
        kept = 0
        for entry in offered:
            number = entry.pop(NUMBER)
            if number not in best:
                entry.pop("output")
                entry["reason"] = self._why(entry["quality"])
                if "chosen" in entry:
                    entry["chosen"] = False
                continue
            kept += 1
            try:
                put(entry["output"], self._at(number).read_bytes())
            except SampleError as e:
                report.failed(entry["output"], e)
                return {**line, "accepted": False, "decision": "unreadable", "reason": str(e)}
        if offered and not kept:
            why = self._why(max(entry["quality"] for entry in offered))
            return {**line, "accepted": False, "decision": "rejected", "reason": why}
        return line

    def _why(self, score: float) -> str:
        return f"quality {score:.4f}: not among the {self.count} best"

    def __enter__(self) -> Best:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        self._lines.abort()
        self._folder.cleanup()
