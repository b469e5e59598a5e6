"""Pictures that a metric measures: of an operand (latents are rendered), or of a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantools import options, report
from gantools.commands import _ranks
from gantools.io.seeds import derive, key_of_seed, seed_of_key
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.evaluation.features import Picture
    from gantools.io.latent import Latent
    from gantools.io.sample import Sample
    from gantools.networks.network import Network

NOISE = "random"  # S0.16: the noise of generated pictures is drawn anew for each

QUANTISATION = "8 bits; generated pictures are rounded half to even"


@dataclass(kw_only=True)
class Drawn:
    """Where pictures come from that no operand gives; the network is opened once, if at all."""

    net: str | None
    given_num: int | None
    given_psi: float | None
    seed: int
    batch: int
    device: str
    dtype: str
    threads: int
    default_num: int = 50_000
    features: str | None = None
    noise: str | None = NOISE  # None: as the latents themselves say
    shard: str | None = None
    cache: bool = True  # features of operands are kept, and read where they were

    @property
    def num(self) -> int:
        """How many pictures the network makes."""
        return self.default_num if self.given_num is None else self.given_num

    @property
    def psi(self) -> float:
        """Their truncation."""
        return 1.0 if self.given_psi is None else self.given_psi

    def keeps_features_of(self, source: Source) -> bool:
        """Whether they go through the cache: not those that a network makes, of no end."""
        return self.cache and source.seeds is None

    def check_num(self, operand: str | None, name: str) -> None:
        """Usage where --num, --psi or torchrun meet pictures, the operand `name`."""
        if operand is not None:
            _ranks.alone(name)
        if operand is not None and (self.given_num, self.given_psi) != (None, None):
            raise Usage(
                f"--num and --psi are for pictures that the network makes: leave {name} out"
            )

    @cached_property
    def network(self) -> Network:
        """The network of --net, with its discriminator where that gives the features."""
        from gantools.networks.network import open_network

        wants = self.features == "discriminator"
        device = options.pick_device(self.device)
        return open_network(self.net, device=device, dtype=self.dtype, discriminator=wants)


def check_operands(*names: str | None) -> None:
    """Usage for an operand that is not there, and for standard input twice."""
    if names.count("-") > 1:
        raise Usage("standard input (-) can be one of the two sets, not both")
    for name in names:
        if name is not None:
            exists(name)


def exists(name: str) -> None:
    """Usage where there is no such file or folder; `-` is there."""
    if name != "-" and not Path(name).exists():
        raise Usage(f"{name}: no such file or folder")


@dataclass
class Source:
    """Pictures as they arrive, what is known about them, and how many if that is known.

    seeds: of those that a network makes, of which `pictures` has this process's share.
    """

    pictures: Iterator[Picture]
    story: dict[str, Any]
    total: int | None = None
    seeds: range | None = None

    @property
    def divided(self) -> bool:
        """Whether several processes make the pictures."""
        return self.seeds is not None and _ranks.world() > 1


def sized(source: Source, *, flat: bool = False) -> Iterator[Picture]:
    """The pictures, those of a network from all processes; their size is noted as they pass.

    Pictures of one flat colour are named and left out, or kept with `flat`.
    """
    pictures = own(source, flat=flat)
    if source.seeds is None or not source.divided:
        yield from pictures
        return
    for seed, pixels in _ranks.together(numbered(pictures), source.seeds):
        yield key_of_seed(seed), pixels


def own(source: Source, *, flat: bool = False) -> Iterator[Picture]:
    """This process's pictures, as `sized`; the bar."""
    from gantools.evaluation.features import varied

    sizes: set[str] = set()
    shown = report.progress(source.pictures, total=source.total, unit="pictures")
    for name, pixels in shown if flat else varied(shown):
        sizes.add(f"{pixels.shape[1]}x{pixels.shape[0]}")
        source.story["size"] = next(iter(sizes)) if len(sizes) == 1 else "several"
        yield name, pixels


def numbered(pictures: Iterator[Picture]) -> Iterator[tuple[int, np.ndarray]]:
    """(seed, pixels) of a network's pictures."""
    return ((seed_of_key(name), pixels) for name, pixels in pictures)


def open_source(operand: str | None, asked: Drawn, *, keyed: bool = False) -> Source:
    """The pictures of an operand, or of the network of --net where there is none.

    keyed: as in `pictures_of`.
    """
    from gantools.io.source import samples

    if operand is None:
        return generated(asked)
    name = "stdin" if operand == "-" else Path(operand).name or "."
    found = pictures_of(samples([operand], shard=asked.shard), asked, keyed=keyed)
    return Source(found, {"source": name, **shard_story(asked)})


def shard_story(asked: Drawn) -> dict[str, str]:
    """What a set's story says of --shard: nothing, or which."""
    return {} if asked.shard is None else {"shard": asked.shard}


def pictures_of(
    samples: Iterable[Sample], asked: Drawn, *, keyed: bool = False
) -> Iterator[Picture]:
    """Pictures decoded, latents rendered with the network of --net; the order stays.

    keyed: each is called by its key, not by its name for messages. What fails is reported.
    """
    from gantools.io.sample import kind

    for what, group in groupby(samples, key=lambda sample: kind(sample.data)):
        if what == "latent":
            yield from _rendered(_latents(group), asked)
        else:
            yield from _decoded(group, keyed)


def _decoded(samples: Iterable[Sample], keyed: bool) -> Iterator[Picture]:
    from gantools.io.image import decode

    for sample in samples:
        try:
            pixels = decode(sample.data)
        except SampleError as e:
            report.failed(sample.name, e)
            continue
        yield sample.key if keyed else sample.name, pixels


def _latents(samples: Iterable[Sample]) -> Iterator[Latent]:
    from gantools.io.latent import Latent

    for sample in samples:
        try:
            yield Latent.from_bytes(sample.data, sample.key)
        except SampleError as e:
            report.failed(sample.name, e)


def _rendered(latents: Iterable[Latent], asked: Drawn) -> Iterator[Picture]:
    from gantools.latents import pictures

    def picture(latent: Latent) -> pictures.Picture:
        look = pictures.Look(noise=None if latent.noise else asked.noise, seed=asked.seed)
        return pictures.Picture(latent.key, [pictures.Cell(latent, look)])

    cells = map(picture, latents)
    for made in pictures.rendered(asked.network, cells, asked.batch, exact=False):
        pixels = made.pixels()
        if pixels is not None:
            yield made.key, pixels


def generated(asked: Drawn) -> Source:
    """Pictures of the seeds from --seed on, as `generate --seeds` numbers them."""
    from gantools.io.source import parse_shard

    network = asked.network
    network.check_psi(asked.psi, "--psi")
    story = {"network": network.name, "network_id": network.id, "psi": asked.psi, "noise": NOISE}
    story["seeds"] = f"{asked.seed}-{asked.seed + asked.num - 1}"
    if network.g.cfg.c_dim:
        story["classes"] = "uniform"
    index, count = parse_shard(asked.shard)
    seeds = range(asked.seed + index, asked.seed + asked.num, count)
    mine = _ranks.share(seeds)
    latents = (drawn(network, asked, seed - asked.seed) for seed in mine)
    return Source(_rendered(latents, asked), {**story, **shard_story(asked)}, len(mine), seeds)


def drawn(network: Network, asked: Drawn, i: int) -> Latent:
    """The latent of the i-th picture that the network makes: of the seed --seed + i."""
    import numpy as np

    from gantools.io.latent import Latent

    cfg, seed = network.g.cfg, asked.seed + i
    tensors = {"z": network.z_of(seed)}
    if cfg.c_dim:
        chosen = derive(asked.seed, key_of_seed(seed), "class") % cfg.c_dim
        tensors["y"] = np.eye(cfg.c_dim, dtype=np.float32)[chosen]
    space = "zy" if cfg.c_dim else "z"
    return Latent(key_of_seed(seed), space, tensors, {"psi": asked.psi})
