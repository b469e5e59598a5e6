"""Options of `train` against the frequency bias of paper 003 (S3.9, S3.14-S3.19, S3.30)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gantools import options


class Upsampling(StrEnum):
    """ops.resample.UPSAMPLINGS."""

    bilinear = "bilinear"
    nearest = "nearest"
    zeros = "zeros"
    reshape = "reshape"


class Downsampling(StrEnum):
    """ops.resample.DOWNSAMPLINGS."""

    avg = "avg"
    blurpool = "blurpool"
    stride = "stride"


class SpectralForm(StrEnum):
    """training.spectral.FORMS."""

    log1p = "log1p"
    jk = "jk"
    jk_nonlinear = "jk-nonlinear"


class SpectralRegulariser(StrEnum):
    """What pulls the generator's spectra."""

    durall = "durall"


Upsample = Annotated[
    Upsampling | None,
    options.number(
        "--upsample",
        "WAY",
        "How the generator doubles: bilinear, nearest, zeros between the samples, or reshape, from "
        "four times the channels. stylegan2 has the first two, sngan the first three. Default: "
        "nearest for pggan, else bilinear.",
    ),
]
Downsample = Annotated[
    Downsampling | None,
    options.number(
        "--downsample",
        "WAY",
        "How the discriminator halves: avg, the mean of 2x2; blurpool, behind a blur by 1, 3, 1; "
        "stride, every other sample. Default: avg; for stylegan2 a filter of 1, 3, 3, 1.",
    ),
]
Wavelet = Annotated[
    bool | None,
    typer.Option(
        "--wavelet",
        help="Both networks work on the coefficients of a Haar wavelet at half the size, at every "
        "resolution (SWAGAN); sngan's at the last one alone. pggan needs --no-grow.",
        show_default=False,
    ),
]
SpectralD = Annotated[
    SpectralForm | None,
    options.number(
        "--spectral-d",
        "log1p|jk|jk-nonlinear",
        "A second discriminator that sees the pictures' reduced spectra, with half the weight in "
        "both losses. log1p: log(1 + S) and a hidden layer, R1 on the sum of both; jk: Jung and "
        "Keuper's, log power from 0 to 1 for each picture, one layer, its own optimiser (with "
        "stylegan2 its own R1 too); jk-nonlinear: theirs with a hidden layer. With --net that of "
        "the network's file goes on where it is of this form, else it starts fresh. pggan needs "
        "--no-grow and --loss logistic or hinge, as preset freqbias has them.",
    ),
]
SpectralDropout = Annotated[
    float | None,
    options.number(
        "--spectral-dropout",
        "P",
        "Of --spectral-d: the probability with which it does not see a frequency of a picture; "
        "Jung and Keuper's option is 0.5. Default: 0.",
        callback=options.finite,
    ),
]
FMining = Annotated[
    bool | None,
    typer.Option(
        "--f-mining",
        help="Mining by frequencies (SSD-GAN): a score of each picture's spectrum is averaged with "
        "the discriminator's, and only weighs the pictures; no gradient passes through it. pggan "
        "needs what --spectral-d needs.",
        show_default=False,
    ),
]
SpecReg = Annotated[
    SpectralRegulariser | None,
    options.number(
        "--spec-reg",
        "durall",
        "Durall et al.'s regulariser as published: the cross-entropy of real and generated spectra "
        "times 1e-5 makes the generator's loss larger, without a gradient of its own.",
    ),
]
