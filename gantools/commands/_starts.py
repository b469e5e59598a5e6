"""`project --init`: the mean, a random w, latents, or what an encoder sees (papers.md S2.11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gantools.io.latent import Latent
from gantools.io.space import split
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    from torch import Tensor

    from gantools.inversion.start import Init
    from gantools.networks.network import Network


@dataclass(frozen=True)
class Start:
    """wish: as on the command line; None is an encoder where one is kept, else the mean."""

    wish: str | None
    network: Network
    path: Path  # of the network's file
    space: str
    device: str

    def init(self) -> Init:
        """For a Projector; Usage where the wish is nothing of the kind."""
        from gantools.inversion.start import Given
        from gantools.io import encoder

        if self.wish is None:
            kept = self._kept_encoder()
            return "mean" if kept is None else Given("encoder", self._encoder(kept))
        if self.wish in {"mean", "random"}:
            return self.wish
        place = Path(self.wish)
        if not place.exists():
            raise Usage(
                f"--init {place}: not mean, random, a latent file, a folder of them or an encoder"
            )
        if encoder.is_one(place):
            return Given("encoder", self._encoder(place))
        return Given("latent", lambda key, picture: self._latent(place, key))

    def _kept_encoder(self) -> Path | None:
        from gantools.io import encoder

        index = split(self.space)[1]
        own = {**self.network.meta, "id": self.network.id}
        return None if index is None else encoder.kept_for(self.path, own, index)

    def _encoder(self, place: Path) -> Callable[[str, Tensor], Latent]:
        from gantools.inversion import encoder_files

        found = encoder_files.load(place, self.device)
        found.check(self.network)
        return lambda key, picture: found.latents([key], picture)[0]

    def _latent(self, place: Path, key: str) -> Latent:
        path = place / f"{key}.safetensors" if place.is_dir() else place
        if not path.is_file():
            raise SampleError(f"--init: there is no {key}.safetensors in {place}")
        try:
            latent = Latent.from_bytes(path.read_bytes(), key)
            self.network.check(latent)
        except SampleError as e:
            raise SampleError(f"--init {path}: {e}") from e
        return latent
