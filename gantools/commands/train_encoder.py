"""gantools train encoder: a network that reads latents of pictures (papers.md S2.10, S4.8-18)."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gantools import options, report
from gantools.commands import _encoder_options as own
from gantools.commands import _encoder_settings as settings
from gantools.commands import _train_options as shared
from gantools.commands._project_options import Perceptual
from gantools.report import Usage


class Arch(StrEnum):
    """Which encoder."""

    fw = "fw"
    dse = "dse"
    psp = "psp"


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
            "pictures; psp: photographs alone, as published (--own). Without them: samples alone.",
            show_default=False,
        ),
    ] = None,
    *,
    output: shared.RunFolder,
    arch: Annotated[
        Arch,
        typer.Option(
            "--arch",
            help="fw: features, picture so far and styles of a fw+ latent, for StyleGAN2. dse: "
            "paper 004's: w+ for StyleGAN and StyleGAN2, z for PGGAN, z and class for BigGAN. psp: "
            "pSp's, w+ for StyleGAN and StyleGAN2, whose layers read maps of a 16th, an 8th and a "
            "quarter of the picture, or of 256 pixels of a larger one.",
        ),
    ] = Arch.fw,
    first: Annotated[
        int | None,
        options.number(
            "--first",
            "I",
            "fw: the block whose features it gives, 1-based as in the names of spaces: 5 is fw+5. "
            "Default: 5.",
            min=1,
        ),
    ] = None,
    backbone: Annotated[
        Backbone | None,
        options.number(
            "--backbone",
            "NAME",
            "fw: what sees the picture. small: a CNN of gantools' own; efficientnet-b0: with the "
            "weights of ImageNet, which have to be there; efficientnet-b0-scratch: as it is drawn. "
            "Default: small for networks of up to 128 pixels a side, above that efficientnet-b0.",
        ),
    ] = None,
    width: Annotated[
        int | None,
        options.number(
            "--width",
            "N",
            "fw: channels of the small backbone at half of the picture's size, four times as "
            "many where it is widest; default: 32. dse, psp: channels where it is widest; default: "
            "the network's at its first block, 512 at most.",
            min=4,
            max=2048,
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
        int | None,
        options.number("--batch", "N", "Samples per step. Default: fw 12, dse and psp 8.", min=2),
    ] = None,
    lr: Annotated[
        float | None,
        options.weight(
            "--lr", "The optimiser's learning rate. Default: fw 0.0002, dse 0.0015, psp 0.0001."
        ),
    ] = None,
    latent_weight: Annotated[
        float | None,
        options.weight(
            "--latent-weight",
            "fw: weight of the squared errors of features, picture so far and styles; default: 1. "
            "dse: of all terms of latents; default: 0.01. psp: of the squared error of samples' "
            "styles; default: 0.",
        ),
    ] = None,
    mse_weight: Annotated[
        float | None,
        options.weight(
            "--mse-weight",
            "Weight of the squared error of the picture, dse: and of latents. Default: fw and psp "
            "1, dse 5.",
        ),
    ] = None,
    perceptual_weight: Annotated[
        float | None,
        options.weight(
            "--perceptual-weight",
            "Weight of the perceptual distance of the picture. Default: fw 1, dse 2, psp 0.8.",
        ),
    ] = None,
    perceptual: Annotated[
        Perceptual | None,
        options.number(
            "--perceptual",
            "NAME",
            "Perceptual distance. Default: LPIPS if its weights are there, else fw and psp the "
            "network's own discriminator, dse pyramid; config.json says which. pSp's own is "
            "lpips-alex.",
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
    cos_weight: own.CosWeight = None,
    ssim_weight: own.SsimWeight = None,
    kl_weight: own.KlWeight = None,
    prior_weight: own.PriorWeight = None,
    cosine: own.Cos = None,
    strategy: own.Strategy = None,
    tsa: own.Areas = None,
    area_weights: own.AreaWeights = None,
    resize_crops: own.ResizeCrops = None,
    cam: own.Cam = None,
    detach: own.DetachTerms = None,
    blur: own.Blur = None,
    cbn: own.ClassNorms = None,
    psi: own.Psi = None,
    cutoff: own.Cutoff = None,
    samples: own.Samples = None,
    optimiser: own.OptimiserName = None,
    two_step: own.TwoStep = None,
    adv_weight: own.AdvWeight = None,
    gamma: own.Gamma = None,
    depth: own.DepthOf = None,
    pretrained: own.Pretrained = None,
    id_weight: own.IdWeight = None,
    norm_weight: own.NormWeight = None,
    own_samples: own.Own = None,
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
    """Train an encoder of pictures for a network: RUN/encoder.safetensors.

    It learns from samples that the network makes anew for every step, and reads photographs better
    where it has seen some. The same command again resumes the run exactly, also after a kill -9;
    only --steps, --snapshot and --workers may change. Under torchrun each process has a share of
    every batch, and the run is the same up to rounding. `samples/` shows, row by row, pictures and
    what is made of their latents; `report.html` has them over time, with the log's curves.

    \b
    $ gantools train encoder faces/ -o run --first 5 --mirror --hold-out 10
    $ gantools train encoder -o run --net ffhq.safetensors --first 5 --steps 100k
    $ gantools train encoder -o run --arch dse --net cats.safetensors --tsa gradcam --steps 200k
    $ gantools train encoder faces/ -o run --arch psp --net ffhq.safetensors --steps 200k
    """
    report.begin("train encoder", quiet=quiet)
    total = options.parse_amount(steps, "--steps")
    every = options.parse_amount(snapshot, "--snapshot")
    given = own.chosen(
        arch.value,
        {
            "first": first, "backbone": backbone, "width": width, "batch": batch, "lr": lr,
            "latent_weight": latent_weight, "mse_weight": mse_weight,
            "perceptual_weight": perceptual_weight, "cos_weight": cos_weight,
            "ssim_weight": ssim_weight, "kl_weight": kl_weight,
            "prior_weight": prior_weight, "cosine": cosine, "strategy": strategy, "tsa": tsa,
            "area_weights": area_weights, "resize_crops": resize_crops, "cam": cam,
            "detach": detach, "blur": blur, "cbn": cbn, "psi": psi, "cutoff": cutoff,
            "samples": samples, "optimiser": optimiser,
            "two_step": two_step, "depth": depth, "pretrained": pretrained, "id_weight": id_weight,
            "norm_weight": norm_weight, "own": own_samples,
            "adv_weight": adv_weight, "gamma": gamma,
        },
    )  # fmt: skip
    settings.check(arch.value, given)
    if (mirror or hold_out) and not data:
        raise Usage("--mirror and --hold-out are for photographs, and there are none: name DATA")
    if data and not settings.sees_pictures(arch.value, given):
        raise Usage("the weights of pictures are 0: nothing is learned of photographs")
    if arch is Arch.psp:
        settings.check_own(given, photographs=bool(data))

    from gantools.inversion.distances import default_perceptual
    from gantools.io import network as files
    from gantools.networks.network import build
    from gantools.training import encoder_run

    options.set_threads(threads)
    path = files.find(net)
    ckpt = files.load(path)
    # The discriminator sees whole pictures alone, and paper 004's losses see areas too.
    has_d = bool(ckpt.config.get("d"))
    seen = perceptual.value if perceptual else default_perceptual(has_d and arch is not Arch.dse)
    network = build(
        ckpt,
        path.stem,
        device=options.pick_device(device),
        dtype=dtype.value,
        discriminator=seen == "discriminator" or (bool(adv_weight) and has_d),
    )
    given |= {
        "network": network.story(), "perceptual": seen, "ema_kimg": ema_kimg, "mirror": mirror,
        "hold_out": hold_out, "seed": seed, "dtype": dtype.value, "device": network.device,
    }  # fmt: skip
    of = {Arch.fw: settings.fw, Arch.dse: settings.dse, Arch.psp: settings.psp}
    config = of[arch](network, given)
    if data and arch is Arch.dse and network.truncates_z:
        raise Usage("photographs are of no known class, which BigGAN's encoder is told: no DATA")
    job = encoder_run.EncoderJob(Path(output), total, every, data or [], workers)
    encoder_run.train(job, config, network)
