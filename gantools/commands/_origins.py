"""Where the latents of generate come from: seeds, a walk, or what is given to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

from gantools import options
from gantools.commands import _classes, _latents
from gantools.io.seeds import key_of_seed
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.io.latent import Latent
    from gantools.networks.network import Network

Maker = Callable[[], "Latent"]
Source = tuple[str, Maker]  # a key, and its latent when it is needed


def parse_psis(text: str | None) -> list[float] | None:
    """`0.7` or `1,0.7,0`; Usage for anything else."""
    if text is None:
        return None
    try:
        psis = [float(part) for part in text.split(",")]
    except ValueError:
        psis = []
    if not psis or not all(math.isfinite(psi) for psi in psis):
        raise Usage(f"--psi {text}: expected a number such as 0.7, or several: 1,0.7,0")
    return psis


@dataclass(frozen=True, slots=True)
class Walk:
    """--video: seconds, frames per second, the filter's sigma in seconds (S1.25)."""

    seconds: float
    fps: float
    smoothing: float

    @classmethod
    def of(
        cls, seconds: float | None, fps: float, smoothing: float | None, *, video: bool
    ) -> Walk | None:
        """The walk of --video with its defaults; Usage for its options without it."""
        if video:
            return cls(
                60.0 if seconds is None else seconds, fps, 1.0 if smoothing is None else smoothing
            )
        if seconds is not None or smoothing is not None:
            raise Usage("--seconds and --smoothing belong to --video")
        return None

    @property
    def frames(self) -> int:
        """How many frames it has."""
        return max(round(self.seconds * self.fps), 1)


@dataclass
class LazyNetwork:
    """The network of --net, opened when the first picture is really wanted (--no-clobber)."""

    net: str | None
    device: str
    dtype: str
    threads: int

    @cached_property
    def open(self) -> Network:
        """The network on its device."""
        from gantools.networks.network import open_network

        options.set_threads(self.threads)
        return open_network(self.net, device=options.pick_device(self.device), dtype=self.dtype)


@dataclass(kw_only=True)
class Origin:
    """One of operands, seeds and walk, and what is asked of its latents."""

    operands: Sequence[str] | None
    seeds: list[int] | None
    walk: Walk | None
    psi: float | None
    cutoff: int | None
    class_: str | None
    seed: int
    network: LazyNetwork
    size: tuple[int, int] | None = None  # of pictures that start from sampled features
    noise: str | None = None  # const, random or none: of these, too

    def __iter__(self) -> Iterator[Source]:
        if self.seeds is not None:
            yield from self.of_seeds(self.seeds)
        elif self.walk is not None:
            yield from self.of_walk(self.walk, 0)
        else:
            for latent in _latents.read(self.operands):
                yield latent.key, partial(self._asked, latent)

    def count(self) -> int | None:
        """How many there are, where it is known."""
        return len(self.seeds) if self.seeds else self.walk.frames if self.walk else None

    @cached_property
    def checked_cutoff(self) -> int | None:
        """--cutoff; Usage where the network has fewer layers, or none that could be truncated."""
        network = self.network.open
        if self.cutoff is not None:
            network.need_w("--cutoff")
        if self.psi is not None:
            network.check_psi(self.psi, "--psi")
        layers = network.g.num_ws
        if self.cutoff is not None and self.cutoff > layers:
            raise Usage(
                f"--cutoff {self.cutoff}: the network has layers 0-{layers - 1}, "
                f"so give 0 to {layers}"
            )
        return self.cutoff

    def of_seeds(self, seeds: Iterable[int]) -> Iterator[Source]:
        """z of NVIDIA's seeds."""
        for seed in seeds:
            yield key_of_seed(seed), partial(self._of_seed, seed)

    def _of_seed(self, seed: int) -> Latent:
        z = self.network.open.z_of(seed)
        return self._new(key_of_seed(seed), z, {"seed": seed})

    def of_walk(self, walk: Walk, number: int) -> Iterator[Source]:
        """The frames of one walk; `number` counts the cells of a grid."""
        from gantools.io.seeds import derive, truncated
        from gantools.latents.walk import walk as draw

        @cache
        def frames() -> np.ndarray:
            seed = derive(self.seed, f"walk/{number}", "walk")
            z_dim = self.network.open.g.cfg.z_dim
            z = draw(walk.frames, z_dim, walk.smoothing * walk.fps, seed)
            return truncated(z) if self.network.open.truncates_z else z

        def frame(i: int) -> Latent:
            return self._new(f"walk/{i:04d}", frames()[i], {}, still=f"walk/{number}")

        for i in range(walk.frames):
            yield f"walk/{i:04d}", partial(frame, i)

    def _new(
        self, key: str, z: np.ndarray, header: dict[str, Any], *, still: str | None = None
    ) -> Latent:
        from gantools.io.latent import Latent

        header = {"network": self.network.open.story(), **header}
        return self._asked(Latent(key, "z", {"z": z}, header), still=still)

    def _asked(self, latent: Latent, *, still: str | None = None) -> Latent:
        """A z with the truncation of the command line in its header, with its class and features.

        still: the key that its features follow from, where they stay the same over a walk.
        """
        if "z" not in latent.tensors:
            self._no_size(latent)
            return latent
        truncation = {"psi": self.psi, "cutoff": self.checked_cutoff}
        header = {**latent.header, **{n: v for n, v in truncation.items() if v is not None}}
        latent = self._with_class(replace(latent, header=header))
        if latent.spatial:
            self._no_size(latent)
            return latent
        return self._with_features(latent, still)

    def _no_size(self, latent: Latent) -> None:
        if self.size is not None:
            raise SampleError(
                f"a {latent.space} latent has its size; --size is for pictures whose features are "
                "drawn (--seeds, or latents in z)"
            )

    @cached_property
    def _cells(self) -> tuple[int, int] | None:
        from gantools.latents import sampled

        return None if self.size is None else sampled.cells(self.network.open, self.size)

    def _with_features(self, latent: Latent, still: str | None) -> Latent:
        """In fnzI, of a network that starts from sampled features (S2.20); else as it is."""
        from gantools.latents import sampled

        return sampled.drawn(
            self.network.open,
            latent,
            noise=self.noise or "random",
            seed=self.seed,
            size=self._cells,
            key=still,
        )

    def _with_class(self, latent: Latent) -> Latent:
        """With the one-hot label of --class, where the network is conditional."""
        network = self.network.open
        classes = network.g.cfg.c_dim
        number = None if self.class_ is None else _classes.number_of(self.class_, network)
        if not classes or (number is None and "y" in latent.tensors):
            return latent
        if number is None:
            there = _classes.there_are(network)
            raise Usage(f"the network is conditional: give --class {there}")
        import numpy as np

        label = np.zeros(classes, np.float32)
        label[number] = 1
        space = latent.space if latent.spatial else "zy"
        return replace(latent, space=space, tensors={**latent.tensors, "y": label})
