"""gantools train direction: fit attribute directions (papers.md S2.7)."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gantools import options, report
from gantools.commands import _directions, _latents
from gantools.report import Usage


class Method(StrEnum):
    """How a direction is found."""

    regression = "regression"
    logistic = "logistic"
    svm = "svm"
    gradient = "gradient"
    sefa = "sefa"
    pca = "pca"


class Convention(StrEnum):
    """Which code's SeFa."""

    genforce = "genforce"
    rosinality = "rosinality"


Attributes = Annotated[
    list[str] | None,
    typer.Option(
        "--attribute",
        metavar="NAME[=COLUMN]",
        help="A column of --labels, under its own or another name. Repeatable.",
        show_default=False,
    ),
]
MethodOption = Annotated[
    Method,
    typer.Option(
        "--method",
        help="Labelled: regression (ridge), logistic, svm; gradient (GANalyze: labelled pictures "
        "only, slower, a vector per layer that changes less else). Without labels: sefa (closed "
        "form), pca (GANSpace).",
    ),
]
Share = Annotated[
    float | None,
    typer.Option(
        "--share",
        metavar="F",
        help="logistic, svm: the share of samples with the highest labels, and that with the "
        "lowest, which are told apart. Default: 0.5 for logistic, 0.02 for svm.",
        show_default=False,
    ),
]
Orthogonal = Annotated[
    list[str] | None,
    typer.Option(
        "--orthogonal-to",
        metavar="NAME",
        help="Another --attribute of this run, which is taken out of all the others (conditional "
        "projection). Repeatable.",
        show_default=False,
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        "--layers",
        metavar="LIST",
        help="The layers in which edit applies the directions unless told otherwise, 0-based.",
        show_default=False,
    ),
]
Strengths = Annotated[
    list[float] | None,
    typer.Option(
        "--default-strength",
        metavar="S",
        help="What --dir NAME alone does in edit, in standard deviations; once for all, or once "
        "per --attribute. Default: 3.",
        show_default=False,
    ),
]
Samples = Annotated[
    int, typer.Option("--samples", metavar="N", min=100, help="Generated samples, psi 1.")
]
Components = Annotated[
    int | None,
    typer.Option(
        "--components",
        metavar="K",
        min=1,
        help="sefa, pca: how many directions. Default: 10.",
        show_default=False,
    ),
]
ConventionOption = Annotated[
    Convention | None,
    typer.Option(
        "--convention",
        help="sefa: style channels brought to one length (genforce), or as they are (rosinality). "
        "Default: genforce.",
        show_default=False,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        metavar="N",
        min=1,
        help="gradient: steps of the optimiser for each direction. Default: 300.",
        show_default=False,
    ),
]
Reader = Annotated[
    str | None,
    typer.Option(
        "--reader",
        metavar="FILE",
        help="The attribute network: read if the file is there, else trained and written.",
        show_default=False,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        metavar="N",
        min=1,
        help="Rounds over the labelled pictures. Default: 8.",
        show_default=False,
    ),
]
HoldOut = Annotated[
    int | None,
    typer.Option(
        "--hold-out",
        metavar="N",
        min=0,
        help="Pictures whose number is divisible by N only measure the attribute network. "
        "Default: 0, a tenth of them, by their keys.",
        show_default=False,
    ),
]


def direction(
    operands: options.Operands = None,
    *,
    labels: options.Labels = None,
    attribute: Attributes = None,
    method: MethodOption = Method.regression,
    share: Share = None,
    orthogonal_to: Orthogonal = None,
    layers: Layers = None,
    default_strength: Strengths = None,
    output: options.Output = None,
    samples: Samples = 10_000,
    steps: Steps = None,
    components: Components = None,
    convention: ConventionOption = None,
    reader: Reader = None,
    epochs: Epochs = None,
    hold_out: HoldOut = None,
    net: options.Net = None,
    seed: options.Seed = 0,
    batch: options.Batch = 32,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    quiet: options.Quiet = False,
) -> None:
    """Fit directions for `gantools edit`, scaled so that strength 1 is one standard deviation.

    Labelled latents are fitted as they are. From labelled pictures an attribute network is
    trained, which labels generated samples of --net; directions are fitted in w on these, and
    their scale is what the network's pictures show. gradient learns them in w+ from what the
    attribute network says of the edited pictures. sefa and pca take no operands.

    $ gantools train direction faces/ --labels labels.csv --attribute age -o age.safetensors

    $ gantools train direction w.tar --labels labels.csv --attribute smile=happy -o d.safetensors

    $ gantools train direction --method pca --components 20 -o pca.safetensors
    """
    report.begin("train direction", quiet=quiet)
    if output is None or not output.endswith(".safetensors") or output == ".safetensors":
        raise Usage("name the direction file with -o FILE.safetensors")
    job = _directions.Job(
        net,
        samples,
        seed,
        batch,
        device,
        dtype,
        _latents.parse_layers(layers),
        hold_out,
        epochs,
        method,
        share,
        steps,
        None if reader is None else Path(reader),
    )
    free = method in (Method.sefa, Method.pca)
    if free and (operands or labels or attribute or orthogonal_to):
        raise Usage(f"--method {method} takes neither operands nor labels")
    given = {
        "--share": share is not None and method not in (Method.logistic, Method.svm),
        "--steps": steps is not None and method is not Method.gradient,
        "--orthogonal-to": bool(orthogonal_to) and method is Method.gradient,
        "--components": components is not None and not free,
        "--convention": convention is not None and method is not Method.sefa,
        "--reader": reader is not None and free,
        "--epochs": epochs is not None and free,
        "--hold-out": hold_out is not None and free,
    }
    for flag, useless in given.items():
        if useless:
            raise Usage(f"{flag} does nothing with --method {method}: leave it out")
    options.set_threads(threads)
    if free:
        strength = _directions.strengths(default_strength, 1)[0]
        found = _directions.unlabelled(
            job, components or 10, strength, first_rgb=convention is Convention.rosinality
        )
    else:
        asked = _directions.Asked.of(labels, attribute, orthogonal_to, default_strength)
        found = _directions.labelled(job, asked, operands)
    _directions.save(output, found)
