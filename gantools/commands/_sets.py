"""The two sets of pictures that a metric compares: operands, files of features, or a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantools import __version__, options, report
from gantools.commands import _ranks
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.evaluation.features import Extractor, Picture
    from gantools.evaluation.frechet import Gaussian, Moments
    from gantools.io.latent import Latent
    from gantools.io.sample import Sample
    from gantools.networks.network import Network

FEATURES = ("inception", "mobilenet", "vgg16", "discriminator")
OPERAND = "a file of features is an operand, in the place of its pictures"
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


@dataclass(kw_only=True)
class Asked(Drawn):
    """What the flags of a comparison of two sets say."""

    features: str
    mirror: bool
    splits: int

    def check(
        self,
        fake: str | None,
        output: Sequence[str] | None,
        *,
        plots: bool = False,
        name: str = "FAKE",
    ) -> None:
        """Usage for what can be refused before anything heavy is imported."""
        from gantools.io import results

        results.check(output, plots=plots)
        check_features(self.features)
        self.check_num(fake, name)
        if self.splits == 1:
            raise Usage("--splits 1: an interval needs two parts or more")

    @cached_property
    def extractor(self) -> Extractor:
        """The extractor of --features."""
        from gantools.evaluation import features

        device = options.pick_device(self.device)
        if self.features not in FEATURES:
            return features.discriminator(self._other(device))
        network = self.network if self.features == "discriminator" else None
        return features.extractor(self.features, device, network)

    def _other(self, device: str) -> Network:
        """The network of --features FILE."""
        from gantools.networks.network import open_network

        if _holds_features(self.features):
            raise Usage(f"--features {self.features}: {OPERAND}")
        return open_network(self.features, device=device, dtype=self.dtype, discriminator=True)


def check_features(name: str, more: Sequence[str] = ()) -> None:
    """Usage for a --features that is neither one of the names (FEATURES and more) nor a file."""
    names = (*FEATURES, *more)
    if name not in names and not Path(name).is_file():
        expected = f"expected {', '.join(names)} or a network file"
        raise Usage(f"--features {name}: {expected}; {OPERAND}")


@dataclass
class Set:
    """Features of one set in blocks [n, dim], read once; `story` is whole when they are read.

    moments: what a file of statistics says in their place; there are no blocks then.
    """

    dim: int
    blocks: Iterator[np.ndarray]
    story: dict[str, Any] = field(default_factory=dict)
    moments: Moments | Gaussian | None = None

    @property
    def measurable(self) -> Iterator[np.ndarray] | Moments | Gaussian:
        """What a Fréchet distance takes: the blocks, or the moments in their place."""
        return self.blocks if self.moments is None else self.moments


@dataclass
class Pair:
    """REAL and FAKE with features of one extractor, `extractor` its protocol."""

    real: Set
    fake: Set
    extractor: dict[str, Any]

    def protocol(self, how: dict[str, Any]) -> dict[str, Any]:
        """What has to be equal before two laboratories' numbers can be compared."""
        own = {"quantisation": QUANTISATION, "version": f"gantools {__version__}"}
        return {**self.extractor, "real": self.real.story, "fake": self.fake.story, **how, **own}


def open_pair(
    real: str,
    fake: str | Sequence[str] | None,
    asked: Asked,
    *,
    statistics: bool = False,
    made: Set | None = None,
) -> Pair:
    """Both sets, ready to be read; everything that can be refused is refused here (Usage).

    statistics: whether files of them are taken, of FAKE any number that are merged. made: the
    second set, in the place of FAKE.
    """
    fakes = [fake] if isinstance(fake, str) else [*(fake or [])]
    check_operands(real, *fakes)
    options.set_threads(asked.threads)
    names: list[list[str] | None] = [[real], fakes or None]
    stored = [_of_files(names_of, asked, statistics) for names_of in names]
    stored[1] = stored[1] if made is None else made
    if asked.mirror and stored[0] is not None:
        raise Usage(f"--mirror is for pictures: {Path(real).name} holds what was made of them")
    sources = [
        None if s is not None else open_source(None if n is None else n[0], asked)
        for n, s in zip(names, stored, strict=True)
    ]
    sets = [
        s if s is not None or source is None else _of_pictures(source, asked, mirror)
        for s, source, mirror in zip(stored, sources, (asked.mirror, False), strict=True)
    ]
    first, second = (s for s in sets if s is not None)
    stories = [story for s in (first, second) if (story := s.story.pop("extractor", None))]
    if any(sources):
        stories.append(asked.extractor.protocol())
    if len({story.get("features_sha256") for story in stories}) > 1:
        said = " and ".join(str(story.get("features")) for story in stories)
        raise Usage(f"features of two networks cannot be compared: {said}")
    if first.dim != second.dim:
        raise Usage(f"features of {first.dim} and of {second.dim} dimensions do not compare")
    unknown = {"features": "of files that do not name their network", "dimensions": first.dim}
    return Pair(first, second, stories[0] if stories else unknown)


def of_network(net: str, asked: Asked) -> Set:
    """--num pictures of another network than that of --net; its story has its extractor."""
    drawn = {each.name: getattr(asked, each.name) for each in fields(Drawn)}
    made = _of_pictures(_generated(Drawn(**{**drawn, "net": net, "features": None})), asked, False)
    made.story["extractor"] = asked.extractor.protocol()
    return made


def open_set(name: str | None, asked: Asked) -> Set:
    """One set of pictures or of features, of those the shard; its story has its extractor."""
    from gantools.io.source import parse_shard

    if name is None or not _holds_features(name):
        of_pictures = _of_pictures(open_source(name, asked), asked, asked.mirror)
        of_pictures.story |= {"extractor": asked.extractor.protocol(), "quantisation": QUANTISATION}
        return of_pictures
    if asked.mirror:
        raise Usage(f"--mirror is for pictures: {Path(name).name} holds what was made of them")
    of_features = _of_file(Path(name))
    index, count = parse_shard(asked.shard)
    (rows,) = of_features.blocks
    of_features.blocks = iter([rows[index::count]])
    of_features.story |= {"count": len(rows[index::count]), **_shard(asked)}
    return of_features


def exists(name: str) -> None:
    """Usage where there is no such file or folder; `-` is there."""
    if name != "-" and not Path(name).exists():
        raise Usage(f"{name}: no such file or folder")


# The set that files of features or of statistics are; None where there are pictures.
def _of_files(names: Sequence[str] | None, asked: Asked, statistics: bool) -> Set | None:
    from gantools.evaluation.statistics import is_file_of_statistics

    paths = [Path(name) for name in names or []]
    of_statistics = [path for path in paths if is_file_of_statistics(path)]
    if of_statistics and not statistics:
        raise Usage(f"{of_statistics[0].name}: statistics are for metrics fid and metrics stats")
    if paths and len(of_statistics) == len(paths):
        return of_statistics_files(paths)
    if len(paths) > 1:
        other = next(path for path in paths if path not in of_statistics)
        raise Usage(f"{other.name}: of several FAKE each must be a file of metrics stats")
    if not paths or not _holds_features(str(paths[0])):
        return None
    return _of_file(paths[0])


def of_statistics_files(paths: Sequence[Path]) -> Set:
    """What files of statistics say together."""
    from gantools.evaluation import statistics

    found = statistics.merged([statistics.load(path) for path in paths])
    return Set(len(found.moments.mean), iter(()), found.as_set(), found.moments)


def check_operands(*names: str | None) -> None:
    """Usage for an operand that is not there, and for standard input twice."""
    if names.count("-") > 1:
        raise Usage("standard input (-) can be one of the two sets, not both")
    for name in names:
        if name is not None:
            exists(name)


def _holds_features(name: str | None) -> bool:
    from gantools.evaluation.features import is_file_of_features

    return name is not None and is_file_of_features(Path(name))


def _of_file(path: Path) -> Set:
    from gantools.evaluation import features

    array, story = features.load(path)
    about: dict[str, Any] = {"source": path.name, "kind": "features", "count": len(array)}
    if story.get("features_sha256"):
        about["extractor"] = story
    return Set(array.shape[1], iter([array]), about)


@dataclass
class Source:
    """Pictures as they arrive, what is known about them, and how many if that is known.

    seeds: of those that a network makes, of which `pictures` has this process's share.
    """

    pictures: Iterator[Picture]
    story: dict[str, Any]
    total: int | None = None
    seeds: range | None = None


def _of_pictures(source: Source, asked: Asked, mirror: bool) -> Set:
    from gantools.evaluation import features

    story, extract = source.story, asked.extractor
    story["mirror"] = mirror
    if source.seeds is None or _ranks.world() == 1:
        blocks = features.of_pictures(
            sized(source),
            extract,
            batch=asked.batch,
            mirror=mirror,
            cached=asked.keeps_features_of(source),
        )
    else:
        blocks = _divided(source, asked, mirror)
    return Set(extract.dim, _counted(blocks, story), story)


def _divided(source: Source, asked: Asked, mirror: bool) -> Iterator[np.ndarray]:
    """Features of pictures that several processes make and see, each its share."""
    import numpy as np

    from gantools.evaluation import features

    def rows(block: list[tuple[int, np.ndarray]]) -> np.ndarray:
        named = ((_key(seed), pixels) for seed, pixels in block)
        made = features.of_pictures(named, asked.extractor, batch=asked.batch, mirror=mirror)
        each = (2 if mirror else 1, asked.extractor.dim)
        return np.concatenate([*made, np.zeros((0, each[1]), np.float32)]).reshape(-1, *each)

    assert source.seeds is not None
    made = _ranks.in_blocks(_numbered(own(source)), source.seeds, rows)
    return _gathered(_ranks.together(made, source.seeds))


def _gathered(items: Iterator[tuple[int, np.ndarray]]) -> Iterator[np.ndarray]:
    import numpy as np

    from gantools.evaluation.features import GATHERED

    while rows := [row for _, row in islice(items, GATHERED)]:
        yield np.concatenate(rows)


def sized(source: Source) -> Iterator[Picture]:
    """The pictures, those of a network from all processes; their size is noted as they pass."""
    pictures = own(source)
    if source.seeds is None or _ranks.world() == 1:
        yield from pictures
        return
    for seed, pixels in _ranks.together(_numbered(pictures), source.seeds):
        yield _key(seed), pixels


def own(source: Source) -> Iterator[Picture]:
    """This process's pictures; note their size as they pass; the bar."""
    sizes: set[str] = set()
    for name, pixels in report.progress(source.pictures, total=source.total, unit="pictures"):
        sizes.add(f"{pixels.shape[1]}x{pixels.shape[0]}")
        source.story["size"] = next(iter(sizes)) if len(sizes) == 1 else "several"
        yield name, pixels


def _key(seed: int) -> str:
    return f"seed{seed:06d}"


def _numbered(pictures: Iterator[Picture]) -> Iterator[tuple[int, np.ndarray]]:
    return ((int(name.removeprefix("seed")), pixels) for name, pixels in pictures)


def _counted(blocks: Iterator[np.ndarray], story: dict[str, Any]) -> Iterator[np.ndarray]:
    story["count"] = 0
    for block in blocks:
        story["count"] += len(block)
        yield block


def open_source(operand: str | None, asked: Drawn, *, keyed: bool = False) -> Source:
    """The pictures of an operand, or of the network of --net where there is none.

    keyed: as in `pictures_of`.
    """
    from gantools.io.source import samples

    if operand is None:
        return _generated(asked)
    name = "stdin" if operand == "-" else Path(operand).name or "."
    found = pictures_of(samples([operand], shard=asked.shard), asked, keyed=keyed)
    return Source(found, {"source": name, **_shard(asked)})


def _shard(asked: Drawn) -> dict[str, str]:
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


def _generated(asked: Drawn) -> Source:
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
    return Source(_rendered(latents, asked), {**story, **_shard(asked)}, len(mine), seeds)


def drawn(network: Network, asked: Drawn, i: int) -> Latent:
    """The latent of the i-th picture that the network makes: of the seed --seed + i."""
    import numpy as np

    from gantools.io.latent import Latent
    from gantools.io.seeds import derive

    cfg, seed = network.g.cfg, asked.seed + i
    tensors = {"z": network.z_of(seed)}
    if cfg.c_dim:
        chosen = derive(asked.seed, _key(seed), "class") % cfg.c_dim
        tensors["y"] = np.eye(cfg.c_dim, dtype=np.float32)[chosen]
    space = "zy" if cfg.c_dim else "z"
    return Latent(_key(seed), space, tensors, {"psi": asked.psi})
