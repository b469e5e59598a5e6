"""What prefilter does: batches of pictures to the detector, decisions to the report (S0.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gantools import __version__, report
from gantools.commands._ledger import THERE, Ledger, pictures
from gantools.faces.detect import Detector, Face
from gantools.faces.find import refined
from gantools.faces.judge import Cut, Decision, Rules, judge
from gantools.faces.mosaic import Mosaic
from gantools.faces.quality import quality
from gantools.io import atomic
from gantools.io.alpha import on_white
from gantools.io.archives import numbered
from gantools.io.image import decode, decode_channels, encode, story
from gantools.io.source import batches, parse_shard
from gantools.io.stream import DamagedStream
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.commands._best import Best
    from gantools.faces.stack import Planes
    from gantools.io.packs import Pack
    from gantools.io.sample import Sample
    from gantools.io.sink import Sink

PIXELS_AT_ONCE = 1 << 25  # a batch ends early where its pictures are this large together


@dataclass
class Picture:
    """A picture [H, W, 3 or 4] to look at, and its name as the user gave it."""

    key: str
    path: str
    pixels: np.ndarray


class Mosaics:
    """--mosaic: accepted.png of the crops and rejected.png of the whole pictures, in a folder.

    They are written at the end, also where a damaged stream is it.
    """

    def __init__(self, folder: str, seed: int) -> None:
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise atomic.failure(self._folder, e) from e
        self.accepted, self.rejected = Mosaic(seed), Mosaic(seed)

    def __enter__(self) -> Mosaics:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, Usage):
            for name, mosaic in (("accepted", self.accepted), ("rejected", self.rejected)):
                atomic.write_bytes(self._folder / f"{name}.png", encode(mosaic.picture()))


@dataclass
class Stack:
    """--stack-rgb: crops wait in `planes`; `count` pictures are drawn from them by `seed`."""

    planes: Planes
    count: int
    seed: int
    shard: str | None


@dataclass
class Run:
    """Pictures in batches through detector, judge and sink, in their order.

    sink: None where nothing is named. dry: nothing is put into it. best: --keep. mosaics:
    --mosaic. stack: --stack-rgb. alpha: crops have straight alpha.
    """

    sink: Sink | Pack | None
    ledger: Ledger
    rules: Rules
    device: str
    dry: bool = False
    best: Best | None = None
    mosaics: Mosaics | None = None
    stack: Stack | None = None
    alpha: bool = False
    _detector: Detector | None = field(default=None, init=False)

    def over(
        self, operands: list[str] | None, shard: str | None, batch: int, first: int | None = None
    ) -> None:
        """Everything that the operands name, or the first so many of it."""
        if self.stack is not None:  # what is made of them is the shard's, they are all read
            shard = None

        def full(part: list[Picture | Decision]) -> bool:
            sizes = [what.pixels.size // 3 for what in part if isinstance(what, Picture)]
            enough = len(sizes) >= batch or len(part) >= 16 * batch
            return enough or sum(sizes) >= PIXELS_AT_ONCE

        opened = map(self._opened, pictures(operands, shard, first))
        try:
            for part in batches(opened, full):
                self._do(part)
        except DamagedStream:  # what came whole is done; drawn from a part, all would be others
            if self.stack is None:
                self._settle()
            raise
        self._settle()

    def _opened(self, sample: Sample | Decision) -> Picture | Decision:
        if isinstance(sample, Decision):
            return sample
        one = self.rules.which != "all" and self.stack is None
        if one and self.sink is not None and not self.sink.wanted(sample.key):
            return Decision(sample.key, "accepted", THERE, path=sample.name)
        try:
            pixels = decode_channels(sample.data, 4 if self.alpha else 3)
            return Picture(sample.key, sample.name, pixels)
        except SampleError as e:
            report.failed(sample.name, e)
            return Decision(sample.key, "unreadable", str(e), path=sample.name)

    def _do(self, part: list[Picture | Decision]) -> None:
        photos = [on_white(what.pixels) for what in part if isinstance(what, Picture)]
        found = iter(self._found(photos))
        for what in part:
            decision = self._judged(what, next(found)) if isinstance(what, Picture) else what
            if self.best is None:
                self.ledger.add(decision.line())
            else:
                self.best.note(decision.line())

    def _found(self, photos: list[np.ndarray]) -> Iterator[list[Face]]:
        if not self.rules.wants_faces:
            return iter([[] for _ in photos])
        if photos and self._detector is None:
            rules = self.rules
            self._detector = Detector(self.device, min_face=rules.min_face, rules=rules.mtcnn)
        if self._detector is None:
            return iter([])
        found = self._detector.detect(photos)
        if self.rules.network is None:
            return iter(found)
        pairs = zip(photos, found, strict=True)
        return (
            refined([photo] * len(faces), faces, self.rules.network, self._detector)
            for photo, faces in pairs
        )

    def _judged(self, picture: Picture, found: list[Face]) -> Decision:
        """Decide, and write what was cut out, or let it wait for the end."""
        decision, cuts = judge(picture.key, picture.pixels, found, self.rules)
        decision.path = picture.path
        for cut in cuts:
            cut.told["quality"] = round(quality(on_white(cut.pixels)), 6)
            try:
                self._take(cut)
            except SampleError as e:
                report.failed(cut.key, e)
                decision.decision, decision.reason = "unreadable", str(e)
        if self.mosaics is not None and decision.decision == "rejected":
            self.mosaics.rejected.add(picture.key, on_white(picture.pixels))
        return decision

    def _take(self, cut: Cut) -> None:
        if self.stack is not None:
            self.stack.planes.add(cut.key, cut.pixels)
            if self.mosaics is not None:
                self.mosaics.accepted.add(cut.key, cut.pixels)
            return
        told = self._story({"key": cut.key, "crop": cut.crop})
        if self.best is not None:
            dropped = self.best.offer(cut.told, encode(cut.pixels, "png", told))
            if dropped is not None and self.mosaics is not None:
                key = (story(dropped) or told)["key"]
                self.mosaics.rejected.add(key, decode(dropped))
            return
        if self.sink is not None and not self.dry:
            self.sink.put_frame(cut.key, cut.pixels, told)
        if self.mosaics is not None:
            self.mosaics.accepted.add(cut.key, on_white(cut.pixels))

    def _settle(self) -> None:
        """With --keep: now the best are known. With --stack-rgb: now there is all to draw from."""
        if self.stack is not None and not self.dry:
            self._draw(self.stack)
        if self.best is None:
            return
        for line in self.best.settle(self._put):
            self.ledger.add(line)

    def _put(self, key: str, data: bytes) -> None:
        if self.sink is not None and not self.dry:
            self.sink.put(key, data)
        if self.mosaics is not None:
            self.mosaics.accepted.add(key, decode(data))

    def _draw(self, stack: Stack) -> None:
        """The pictures of --stack-rgb that are not there yet."""
        assert self.sink is not None
        shard = parse_shard(stack.shard)
        drawn = stack.planes.stacked(stack.count, stack.seed, shard)
        total = len(range(shard[0], stack.count, shard[1]))
        for i, of, pixels in report.progress(drawn, total=total, unit="image", desc="stacking"):
            key = numbered("rgb", i, stack.count)
            if not self.sink.wanted(key):
                continue
            try:
                self.sink.put_frame(key, pixels, self._story({"key": key, "planes": of}))
            except SampleError as e:
                report.failed(key, e)

    def _story(self, more: dict[str, Any]) -> dict[str, Any]:
        """What the PNG says about itself."""
        args: dict[str, Any] = {"crop": self.rules.framing, "size": self.rules.size}
        if self.rules.framing == "facenet":
            args["margin"] = self.rules.margin
        if self.alpha:
            args["alpha"] = "keep"
        if self.rules.wants_faces:
            args["mtcnn"] = self.rules.mtcnn
        if self.stack is not None:
            args |= {"stack_rgb": self.stack.count, "seed": self.stack.seed}
        entry = {"command": "prefilter", "args": args, "version": __version__}
        return {"format": 1, "kind": "image", **more, "history": [entry]}
