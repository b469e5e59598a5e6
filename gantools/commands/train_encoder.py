"""gantools train encoder: a network that reads latents of pictures (papers.md S2.10)."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gantools import options, report
from gantools.commands import _train_options as shared
from gantools.commands.project import Perceptual
from gantools.report import Usage


class Arch(StrEnum):
    """Which encoder."""

    fw = "fw"


class Backbone(StrEnum):
    """inversion.encoder_backbones.BACKBONES."""

    small = "small"
    efficientnet_b0 = "efficientnet-b0"
    efficientnet_b0_scratch = "efficientnet-b0-scratch"


def encoder(
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DATA]...",
            help="Photographs beside the network's own samples, as many in every step, of which "
            "the picture is asked again: folders, archives, files, of the shape of the network's "
            "pictures. Without them: samples alone, as in the paper.",
            show_default=False,
        ),
    ] = None,
    *,
    output: shared.RunFolder,
    arch: Annotated[
        Arch,
        typer.Option("--arch", help="fw: features, picture so far and styles of a fw+ latent."),
    ] = Arch.fw,
    first: Annotated[
        int,
        typer.Option(
            "--first",
            metavar="I",
            min=1,
            help="The block whose features it gives, 1-based as in the names of spaces: 5 is fw+5.",
        ),
    ] = 5,
    backbone: Annotated[
        Backbone | None,
        shared.number(
            "--backbone",
            "NAME",
            "What sees the picture. small: a CNN of gantools' own; efficientnet-b0: with the "
            "weights of ImageNet, which have to be there; efficientnet-b0-scratch: as it is drawn. "
            "Default: small for networks of up to 128 pixels a side, above that efficientnet-b0.",
        ),
    ] = None,
    width: Annotated[
        int | None,
        shared.number(
            "--width",
            "N",
            "Channels of the small backbone at half of the picture's size; four times as many "
            "where it is widest. Default: 32.",
            min=4,
            max=256,
        ),
    ] = None,
    net: options.Net = None,
    steps: Annotated[
        str,
        typer.Option("--steps", metavar="N", help="Train for so many steps, such as 500 or 20k."),
    ] = "20k",
    snapshot: Annotated[
        str,
        typer.Option(
            "--snapshot",
            metavar="N",
            help="Write the encoder, a sheet of pictures and the state every so many steps; the "
            "state every ten minutes too.",
        ),
    ] = "1k",
    batch: Annotated[
        int, typer.Option("--batch", metavar="N", min=2, help="Samples per step.")
    ] = 12,
    lr: Annotated[
        float,
        typer.Option(
            "--lr", metavar="X", help="Adam's learning rate.", min=0.0, callback=options.finite
        ),
    ] = 2e-4,
    latent_weight: Annotated[
        float,
        typer.Option(
            "--latent-weight",
            metavar="X",
            help="Weight of the squared errors of features, picture so far and styles.",
            min=0.0,
            callback=options.finite,
        ),
    ] = 1.0,
    mse_weight: Annotated[
        float,
        typer.Option(
            "--mse-weight",
            metavar="X",
            help="Weight of the squared error of the picture.",
            min=0.0,
            callback=options.finite,
        ),
    ] = 1.0,
    perceptual_weight: Annotated[
        float,
        typer.Option(
            "--perceptual-weight",
            metavar="X",
            help="Weight of the perceptual distance of the picture.",
            min=0.0,
            callback=options.finite,
        ),
    ] = 1.0,
    perceptual: Annotated[
        Perceptual | None,
        shared.number(
            "--perceptual",
            "NAME",
            "Perceptual distance. Default: LPIPS if its weights are there, else the network's own "
            "discriminator; config.json says which.",
        ),
    ] = None,
    ema_kimg: Annotated[
        float,
        typer.Option(
            "--ema-kimg",
            metavar="X",
            help="Half-life of the moving average that is written, in thousands of samples.",
            min=0.0,
            callback=options.finite,
        ),
    ] = 5.0,
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Show each photograph mirrored too.")
    ] = False,
    hold_out: Annotated[
        int,
        typer.Option(
            "--hold-out",
            metavar="N",
            help="Never train on photographs whose number (the last digits of the key) is "
            "divisible by N; some of them are on the sheets, with their PSNR in the log. 0: train "
            "on all.",
            min=0,
        ),
    ] = 0,
    workers: shared.Workers = 4,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    quiet: options.Quiet = False,
) -> None:
    """Train an encoder of pictures for a StyleGAN2 network: RUN/encoder.safetensors.

    It learns from samples that the network makes anew for every step, and reads photographs better
    where it has seen some. The same command again resumes the run exactly, also after a kill -9;
    only --steps, --snapshot and --workers may change. `samples/` shows, row by row, pictures and
    what is made of their latents.

    \b
    $ gantools train encoder faces/ -o run --first 5 --mirror --hold-out 10
    $ gantools train encoder -o run --net ffhq.safetensors --first 5 --steps 100k
    """
    report.begin("train encoder", quiet=quiet)
    total = options.parse_amount(steps, "--steps")
    every = options.parse_amount(snapshot, "--snapshot")
    if not (latent_weight or mse_weight or perceptual_weight):
        raise Usage("the weights are all 0: nothing is learned")
    if (mirror or hold_out) and not data:
        raise Usage("--mirror and --hold-out are for photographs, and there are none: name DATA")
    if data and not (mse_weight or perceptual_weight):
        raise Usage("--mse-weight and --perceptual-weight are 0: nothing is learned of photographs")

    from gantools.inversion.encoder import WIDTH
    from gantools.inversion.encoder_backbones import default
    from gantools.inversion.project import default_perceptual
    from gantools.io import network as files
    from gantools.networks.network import build
    from gantools.training import encoder_run
    from gantools.training.encoder import EncoderTraining

    options.set_threads(threads)
    path = files.find(net)
    ckpt = files.load(path)
    seen = perceptual.value if perceptual else default_perceptual(bool(ckpt.config.get("d")))
    network = build(
        ckpt,
        path.stem,
        device=options.pick_device(device),
        dtype=dtype.value,
        discriminator=seen == "discriminator",
    )
    trunk = backbone.value if backbone else default(network.size)
    if width is not None and trunk != "small":
        raise Usage(f"--width is the small backbone's, and this is {trunk}: leave it out")
    config = EncoderTraining(
        network.story(), arch.value, first, trunk, width or WIDTH, batch, lr, latent_weight,
        mse_weight, perceptual_weight, seen, ema_kimg, None, mirror, hold_out, seed, dtype.value,
        network.device,
    )  # fmt: skip
    job = encoder_run.EncoderJob(Path(output), total, every, data or [], workers)
    encoder_run.train(job, config, network)
