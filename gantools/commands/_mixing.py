"""What `gantools mix` was asked to do: shares, layers, frames, and the header of the result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gantools import report
from gantools.commands._latents import NetworkFile, parse_layers
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    from gantools.io.latent import Latent

LONGEST_KEY = 120
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

    @classmethod
    def of(
        cls,
        at: str | None,
        layers: str | None,
        arc: bool | None,
        frames: int | None,
        network: NetworkFile,
    ) -> Wanted:
        """Read the flags; Usage where they contradict each other."""
        if at is not None and frames is not None:
            raise Usage("--at and --frames together: frames go from the first latent to the last")
        chosen = parse_layers(layers)
        return cls(None if at is None else parse_at(at), chosen, arc, frames, network)

    def run(self, incoming: Iterator[Latent]) -> Iterator[Latent]:
        """The mixture of all latents, or its frames. Usage where not all of them can be had."""
        latents = list(incoming)
        if report.failures():
            raise Usage("nothing was mixed, because not all of the latents could be read")
        if len(latents) < 2:
            raise Usage(f"mix takes two latents or more, and got {len(latents) or 'none'}")
        try:
            self.check(latents)
            key = joined([latent.key for latent in latents])
            if self.frames is None:
                yield self.mixture(latents, self.shares_of(len(latents)), key)
            else:
                yield from self.walk(latents, key)
        except SampleError as e:
            raise Usage(str(e)) from None

    def check(self, latents: Sequence[Latent]) -> None:
        """SampleError where they are of different networks, or render differently."""
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
            if "z" in latent.tensors and latent.truncation != first.truncation:
                raise SampleError(f"{first.key} and {latent.key} differ in their truncation")

    def shares_of(self, count: int) -> list[float]:
        """One share per latent, summing to 1."""
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

    def walk(self, latents: Sequence[Latent], key: str) -> Iterator[Latent]:
        """Frames in legs of equal length, from each latent to the next."""
        assert self.frames is not None
        legs = len(latents) - 1
        for i in range(self.frames):
            position = i * legs / (self.frames - 1)
            leg = min(int(position), legs - 1)
            t = position - leg
            yield self.mixture(latents[leg : leg + 2], [1 - t, t], f"{key}/{i:04d}", latents)

    def mixture(
        self,
        latents: Sequence[Latent],
        shares: Sequence[float],
        key: str,
        family: Sequence[Latent] | None = None,
    ) -> Latent:
        """The latent mixed by shares; `family`: all that the whole walk goes through."""
        from gantools.io.latent import Latent
        from gantools.latents import mixing

        num_ws = None
        if self.layers is not None and all(not x.space.endswith("+") for x in latents):
            num_ws = self.network.num_ws(latents[0])
        space = mixing.common_space(family or latents, self.layers)
        tensors = mixing.mix(latents, shares, layers=self.layers, arc=self.arc, num_ws=num_ws)
        header = {
            name: latents[0].header[name]
            for name in INHERITED
            if all(x.header.get(name) == latents[0].header.get(name) for x in family or latents)
            and name in latents[0].header
        }
        header["history"] = latents[0].header.get("history", [])
        return Latent(key, space, tensors, header).with_history("mix", self.story(latents, shares))

    def story(self, latents: Sequence[Latent], shares: Sequence[float]) -> dict[str, Any]:
        """The arguments for the history; the first parent's history stands before them."""
        args: dict[str, Any] = {"of": [latent.key for latent in latents], "shares": list(shares)}
        if self.layers is not None:
            args["layers"] = self.layers
        if self.arc is not None:
            args["slerp"] = self.arc
        args["histories"] = [latent.header.get("history", []) for latent in latents[1:]]
        return args


def parse_at(text: str) -> list[float]:
    """`0.3` or `0.3,0.2`: shares from 0 to 1 that sum to 1 at most."""
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        raise Usage(f"--at {text}: expected a share such as 0.3, or 0.3,0.2") from None
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
