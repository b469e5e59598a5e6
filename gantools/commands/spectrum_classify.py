"""gantools spectrum classify: real or generated, by the end of a picture's spectrum (S3.26)."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gantools import options, report
from gantools.commands import _classifying, _sources, _spectra
from gantools.commands import _set_options as given
from gantools.report import Usage


class Fit(StrEnum):
    """What is fitted to a spectrum."""

    loglog = "loglog"
    dzanic = "dzanic"


class Method(StrEnum):
    """What separates the features."""

    svm = "svm"
    knn = "knn"


Real = Annotated[
    str | None,
    typer.Argument(
        metavar="[REAL]",
        help="The real pictures: a folder, a tar or zip archive, - for a stream. With --model: "
        "the pictures that it judges, without it standard input.",
        show_default=False,
    ),
]
Fake = Annotated[
    str | None,
    typer.Argument(
        metavar="[FAKE]",
        help="The generated pictures, in the same forms, or latents; or a network file or a run "
        "folder of train, whose network makes as many. Without it: that of --net.",
        show_default=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="FILE",
        help="Judge pictures by this classifier, which an earlier -o x.safetensors wrote.",
        show_default=False,
    ),
]
Halves = Annotated[
    bool,
    typer.Option(
        "--halves", help="REAL against itself, in two halves by chance: 50 % but for chance."
    ),
]
FitOption = Annotated[
    Fit | None,
    typer.Option(
        "--fit",
        help="loglog: a power law by least squares of the logarithms; dzanic: the fit of Dzanic et "
        "al.'s published script, by Nelder-Mead. Default: loglog.",
        show_default=False,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="F",
        min=0.5,
        max=0.95,
        callback=options.finite,
        help="f / f_nyq from which on the spectrum is fitted. Default: 0.75; dzanic: 0.85, as that "
        "script.",
        show_default=False,
    ),
]
MethodOption = Annotated[
    Method | None,
    typer.Option(
        "--classifier",
        help="svm (Gaussian kernel) or knn (5 neighbours). Default: svm.",
        show_default=False,
    ),
]
Jpeg = Annotated[
    int | None,
    typer.Option(
        "--jpeg",
        metavar="Q",
        min=1,
        max=95,
        help="Pass every picture of both sets through a JPEG of this quality (4:2:0) first. "
        "Where REAL were JPEGs, a classifier without it may only see that they were.",
        show_default=False,
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        "--folds",
        metavar="K",
        min=2,
        help="Parts, each judged by what the others trained. Default: 10, so that 90 % train.",
        show_default=False,
    ),
]
Num = Annotated[
    int | None,
    typer.Option(
        "--num",
        metavar="N",
        min=2,
        help="Pictures of each set, chosen by chance. Default: 1000.",
        show_default=False,
    ),
]
Output = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Where the result goes: x.safetensors (the classifier), x.json, x.tsv, - for standard "
        "output, or a plot of it: x.png, x.svg, x.pdf. Repeatable.",
        show_default=False,
    ),
]


def classify(
    real: Real = None,
    fake: Fake = None,
    *,
    model: Model = None,
    halves: Halves = False,
    fit: FitOption = None,
    threshold: Threshold = None,
    classifier: MethodOption = None,
    jpeg: Jpeg = None,
    folds: Folds = None,
    num: Num = None,
    net: options.Net = None,
    psi: given.Psi = None,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    json: options.Json = False,
    output: Output = None,
    quiet: options.Quiet = False,
) -> None:
    """Tell generated pictures from real ones by the end of their spectrum, which a power law fits.

    accuracy is that of cross-validation, with its exact 95 % interval: 0.5 is what a generator
    wants. Equal pictures are in one part, scales are of the training part. -o x.safetensors keeps
    the classifier (of all pictures); --model judges with it, line by line: key, verdict, score.

    $ gantools spectrum classify faces.tar --net faces64 --jpeg 90 -o c.safetensors -o -

    $ gantools generate --seeds 0-9 | gantools spectrum classify --model c.safetensors

    $ gantools spectrum classify faces.tar --halves --json
    """
    report.begin("spectrum classify", quiet=quiet)
    from gantools.io import atomic, results

    kept = [o for o in output or [] if Path(o).suffix.lower() == ".safetensors"]
    texts = [o for o in output or [] if o not in kept]
    for output_file in kept:
        atomic.real_target(Path(output_file))  # before any work
    results.check(texts, plots=model is None)
    training: dict[str, Any] = {"--halves": halves or None, "--fit": fit}
    training |= {"--threshold": threshold}
    training |= {"--classifier": classifier, "--jpeg": jpeg, "--folds": folds}
    training["-o x.safetensors"] = kept or None
    _check(real, fake, model, halves, training)
    judged = fake if model is None else real
    own = None if judged is None else _spectra.network_file(judged)
    if own is not None:  # or of a training's run: what it makes is judged
        net, real, fake = own, None if model else real, None
    if psi is not None and (fake is not None or halves):
        raise Usage("--psi is for pictures that the network makes, and none is asked for")
    asked = _spectra.drawn(
        net=net,
        num=num,
        psi=psi,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype,
        threads=threads,
    )
    if model is not None:
        made = real is None and (net, num, psi) != (None, None, None)
        if real is not None:
            asked.check_num(real, "the pictures")
        return _apply(Path(model), None if made else real or "-", asked, json=json, output=texts)
    name = (fit or Fit.loglog).value
    recipe = _classifying.Recipe(
        name, _classifying.THRESHOLDS[name] if threshold is None else threshold, jpeg
    )
    method = (classifier or Method.svm).value
    sets = _sets_of(str(real), fake, asked, recipe, halves=halves)
    found = _classifying.judgement(*sets, recipe, method, folds or 10, seed)
    _write(found, kept, texts, asked_text=bool(texts) or not kept, json=json)


def _check(
    real: str | None, fake: str | None, model: str | None, halves: bool, training: dict[str, Any]
) -> None:
    """Usage for what contradicts itself."""
    _sources.check_operands(real, fake)
    if model is not None:
        _sources.exists(model)
        wrong = next((flag for flag, value in training.items() if value is not None), None)
        if wrong or fake is not None:
            raise Usage(
                f"{wrong or 'FAKE'} is for training; --model judges the pictures it is given"
            )
        return
    if real is None:
        raise Usage("name the REAL pictures; or --model FILE, which judges what comes down a pipe")
    if halves and fake is not None:
        raise Usage("--halves compares REAL with itself: leave FAKE out")


def _sets_of(
    real: str, fake: str | None, asked: _sources.Drawn, recipe: _classifying.Recipe, *, halves: bool
) -> tuple[_classifying.Described, _classifying.Described]:
    if halves:
        whole = _classifying.described(real, asked, recipe, 2 * asked.num)
        return _classifying.halves(whole)
    first = _classifying.described(real, asked, recipe, asked.num)
    asked.given_num = len(first.digests)  # where the network makes FAKE
    return first, _classifying.described(fake, asked, recipe, asked.num)


def _write(
    found: _classifying.Judgement,
    kept: list[str],
    texts: list[str],
    *,
    asked_text: bool,
    json: bool,
) -> None:
    from gantools.io import atomic, results
    from gantools.spectra import classifier

    for target in kept:
        classifier.save(atomic.real_target(Path(target)), found.classifier)

    def plot(kind: str) -> bytes:
        from gantools.spectra import plots

        accuracy = found.results["accuracy"]
        return plots.of_features(found.features, found.generated, found.classifier, accuracy, kind)

    if asked_text:
        results.write(found.results, texts, as_json=json, plot=plot)


def _apply(
    model: Path, operand: str | None, asked: _sources.Drawn, *, json: bool, output: list[str]
) -> None:
    from gantools.io import results

    if operand == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise Usage("name pictures, or pipe a stream of them in")
    rows, told = _classifying.applied(model, operand, asked)
    share = sum(row["verdict"] == "generated" for row in rows) / len(rows)
    lines = [tuple(row.values()) for row in rows]
    summary = {"generated_share": share, "protocol": told}
    results.write(
        {"generated_share": share, "classified": rows, "protocol": told},
        output,
        as_json=json,
        rows=[*lines, *results.flat(summary)],
    )
