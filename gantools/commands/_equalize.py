"""`edit --equalize`: the scalars of latents towards those of their space (papers.md S2.18)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from gantools import options

if TYPE_CHECKING:
    from gantools.io.latent import Latent
    from gantools.networks.network import Network
    from gantools.ops.quantiles import Distribution


@dataclass
class Equalizer:
    """The network of --net, opened with the first latent, and how its own are distributed.

    Each part of a latent, styles, F and R, has its own target; those of F and R belong to a block.
    """

    net: str | None
    device: str
    threads: int
    _features: dict[int, dict[str, Distribution]] = field(default_factory=dict)

    def __call__(self, latent: Latent, c: float) -> Latent:
        """The latent with c of the way to the target; SampleError where it has none."""
        from gantools.latents.distribution import equalize

        self._network.check(latent)
        features = self._targets_of_features(latent.first) if "f" in latent.tensors else {}
        return equalize(latent, {"w": self._styles, **features}, c)

    def _targets_of_features(self, first: int) -> dict[str, Distribution]:
        from gantools.latents.targets import of_features

        if first not in self._features:
            self._features[first] = of_features(self._network, first)
        return self._features[first]

    @cached_property
    def _network(self) -> Network:
        from gantools.networks.network import open_network

        options.set_threads(self.threads)
        network = open_network(self.net, device=options.pick_device(self.device))
        network.need_w("--equalize")
        return network

    @cached_property
    def _styles(self) -> Distribution:
        from gantools.latents.targets import of_styles

        return of_styles(self._network)
