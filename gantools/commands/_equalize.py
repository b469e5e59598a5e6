"""`edit --equalize`: the scalars of latents towards those of their space (papers.md S2.18)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gantools import options

if TYPE_CHECKING:
    from gantools.io.latent import Latent
    from gantools.networks.network import Network
    from gantools.ops.quantiles import Distribution

SAMPLES = 4096  # z of the target (S2.19)


@dataclass
class Equalizer:
    """The network of --net, opened with the first latent, and how its w are distributed."""

    net: str | None
    device: str
    threads: int

    def __call__(self, latent: Latent, c: float) -> Latent:
        """The latent with c of the way to the target; SampleError where it has none."""
        from gantools.latents.distribution import equalize

        self._network.check(latent)
        return equalize(latent, self._targets, c)

    @cached_property
    def _network(self) -> Network:
        from gantools.networks.network import open_network

        options.set_threads(self.threads)
        network = open_network(self.net, device=options.pick_device(self.device))
        network.need_w("--equalize")
        return network

    @cached_property
    def _targets(self) -> dict[str, Distribution]:
        from gantools.latents.labelling import sample_w
        from gantools.ops.quantiles import Distribution

        return {"w": Distribution.of(sample_w(self._network, SAMPLES))}
