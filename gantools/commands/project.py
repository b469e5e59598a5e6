"""gantools project: photographs to latents, latents to other spaces (papers.md S2.2, S2.12)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import typer

from gantools import options, report
from gantools.commands._paste import NO_PICTURES, Scale
from gantools.io import space


def known_space(value: str | None) -> str | None:
    """A typer callback: the name of a space, of features with their block."""
    if value is None:
        return None
    try:
        space.split(value)
    except ValueError:
        raise typer.BadParameter(f"{value!r} is none of {space.SPELT}") from None
    return value


def space_names(incomplete: str) -> list[str]:
    """What the shell completes --space with; the block's number is left to its user."""
    names = [name.removesuffix("I") for name in space.SPELT.partition(" (")[0].split(", ")]
    return [name for name in names if name.startswith(incomplete)]


def _size(text: str | None) -> space.Size | Literal["own", "faces"] | None:
    match text:
        case None | "own" | "faces":
            return text
    return options.parse_size(text, "--size")


class Method(StrEnum):
    """Rows of inversion.methods.METHODS."""

    quick = "quick"
    encoder = "encoder"
    hybrid = "hybrid"
    stylegan2 = "stylegan2"
    thesis = "thesis"
    i2s = "i2s"
    i2s_lreq = "i2s-lreq"
    idinvert = "idinvert"
    dse_finetune = "dse-finetune"
    alae = "alae"


class Perceptual(StrEnum):
    """Perceptual distances; inversion.project.PERCEPTUAL."""

    lpips_vgg = "lpips-vgg"
    lpips_alex = "lpips-alex"
    lpips_squeeze = "lpips-squeeze"
    vgg16 = "vgg16"
    vgg19 = "vgg19"
    discriminator = "discriminator"
    pyramid = "pyramid"


class Align(StrEnum):
    """Whether the face is looked for and brought to the network's framing."""

    auto = "auto"
    always = "always"
    never = "never"


def project(
    operands: options.Operands = None,
    into: Annotated[
        str | None,
        typer.Option(
            "--space",
            metavar="SPACE",
            callback=known_space,
            autocompletion=space_names,
            help="w: one style for all layers; w+: one per layer; nw, nw+: with noise maps. "
            "Default: the method's own (quick, i2s: w+; stylegan2: nw; thesis: nw+; with an "
            "encoder: the encoder's). Networks without w have z, or zy where they have classes. "
            "StyleGAN2 also has sw+ (style maps), fw+I and fsw+I (features "
            "from block I on, as model info counts them), nsw+, fnw+I and fnsw+I (with noise "
            "maps), and for latents fnzI (features, z and noise maps).",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        Method,
        typer.Option(
            "--method",
            help="quick: ours, seconds; encoder: one pass of an encoder (--init), of any network "
            "that has one; hybrid: that, then 100 steps; stylegan2: NVIDIA's projector; thesis: "
            "paper 002's; i2s: Image2StyleGAN, i2s-lreq: as paper 004 ran it; idinvert: In-Domain "
            "inversion, an encoder in the loop; dse-finetune: the encoder itself is optimised, for "
            "each picture (these two with any encoder); alae: one pass of the encoder that `train "
            "alae` trains with its network.",
        ),
    ] = Method.quick,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            metavar="N",
            min=0,
            help="Steps of the optimiser; 0 gives the start, such as an encoder's. Default: quick "
            "400, hybrid 100, stylegan2 1000, thesis 1000 and 250 with features, i2s 5000, "
            "i2s-lreq 30000, idinvert 100, dse-finetune 2001 (StyleGAN and BigGAN 1501).",
            show_default=False,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            "--lr",
            metavar="X",
            min=0,
            callback=options.finite,
            help="Its learning rate, at the peak of the schedule. Default: the method's own.",
            show_default=False,
        ),
    ] = None,
    perceptual: Annotated[
        Perceptual | None,
        typer.Option(
            "--perceptual",
            help="Perceptual distance. Default: idinvert vgg16; the others LPIPS if its weights "
            "are there, else the network's own discriminator; the latent records which.",
            show_default=False,
        ),
    ] = None,
    perceptual_weight: Annotated[
        float | None,
        typer.Option(
            "--perceptual-weight",
            metavar="X",
            min=0,
            callback=options.finite,
            help="Its weight.",
            show_default=False,
        ),
    ] = None,
    mse_weight: Annotated[
        float | None,
        typer.Option(
            "--mse-weight",
            metavar="X",
            min=0,
            callback=options.finite,
            help="Weight of the mean squared difference of pixels in [-1,1].",
            show_default=False,
        ),
    ] = None,
    ssim_weight: Annotated[
        float | None,
        typer.Option(
            "--ssim-weight",
            metavar="X",
            min=0,
            callback=options.finite,
            help="Weight of 1 - SSIM. Default: dse-finetune and i2s-lreq 1, the others 0.",
            show_default=False,
        ),
    ] = None,
    prior_weight: Annotated[
        float | None,
        typer.Option(
            "--prior-weight",
            metavar="X",
            min=0,
            callback=options.finite,
            help="Weight of the prior of w: higher keeps to what the mapping network makes, which "
            "edits better; 0 lets w go anywhere, which copies better. Of z: of the normal "
            "distribution, which is cut off at 2 for BigGAN. Default: quick and hybrid 0.03, the "
            "others 0.",
            show_default=False,
        ),
    ] = None,
    dist_weight: Annotated[
        float | None,
        typer.Option(
            "--dist-weight",
            metavar="X",
            min=0,
            callback=options.finite,
            help="Weight of the distribution of the numbers of w, of F and of R: mean square "
            "between the sorted numbers and the quantiles of the network's own (`metrics w1` "
            "measures it). Default: 0; paper 002 does not say its own, 1 is a start.",
            show_default=False,
        ),
    ] = None,
    noise_reg: Annotated[
        float | None,
        typer.Option(
            "--noise-reg",
            metavar="X",
            min=0,
            callback=options.finite,
            help="Weight of the noise regulariser in spaces with noise maps.",
            show_default=False,
        ),
    ] = None,
    style_smooth: Annotated[
        float | None,
        typer.Option(
            "--style-smooth",
            metavar="X",
            min=0,
            callback=options.finite,
            help="Style maps: weight of what a blur takes from them. Default: 0.",
            show_default=False,
        ),
    ] = None,
    style_radius: Annotated[
        float | None,
        typer.Option(
            "--style-radius",
            metavar="SHARE",
            min=0.001,
            max=1,
            callback=options.finite,
            help="Style maps: deviation of that blur, in sides of the map. Default: 0.1.",
            show_default=False,
        ),
    ] = None,
    style_cells: Annotated[
        int | None,
        typer.Option(
            "--style-cells",
            metavar="N",
            min=1,
            help="Style maps: optimise at most N cells a side, enlarged to the block's size. "
            "Default: all.",
            show_default=False,
        ),
    ] = None,
    style_falloff: Annotated[
        float | None,
        typer.Option(
            "--style-falloff",
            metavar="X",
            min=0.001,
            max=1,
            callback=options.finite,
            help="Style maps: learning rate of a block's map, as a share of that of the block "
            "before it. Default: 1.",
            show_default=False,
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="mean|random|normal|LATENT|FOLDER|ENCODER",
            help="Where it starts: the mean w, a random one, N(0, 1) in every layer, a latent that "
            "converts to the space, FOLDER/<key>.safetensors, or what an encoder sees (`train "
            "encoder`; its file or run folder). Default: the encoder NAME.encoder.safetensors that "
            "is kept beside the network or in the package, of its kind of space; else the mean. "
            "i2s: the mean, i2s-lreq: normal, z: random.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="NAME|N",
            help="Class of the pictures, for an encoder of a BigGAN, which is told it, and for "
            "the space zy, where it then stays. Without it zy has what stands for the class "
            "optimised beside z.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="own|faces|HxW",
            help="Spaces with features: the whole picture, not aligned. own: at its own size; "
            "faces: scaled until its faces are as large as the network's; HxW: its middle. "
            "Mirrored at the borders up to whole cells. Default: the network's size, aligned.",
            show_default=False,
        ),
    ] = None,
    align: Annotated[
        Align,
        typer.Option(
            "--align",
            help="Find the face and bring it to the framing of the network's training pictures; "
            "auto leaves a picture that is framed so already; never takes the centred square.",
        ),
    ] = Align.auto,
    paste: Annotated[
        bool,
        typer.Option(
            "--paste",
            help="Give the whole photograph with the projected picture in its place, blended at "
            "the border, instead of the crop. Needs an output of pictures.",
        ),
    ] = False,
    scale: Scale = 1,
    tune: Annotated[
        str | None,
        typer.Option(
            "--tune",
            metavar="OUT.safetensors",
            help="Pivotal tuning: also write a personal copy of the network that renders the "
            "latents closer to their pictures; the latents name it.",
            show_default=False,
        ),
    ] = None,
    tune_steps: Annotated[
        int | None,
        typer.Option(
            "--tune-steps",
            metavar="N",
            min=1,
            help="Times that it sees each picture. Default: 350.",
            show_default=False,
        ),
    ] = None,
    tune_lr: Annotated[
        float | None,
        typer.Option(
            "--tune-lr",
            metavar="X",
            min=0,
            callback=options.finite,
            help="Its learning rate. Default: 0.0003.",
            show_default=False,
        ),
    ] = None,
    progress_video: Annotated[
        str | None,
        typer.Option(
            "--progress-video",
            metavar="X.mp4",
            help="A video of the optimisation: the target beside the current picture.",
            show_default=False,
        ),
    ] = None,
    lossy: Annotated[
        bool,
        typer.Option(
            "--lossy",
            help="Latents: also convert where the picture changes (nw to w drops the noise maps, "
            "w+ to w keeps the mean of the layers, sw+ to w+ that of the style maps).",
        ),
    ] = False,
    output: options.Output = None,
    net: options.Net = None,
    seed: options.Seed = 0,
    batch: options.Batch = 8,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    shard: options.Shard = None,
    no_clobber: options.NoClobber = False,
    quiet: options.Quiet = False,
) -> None:
    """Find the latents of pictures, by optimisation or encoders; convert latents between spaces.

    A picture that is not framed as the network's training pictures were is aligned first. Each
    latent records its settings, its last loss, PSNR, SSIM and perceptual distance.

    $ gantools project photo.jpg | gantools edit --dir age -o older.png

    $ gantools project photos/ --space nw+ --steps 1000 -o latents/ --no-clobber

    $ gantools project face.safetensors --space fnw+5 -o features.safetensors

    $ gantools project photos/ --space fnw+5 --method thesis --dist-weight 1 -o latents/

    $ gantools project group.jpg --space fnw+5 --size faces | gantools edit --dir age -o older.png

    $ gantools project photos/ --method encoder --init run/ -o encoded/

    $ gantools project photos/ --method dse-finetune --init run/ -o tuned/

    $ gantools project ship.png --net classes.safetensors --class ship -o ship.safetensors

    $ gantools project photo.jpg --paste --scale 2 -o back.png
    """
    report.begin("project", quiet=quiet)
    if dtype != options.Dtype.fp32 and tune:
        raise report.Usage("--tune works in fp32: leave --dtype out")
    if not tune and (tune_steps is not None or tune_lr is not None):
        raise report.Usage("--tune-steps and --tune-lr belong to --tune OUT.safetensors")
    if scale != 1 and not paste:
        raise report.Usage("--scale goes with --paste")
    from gantools.commands import _film, _project
    from gantools.io.sink import open_sink
    from gantools.io.source import samples

    changes = {
        "steps": steps,
        "lr": lr,
        "perceptual": perceptual_weight,
        "mse": mse_weight,
        "ssim": ssim_weight,
        "prior": prior_weight,
        "dist": dist_weight,
        "noise_reg": noise_reg,
        "style_smooth": style_smooth,
        "style_radius": style_radius,
        "style_cells": style_cells,
        "style_falloff": style_falloff,
    }
    wishes = _project.Wishes(
        space=into,
        method=method.value,
        changes={name: value for name, value in changes.items() if value is not None},
        perceptual=perceptual and perceptual.value,
        init=init,
        align=align.value,
        size=_size(size),
        lossy=lossy,
        seed=seed,
        batch=batch,
        paste=scale if paste else None,
        label=label,
        tune=(tune, tune_steps or 350, 3e-4 if tune_lr is None else tune_lr) if tune else None,
    )
    with open_sink(output, own="latent", no_clobber=no_clobber) as sink:
        if paste and sink.kind == "latent":
            raise report.Usage(NO_PICTURES)
        found = samples(operands, shard=shard)
        options.set_threads(threads)
        with _film.Film(progress_video) as film:
            run = _project.Run(wishes, sink, film, net, options.pick_device(device), dtype.value)
            run.all(found)
