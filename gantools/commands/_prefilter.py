"""What prefilter does: batches of pictures to the detector, decisions to the report (S0.4)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gantools import __version__, report
from gantools.faces.detect import Detector, Face
from gantools.faces.find import refined
from gantools.faces.judge import Decision, Rules, judge
from gantools.io import atomic
from gantools.io.image import decode
from gantools.io.source import batches, known_keys, samples
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.io.sample import Sample
    from gantools.io.sink import Sink

PIXELS_AT_ONCE = 1 << 25  # a batch ends early where its pictures are this large together
THERE = "was there already"


@dataclass
class Picture:
    """A picture to look at."""

    key: str
    pixels: np.ndarray


class Run:
    """Pictures in batches through detector, judge and sink, in their order."""

    def __init__(self, sink: Sink, ledger: Ledger, rules: Rules, device: str) -> None:
        self.sink, self.ledger, self.rules, self.device = sink, ledger, rules, device
        self._detector: Detector | None = None

    def over(self, operands: list[str] | None, shard: str | None, batch: int) -> None:
        """Everything that the operands name."""
        lost: list[tuple[str, str]] = []
        given = samples(
            operands,
            kinds=("image",),
            shard=shard,
            on_failure=lambda key, why: lost.append((key, why)),
        )
        expected = known_keys(operands, kinds=("image",), shard=shard)
        total = None if expected is None else len(expected)
        shown = report.progress(given, total=total, unit="image")

        def full(part: list[Picture | Decision]) -> bool:
            sizes = [what.pixels.size // 3 for what in part if isinstance(what, Picture)]
            enough = len(sizes) >= batch or len(part) >= 16 * batch
            return enough or sum(sizes) >= PIXELS_AT_ONCE

        opened = map(self._opened, with_losses(shown, lost))
        for part in batches(opened, full):
            self._do(part)

    def _opened(self, sample: Sample | Decision) -> Picture | Decision:
        if isinstance(sample, Decision):
            return sample
        if self.rules.which != "all" and not self.sink.wanted(sample.key):
            return Decision(sample.key, "accepted", THERE)
        try:
            return Picture(sample.key, decode(sample.data))
        except SampleError as e:
            report.failed(sample.name, e)
            return Decision(sample.key, "unreadable", str(e))

    def _do(self, part: list[Picture | Decision]) -> None:
        photos = [what.pixels for what in part if isinstance(what, Picture)]
        found = iter(self._found(photos))
        for what in part:
            self.ledger.add(self._judged(what, next(found)) if isinstance(what, Picture) else what)

    def _found(self, photos: list[np.ndarray]) -> list[list[Face]]:
        if photos and self._detector is None:
            self._detector = Detector(self.device, min_face=self.rules.min_face)
        if self._detector is None:
            return []
        found = self._detector.detect(photos)
        if self.rules.network is None:
            return found
        return [
            refined([photo] * len(faces), faces, self.rules.network, self._detector)
            for photo, faces in zip(photos, found, strict=True)
        ]

    def _judged(self, picture: Picture, found: list[Face]) -> Decision:
        """Decide, and write what was cut out."""
        decision, cuts = judge(picture.key, picture.pixels, found, self.rules)
        for cut in cuts:
            try:
                self.sink.put_frame(cut.key, cut.pixels, self._story(cut.key, cut.crop))
            except SampleError as e:
                report.failed(cut.key, e)
                decision.decision, decision.reason = "unreadable", str(e)
        return decision

    def _story(self, key: str, crop: dict[str, Any]) -> dict[str, Any]:
        """What the PNG says about itself."""
        args: dict[str, Any] = {"crop": self.rules.framing, "size": self.rules.size}
        if self.rules.framing == "facenet":
            args["margin"] = self.rules.margin
        entry = {"command": "prefilter", "args": args, "version": __version__}
        return {"format": 1, "kind": "image", "key": key, "crop": crop, "history": [entry]}


def with_losses(
    given: Iterator[Sample], lost: list[tuple[str, str]]
) -> Iterator[Sample | Decision]:
    """The samples, and between them what the source could not read, which it puts into `lost`.

    A member of a stream that has no key, such as a hard link, is told by standard error alone.
    """
    before = report.failures()

    def losses() -> Iterator[Decision]:
        nameless = report.failures() - before - len(lost)
        yield from (Decision(key, "unreadable", why) for key, why in lost)
        for _ in range(nameless):
            yield Decision(None, "unreadable", "could not be read: see standard error")
        lost.clear()

    for sample in given:
        yield from losses()
        yield sample
        before = report.failures()
    yield from losses()


class Ledger:
    """Counts the decisions, and writes --report; kept even where a damaged stream ends the run.

    keep: with --no-clobber, lines of an earlier report stay for pictures that are there already.
    """

    def __init__(self, path: str | None, *, keep: bool) -> None:
        self.counts = {"accepted": 0, "rejected": 0, "unreadable": 0}
        self._earlier = _lines(Path(path)) if path and keep else {}
        self._file = atomic.AtomicFile(atomic.real_target(Path(path))) if path else None

    def add(self, decision: Decision) -> None:
        """Count it and write its line."""
        self.counts[decision.decision] += 1
        if self._file is None:
            return
        line = decision.line()
        if decision.reason == THERE:
            line = self._earlier.get(decision.key, line)
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
