"""gantools metrics ls: linear separability of a network's z and w (S0.18)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gantools import __version__, options, report
from gantools.commands import _parts, _ranks, _sources
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    from gantools.commands._scored import Scored
    from gantools.evaluation.separability import Attribute, Separability

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUT]...",
        help="Latents in z or w that have rows in --labels; or files that this command wrote with "
        "--shard. Without them: --num seeds of the network of --net.",
        show_default=False,
    ),
]
Num = Annotated[
    int | None,
    typer.Option(
        "--num",
        metavar="N",
        min=4,
        help="Seeds, from --seed on, where there is no INPUT. Default: 200000.",
        show_default=False,
    ),
]
Reader = Annotated[
    str | None,
    typer.Option(
        "--reader",
        metavar="FILE|FOLDER",
        help="The attribute network that reads the labels off generated pictures: a file that "
        "train direction --reader wrote, or a folder with face-api's age_gender_model.",
        show_default=False,
    ),
]
Attributes = Annotated[
    list[str] | None,
    typer.Option(
        "--attribute",
        metavar="NAME",
        help="A column of the labels. Repeatable. Default: all.",
        show_default=False,
    ),
]
Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        metavar="[NAME=]X",
        help="Above which a label counts as the attribute, of one or of all: 0 for logits. "
        "Repeatable. Default: the middle of labels of two values, of others the median.",
        show_default=False,
    ),
]
DEFAULT_NUM = 200_000
ENOUGH = 10  # samples for each dimension


def ls(
    inputs: Inputs = None,
    *,
    net: options.Net = None,
    num: Num = None,
    labels: options.Labels = None,
    reader: Reader = None,
    attribute: Attributes = None,
    threshold: Thresholds = None,
    shard: options.Shard = None,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    json: options.Json = False,
    output: _parts.Outputs = None,
    quiet: options.Quiet = False,
) -> None:
    """Linear separability (LS): how well hyperplanes in z and in w tell attributes of pictures.

    ls_z and ls_w are 2 to the sum of H(Y|X) in bits, Y the attribute and X what a linear SVM says
    of the latent: 1 is perfect, and each balanced attribute that it cannot tell doubles it. Of each
    attribute the half of the samples counts whose labels are surest. Labels come from --reader, or
    from --labels, by key: seed000000 and on, as generate --seeds names pictures. An attribute with
    one class alone is named and left out. With --shard each process reads its part into
    -o part.safetensors, which as operands, with the same --net, make the result of all.

    $ gantools metrics ls --num 20000 --reader faces.reader.safetensors --json

    $ gantools metrics ls --net ffhq.pkl --labels logits.csv --threshold 0 -o ls.json

    $ gantools metrics ls latents/ --labels labels.csv --attribute smile
    """
    report.begin("metrics ls", quiet=quiet)
    text = _parts.check(output, shard=shard, given=bool(inputs))
    asked = _sources.Drawn(
        net=net,
        given_num=num,
        given_psi=None,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype.value,
        threads=threads,
        default_num=DEFAULT_NUM,
        shard=shard,
    )
    limits = _limits(threshold)
    if inputs and (num is not None or shard is not None):
        raise Usage("--num and --shard are for pictures that the network makes: leave INPUT out")
    if inputs or labels:
        _ranks.alone("INPUT and --labels")
    options.set_threads(threads)
    from gantools.commands import _scored
    from gantools.io import results

    scored = _scored.opened(inputs, asked, labels=labels, reader=reader, attributes=attribute)
    for name in limits:
        if name and name not in scored.columns:
            raise Usage(f"--threshold {name}: no such label; there are {', '.join(scored.columns)}")
    if scored.rows is not None:
        _parts.keep(output, scored.rows, "ls")
    if shard is not None:
        count = {"count": len(scored.scores), "protocol": scored.protocol}
        return results.write(count, text, as_json=json)
    chosen = _chosen(scored, limits)
    found = {
        space: _measured(space, scored.latents(space), chosen, seed) for space in scored.spaces
    }
    from gantools.evaluation import plots

    entropies = {space: one.entropies for space, one in found.items()}
    results.write(
        _results(found, chosen, scored, seed),
        text,
        as_json=json,
        plot=lambda kind: plots.of_entropies(entropies, kind),
    )
    return None


def _limits(given: Sequence[str] | None) -> dict[str, float]:
    """--threshold by name, that for all under the empty one."""
    import math

    found: dict[str, float] = {}
    for text in given or []:
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or name in found:
            raise Usage(f"--threshold {text}: expected a number or NAME=NUMBER, once for each")
        found[name] = value
    return found


def _chosen(scored: Scored, limits: dict[str, float]) -> list[Attribute]:
    """The attributes that have two classes; Usage where none has."""
    from gantools.evaluation import separability

    chosen = []
    for k, name in enumerate(scored.columns):
        limit = limits.get(name, limits.get("", scored.thresholds.get(name)))
        try:
            chosen.append(separability.attribute(name, scored.scores[:, k], limit))
        except SampleError as e:
            report.failed(f"attribute {name}", e)
    if not chosen:
        raise Usage("no attribute could be measured")
    return chosen


def _measured(space: str, x: Any, chosen: Sequence[Attribute], seed: int) -> Separability:
    from gantools.evaluation.separability import separability

    fewest = min(len(one.kept) for one in chosen)
    if fewest < ENOUGH * x.shape[1]:
        report.note(
            f"{space}: an SVM learns {fewest} samples of {x.shape[1]} numbers by heart, and "
            f"ls_{space} is too small: give {2 * ENOUGH * x.shape[1]} or more"
        )
    found = separability(x, chosen, seed)
    if found.unfinished:
        report.note(f"{space}: the SVM did not converge for {', '.join(found.unfinished)}")
    return found


def _results(
    found: dict[str, Separability], chosen: Sequence[Attribute], scored: Scored, seed: int
) -> dict[str, Any]:
    import sklearn

    from gantools.evaluation import bootstrap

    results: dict[str, Any] = {}
    for space, fits in found.items():
        results |= {f"ls_{space}": fits.score, f"ls_{space}_ci": list(fits.interval)}
    each: dict[str, Any] = {}
    for one in chosen:
        bits = {f"entropy_{space}": found[space].entropies[one.name] for space in found}
        about = {"threshold": one.threshold, "kept": len(one.kept)}
        each[one.name] = {**bits, **about, "positive": int(one.positive.sum())}
    how = {
        "samples": len(scored.scores),
        "kept": "the half with the surest labels; all where they have two values",
        "entropy": "in bits, of the samples that the SVM is fitted to",
        "svm": f"LinearSVC of scikit-learn {sklearn.__version__}, C 1, squared hinge",
        "interval": f"{bootstrap.NAMED} of the samples, the fits fixed",
        "seed": seed,
        "version": f"gantools {__version__}",
    }
    return {**results, "attributes": each, "protocol": {**scored.protocol, **how}}
