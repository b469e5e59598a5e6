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

    from gantools.inversion.coded import AnyEncoder
    from gantools.inversion.start import Init
    from gantools.networks.network import Network

ANY_BLOCK = 99
ALAE = "alae"  # the method, and the kind of encoder


@dataclass(frozen=True)
class Start:
    """wish: as on the command line; None is an encoder where one is kept, else the mean."""

    wish: str | None
    network: Network
    path: Path  # of the network's file
    space: str | None  # None: the encoder's own
    device: str

    def init(self) -> Init:
        """For a Projector; Usage where the wish is nothing of the kind."""
        from gantools.inversion.start import Given
        from gantools.io import encoder

        if self.wish is None:
            kept = self._kept_encoder()
            return "mean" if kept is None else Given("encoder", self._encoder(kept))
        if self.wish in {"mean", "random", "normal"}:
            return self.wish
        place = Path(self.wish)
        if not place.exists():
            raise Usage(
                f"--init {place}: not mean, random, normal, a latent file, a folder of them or "
                "an encoder"
            )
        if encoder.is_one(place):
            return Given("encoder", self._encoder(place))
        return Given("latent", lambda key, picture: self._latent(place, key))

    def encoder(self, method: str) -> AnyEncoder:
        """That of --init, or else the one that is kept; Usage where there is none.

        Kept for a space without features is that of paper 004, or else ALAE's, which alone is for
        w; for none in particular these, or else the one of the latest block.
        """
        from gantools.io import encoder

        if self.wish is not None:
            place = Path(self.wish)
            if not place.exists() or not encoder.is_one(place):
                raise Usage(f"--init {self.wish}: no encoder, with which --method {method} begins")
            return self._of_method(self._loaded(place), method)
        kept = self._kept(ALAE) if method == ALAE else self._kept_encoder()
        if kept is None:
            where = "" if self.space is None else f" for {self.space}"
            how = "train alae" if method == ALAE else "train encoder"
            raise Usage(
                f"--method {method}: no encoder{where} is kept for {self.network.name}: train one "
                f"(gantools {how}), and give it with --init"
            )
        return self._loaded(kept)

    def _of_method(self, found: AnyEncoder, method: str) -> AnyEncoder:
        from gantools.inversion.alae import AlaeEncoder

        if method == ALAE and not isinstance(found, AlaeEncoder):
            raise Usage(
                f"--init {self.wish}: not trained by train alae (--method encoder takes it)"
            )
        return found

    def _kept_encoder(self) -> Path | None:
        from gantools.io import encoder

        own = {**self.network.meta, "id": self.network.id}
        index = None if self.space is None else split(self.space)[1]
        if index is not None:
            return encoder.kept_for(self.path, own, index)
        if self.space == "w":
            return self._kept(ALAE)  # w+ is no w without a loss
        if self.space is not None and "+" not in self.space:
            return None
        whole = self._kept("dse") or self._kept(ALAE)
        if whole is None and self.space is None:
            return encoder.kept_for(self.path, own, ANY_BLOCK)
        return whole

    def _kept(self, arch: str) -> Path | None:
        """An encoder of this kind, of no block."""
        from gantools.io import encoder

        own = {**self.network.meta, "id": self.network.id}
        return encoder.kept_for(self.path, own, 1, arch)

    def _loaded(self, place: Path) -> AnyEncoder:
        from gantools.inversion import encoder_files

        found = encoder_files.load(place, self.device)
        found.check(self.network)
        return found

    def _encoder(self, place: Path) -> Callable[[str, Tensor], Latent]:
        return start_of(self._loaded(place))

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


def start_of(
    encoder: AnyEncoder, condition: Tensor | None = None
) -> Callable[[str, Tensor], Latent]:
    """The latent of a key and a picture [1, C, H, W], for a Projector.

    condition [1, embedded]: of an encoder that is told the class.
    """
    from gantools.inversion.dse import DseEncoder

    def of(key: str, picture: Tensor) -> Latent:
        try:
            if condition is not None and isinstance(encoder, DseEncoder):
                return encoder.latents([key], picture, condition)[0]
            return encoder.latents([key], picture)[0]
        except ValueError as e:
            raise SampleError(f"the encoder: {e}") from None

    return of
