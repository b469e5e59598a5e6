"""Options of `train encoder`, each with the kind of encoder that it is for (S4.2-S4.13, S4.18)."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Any

from gantools import options
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
    "psp": {
        "batch": 8, "lr": 1e-4, "latent_weight": 0.0, "mse_weight": 1.0, "perceptual_weight": 0.8,
    },
}  # fmt: skip
"""Defaults of what the kinds have different ones of."""
OF = {
    "fw": {"first", "backbone"},
    "dse": {
        "strategy", "tsa", "area_weights", "resize_crops", "cam", "detach", "cos_weight",
        "ssim_weight", "kl_weight", "prior_weight", "cosine", "blur", "cbn", "psi", "cutoff",
        "samples", "optimiser", "two_step", "adv_weight", "gamma",
    },
    "psp": {
        "depth", "pretrained", "id_weight", "norm_weight", "own", "psi", "cutoff", "samples",
        "optimiser", "adv_weight", "gamma",
    },
}  # fmt: skip
"""What not all kinds have."""
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
    """Optimisers of training.dse and training.psp."""

    lreq = "lreq"
    ranger = "ranger"
    adam = "adam"


OPTIMISERS = {"dse": (Optimiser.lreq, Optimiser.adam), "psp": (Optimiser.ranger, Optimiser.adam)}
"""Of each kind, the first is the default."""


class Depth(StrEnum):
    """inversion.irse.UNITS."""

    ten = "10"
    eighteen = "18"
    thirty_four = "34"
    fifty = "50"
    hundred = "100"


CosWeight = Annotated[
    float | None,
    options.weight(
        "--cos-weight", "dse: weight of 1 - cosine of latents and pictures. Default: 3."
    ),
]
SsimWeight = Annotated[
    float | None,
    options.weight(
        "--ssim-weight", "dse: weight of 1 - SSIM of pictures; 0: without it. Default: 1."
    ),
]
KlWeight = Annotated[
    float | None,
    options.weight(
        "--kl-weight",
        "dse: weight of the divergence of latents and pictures, as softmaxes. Default: 0, as in "
        "the paper's code; 1 is its text.",
    ),
]
PriorWeight = Annotated[
    float | None,
    options.weight(
        "--prior-weight",
        "dse: weight of how unusual the styles are, of photographs too, as `project "
        "--prior-weight` asks: such latents edit better and are a better start of hybrid. Default: "
        "0, as in the paper.",
    ),
]
Cos = Annotated[
    Cosine | None,
    options.number(
        "--cos", "KIND", "dse: the cosine of each sample, or of the whole batch. Default: sample."
    ),
]
Strategy = Annotated[
    int | None,
    options.number(
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
    options.number(
        "--tsa",
        "KIND",
        "dse: two areas of pictures besides the whole. centre: for aligned ones, such as faces; "
        "gradcam: where VGG16 looks, for others; none: the whole alone. Default: centre.",
    ),
]
AreaWeights = Annotated[
    str | None,
    options.number(
        "--area-weights",
        "X,Y",
        "dse: weights of the wider area and the narrower; 5,0 leaves the narrower out. Default: "
        "that of --strategy.",
    ),
]
ResizeCrops = Annotated[
    bool | None,
    options.number(
        "--resize-crops/--no-resize-crops",
        "",
        "dse: bring centred areas back to the picture's size, as the paper says, or leave them as "
        "they are, as its code does. Default: leave them.",
    ),
]
Cam = Annotated[
    CamKind | None,
    options.number(
        "--cam",
        "KIND",
        "dse: the heat maps of gradcam. gradcam, gradcam++: as published; dse: as in the paper's "
        "code, without gradients. Default: gradcam.",
    ),
]
DetachTerms = Annotated[
    Detach | None,
    options.number(
        "--detach",
        "KIND",
        "dse: terms of pictures that give the encoder no gradient: none of them, those of the "
        "areas (attention), or all, so that latents alone teach it. Default: that of --strategy.",
    ),
]
Blur = Annotated[
    bool | None,
    options.number(
        "--blur/--no-blur",
        "",
        "dse: blur before halving, from 128 pixels on in one convolution of stride 2. Default: "
        "that of --strategy.",
    ),
]
ClassNorms = Annotated[
    Cbn | None,
    options.number(
        "--cbn",
        "KIND",
        "dse, BigGAN: batch norms of the class normalise by the batch, or are affine alone as in "
        "the paper's code. Default: batch.",
    ),
]
Psi = Annotated[
    float | None,
    options.number(
        "--psi",
        "X",
        "dse, psp: truncation of the samples. Default: 0.7 for styles, BigGAN 0.4.",
        min=0.001,
        callback=options.finite,
    ),
]
Cutoff = Annotated[
    int | None,
    options.number(
        "--cutoff",
        "N",
        "dse, psp: truncate only layers below N. Default: 8; of StyleGAN half of the layers.",
        min=0,
    ),
]
Samples = Annotated[
    int | None,
    options.number(
        "--samples",
        "N",
        "dse, psp: train on N samples over and over, as paper 004's code on 30000. Default: on new "
        "ones in every step.",
        min=1,
    ),
]
OptimiserName = Annotated[
    Optimiser | None,
    options.number(
        "--optimiser",
        "NAME",
        "dse: lreq (the paper's LREQAdam) or adam; psp: ranger (rectified Adam with Lookahead) or "
        "adam. Default: the first.",
    ),
]
TwoStep = Annotated[
    bool | None,
    options.number(
        "--two-step/--one-step",
        "",
        "dse: one step for pictures, then one for latents, as in the paper's code, or one for "
        "both, as in its Eq. 8. Default: one.",
    ),
]
AdvWeight = Annotated[
    float | None,
    options.weight(
        "--adv-weight",
        "dse, psp: weight of what the network's own discriminator, which goes on learning, says of "
        "the pictures of the latents, as in the training of In-Domain inversion, where it is 0.1. "
        "Default: 0.",
    ),
]
Gamma = Annotated[
    float | None,
    options.weight(
        "--gamma",
        "dse, psp, with --adv-weight: R1 weight of that discriminator, in StyleGAN's convention "
        "gamma/2 |grad|^2. Default: 10.",
    ),
]

DepthOf = Annotated[
    Depth | None,
    options.number(
        "--depth",
        "N",
        "psp: layers of its backbone: 50 (IR-SE50, as published), 100, or 10, 18, 34, which are "
        "fast. Default: 50.",
    ),
]
Pretrained = Annotated[
    bool | None,
    options.number(
        "--pretrained/--no-pretrained",
        "",
        "psp: begin with ArcFace's weights (model fetch ir-se50). Default: where they are there "
        "and fit, which takes --depth 50 --width 512.",
    ),
]
IdWeight = Annotated[
    float | None,
    options.weight(
        "--id-weight",
        "psp: weight of 1 - cosine of what ArcFace sees in the middle of faces framed as FFHQ's. "
        "Default: 0.1 for a network of faces where its weights are there, else 0.",
    ),
]
NormWeight = Annotated[
    float | None,
    options.weight(
        "--norm-weight",
        "psp: weight of the distance of w from the mean w. Default: 0; published: 0 to 0.005.",
    ),
]
Own = Annotated[
    bool | None,
    options.number(
        "--own/--no-own",
        "",
        "psp: the network's own samples beside photographs, as many. Default: photographs alone.",
    ),
]


def chosen(arch: str, given: dict[str, Any]) -> dict[str, Any]:
    """What was given and the kind's own defaults; Usage for options of another kind."""
    now = {name: value for name, value in given.items() if value is not None}
    for name in sorted(now):
        owners = [kind for kind, names in OF.items() if name in names]
        if owners and arch not in owners:
            flag = FLAGS.get(name, "--" + name.replace("_", "-"))
            raise Usage(f"{flag} is for --arch {' and '.join(owners)}, and this is {arch}")
    asked = now.get("optimiser")
    if asked and asked not in OPTIMISERS[arch]:
        raise Usage(f"--optimiser {asked}: --arch {arch} has {' and '.join(OPTIMISERS[arch])}")
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
