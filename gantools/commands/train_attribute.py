"""gantools train attribute: how features follow a direction (papers.md S2.9)."""

from __future__ import annotations

from typing import Annotated

import typer

from gantools import options, report
from gantools.commands._project_options import Perceptual
from gantools.commands.edit import Norm

Directions = Annotated[
    list[str],
    typer.Option(
        "--dir",
        metavar="NAME|FILE",
        help="The direction: a name that `gantools edit --list` shows, or a file. Repeatable; the "
        "models go into one file.",
        show_default=False,
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE.safetensors",
        help="The models, written when each is done. As NAME.attributes.safetensors beside the "
        "network's file `edit --dir NAME` finds them.",
        show_default=False,
    ),
]
First = Annotated[
    int,
    typer.Option(
        "--first",
        metavar="I",
        min=2,
        help="The block whose features are moved: 5 is for fw+5, fnw+5 and their kind.",
    ),
]
Steps = Annotated[int, typer.Option("--steps", metavar="N", min=1, help="Steps of Adam.")]
Rate = Annotated[
    float,
    typer.Option("--lr", metavar="X", min=0, callback=options.finite, help="Adam's learning rate."),
]
Batch = Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Samples in each step.")]
Strength = Annotated[
    float | None,
    typer.Option(
        "--max-strength",
        metavar="S",
        min=1e-9,
        callback=options.finite,
        help="Strengths are drawn from -S to S. Default: as far as moves w by 20, by "
        "--strength-norm.",
        show_default=False,
    ),
]
StrengthNorm = Annotated[
    Norm,
    typer.Option(
        "--strength-norm",
        help="20 is the length of the whole displacement, over all layers (fro), or of that of the "
        "layer that moves most (row). One vector for all layers counts once for each.",
    ),
]
PerceptualOption = Annotated[
    Perceptual | None,
    typer.Option(
        "--perceptual",
        help="Perceptual distance of the pictures. Default: LPIPS if its weights are there, else "
        "the network's own discriminator; the file records which.",
        show_default=False,
    ),
]
PerceptualWeight = Annotated[
    float,
    typer.Option(
        "--perceptual-weight", metavar="X", min=0, callback=options.finite, help="Its weight."
    ),
]
FeatureWeight = Annotated[
    float,
    typer.Option(
        "--feature-weight",
        metavar="X",
        min=0,
        callback=options.finite,
        help="Weight of the squared error of features.",
    ),
]


def attribute(
    directions: Directions,
    output: Output,
    *,
    first: First = 5,
    steps: Steps = 3000,
    lr: Rate = 1e-4,
    batch: Batch = 12,
    max_strength: Strength = None,
    strength_norm: StrengthNorm = Norm.fro,
    perceptual: PerceptualOption = None,
    perceptual_weight: PerceptualWeight = 1.0,
    feature_weight: FeatureWeight = 1.0,
    net: options.Net = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    quiet: options.Quiet = False,
) -> None:
    """Train how features move along a direction, so that `edit` can move them.

    In spaces with features (fw+5, fnw+5) a direction alone moves the styles from that block on,
    and age, pose and what else is coarse stay as they are. The model, a 1x1 convolution, moves
    the features too. It learns from the network's own samples, and tells at the end how near it
    comes to what the direction does in w+, on samples that it has not seen.

    $ gantools train attribute --dir age -o age.attribute.safetensors

    $ gantools train attribute --dir age --dir smile --first 7 -o block7.safetensors
    """
    report.begin("train attribute", quiet=quiet)
    from gantools.commands import _attribute_training as training

    options.set_threads(threads)
    job = training.Job(
        net,
        options.pick_device(device),
        first,
        steps,
        lr,
        batch,
        max_strength,
        strength_norm.value,
        perceptual.value if perceptual else None,
        perceptual_weight,
        feature_weight,
        seed,
    )
    job.run(directions, output)
