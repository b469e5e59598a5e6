"""gantools metrics nn: the nearest neighbours of pictures in a set, on a sheet (S1.24)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gantools import __version__, options, report
from gantools.commands import _pairs, _sets, _sources
from gantools.commands import _set_options as given
from gantools.report import Usage

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gantools.evaluation.feature_cache import FeatureCache
    from gantools.evaluation.neighbours import Embedding, Nearest, Neighbour

Queries = Annotated[
    str,
    typer.Argument(
        metavar="QUERIES",
        help="The pictures whose neighbours are sought, such as generated ones: a folder, a tar "
        "or zip archive, a file, - for a stream; or latents, which --net renders; or an .npz or "
        ".safetensors file with an array `features` [N, D], whose rows are called 000000 onwards.",
    ),
]
Set = Annotated[
    str,
    typer.Argument(
        metavar="SET", help="Where they are sought: the training pictures, in the same forms."
    ),
]
Features = Annotated[
    str,
    typer.Option(
        "--features",
        metavar="NAME|FILE",
        help="What distances are of: inception, mobilenet, vgg16, discriminator (of --net, "
        "or of a network FILE), or vgg19 (its first three blocks, unit channels). Nothing replaces "
        "one whose weights are missing.",
    ),
]
Top = Annotated[int, typer.Option("--top", metavar="K", min=1, help="Neighbours of each query.")]
Crop = Annotated[
    float,
    typer.Option(
        "--crop",
        metavar="X",
        min=0.05,
        max=1,
        callback=options.finite,
        help="Compare the middle of the pictures, this share of each side. Of aligned faces 0.6 "
        "leaves out background and hair, as paper 001 does.",
    ),
]
SHOWN = 16  # queries on a sheet
VGG_SIDE = 64


def nn(
    queries: Queries,
    pictures: Set,
    *,
    features: Features = "inception",
    top: Top = 5,
    crop: Crop = 1.0,
    net: options.Net = None,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    no_cache: given.NoCache = False,
    json: options.Json = False,
    output: options.PlotOutputs = None,
    quiet: options.Quiet = False,
) -> None:
    """Nearest neighbours in a set, by distances of features: has a generator learned by heart?

    Every query with the keys of its neighbours and their distances; nn_distance is the mean of the
    nearest ones, with its 95 % bootstrap interval. A picture that is in the set finds itself at
    distance 0. The plot is a sheet: the first 16 queries, each with its neighbours beside it.

    $ gantools generate --seeds 0-9 | gantools metrics nn - faces.tar --crop 0.6 -o neighbours.png

    $ gantools metrics nn generated/ photos/ --features vgg19 --json
    """
    report.begin("metrics nn", quiet=quiet)
    from gantools.io import results

    results.check(output, plots=True)
    _sets.check_features(features, ["vgg19"])
    _sources.check_operands(queries, pictures)
    asked = _sets.Asked(
        features=features,
        net=net,
        given_num=None,
        given_psi=None,
        mirror=False,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype.value,
        splits=0,
        threads=threads,
        noise=None,
        cache=not no_cache,
    )
    options.set_threads(threads)
    _refuse_files((queries, pictures), crop, output)
    search = _Search(asked, crop)
    nearest = search.of(queries, top)
    search.through(pictures, nearest)
    found = nearest.results()
    protocol = {**search.protocol, "crop": crop, "distance": "Euclidean", "top": top}
    protocol |= {"queries": search.stories[0], "set": search.stories[1], "seed": seed}
    protocol |= {"quantisation": _sources.QUANTISATION, "version": f"gantools {__version__}"}
    table = {**_summary(found, seed), "protocol": protocol}
    listed = {q: [{"key": n.key, "distance": n.distance} for n in ns] for q, ns in found.items()}
    lines = [(q, n.key, n.distance) for q, ns in found.items() for n in ns]

    def plot(kind: str) -> bytes:
        from gantools.evaluation import plots

        shown = dict(list(found.items())[:SHOWN])
        return plots.of_neighbours(shown, search.queries, search.pictures, kind)

    results.write(
        {**table, "nn": listed},
        output,
        as_json=json,
        rows=[*lines, *results.flat(table)],
        plot=plot,
    )


def _refuse_files(operands: Sequence[str], crop: float, outputs: Sequence[str] | None) -> None:
    """Usage for what files of features cannot give: parts of pictures, and a sheet of them."""
    from gantools.evaluation.features import is_file_of_features
    from gantools.io import results

    for name in operands:
        if is_file_of_features(Path(name)):
            if crop != 1:
                raise Usage(f"--crop is for pictures: {Path(name).name} holds features of them")
            if any(results.is_plot(out) for out in outputs or []):
                raise Usage(f"a sheet needs pictures: {Path(name).name} holds features of them")


def _summary(found: dict[str, list[Neighbour]], seed: int) -> dict[str, Any]:
    import numpy as np

    from gantools.evaluation import bootstrap

    distances = np.array([found[query][0].distance for query in sorted(found)])
    return bootstrap.summary("nn_distance", distances, seed)


class _Search:
    """Reads both operands through one embedding; holds the pictures that a sheet shows."""

    def __init__(self, asked: _sets.Asked, crop: float) -> None:
        self._asked, self._crop = asked, crop
        self.protocol: dict[str, Any] = {}
        self.stories: list[dict[str, Any]] = []
        self.queries: dict[str, np.ndarray] = {}
        self.pictures: dict[str, np.ndarray] = {}

    def of(self, operand: str, top: int) -> Nearest:
        """The queries, ready to be compared."""
        import torch

        from gantools.evaluation.neighbours import Nearest

        keys: list[str] = []
        rows: list[Tensor] = []
        for some, pixels, features in self._embedded(operand):
            for key, picture in zip(some, pixels, strict=False):  # files have no pixels
                if len(self.queries) < SHOWN:
                    self.queries[key] = picture
            keys += some
            rows.append(features)
        return Nearest(keys, torch.cat(rows), top)

    def through(self, operand: str, nearest: Nearest) -> None:
        """The set: every picture once."""
        for keys, pixels, features in self._embedded(operand):
            kept = nearest.add(keys, features)
            self.pictures |= {k: p for k, p in zip(keys, pixels, strict=False) if k in kept}
            wanted = {n.key for q in self.queries for n in nearest.results()[q]}
            self.pictures = {k: p for k, p in self.pictures.items() if k in wanted}

    def _embedded(self, operand: str) -> Iterator[tuple[list[str], list[np.ndarray], Tensor]]:
        """(keys, pixels, features) of neighbours of one size. Usage where there is no picture."""
        from gantools.evaluation.features import is_file_of_features

        path = Path(operand)
        return self._of_file(path) if is_file_of_features(path) else self._of_pictures(operand)

    def _of_file(self, path: Path) -> Iterator[tuple[list[str], list[np.ndarray], Tensor]]:
        import torch

        from gantools.evaluation import features

        rows, story = features.load(path)
        if not len(rows):
            raise Usage(f"{path.name}: it holds no features")
        self.stories.append({"source": path.name, "kind": "features", "count": len(rows)})
        self._agree(story or {"features": "of a file that does not name its network"}, path.name)
        for start in range(0, len(rows), self._asked.batch):
            some = torch.from_numpy(rows[start : start + self._asked.batch])
            yield [f"{start + i:06d}" for i in range(len(some))], [], some

    # Both operands have features of one network, as far as the files say.
    def _agree(self, story: dict[str, Any], name: str) -> None:
        marks = [s.get("features_sha256") for s in (self.protocol, story)]
        if all(marks) and marks[0] != marks[1]:
            said = " and ".join(str(s.get("features")) for s in (self.protocol, story))
            raise Usage(f"{name}: features of two networks cannot be compared: {said}")
        if not marks[0]:
            self.protocol = {**self.protocol, **story} if marks[1] else self.protocol or story

    @cached_property
    def _embedding(self) -> tuple[Embedding, dict[str, Any]]:
        return _embedding(self._asked)

    @cached_property
    def _cache(self) -> FeatureCache | None:
        return _cache(self._asked)

    def _of_pictures(self, operand: str) -> Iterator[tuple[list[str], list[np.ndarray], Tensor]]:
        import numpy as np

        from gantools.evaluation.neighbours import centre

        self._agree(self._embedding[1], operand)
        source = _sources.open_source(operand, self._asked, keyed=True)
        self.stories.append(source.story)
        source.story["count"] = 0
        for group in _pairs.of_one_size(_sources.sized(source), self._asked.batch):
            keys = [key for key, _ in group]
            pixels = [_pairs.in_colour(picture) for _, picture in group]
            middles = [np.ascontiguousarray(centre(p, self._crop)) for p in pixels]
            source.story["count"] += len(keys)
            yield keys, pixels, self._features(middles)
        if not source.story["count"]:
            raise Usage(f"{source.story['source']}: no picture could be read")

    def _features(self, middles: list[np.ndarray]) -> Tensor:
        import torch

        on = options.pick_device(self._asked.device)

        def computed(some: list[np.ndarray]) -> Tensor:
            with torch.inference_mode():
                return self._embedding[0](_pairs.stacked(some, on)).float()

        if self._cache is None:
            return computed(middles)
        rows = self._cache.through(
            middles, lambda new: computed([middles[i] for i in new]).cpu().numpy()
        )
        return torch.from_numpy(rows).to(on)


def _cache(asked: _sets.Asked) -> FeatureCache | None:
    """Where features are kept; not those of vgg19, of which a picture has 2 MB."""
    from gantools.evaluation.features import cache_of

    return cache_of(asked.extractor) if asked.cache and asked.features != "vgg19" else None


def _embedding(asked: _sets.Asked) -> tuple[Embedding, dict[str, Any]]:
    """What distances are of, and its protocol."""
    if asked.features != "vgg19":
        return asked.extractor, asked.extractor.protocol()
    import torch

    from gantools.evaluation.features import resized
    from gantools.inversion import perceptual
    from gantools.io import weights

    net = perceptual.vgg19().to(options.pick_device(asked.device))

    def run(images: Tensor) -> Tensor:
        maps = net(resized(images, (VGG_SIDE, VGG_SIDE)) / 127.5 - 1)
        return torch.cat([m.flatten(1) for m in maps], dim=1)

    story = {
        "features": "vgg19 relu1_2 relu2_2 relu3_4, unit channels, spatial mean",
        "features_sha256": weights.KNOWN["vgg19"].sha256,
        "resize": f"bilinear, antialiased, stretched to {VGG_SIDE}x{VGG_SIDE}",
        "alpha": "laid on white",
    }
    return run, story
