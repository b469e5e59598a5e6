"""What `gantools mix` was asked to do: shares, layers, frames, and the header of the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gantools import report
from gantools.commands._latents import NetworkFile, meet, parse_layers
from gantools.commands._overlay import Overlay
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.io.latent import Latent
    from gantools.latents.masks import Mask
    from gantools.networks.network import Network

LONGEST_KEY = 120
COLOURS = 2  # the last layers, which hold the colours (Fig 6.11)
SIDE_BY_SIDE = ({"w", "w+"}, {"nw", "nw+"}, {"z", "zy"})  # mixed, or refused, as they are
# What a mixture keeps of its parents' headers where they all agree.
INHERITED = ("network", "psi", "cutoff", "crop")


@dataclass
class Wanted:
    """The flags of one `mix`."""

    shares: list[float] | None
    layers: list[int] | None
    arc: bool | None
    frames: int | None
    network: NetworkFile
    overlay: Overlay
    open: Callable[[], Network]

    @classmethod
    def of(
        cls,
        at: str | None,
        layers: str | None,
        arc: bool | None,
        frames: int | None,
        network: NetworkFile,
        overlay: Overlay,
        opener: Callable[[], Network],
    ) -> Wanted:
        """Read the flags; Usage where they contradict each other. opener: for conversions."""
        if at is not None and frames is not None:
            raise Usage("--at and --frames together: frames go from the first latent to the last")
        if overlay.placed and not overlay.masks and (at is not None or frames is not None):
            raise Usage("--at and --frames do not go with --offset and --canvas, unless by --mask")
        if overlay.placed and layers is not None:
            raise Usage("--layers: the first latent does not cover the canvas")
        shares = None if at is None else parse_at(at, masked=bool(overlay.masks))
        return cls(shares, parse_layers(layers), arc, frames, network, overlay, opener)

    def run(self, incoming: Iterator[Latent]) -> Iterator[Latent]:
        """The mixture of all latents, or its frames. Usage where not all of them can be had."""
        latents = self.gathered(incoming)
        key = joined([latent.key for latent in latents])
        try:
            if self.frames is None:
                yield self.mixture(latents, self.shares_of(len(latents)), key)
            else:
                yield from self.walk(latents, key)
        except SampleError as e:
            raise Usage(str(e)) from None

    def gathered(self, incoming: Iterator[Latent]) -> Sequence[Latent]:
        """All latents, two or more, in one space where they can be mixed; else Usage."""
        latents = list(incoming)
        if report.failures():
            raise Usage("nothing was mixed, because not all of the latents could be read")
        if len(latents) < 2:
            raise Usage(f"mix takes two latents or more, and got {len(latents) or 'none'}")
        try:
            self.check(latents)
            return self.together(latents)
        except SampleError as e:
            raise Usage(str(e)) from None

    def check(self, latents: Sequence[Latent]) -> None:
        """SampleError where they are of different networks, or render differently."""
        z = not self.overlay.needs and all(latent.space in {"z", "zy"} for latent in latents)
        for latent in latents:
            self.network.check(latent)
        first = latents[0]
        for latent in latents[1:]:
            mine, other = (x.header.get("network") or {} for x in (first, latent))
            if mine.get("id") and other.get("id") and mine["id"] != other["id"]:
                raise SampleError(
                    f"{first.key} is of network {mine.get('name')} ({mine['id'][:12]}) and "
                    f"{latent.key} of network {other.get('name')} ({other['id'][:12]})"
                )
            if z and latent.truncation != first.truncation:
                raise SampleError(f"{first.key} and {latent.key} differ in their truncation")

    def together(self, latents: Sequence[Latent]) -> Sequence[Latent]:
        """All of them in the smallest space that holds what is wanted; no torch if they are."""
        found, needs = {latent.space for latent in latents}, self.overlay.needs
        spatial = any(latent.spatial for latent in latents)
        if not (needs or spatial) and (len(found) == 1 or found in SIDE_BY_SIDE):
            return latents
        here = len(found) == 1 and all(c in latents[0].space for c in needs)
        if not here or "z" in latents[0].space:
            latents = meet(self.open(), latents, needs)
        if latents[0].spatial:
            if self.arc:
                raise SampleError(f"--slerp: {latents[0].space} is mixed along lines")
            self.overlay.check(latents)
        return latents

    def shares_of(self, count: int) -> list[float]:
        """One share per latent, summing to 1; with masks how far each of them has moved."""
        if self.overlay.masks:
            return self._moves(count)
        if self.shares is None:
            if self.layers is None:
                return [1 / count] * count
            return [0.0, *[1 / (count - 1)] * (count - 1)]
        if len(self.shares) != count - 1:
            given = f"{len(self.shares)} share" + "s" * (len(self.shares) != 1)
            raise Usage(
                f"--at has {given}, and {count} latents take {count - 1}: one for each after the "
                "first, which gets the rest"
            )
        return [1 - math.fsum(self.shares), *self.shares]

    def _moves(self, count: int) -> list[float]:
        if self.shares is not None and len(self.shares) != count - 1:
            raise Usage(f"--at has {len(self.shares)} numbers for {count - 1} masks")
        return self.shares or [0.5] * (count - 1)

    def walk(self, latents: Sequence[Latent], key: str) -> Iterator[Latent]:
        """Frames in legs of equal length, from each latent to the next."""
        assert self.frames is not None
        legs = len(latents) - 1
        for i in range(self.frames):
            position = i * legs / (self.frames - 1)
            leg = min(int(position), legs - 1)
            t = position - leg
            shares = [t] if self.overlay.masks else [1 - t, t]
            pair = latents[leg : leg + 2]
            yield self.mixture(pair, shares, f"{key}/{i:04d}", latents, leg)

    def mixture(
        self,
        latents: Sequence[Latent],
        shares: Sequence[float],
        key: str,
        family: Sequence[Latent] | None = None,
        leg: int = 0,
    ) -> Latent:
        """The latent mixed by shares; `family`: all that the whole walk goes through."""
        from gantools.io.latent import Latent

        whole = family or latents
        if latents[0].spatial:
            masks = self.overlay.masks_of(len(whole), walking=family is not None)
            space = latents[0].space
            tensors = self.composed(latents, shares, masks[leg : leg + len(latents) - 1])
        else:
            space, tensors = self.mixed(latents, shares, whole)
        header = {
            name: latents[0].header[name]
            for name in INHERITED
            if all(x.header.get(name) == latents[0].header.get(name) for x in family or latents)
            and name in latents[0].header
        }
        header["history"] = latents[0].header.get("history", [])
        return Latent(key, space, tensors, header).with_history("mix", self.story(latents, shares))

    def composed(
        self, latents: Sequence[Latent], shares: Sequence[float], masks: Sequence[Mask]
    ) -> dict[str, np.ndarray]:
        """The tensors of latents with features or style maps over each other."""
        from gantools.latents.compositing import compose

        wanted = self.overlay.composition(shares, masks, self.layers, len(latents))
        return compose(latents, wanted)

    def mixed(
        self, latents: Sequence[Latent], shares: Sequence[float], family: Sequence[Latent]
    ) -> tuple[str, dict[str, np.ndarray]]:
        """Space and tensors of latents in z or w."""
        from gantools.latents import mixing

        rows = [len(x.tensors["w"]) for x in latents if x.space.endswith("+")]
        by_layers = self.layers is not None or self.overlay.keep_colour
        num_ws = self.network.num_ws(latents[0]) if by_layers and not rows else None
        layers: Collection[int] | None = self.layers
        if self.overlay.keep_colour:
            count = rows[0] if rows else num_ws
            if count is None:
                raise SampleError("--keep-colour needs layers, of w with their network by --net")
            kept = range(count - COLOURS, count)
            layers = [i for i in (range(count) if layers is None else layers) if i not in kept]
            if not layers:
                raise SampleError("--layers and --keep-colour together leave nothing to mix")
        space = mixing.common_space(family, layers)
        return space, mixing.mix(latents, shares, layers=layers, arc=self.arc, num_ws=num_ws)

    def story(self, latents: Sequence[Latent], shares: Sequence[float]) -> dict[str, Any]:
        """The arguments for the history; the first parent's history stands before them."""
        args: dict[str, Any] = {"of": [latent.key for latent in latents], "shares": list(shares)}
        if self.layers is not None:
            args["layers"] = self.layers
        if self.arc is not None:
            args["slerp"] = self.arc
        args |= self.overlay.story()
        args["histories"] = [latent.header.get("history", []) for latent in latents[1:]]
        return args


def parse_at(text: str, *, masked: bool = False) -> list[float]:
    """`0.3` or `0.3,0.2`: shares from 0 to 1 that sum to 1 at most, unless they move masks."""
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        raise Usage(f"--at {text}: expected a share such as 0.3, or 0.3,0.2") from None
    if masked and all(0 <= share <= 1 for share in shares):
        return shares
    if not all(0 <= share <= 1 for share in shares) or math.fsum(shares) > 1 + 1e-9:
        raise Usage(f"--at {text}: shares lie from 0 to 1, and sum to 1 at most")
    return shares


def joined(keys: Sequence[str]) -> str:
    """`a+b`; folders only of the first; many keys are counted instead of named."""
    names = [keys[0], *(key.rpartition("/")[2] for key in keys[1:])]
    whole = "+".join(names)
    if len(whole) <= LONGEST_KEY:
        return whole
    return f"{keys[0]}+{names[1]}+{len(keys) - 2}more"
