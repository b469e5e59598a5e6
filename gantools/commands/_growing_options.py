"""Options of `train` of networks that grow: PGGAN, StyleGAN and ALAE."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gantools import options


class Loss(StrEnum):
    """training.growing_config.LOSSES."""

    wgan_gp = "wgan-gp"
    lsgan = "lsgan"
    logistic = "logistic"
    hinge = "hinge"
    gan_cls = "gan-cls"


class LabelMode(StrEnum):
    """training.growing_config.LABEL_MODES."""

    acgan = "acgan"
    projection = "projection"
    logits = "logits"


LossOption = Annotated[
    Loss | None,
    options.number(
        "--loss",
        "wgan-gp|lsgan|logistic|hinge|gan-cls",
        "What the two networks play for. gan-cls: logistic, and the discriminator is also shown "
        "real pictures with another's class, which are wrong. Default: wgan-gp for pggan, "
        "logistic (and R1) for stylegan.",
    ),
]
LabelModeOption = Annotated[
    LabelMode | None,
    options.number(
        "--label-mode",
        "acgan|projection|logits",
        "What the discriminator does with the classes of --labels. acgan: it names them, beside "
        "its score, and both networks learn from that; projection: an embedding of the class "
        "adds to the score; logits: a score for each class. Default: acgan for pggan, logits for "
        "stylegan.",
    ),
]
Growing = Annotated[
    bool | None,
    typer.Option(
        "--grow/--no-grow",
        help="Begin with small pictures and fade larger ones in, or train at full size from the "
        "start. Default: grow.",
        show_default=False,
    ),
]
Simultaneous = Annotated[
    bool | None,
    typer.Option(
        "--simultaneous/--alternating",
        help="Both networks step at once, from one batch of fakes, or the discriminator first and "
        "the generator against it. Default: alternating, with cifar10 simultaneous.",
        show_default=False,
    ),
]
Stable = Annotated[
    str | None,
    options.number(
        "--stable", "N", "Pictures shown at each resolution before the next. Default: the preset's."
    ),
]
Gpus = Annotated[
    int | None,
    options.number(
        "--gpus",
        "1|2|4|8",
        "Which of the published tables of minibatches and learning rates: that for so many GPUs. "
        "It stays when the run goes on with another number of processes. Default: 1.",
        min=1,
    ),
]
Fade = Annotated[
    str | None,
    options.number(
        "--fade", "N", "Pictures shown while a resolution is faded in. Default: the preset's."
    ),
]
BatchOption = Annotated[
    int | None,
    options.number(
        "--batch",
        "N",
        "Pictures per step at every resolution. Default: the published table (--gpus), for one GPU "
        "128 at 4x4 down to 4 at 512x512.",
        min=1,
    ),
]
DChannelBase = Annotated[
    int | None,
    options.number(
        "--d-channel-base",
        "N",
        "The discriminator's own --channel-base, to make it narrower or wider than the generator. "
        "Default: the generator's.",
        min=1,
    ),
]
LatentDim = Annotated[
    int | None,
    options.number("--latent-dim", "N", "Numbers in z (and w). Default: the preset's.", min=1),
]
