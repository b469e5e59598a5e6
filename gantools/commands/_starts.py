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

DRAWN = ("mean", "random", "normal")
ANY_BLOCK = 99
LAYERED = ("dse", "psp")  # encoders of all layers, and of z; the first that is kept is taken
WHOLE = (*LAYERED, "alae")
TRAINED = {"psp": "train encoder --arch psp", "alae": "train alae"}
"""Methods that are for the kind of encoder of their name alone, and what trains it."""


@dataclass(frozen=True)
class Start:
    """wish: as on the command line; None is an encoder where one is kept, else the mean."""

    wish: str | None
    network: Network
    path: Path  # of the network's file
    space: str | None  # None: the encoder's own
    device: str
    told: bool  # whether pictures' classes are known, for an encoder that is told them

    def init(self) -> Init:
        """For a Projector; Usage where the wish is nothing of the kind."""
        from gantools.inversion.start import Given
        from gantools.io import encoder

        if self.wish is None:
            kept = self._kept_encoder()
            return "mean" if kept is None else Given("encoder", self._encoder(kept))
        if self.wish in DRAWN:
            return self.wish
        place = Path(self.wish)
        if not place.exists():
            raise Usage(
                f"--init {place}: not mean, random, normal, a latent file, a folder of them or "
                "an encoder"
            )
        if encoder.is_one(place):
            return Given("encoder", self._encoder(place))
        if place.is_dir():
            return Given("latent", lambda key, *_: self._of_folder(place, key))
        try:  # one for all: what is wrong with it is so for every picture
            data = place.read_bytes()
            self._latent(place, data, place.stem)
        except (SampleError, OSError) as e:
            why = f"--init {place}: {e.strerror}" if isinstance(e, OSError) else str(e)
            raise Usage(why) from None
        return Given("latent", lambda key, *_: self._latent(place, data, key))

    def usual_method(self) -> str:
        """hybrid where an encoder of all layers, or of z, is kept for the space, else quick.

        An encoder that is told the class waits for one. Quick starts from those of features and of
        w alone.
        """
        from gantools.io import encoder, network

        kept = self._kept_encoder() if self.wish is None else None
        if kept is None or encoder.arch(kept) not in LAYERED:
            return "quick"
        condition = network.header(kept)["config"].get("condition")
        return "quick" if condition and not self.told else "hybrid"

    def encoder(self, method: str) -> AnyEncoder:
        """That of --init, or else the one that is kept; Usage where there is none.

        Kept for a space without features is that of paper 004, or else pSp's, or ALAE's, which
        alone is for w; for none in particular these, or else the one of the latest block.
        """
        from gantools.io import encoder

        wanted = method if method in TRAINED else None
        if self.wish is not None:
            place = Path(self.wish)
            if not encoder.is_one(place):
                there = self.wish in DRAWN or place.exists()
                what = "no encoder, with which" if there else "no such file or folder;"
                end = "begins" if there else "begins with an encoder"
                raise Usage(f"--init {self.wish}: {what} --method {method} {end}")
            arch = encoder.arch(place)
            if wanted not in (None, arch):
                raise Usage(
                    f"--init {self.wish}: an encoder of kind {arch}, not trained by "
                    f"{TRAINED[wanted]}"
                )
            return self._loaded(place)
        kept = self._kept_encoder(wanted)
        if kept is None:
            where = "" if self.space is None else f" for {self.space}"
            how = TRAINED.get(method, "train encoder")
            raise Usage(
                f"--method {method}: no encoder{where} is kept for {self.network.name}: train one "
                f"(gantools {how}), and give it with --init"
            )
        return self._loaded(kept)

    def _kept_encoder(self, arch: str | None = None) -> Path | None:
        """arch: the kind that it has to be of, of those of whole latents."""
        from gantools.io import encoder

        own = {**self.network.meta, "id": self.network.id}
        index = None if self.space is None else split(self.space)[1]
        if index is not None and arch is None:
            return encoder.kept_for(self.path, own, index)
        kinds: tuple[str, ...] = WHOLE if arch is None else (arch,)
        if self.space is not None and not {"+", "z"} & set(self.space):
            # All layers' styles are no w without a loss.
            kinds = tuple(kind for kind in kinds if kind not in LAYERED)
        whole = [encoder.kept_for(self.path, own, 1, kind) for kind in kinds]
        found = next((path for path in whole if path is not None), None)
        if found is None and self.space is None and arch is None:
            return encoder.kept_for(self.path, own, ANY_BLOCK)
        return found

    def _loaded(self, place: Path) -> AnyEncoder:
        from gantools.inversion import coded, encoder_files

        found = encoder_files.load(place, self.device)
        found.check(self.network)
        coded.check_told(self.network, found, labelled=self.told)
        return found

    def _encoder(self, place: Path) -> Callable[[str, Tensor, int | None], Latent]:
        return start_of(self.network, self._loaded(place))

    def _of_folder(self, place: Path, key: str) -> Latent:
        path = place / f"{key}.safetensors"
        if not path.is_file():
            raise SampleError(f"--init: there is no {key}.safetensors in {place}")
        return self._latent(path, path.read_bytes(), key)

    def _latent(self, path: Path, data: bytes, key: str) -> Latent:
        try:
            latent = Latent.from_bytes(data, key)
            self.network.check(latent)
        except SampleError as e:
            raise SampleError(f"--init {path}: {e}") from e
        return latent


def start_of(network: Network, encoder: AnyEncoder) -> Callable[[str, Tensor, int | None], Latent]:
    """The latent of a key, a picture [1, C, H, W] and its class, for a Projector."""
    from gantools.inversion import coded
    from gantools.inversion.dse import DseEncoder

    def of(key: str, picture: Tensor, label: int | None) -> Latent:
        condition = coded.told(network, encoder, None if label is None else [label])
        try:
            if isinstance(encoder, DseEncoder):
                return encoder.latents([key], picture, condition)[0]
            return encoder.latents([key], picture)[0]
        except ValueError as e:
            raise SampleError(f"the encoder: {e}") from None

    return of
