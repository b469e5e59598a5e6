"""Options of `train encoder`, each with the kind of encoder that it is for (S4.2-S4.13)."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Any

from gantools import options
from gantools.commands._train_options import number
from gantools.report import Usage

BOTH: dict[str, dict[str, Any]] = {
    "fw": {
        "first": 5, "batch": 12, "lr": 2e-4, "latent_weight": 1.0, "mse_weight": 1.0,
        "perceptual_weight": 1.0,
    },
    "dse": {
        "batch": 8, "lr": 0.0015, "latent_weight": 0.01, "mse_weight": 5.0,
        "perceptual_weight": 2.0,
    },
}  # fmt: skip
"""Defaults of what the kinds have different ones of."""
OF = {
    "fw": {"first", "backbone"},
    "dse": {
        "strategy", "tsa", "area_weights", "resize_crops", "cam", "detach", "cos_weight",
        "ssim_weight", "kl_weight", "cosine", "blur", "cbn", "psi", "cutoff", "samples",
        "optimiser", "two_step",
    },
}  # fmt: skip
"""What one kind alone has."""
FLAGS = {"cosine": "--cos"}


class Tsa(StrEnum):
    """training.dse.Tsa."""

    none = "none"
    centre = "centre"
    gradcam = "gradcam"


class CamKind(StrEnum):
    """inversion.cam.Kind."""

    gradcam = "gradcam"
    gradcam_pp = "gradcam++"
    dse = "dse"


class Detach(StrEnum):
    """training.dse.Detach."""

    none = "none"
    attention = "attention"
    all = "all"


class Cosine(StrEnum):
    """inversion.dse_loss.Cosine."""

    sample = "sample"
    batch = "batch"


class Cbn(StrEnum):
    """inversion.dse_blocks.Cbn."""

    batch = "batch"
    affine = "affine"


class Optimiser(StrEnum):
    """Optimisers of training.dse."""

    lreq = "lreq"
    adam = "adam"


def weight(flag: str, text: str) -> Any:
    """An option of a loss's weight."""
    return number(flag, "X", text, min=0.0, callback=options.finite)


CosWeight = Annotated[
    float | None,
    weight("--cos-weight", "dse: weight of 1 - cosine of latents and pictures. Default: 3."),
]
SsimWeight = Annotated[
    float | None, weight("--ssim-weight", "dse: weight of 1 - SSIM of pictures. Default: 1.")
]
KlWeight = Annotated[
    float | None,
    weight(
        "--kl-weight",
        "dse: weight of the divergence of latents and pictures, as softmaxes. Default: 0, as in "
        "the paper's code; 1 is its text.",
    ),
]
Cos = Annotated[
    Cosine | None,
    number(
        "--cos", "KIND", "dse: the cosine of each sample, or of the whole batch. Default: sample."
    ),
]
Strategy = Annotated[
    int | None,
    number(
        "--strategy",
        "N",
        "dse: what the others are by default. 2: --area-weights 5,9 --detach none --blur; 1: "
        "--area-weights 1,1 --detach all --no-blur. Default: 2.",
        min=1,
        max=2,
    ),
]
Areas = Annotated[
    Tsa | None,
    number(
        "--tsa",
        "KIND",
        "dse: two areas of pictures besides the whole. centre: for aligned ones, such as faces; "
        "gradcam: where VGG16 looks, for others. Default: centre.",
    ),
]
AreaWeights = Annotated[
    str | None,
    number("--area-weights", "X,Y", "dse: weights of the wider area and the narrower; 0: none."),
]
ResizeCrops = Annotated[
    bool | None,
    number("--resize-crops/--no-resize-crops", "", "dse: centred areas at the picture's size."),
]
Cam = Annotated[
    CamKind | None,
    number(
        "--cam",
        "KIND",
        "dse: the heat maps of gradcam. gradcam, gradcam++: as published; dse: as in the paper's "
        "code, without gradients. Default: gradcam.",
    ),
]
DetachTerms = Annotated[
    Detach | None,
    number(
        "--detach",
        "KIND",
        "dse: terms of pictures that give no gradient: of none, of the areas (attention), of all.",
    ),
]
Blur = Annotated[
    bool | None,
    number("--blur/--no-blur", "", "dse: blur before halving, in large pictures in one go."),
]
ClassNorms = Annotated[
    Cbn | None,
    number(
        "--cbn",
        "KIND",
        "dse, BigGAN: batch norms of the class normalise by the batch, or are affine alone as in "
        "the paper's code. Default: batch.",
    ),
]
Psi = Annotated[
    float | None,
    number(
        "--psi",
        "X",
        "dse: truncation of the samples. Default: 0.7 for styles, BigGAN 0.4.",
        min=0.001,
        callback=options.finite,
    ),
]
Cutoff = Annotated[
    int | None,
    number(
        "--cutoff",
        "N",
        "dse: truncate only layers below N. Default: 8; of StyleGAN half of the layers.",
        min=0,
    ),
]
Samples = Annotated[
    int | None,
    number(
        "--samples",
        "N",
        "dse: train on N samples over and over, as the paper's code on 30000. Default: on new ones "
        "in every step.",
        min=1,
    ),
]
OptimiserName = Annotated[
    Optimiser | None,
    number("--optimiser", "NAME", "dse: lreq (the paper's LREQAdam) or adam. Default: lreq."),
]
TwoStep = Annotated[
    bool | None,
    number(
        "--two-step/--one-step",
        "",
        "dse: one step for pictures, then one for latents, as in the paper's code.",
    ),
]


def chosen(arch: str, given: dict[str, Any]) -> dict[str, Any]:
    """What was given and the kind's own defaults; Usage for options of another kind."""
    now = {name: value for name, value in given.items() if value is not None}
    for other in OF.keys() - {arch}:
        for name in sorted(now.keys() & OF[other]):
            flag = FLAGS.get(name, "--" + name.replace("_", "-"))
            raise Usage(f"{flag} is for --arch {other}, and this is {arch}")
    return BOTH[arch] | now


def pair(text: str) -> tuple[float, float]:
    """The two numbers of --area-weights; Usage."""
    try:
        one, two = (float(part) for part in text.split(","))
    except ValueError:
        one = two = math.nan
    if not (0 <= one < math.inf and 0 <= two < math.inf):
        raise Usage(f"--area-weights {text}: expected two numbers from 0 on such as 5,9")
    return one, two
