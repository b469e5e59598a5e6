"""What `gantools edit` was asked to do, and the steps that it means for a latent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantools import report
from gantools.commands._latents import NetworkFile, meet
from gantools.commands._overlay import Overlay
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    from gantools.commands._equalize import Equalizer
    from gantools.commands._latents import Opened
    from gantools.io.attribute_model import AttributeModel
    from gantools.io.direction import Direction
    from gantools.io.latent import Latent
    from gantools.latents.compositing import Composition
    from gantools.latents.edit import Step


@dataclass
class Plan:
    """The flags of one `edit`; the steps are found once per network that the latents name."""

    directions: list[str]
    strengths: list[tuple[float | None, float] | None]  # (FROM, TO) or the direction's own
    layers: list[int] | None
    orthogonal_to: list[str]
    absolute: bool
    frames: int | None
    net: str | None
    network: NetworkFile
    equalize: float | None
    equalizer: Equalizer
    overlay: Overlay  # masks: one for all directions, or one for each
    opened: Opened  # for latents that have to be converted
    both_ways: bool = False  # frames go from -S to S, unless FROM is said
    strength_norm: str | None = None  # strengths are distances in w: |v| is fro or row
    styles_only: bool = False  # features stay, whatever models there are
    steps: dict[tuple[str, int | None], tuple[list[Step], list[float]]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        from gantools.io import direction_library as library

        for text in self.directions:
            library.check(text, self.net, "--dir")
        for text in self.orthogonal_to:
            library.check(text, self.net, "--orthogonal-to")
        masks, count = len(self.overlay.masks), len(self.directions)
        if masks not in {0, 1, count}:
            raise Usage(f"--mask is given {masks} times for {count} --dir: once, or once each")

    def run(self, latents: Iterator[Latent]) -> Iterator[Latent]:
        """Every latent edited, or its frames; one that the directions do not fit is reported."""
        for latent in latents:
            try:
                yield from self.edited(latent)
            except SampleError as e:
                report.failed(latent.key, e)

    def edited(self, latent: Latent) -> list[Latent]:
        """The edited latent, or its frames in order. SampleError where a direction does not fit."""
        self.network.check(latent)
        if not self.directions:
            made, args = self._only_equalized(latent), self.story([])
            return [one.with_history("edit", args) for one in made]
        start = latent if self.equalize is None else self.equalizer(latent, self.equalize)
        made, args = self._along_directions(start)
        if made[0].space != latent.space:
            args["became"] = made[0].space
        return [one.with_history("edit", args) for one in made]

    def _only_equalized(self, latent: Latent) -> list[Latent]:
        """The latent, or its frames on the way, c from 0 on."""
        c = self.equalize or 0.0
        if self.frames is None:
            return [self.equalizer(latent, c)]
        last = self.frames - 1
        ways = [self.equalizer(latent, c * i / last) for i in range(self.frames)]
        return [replace(one, key=f"{latent.key}/{i:04d}") for i, one in enumerate(ways)]

    def _along_directions(self, latent: Latent) -> tuple[list[Latent], dict[str, Any]]:
        from gantools.latents.edit import edit, frames

        latent = self._prepared(latent)
        steps, starts = self.steps_for(latent)
        layered = latent.space in {"w", "nw"} and any(step.layered for step in steps)
        num_ws = self.network.num_ws(latent) if layered else None
        if self.frames is None:
            made = [edit(latent, steps, num_ws=num_ws, absolute=self.absolute)]
        else:
            made = frames(latent, steps, starts, self.frames, num_ws=num_ws, absolute=self.absolute)
        return made, self.story(steps)

    def _prepared(self, latent: Latent) -> Latent:
        """The latent where it can be edited: with style maps for a mask, its z mapped in fnz."""
        fnz = latent.space.startswith("fnz")
        if not fnz and (not self.overlay.masks or "s" in latent.space):
            return latent
        return meet(self.opened.network, [latent], "s" if self.overlay.masks else "")[0]

    def steps_for(self, latent: Latent) -> tuple[list[Step], list[float]]:
        """The steps for the latent's network and features, and the strengths where frames start."""
        named = latent.header.get("network") or {}
        key = str(named.get("id")), latent.first if "f" in latent.tensors else None
        if key not in self.steps:
            self.steps[key] = self._make_steps(named, key[1])
        return self.steps[key]

    def _make_steps(
        self, named: dict[str, Any], first: int | None
    ) -> tuple[list[Step], list[float]]:
        from gantools.io import direction_library as library
        from gantools.latents.edit import Step

        def pick(text: str, flag: str = "--dir") -> Direction:
            return library.pick(text, self.net, named, self.network.header, flag)

        conditions = [pick(text, "--orthogonal-to") for text in self.orthogonal_to]
        steps, starts = [], []
        for i, (text, strength) in enumerate(zip(self.directions, self.strengths, strict=True)):
            found = pick(text)
            layers = found.layers if self.layers is None else tuple(self.layers)
            model = self._model(text, named, first, layers)
            d = self._without(model.direction if model else found, conditions)
            start, end = self._in_units(strength or (None, d.default_strength), d)
            steps.append(Step(d.name, d.vector, end, layers, d.space, model, self._over(i)))
            starts.append((-end if self.both_ways else 0.0) if start is None else start)
        return steps, starts

    def _in_units(
        self, strength: tuple[float | None, float], d: Direction
    ) -> tuple[float | None, float]:
        """FROM and TO as multiples of the direction's vector."""
        if self.strength_norm is None:
            return strength
        from gantools.latents.edit import length

        unit = length(d.vector, self.strength_norm)
        if not unit:
            raise Usage(f"--strength-norm: --dir {d.name} has no length")
        start, end = strength
        return None if start is None else start / unit, end / unit

    def _model(
        self, text: str, named: dict[str, Any], first: int | None, layers: Sequence[int] | None
    ) -> AttributeModel | None:
        """What moves features of block `first`; None, and a remark, where only styles can move."""
        from gantools.io import direction_library as library

        if self.styles_only or first is None or first == 1:
            return None
        if layers is not None and min(layers) >= first - 1:
            return None  # nothing of what moves is in features
        model = library.pick_model(text, self.net, named, self.network.header, first)
        if model is None:
            report.note(
                f"--dir {Path(text).name}: without an attribute model for block {first} only the "
                f"styles from there on move, and what is coarse (age, pose) stays "
                "(gantools train attribute)"
            )
        elif self.orthogonal_to:
            raise SampleError(
                f"--orthogonal-to: the attribute model of {model.direction.name} moves features "
                "along its own direction alone; leave it out, or move the styles alone with "
                f"--layers from {first - 1} on"
            )
        return model

    def _over(self, i: int) -> Composition | None:
        """How the i-th direction lies over what was there, by its mask."""
        masks = self.overlay.masks
        if not masks:
            return None
        return self.overlay.composition([0.5], [masks[i if len(masks) > 1 else 0]], None, 2)

    def _without(self, direction: Direction, conditions: Sequence[Direction]) -> Direction:
        from gantools.latents.edit import project_out

        if not conditions:
            return direction
        try:
            vector = project_out(direction.vector, [c.vector for c in conditions])
        except ValueError as e:
            raise Usage(f"--dir {direction.name} with --orthogonal-to: {e}") from None
        return replace(direction, vector=vector)

    def story(self, steps: Sequence[Step]) -> dict[str, Any]:
        """The arguments for the history: names without folders."""
        args: dict[str, Any] = {}
        if self.equalize is not None:
            args["equalize"] = self.equalize
        if steps:
            args["dir"] = [step.name for step in steps]
            args["strength"] = [step.strength for step in steps]
        models = [step.name for step in steps if step.model is not None]
        if models:
            args["attribute_model"] = models
        args |= self.overlay.story()
        if any(step.layers is not None for step in steps):
            args["layers"] = [None if s.layers is None else list(s.layers) for s in steps]
        if self.orthogonal_to:
            args["orthogonal_to"] = [Path(text).name for text in self.orthogonal_to]
        if self.absolute:
            args["absolute"] = True
        if self.strength_norm is not None:
            args["strength_norm"] = self.strength_norm
        if self.frames is not None:
            args["frames"] = self.frames
        return args


def parse_strengths(
    texts: list[str] | None, count: int, *, sweep: bool
) -> list[tuple[float | None, float] | None]:
    """--strength once for all, or once per --dir; `FROM:TO` where frames sweep over it."""
    if not texts:
        return [None] * count
    if len(texts) not in (1, count):
        raise Usage(f"--strength is given {len(texts)} times for {count} --dir: once, or once each")
    parsed = [_strength(text, sweep=sweep) for text in texts]
    return list(parsed * count if len(parsed) == 1 else parsed)


def _strength(text: str, *, sweep: bool) -> tuple[float | None, float]:
    start, colon, end = text.rpartition(":")
    try:
        first, last = (float(start) if colon else None), float(end)
    except ValueError:
        raise Usage(f"--strength {text}: expected a number, or FROM:TO with --frames") from None
    if not math.isfinite(last) or (first is not None and not math.isfinite(first)):
        raise Usage(f"--strength {text}: expected a finite number")
    if colon and not sweep:
        raise Usage(f"--strength {text}: FROM:TO needs --frames N or --figure")
    return first, last
