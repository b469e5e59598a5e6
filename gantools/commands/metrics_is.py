"""gantools metrics is: the inception score of pictures, of snapshots and of runs (S1.20)."""

from __future__ import annotations

import json as json_module
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gantools import __version__, options, report
from gantools.commands import _set_options as given
from gantools.commands import _sources
from gantools.report import Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.evaluation.features import Extractor
    from gantools.evaluation.inception_score import Score


class Over(StrEnum):
    """What several sets are."""

    snapshots = "snapshots"
    runs = "runs"


Pictures = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PICTURES]...",
        help="A folder, a tar or zip archive, - for a stream, or latents; an .npz or .safetensors "
        "file with an array `logits` [N, classes]; or what this command wrote to an x.json. "
        "Without them: --num pictures of the network of --net.",
        show_default=False,
    ),
]
Num = Annotated[
    int | None,
    typer.Option(
        "--num",
        metavar="N",
        min=2,
        help="Pictures that the network makes where there are no PICTURES. Default: 50000.",
        show_default=False,
    ),
]
Features = Annotated[
    str,
    typer.Option(
        "--features",
        metavar="NAME",
        help="The classifier: inception (published scores use it) or mobilenet.",
    ),
]
Splits = Annotated[
    int,
    typer.Option("--splits", metavar="K", min=1, help="Scores of K parts are averaged, in order."),
]
Bias = Annotated[
    bool,
    typer.Option(
        "--bias",
        help="Logits with the last layer's bias. Published scores, torch-fidelity's too, are "
        "without.",
    ),
]
Shuffle = Annotated[
    bool, typer.Option("--shuffle", help="Shuffle by --seed: for pictures that are in classes.")
]
Report = Annotated[
    Over | None,
    typer.Option(
        "--over",
        metavar="WHAT",
        help="What several sets are: snapshots (the best score, and its splits' deviation) or "
        "runs (mean and deviation of their scores).",
        show_default=False,
    ),
]
SAME = ("features", "features_sha256", "splits")


@dataclass
class _Asked(_sources.Drawn):
    """What the flags say; the classifier is opened once, if at all."""

    classifier: str
    bias: bool
    splits: int
    shuffle: bool
    opened: Extractor | None = None

    def extractor(self) -> Extractor:
        """The classifier's logits."""
        from gantools.evaluation import features

        if self.opened is None:
            device = options.pick_device(self.device)
            layer: features.Layer = "logits" if self.bias else "logits without bias"
            self.opened = features.extractor(self.classifier, device, layer=layer)
        return self.opened


@dataclass
class _Measured:
    """One set: its score, the scores of its splits where they are known, and its protocol."""

    score: Score
    splits: np.ndarray | None
    protocol: dict[str, Any]


def inception(
    pictures: Pictures = None,
    *,
    features: Features = "inception",
    net: options.Net = None,
    num: Num = None,
    psi: given.Psi = None,
    splits: Splits = 10,
    bias: Bias = False,
    shuffle: Shuffle = False,
    over: Report = None,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    no_cache: given.NoCache = False,
    json: options.Json = False,
    output: options.TextOutputs = None,
    quiet: options.Quiet = False,
) -> None:
    """Inception score (IS) of pictures: how sure a classifier is of each, and how varied they are.

    is is the mean over the splits and is_std their standard deviation; is_ci is a 95 % interval.
    Several PICTURES are as many sets. Papers report the best score that a training reached, with
    its splits' deviation (--over snapshots), or mean and deviation of the best scores of several
    trainings (--over runs): for the latter give the files of the former.

    $ gantools metrics is --net cifar/network-010000.safetensors --json

    $ gantools metrics is snapshot-*/ --over snapshots -o seed0.json

    $ gantools metrics is seed*.json --over runs
    """
    report.begin("metrics is", quiet=quiet)
    asked = _Asked(
        net=net,
        given_num=num,
        given_psi=psi,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype.value,
        threads=threads,
        cache=not no_cache,
        classifier=features,
        bias=bias,
        splits=splits,
        shuffle=shuffle,
    )
    _check(pictures, asked, over, output)
    from gantools.io import results

    options.set_threads(threads)
    names: list[str | None] = [*pictures] if pictures else [None]
    sets = [_measured(name, asked) for name in names]
    found = _one(sets[0]) if over is None else _several(pictures or [], sets, over)
    results.write(found, output, as_json=json)


def _check(
    pictures: list[str] | None, asked: _Asked, over: Over | None, output: list[str] | None
) -> None:
    from gantools.io import results

    results.check(output)
    if asked.classifier not in ("inception", "mobilenet"):
        raise Usage(f"--features {asked.classifier}: expected inception or mobilenet")
    asked.check_num(pictures[0] if pictures else None, "PICTURES")
    for name in pictures or []:
        _sources.exists(name)
    count = len(pictures or [])
    if (pictures or []).count("-") > 1:
        raise Usage("standard input (-) can be one of the sets, once")
    if count > 1 and over is None:
        raise Usage(f"{count} sets: --over snapshots gives the best of them, --over runs the mean")
    if count < 2 and over is not None:
        raise Usage(f"--over {over.value} needs two sets or more")


def _measured(name: str | None, asked: _Asked) -> _Measured:
    import numpy as np

    from gantools.evaluation import features
    from gantools.evaluation.inception_score import of_splits, summary
    from gantools.io.seeds import derive

    path = None if name in (None, "-") else Path(str(name))
    earlier = None if path is None else _earlier(path)
    if earlier is not None:
        return earlier
    if path is not None and features.is_file_of_features(path, "logits"):
        if asked.bias:
            raise Usage(f"--bias: {path.name} holds logits, which have one or have not")
        logits, protocol = features.load(path, "logits")
        protocol["pictures"] = {"source": path.name, "kind": "logits", "count": len(logits)}
        protocol.setdefault("features", "of a file that does not name its network")
    else:
        source, extract = _sources.open_source(name, asked), asked.extractor()
        cached = asked.keeps_features_of(source)
        stream = _sources.sized(source)
        blocks = [*features.of_pictures(stream, extract, batch=asked.batch, cached=cached)]
        logits = np.concatenate([*blocks, np.zeros((0, extract.dim), np.float32)])
        source.story["count"] = len(logits)
        protocol = {**extract.protocol(), "pictures": source.story}
        protocol["quantisation"] = _sources.QUANTISATION
    if asked.shuffle:
        order = np.random.default_rng(derive(asked.seed, "is", "order"))
        logits = logits[order.permutation(len(logits))]
        protocol |= {"shuffled": True, "seed": asked.seed}
    scores = of_splits(logits, asked.splits)
    protocol |= {"splits": asked.splits, "std": "of the splits, as a population"}
    return _Measured(summary(scores), scores, {**protocol, "version": f"gantools {__version__}"})


def _earlier(path: Path) -> _Measured | None:
    """What an x.json of this command says; None where it is another kind of file."""
    from gantools.evaluation.inception_score import Score
    from gantools.io import tensorfile

    if not path.is_file() or tensorfile.looks_like(path):
        return None
    with path.open("rb") as file:
        if file.read(1) != b"{":
            return None
    try:
        told = json_module.loads(path.read_bytes())
        score = Score(float(told["is"]), float(told["is_std"]))
        return _Measured(score, None, dict(told["protocol"]))
    except (ValueError, KeyError, TypeError):
        raise Usage(
            f"{path.name}: no result of metrics is: expected is, is_std, protocol"
        ) from None


def _one(found: _Measured) -> dict[str, Any]:
    from gantools.evaluation.inception_score import interval

    values: dict[str, Any] = {"is": found.score.value, "is_std": found.score.deviation}
    if found.splits is not None and len(found.splits) > 1:
        values["is_ci"] = list(interval(found.splits))
        how = f"95 %, Student's t over {len(found.splits)} splits"
        return {**values, "protocol": {**found.protocol, "interval": how}}
    return {**values, "protocol": found.protocol}


def _several(names: list[str], sets: list[_Measured], over: Over) -> dict[str, Any]:
    import numpy as np

    from gantools.evaluation import inception_score

    for key in SAME:
        told = {str(found.protocol.get(key)) for found in sets}
        if len(told) > 1:
            raise Usage(f"sets of different {key} do not compare: {', '.join(sorted(told))}")
    shown = ["stdin" if name == "-" else Path(name).name or "." for name in names]
    each = [
        {"source": name, "is": s.score.value, "is_std": s.score.deviation}
        for name, s in zip(shown, sets, strict=True)
    ]
    if over is Over.snapshots:
        first = inception_score.best([s.score for s in sets])
        return {**_one(sets[first]), "best": shown[first], "each": each}
    scores = np.array([s.score.value for s in sets])
    total = inception_score.summary(scores)
    how = {key: sets[0].protocol[key] for key in SAME if key in sets[0].protocol}
    how |= {"runs": len(sets), "std": "of the runs, as a population"}
    how |= {"interval": f"95 %, Student's t over {len(sets)} runs"}
    how["version"] = f"gantools {__version__}"
    values: dict[str, Any] = {"is": total.value, "is_std": total.deviation}
    values["is_ci"] = list(inception_score.interval(scores))
    return {**values, "each": each, "protocol": how}
