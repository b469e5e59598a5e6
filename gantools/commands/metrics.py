"""gantools metrics: measures of pictures and of latents, each with its protocol."""

from __future__ import annotations

from typing import Annotated

import typer

from gantools import options, report
from gantools.commands import _sets, metrics_latents

app = typer.Typer(
    help="Measures of pictures and of latents, each with its protocol.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Real = Annotated[
    str,
    typer.Argument(
        metavar="REAL",
        help="The real pictures: a folder, a tar or zip archive, - for a stream; or an .npz or "
        ".safetensors file with an array `features` [N, D].",
    ),
]
Fake = Annotated[
    str | None,
    typer.Argument(
        metavar="[FAKE]",
        help="The generated pictures, in the same forms, or latents. Without it: --num pictures "
        "of the network of --net.",
        show_default=False,
    ),
]
Features = Annotated[
    str,
    typer.Option(
        "--features",
        metavar="NAME",
        help="The network that sees the pictures: inception (published figures use it), "
        "mobilenet, or discriminator (of --net). Nothing replaces one whose weights are missing.",
    ),
]
Num = Annotated[
    int | None,
    typer.Option(
        "--num",
        metavar="N",
        min=2,
        help="Pictures that the network makes where there is no FAKE. Default: 50000.",
        show_default=False,
    ),
]
Psi = Annotated[
    float | None,
    typer.Option(
        "--psi",
        metavar="PSI",
        callback=options.finite,
        help="Their truncation. Default: 1. (Latents say their own.)",
        show_default=False,
    ),
]
Mirror = Annotated[
    bool,
    typer.Option(
        "--mirror", help="Count every REAL picture a second time, mirrored, as training does."
    ),
]
Splits = Annotated[
    int,
    typer.Option(
        "--splits",
        metavar="K",
        min=0,
        help="Add a 95 % interval from K parts of each set; 0 leaves it out.",
    ),
]
Ddof = Annotated[
    int,
    typer.Option(
        "--ddof",
        metavar="0|1",
        min=0,
        max=1,
        help="Covariances are divided by N - DDOF: 1 as in pytorch-fid, StyleGAN and "
        "torch-fidelity, 0 as in NVIDIA's stylegan2-ada-pytorch and stylegan3.",
    ),
]
Subsets = Annotated[
    int,
    typer.Option(
        "--subsets", metavar="N", min=0, help="Random subsets; 0 takes all pairs of pictures once."
    ),
]
SubsetSize = Annotated[
    int,
    typer.Option(
        "--subset-size", metavar="N", min=2, help="Pictures of each set in a subset, at most."
    ),
]


@app.command("fid")
def fid(
    real: Real,
    fake: Fake = None,
    *,
    features: Features = "inception",
    net: options.Net = None,
    num: Num = None,
    psi: Psi = None,
    mirror: Mirror = False,
    ddof: Ddof = 1,
    splits: Splits = 0,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    json: options.Json = False,
    output: options.TextOutputs = None,
    quiet: options.Quiet = False,
) -> None:
    """Fréchet distance (FID) between real and generated pictures, with its protocol.

    FID is above the true distance by an amount that falls with the number of pictures: compare
    only figures of the same counts and features. Memory does not grow with that number.

    $ gantools metrics fid photos/ --net faces64 --num 50000 --json

    $ gantools generate --seeds 0-9999 | gantools metrics fid photos.tar - --features mobilenet
    """
    report.begin("metrics fid", quiet=quiet)
    asked = _sets.Asked(
        features, net, num, psi, mirror, seed, batch, device, dtype.value, splits, threads
    )
    asked.check(fake, output)
    from gantools.evaluation import frechet
    from gantools.io import results

    pair = _sets.open_pair(real, fake, asked)
    found, how = frechet.measure(
        pair.real.blocks, pair.fake.blocks, pair.real.dim, ddof=ddof, splits=splits
    )
    results.write({**found, "protocol": pair.protocol(how)}, output, as_json=json)


@app.command("kid")
def kid(
    real: Real,
    fake: Fake = None,
    *,
    features: Features = "inception",
    net: options.Net = None,
    num: Num = None,
    psi: Psi = None,
    mirror: Mirror = False,
    subsets: Subsets = 100,
    subset_size: SubsetSize = 1000,
    splits: Splits = 0,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    json: options.Json = False,
    output: options.TextOutputs = None,
    quiet: options.Quiet = False,
) -> None:
    """Kernel distance (KID) between real and generated pictures, with its protocol.

    The unbiased MMD² of the cubic kernel (x·y/D + 1)³, not multiplied by 1000: it may fall below
    0, and its expectation does not depend on the number of pictures.

    $ gantools metrics kid photos/ generated/ --features mobilenet -o kid.json

    $ gantools metrics kid photos.npz generated.npz --subsets 0 --splits 10
    """
    report.begin("metrics kid", quiet=quiet)
    asked = _sets.Asked(
        features, net, num, psi, mirror, seed, batch, device, dtype.value, splits, threads
    )
    asked.check(fake, output)
    from gantools.evaluation import kernel
    from gantools.io import results

    pair = _sets.open_pair(real, fake, asked)
    found, how = kernel.measure(
        pair.real.blocks,
        pair.fake.blocks,
        subsets=subsets,
        size=subset_size,
        splits=splits,
        seed=seed,
    )
    results.write({**found, "protocol": pair.protocol(how)}, output, as_json=json)


app.command("w1")(metrics_latents.w1)
app.command("latents")(metrics_latents.latents)
