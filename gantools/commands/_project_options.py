"""Options of `project`, and the names of its methods and perceptual distances."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import typer

from gantools import options
from gantools.commands._label_options import SOURCES
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


class Method(StrEnum):
    """Rows of inversion.methods.METHODS."""

    quick = "quick"
    encoder = "encoder"
    psp = "psp"
    hybrid = "hybrid"
    stylegan2 = "stylegan2"
    thesis = "thesis"
    i2s = "i2s"
    i2s_lreq = "i2s-lreq"
    idinvert = "idinvert"
    dse_finetune = "dse-finetune"
    alae = "alae"


def known_methods(value: str | None) -> str | None:
    """A typer callback: names of methods, comma-separated."""
    for name in () if value is None else value.split(","):
        if name not in list(Method):
            raise typer.BadParameter(f"{name!r} is none of {', '.join(Method)}")
    return value


def method_names(incomplete: str) -> list[str]:
    """What the shell completes --method with."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in Method if name.startswith(last)]


class Figure(StrEnum):
    """What the rows of a sheet are."""

    methods = "methods"
    areas = "areas"
    ssim = "ssim"


class Tsa(StrEnum):
    """inversion.areas.Kind."""

    centre = "centre"
    gradcam = "gradcam"


class Perceptual(StrEnum):
    """Perceptual distances; inversion.distances.PERCEPTUAL."""

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


Space = Annotated[
    str | None,
    options.number(
        "--space",
        "SPACE",
        "w: one style for all layers; w+: one per layer; nw, nw+: with noise maps. "
        "Default: the method's own (quick, i2s: w+; stylegan2: nw; thesis: nw+; with an "
        "encoder: the encoder's). Networks without w have z, or zy where they have classes. "
        "StyleGAN2 also has sw+ (style maps), fw+I and fsw+I (features "
        "from block I on, as model info counts them), nsw+, fnw+I and fnsw+I (with noise "
        "maps), and for latents fnzI (features, z and noise maps).",
        callback=known_space,
        autocompletion=space_names,
    ),
]
MethodName = Annotated[
    str | None,
    options.number(
        "--method",
        "NAME",
        "quick: ours, seconds; encoder: one pass of an encoder (--init), of any network that has "
        "one; psp: the same of pSp's alone (train encoder --arch psp); hybrid: one pass, then 100 "
        "steps; stylegan2: NVIDIA's projector; thesis: paper 002's; i2s: Image2StyleGAN, i2s-lreq: "
        "as paper 004 ran it; idinvert: In-Domain inversion, an encoder in the loop; dse-finetune: "
        "the encoder itself is optimised, for each picture (these two with any encoder); alae: one "
        "pass of the encoder that `train alae` trains with its network. Default: hybrid where an "
        "encoder of w+ or z is kept for the network (--init) and the space, else quick. On sheets "
        "several: encoder,hybrid.",
        callback=known_methods,
        autocompletion=method_names,
    ),
]
Steps = Annotated[
    int | None,
    options.number(
        "--steps",
        "N",
        "Steps of the optimiser; 0 gives the start, such as an encoder's. Default: quick "
        "400, hybrid 100, stylegan2 1000, thesis 1000 and 250 with features, i2s 5000, "
        "i2s-lreq 30000, idinvert 100, dse-finetune 2001 (StyleGAN and BigGAN 1501).",
        min=0,
    ),
]
Lr = Annotated[
    float | None,
    options.weight(
        "--lr",
        "Its learning rate, at the peak of the schedule; quick and hybrid in w and w+, which "
        "descend by L-BFGS: the length of the first step. Default: the method's own.",
    ),
]
PerceptualName = Annotated[
    Perceptual | None,
    typer.Option(
        "--perceptual",
        help="Perceptual distance. Default: idinvert vgg16; the others LPIPS if its weights "
        "are there, else the network's own discriminator, dse-finetune and i2s-lreq pyramid; the "
        "latent records which.",
        show_default=False,
    ),
]
PerceptualWeight = Annotated[
    float | None,
    options.weight("--perceptual-weight", "Its weight."),
]
MseWeight = Annotated[
    float | None,
    options.weight("--mse-weight", "Weight of the mean squared difference of pixels in [-1,1]."),
]
SsimWeight = Annotated[
    float | None,
    options.weight(
        "--ssim-weight",
        "Weight of 1 - SSIM; 0: without it. Default: dse-finetune and i2s-lreq 1, the others 0.",
    ),
]
PriorWeight = Annotated[
    float | None,
    options.weight(
        "--prior-weight",
        "Weight of the prior of w: higher keeps to what the mapping network makes, which "
        "edits better; 0 lets w go anywhere, which copies better. Of z: of the normal "
        "distribution, which is cut off at 2 for BigGAN. Default: quick and hybrid 0.03, the "
        "others 0.",
    ),
]
DistWeight = Annotated[
    float | None,
    options.weight(
        "--dist-weight",
        "Weight of the distribution of the numbers of w, of F and of R: mean square "
        "between the sorted numbers and the quantiles of the network's own (`metrics w1` "
        "measures it). Default: 0; paper 002 does not say its own, 1 is a start.",
    ),
]
NoiseReg = Annotated[
    float | None,
    options.weight("--noise-reg", "Weight of the noise regulariser in spaces with noise maps."),
]
StyleSmooth = Annotated[
    float | None,
    options.weight(
        "--style-smooth", "Style maps: weight of what a blur takes from them. Default: 0."
    ),
]
StyleRadius = Annotated[
    float | None,
    options.number(
        "--style-radius",
        "SHARE",
        "Style maps: deviation of that blur, in sides of the map. Default: 0.1.",
        min=0.001,
        max=1,
        callback=options.finite,
    ),
]
StyleCells = Annotated[
    int | None,
    options.number(
        "--style-cells",
        "N",
        "Style maps: optimise at most N cells a side, enlarged to the block's size. Default: all.",
        min=1,
    ),
]
StyleFalloff = Annotated[
    float | None,
    options.number(
        "--style-falloff",
        "X",
        "Style maps: learning rate of a block's map, as a share of that of the block "
        "before it. Default: 1.",
        min=0.001,
        max=1,
        callback=options.finite,
    ),
]
Init = Annotated[
    str | None,
    options.number(
        "--init",
        "mean|random|normal|LATENT|FOLDER|ENCODER",
        "Where it starts: the mean w, a random one, N(0, 1) in every layer, a latent that "
        "converts to the space, FOLDER/<key>.safetensors, or what an encoder sees (`train "
        "encoder`; its file or run folder). Default: the encoder NAME.encoder.safetensors that "
        "is kept beside the network or in the package, of its kind of space; else the mean. "
        "i2s: the mean, i2s-lreq: normal, z: random.",
    ),
]
ClassName = Annotated[
    str | None,
    options.number(
        "--class",
        "NAME|N",
        "Class of all pictures, for an encoder of a BigGAN, which is told it, and for "
        "the space zy, where it then stays. Without one zy has what stands for the class "
        "optimised beside z.",
    ),
]
Labels = Annotated[
    str | None,
    options.number(
        "--labels",
        "SOURCE",
        f"Each picture's own class, as --class is that of all. {SOURCES} Names are those that the "
        "network's file has, else numbers from 0. A picture without a class of the network fails.",
    ),
]
Psi = Annotated[
    float | None,
    options.weight(
        "--psi",
        "BigGAN: the truncation at which z is looked for, with its own statistics; the latent "
        "records it. Default: that of the encoder where a method begins with one, else 1.",
    ),
]
PictureSize = Annotated[
    str | None,
    options.number(
        "--size",
        "own|faces|HxW",
        "Spaces with features: the whole picture, not aligned. own: at its own size; "
        "faces: scaled until its faces are as large as the network's; HxW: its middle. "
        "Mirrored at the borders up to whole cells. Default: the network's size, aligned.",
    ),
]
AlignMode = Annotated[
    Align,
    typer.Option(
        "--align",
        help="Find the face and bring it to the framing of the network's training pictures; "
        "auto leaves a picture that is framed so already; never takes the centred square.",
    ),
]
Paste = Annotated[
    bool,
    typer.Option(
        "--paste",
        help="Give the whole photograph with the projected picture in its place, blended at "
        "the border, instead of the crop. Needs an output of pictures.",
    ),
]
Tune = Annotated[
    str | None,
    options.number(
        "--tune",
        "OUT.safetensors",
        "Pivotal tuning: also write a personal copy of the network that renders the "
        "latents closer to their pictures; the latents name it.",
    ),
]
TuneSteps = Annotated[
    int | None,
    options.number(
        "--tune-steps",
        "N",
        "Times that it sees each picture. Default: 350.",
        min=1,
    ),
]
TuneLr = Annotated[
    float | None,
    options.weight("--tune-lr", "Its learning rate. Default: 0.0003."),
]
ProgressVideo = Annotated[
    str | None,
    options.number(
        "--progress-video",
        "X.mp4",
        "A video of the optimisation: the target beside the current picture.",
    ),
]
Lossy = Annotated[
    bool,
    typer.Option(
        "--lossy",
        help="Latents: also convert where the picture changes (nw to w drops the noise maps, "
        "w+ to w keeps the mean of the layers, sw+ to w+ that of the style maps).",
    ),
]
FigureName = Annotated[
    Figure | None,
    options.number(
        "--figure",
        None,
        "A sheet as in paper 004: a column for each photograph, its own row above those of what "
        "each --method makes of it, with each --init (both comma-separated). areas: three such "
        "blocks, of the whole and of --tsa's two areas; ssim: each method without its SSIM term "
        "and with it. Remarks say what the rows are, with their PSNR.",
    ),
]
TsaName = Annotated[
    Tsa | None,
    options.number(
        "--tsa",
        None,
        "--figure areas: the crops of centre, or where VGG16 looks, and the picture with that "
        "(gradcam). Default: centre.",
    ),
]


def parse_picture_size(text: str | None) -> space.Size | Literal["own", "faces"] | None:
    """--size; Usage for anything else than its metavar says."""
    match text:
        case None | "own" | "faces":
            return text
    return options.parse_size(text, "--size")
