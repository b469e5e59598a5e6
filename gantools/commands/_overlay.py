"""What mix and edit were told of masks, and mix of places and canvas (papers.md S2.4, S2.5)."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    from gantools.io.latent import Latent
    from gantools.latents.compositing import Composition
    from gantools.latents.masks import Mask

LARGEST_CANVAS = 4096  # cells a side


@dataclass(frozen=True)
class Overlay:
    """The flags as they were given, --mask and --offset as often as they were."""

    masks: Sequence[Mask] = ()
    smooth: tuple[float, float] | None = None
    keep_colour: bool = False
    style_share: float | None = None
    canvas: tuple[int, int] | None = None
    offsets: Sequence[tuple[int, int]] = ()

    @classmethod
    def of(
        cls,
        masks: Sequence[str] | None,
        smooth: str | None,
        keep_colour: bool = False,
        style_share: float | None = None,
        canvas: str | None = None,
        offsets: Sequence[str] | None = None,
    ) -> Overlay:
        """Read the flags; Usage where one is wrong, or stands without the one it belongs to."""
        if smooth is not None and not masks:
            raise Usage("--smooth blurs masks: it goes with --mask")
        placed = canvas is not None or bool(offsets)
        if style_share is not None and not masks and not placed:
            raise Usage("--style-share goes with --mask, --offset or --canvas")
        if keep_colour and placed:
            raise Usage("--keep-colour: the styles of the first latent do not cover the canvas")
        return cls(
            [read_mask(text) for text in masks or ()],
            None if smooth is None else parse_smooth(smooth),
            keep_colour,
            style_share,
            None if canvas is None else parse_canvas(canvas),
            [parse_offset(text) for text in offsets or ()],
        )

    @property
    def placed(self) -> bool:
        """Whether latents lie on a canvas of their own."""
        return self.canvas is not None or bool(self.offsets)

    @property
    def needs(self) -> str:
        """What the common space must hold: s(tyle maps), f(eatures)."""
        if not self.masks and not self.placed:
            return ""
        return "f" * (self.placed or self.style_share is not None) + "s" * (
            self.style_share is None
        )

    def check(self, latents: Sequence[Latent]) -> None:
        """SampleError where a flag does not fit the space, Usage where it does not their number."""
        if self.style_share is not None and "w" not in latents[0].tensors:
            raise SampleError(
                f"--style-share: {latents[0].space} has style maps, and the mask is theirs too"
            )
        if self.offsets and len(self.offsets) not in {len(latents), len(latents) - 1}:
            raise Usage(
                f"--offset is given {len(self.offsets)} times, and {len(latents)} latents take "
                f"{len(latents) - 1}, one for each after the first, or {len(latents)}"
            )

    def masks_of(self, latents: int, *, walking: bool) -> Sequence[Mask]:
        """One for each latent after the first; on a walk one does for all. Usage for another."""
        if walking and len(self.masks) == 1:
            return list(self.masks) * (latents - 1)
        if self.masks and len(self.masks) != latents - 1:
            raise Usage(
                f"--mask is given {len(self.masks)} times, and {latents} latents take "
                f"{latents - 1}: one for each after the first, which lies below"
            )
        return self.masks

    def composition(
        self,
        shares: Sequence[float],
        masks: Sequence[Mask],
        layers: Collection[int] | None,
        count: int,
    ) -> Composition:
        """What these flags make of `count` latents; shares as Composition has them."""
        from gantools.latents.compositing import Composition

        places = list(self.offsets)
        if len(places) == count - 1 and places:
            places.insert(0, (0, 0))
        return Composition(
            shares,
            masks,
            self.smooth or (0.0, 0.0),
            layers,
            self.keep_colour,
            self.style_share,
            self.canvas,
            places,
        )

    def story(self) -> dict[str, object]:
        """The arguments for the history, those that were given."""
        said = {
            "mask": [mask.name for mask in self.masks],
            "smooth": self.smooth,
            "keep_colour": self.keep_colour,
            "style_share": self.style_share,
            "canvas": self.canvas,
            "offset": list(self.offsets),
        }
        return {k: v for k, v in said.items() if v is not None and v is not False and v != []}


def read_mask(text: str) -> Mask:
    """A named mask, or the grey values of a picture; Usage where it is neither."""
    from gantools.latents.masks import NAMES, Mask

    if text in NAMES:
        return Mask(text, text)
    from gantools.io.image import decode
    from gantools.io.operands import read_file

    path = Path(text)
    if not path.exists():
        raise Usage(f"--mask {text}: neither a file nor one of {', '.join(NAMES)}")
    try:
        pixels = decode(read_file(path))
    except SampleError as e:
        raise Usage(f"--mask {text}: {e}") from None
    return Mask(path.name, pixels.astype("float64").mean(axis=2) / 255)


def parse_smooth(text: str) -> tuple[float, float]:
    """`0.05`, everywhere the same, or `0,0.1`, from the first to the last block."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in {1, 2} or not all(0 <= v <= 1 and math.isfinite(v) for v in values):
        raise Usage(f"--smooth {text}: expected one or two shares of the side, such as 0.02,0.1")
    return values[0], values[-1]


def parse_canvas(text: str) -> tuple[int, int]:
    """`40x16`: width and height in cells."""
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if found is None:
        raise Usage(f"--canvas {text}: expected WIDTHxHEIGHT in cells of f, such as 40x16")
    width, height = int(found[1]), int(found[2])
    if max(width, height) > LARGEST_CANVAS:
        raise Usage(f"--canvas {text}: at most {LARGEST_CANVAS} cells a side")
    return width, height


def parse_offset(text: str) -> tuple[int, int]:
    """`4,-2`: cells to the right and down."""
    found = re.fullmatch(r"([+-]?\d{1,4}),([+-]?\d{1,4})", text)
    if found is None:
        raise Usage(f"--offset {text}: expected DX,DY in whole cells of f, such as 4,0")
    return int(found[1]), int(found[2])
