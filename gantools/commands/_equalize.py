"""`edit --equalize`: the scalars of latents towards those of their space (papers.md S2.18)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from gantools.commands._latents import Opened

if TYPE_CHECKING:
    from gantools.io.latent import Latent
    from gantools.ops.quantiles import Distribution


@dataclass
class Equalizer:
    """How the latents of the network of --net are distributed, found with the first latent.

    Each part of a latent, styles, F and R, has its own target; those of F and R belong to a block.
    """

    opened: Opened
    _features: dict[int, dict[str, Distribution]] = field(default_factory=dict)

    def __call__(self, latent: Latent, c: float) -> Latent:
        """The latent with c of the way to the target; SampleError where it has none."""
        from gantools.latents.distribution import equalize

        self.opened.network.need_w("--equalize")
        self.opened.network.check(latent)
        features = self._targets_of_features(latent.first) if "f" in latent.tensors else {}
        return equalize(latent, {"w": self._styles, **features}, c)

    def _targets_of_features(self, first: int) -> dict[str, Distribution]:
        from gantools.latents.targets import of_features

        if first not in self._features:
            self._features[first] = of_features(self.opened.network, first)
        return self._features[first]

    @cached_property
    def _styles(self) -> Distribution:
        from gantools.latents.targets import of_styles

        return of_styles(self.opened.network)
