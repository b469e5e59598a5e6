"""gantools spectrum testbed: the two laboratories of paper 003 (S3.7-S3.22, S3.28)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gantools import options, report
from gantools.commands import _testbeds

app = typer.Typer(
    help="Laboratories of the frequency bias: what a generator can make, what a discriminator can "
    "teach.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Padding(StrEnum):
    """Around the picture, in the generator's convolutions."""

    zeros = "zeros"
    reflect = "reflect"


class SpectralLoss(StrEnum):
    """Configurations without the spectral loss, with it, or both."""

    no = "no"
    yes = "yes"
    both = "both"


Pictures = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PICTURE]...",
        help="Pictures to learn, the first --num: their middle square, reduced to --size "
        "(Lanczos); smaller ones fail. Files, folders, archives, - for a stream. Without any: the "
        "Toyset of --toyset.",
        show_default=False,
    ),
]


@app.command("generator")
def generator(
    pictures: Pictures = None,
    *,
    preset: _testbeds.PresetOption = _testbeds.Preset.small,
    upsample: Annotated[
        str,
        typer.Option(
            "--upsample",
            metavar="LIST",
            help="Of bilinear, nearest, zeros, reshape, with commas: a configuration each.",
        ),
    ] = "bilinear,nearest,zeros,reshape",
    spectral_loss: Annotated[
        SpectralLoss | None,
        typer.Option(
            "--spectral-loss",
            help="Whether log(1 + S) is compared beside the pixels. Default: no; of the preset "
            "paper both.",
            show_default=False,
        ),
    ] = None,
    num: _testbeds.Numbers = None,
    toyset: _testbeds.ToysetOption = None,
    size: _testbeds.Size = None,
    steps: _testbeds.Steps = None,
    every: _testbeds.Every = None,
    divisor: _testbeds.Divisor = None,
    lr: _testbeds.Rate = None,
    padding: Annotated[
        Padding,
        typer.Option("--padding", help="Around the picture; the paper's teaser mirrors it."),
    ] = Padding.zeros,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    json: options.Json = False,
    output: _testbeds.Outputs = None,
    quiet: options.Quiet = False,
) -> None:
    """Let generators that differ in their upsampling learn pictures by heart from fixed latents.

    What one still lacks at the end, and learns late, is what its upsampling makes hard. Told are
    the PSNR of its pictures, their power in the corners of the spectrum (power_high, 1 is right)
    and the paper's PSNRs; -o x.png shows the spectrum's error over frequency and time.

    The preset small shows the paper's order in minutes on a CPU. paper is the paper's own, 100,000
    steps: hours on a CPU for each configuration; on a GPU all of them run as one graph. Several
    numbers of pictures (--num 1,5,10) are the ablation of Fig 9.

    $ gantools spectrum testbed generator -o evolution.png

    $ gantools spectrum testbed generator --preset paper -o run/ -o table.tsv

    $ gantools spectrum testbed generator photos/ --upsample zeros,bilinear --spectral-loss both

    $ gantools spectrum toyset photo.jpg --num 1 --size 128 --high-pass | gantools spectrum testbed
    generator - --num 1 --size 128 --padding reflect --preset paper --steps 30k -o teaser/
    """
    report.begin("spectrum testbed generator", quiet=quiet)
    from gantools.commands import _testbed_setups as make

    asked = _testbeds.Asked(
        preset=preset,
        pictures=pictures,
        num=num,
        toyset=toyset,
        size=size,
        steps=steps,
        every=every,
        divisor=divisor,
        lr=lr,
        padding="zeros" if padding is Padding.zeros else "reflect",
        seed=seed,
        device=device,
        threads=threads,
        json=json,
        output=output,
    )
    losses = spectral_loss or (
        SpectralLoss.both if preset is _testbeds.Preset.paper else SpectralLoss.no
    )
    with_loss = {"no": [False], "yes": [True], "both": [False, True]}[losses.value]
    make.generator(asked, upsample, with_loss)


@app.command("discriminator")
def discriminator(
    pictures: Pictures = None,
    *,
    preset: _testbeds.PresetOption = _testbeds.Preset.small,
    spatial: Annotated[
        str,
        typer.Option(
            "--discriminator",
            metavar="LIST",
            help="Of avg, blurpool, stride (how a convolutional one halves), mlp, none (with "
            "spectral ones alone).",
        ),
    ] = "avg,blurpool,stride,mlp",
    extra: Annotated[
        str,
        typer.Option(
            "--with",
            metavar="LIST",
            help="What is added: none, sd (of the reduced spectrum), sd-ft (of the whole DFT), "
            "sd-cnn-ft (convolutions of the DFT), f-mining, wavelet. Each with each of "
            "--discriminator is a configuration.",
        ),
    ] = "none,sd",
    match_params: Annotated[
        bool,
        typer.Option(
            "--match-params",
            help="Widen sd and sd-cnn-ft until they have as many parameters as sd-ft, as the "
            "paper's appendix does.",
        ),
    ] = False,
    mlp_width: Annotated[
        int | None,
        typer.Option(
            "--mlp-width",
            metavar="N",
            min=1,
            max=65536,
            help="Units of each of the MLP's four hidden layers. Default: 28, at the paper's size "
            "as many parameters as the convolutions have.",
            show_default=False,
        ),
    ] = None,
    num: _testbeds.Numbers = None,
    toyset: _testbeds.ToysetOption = None,
    size: _testbeds.Size = None,
    steps: _testbeds.Steps = None,
    every: _testbeds.Every = None,
    divisor: _testbeds.Divisor = None,
    lr: _testbeds.Rate = None,
    tensor_lr: Annotated[
        float | None,
        typer.Option(
            "--tensor-lr",
            metavar="X",
            callback=options.finite,
            help="Adam's rate for the pictures. Default: 0.01, as the authors' code; their text "
            "has one rate for both.",
            show_default=False,
        ),
    ] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    json: options.Json = False,
    output: _testbeds.Outputs = None,
    quiet: options.Quiet = False,
) -> None:
    """Let pictures be learned through discriminators: what they lack at the end, D did not teach.

    A GAN with a class for each picture, whose generator is a table of pictures. The PSNR is that of
    their running average (the paper's text), psnr_raw that without (its code). At the equilibrium
    all logits are 0, D's loss is 2 log 2 = 1.386 and R1's penalty 0: equilibrium tells whether it
    was reached. An untrained D is near it too: only at the end does it say that nothing is left to
    learn.

    $ gantools spectrum testbed discriminator -o evolution.png -o table.json

    $ gantools spectrum testbed discriminator --with none,sd,sd-ft,sd-cnn-ft --match-params -o run/

    $ gantools spectrum testbed discriminator faces/ --discriminator mlp,avg --with f-mining,wavelet
    """
    report.begin("spectrum testbed discriminator", quiet=quiet)
    from gantools.commands import _testbed_setups as make

    asked = _testbeds.Asked(
        preset=preset,
        pictures=pictures,
        num=num,
        toyset=toyset,
        size=size,
        steps=steps,
        every=every,
        divisor=divisor,
        lr=lr,
        padding="zeros",
        seed=seed,
        device=device,
        threads=threads,
        json=json,
        output=output,
    )
    make.discriminator(
        asked, spatial, extra, tensor_lr=tensor_lr, mlp_width=mlp_width, matched=match_params
    )
