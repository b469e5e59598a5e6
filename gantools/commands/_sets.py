"""The sets of features that a metric compares: of pictures, of files, or of statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantools import __version__, options
from gantools.commands import _ranks, _sources
from gantools.io.seeds import key_of_seed
from gantools.report import Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.evaluation.features import Extractor
    from gantools.evaluation.frechet import Gaussian, Moments
    from gantools.networks.network import Network

FEATURES = ("inception", "mobilenet", "vgg16", "discriminator")
OPERAND = "a file of features is an operand, in the place of its pictures"


@dataclass(kw_only=True)
class Asked(_sources.Drawn):
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
        own = {"quantisation": _sources.QUANTISATION, "version": f"gantools {__version__}"}
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
    _sources.check_operands(real, *fakes)
    options.set_threads(asked.threads)
    names: list[list[str] | None] = [[real], fakes or None]
    stored = [_of_files(names_of, asked, statistics) for names_of in names]
    stored[1] = stored[1] if made is None else made
    if asked.mirror and stored[0] is not None:
        raise Usage(f"--mirror is for pictures: {Path(real).name} holds what was made of them")
    sources = [
        None if s is not None else _sources.open_source(None if n is None else n[0], asked)
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
    drawn = {each.name: getattr(asked, each.name) for each in fields(_sources.Drawn)}
    source = _sources.generated(_sources.Drawn(**{**drawn, "net": net, "features": None}))
    made = _of_pictures(source, asked, False)
    made.story["extractor"] = asked.extractor.protocol()
    return made


def open_set(name: str | None, asked: Asked) -> Set:
    """One set of pictures or of features, of those the shard; its story has its extractor."""
    from gantools.io.source import parse_shard

    if name is None or not _holds_features(name):
        of_pictures = _of_pictures(_sources.open_source(name, asked), asked, asked.mirror)
        of_pictures.story |= {
            "extractor": asked.extractor.protocol(),
            "quantisation": _sources.QUANTISATION,
        }
        return of_pictures
    if asked.mirror:
        raise Usage(f"--mirror is for pictures: {Path(name).name} holds what was made of them")
    of_features = _of_file(Path(name))
    index, count = parse_shard(asked.shard)
    (rows,) = of_features.blocks
    of_features.blocks = iter([rows[index::count]])
    of_features.story |= {"count": len(rows[index::count]), **_sources.shard_story(asked)}
    return of_features


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


def _of_pictures(source: _sources.Source, asked: Asked, mirror: bool) -> Set:
    from gantools.evaluation import features

    story, extract = source.story, asked.extractor
    story["mirror"] = mirror
    if source.divided:
        blocks = _divided(source, asked, mirror)
    else:
        blocks = features.of_pictures(
            _sources.sized(source),
            extract,
            batch=asked.batch,
            mirror=mirror,
            cached=asked.keeps_features_of(source),
        )
    return Set(extract.dim, _counted(blocks, story), story)


def _divided(source: _sources.Source, asked: Asked, mirror: bool) -> Iterator[np.ndarray]:
    """Features of pictures that several processes make and see, each its share."""
    import numpy as np

    from gantools.evaluation import features

    def rows(block: list[tuple[int, np.ndarray]]) -> np.ndarray:
        named = ((key_of_seed(seed), pixels) for seed, pixels in block)
        made = features.of_pictures(named, asked.extractor, batch=asked.batch, mirror=mirror)
        each = (2 if mirror else 1, asked.extractor.dim)
        return np.concatenate([*made, np.zeros((0, each[1]), np.float32)]).reshape(-1, *each)

    assert source.seeds is not None
    pictures = _sources.numbered(_sources.own(source))
    made = _ranks.in_blocks(pictures, source.seeds, rows)
    return _gathered(_ranks.together(made, source.seeds))


def _gathered(items: Iterator[tuple[int, np.ndarray]]) -> Iterator[np.ndarray]:
    import numpy as np

    from gantools.evaluation.features import GATHERED

    while rows := [row for _, row in islice(items, GATHERED)]:
        yield np.concatenate(rows)


def _counted(blocks: Iterator[np.ndarray], story: dict[str, Any]) -> Iterator[np.ndarray]:
    story["count"] = 0
    for block in blocks:
        story["count"] += len(block)
        yield block
