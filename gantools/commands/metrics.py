"""gantools metrics: measures of pictures and of latents, each with its protocol."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gantools import __version__, options, report
from gantools.commands import _set_options as given
from gantools.commands import (
    _sets,
    _snapshots,
    _sources,
    metrics_is,
    metrics_latents,
    metrics_ls,
    metrics_modes,
    metrics_msssim,
    metrics_nn,
    metrics_ppl,
    metrics_pr,
    metrics_recon,
    metrics_stats,
    metrics_swd,
)

if TYPE_CHECKING:
    import numpy as np

app = typer.Typer(
    help="Measures of pictures and of latents, each with its protocol.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Few = Annotated[
    int | None,
    typer.Option(
        "--num",
        metavar="N",
        min=3,
        max=4096,
        help="Pictures that the network makes where there are no PICTURES. Default: 64.",
        show_default=False,
    ),
]
Grid = Annotated[
    int,
    typer.Option("--grid", metavar="N", min=4, max=64, help="Cells along a side of the edge maps."),
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
    real: given.Real,
    fake: given.Fakes = None,
    *,
    features: given.Features = "inception",
    net: options.Net = None,
    num: given.Num = None,
    psi: given.Psi = None,
    mirror: given.Mirror = False,
    ddof: Ddof = 1,
    splits: given.Splits = 0,
    snapshots: given.Snapshots = None,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    no_cache: given.NoCache = False,
    json: options.Json = False,
    output: given.Outputs = None,
    quiet: options.Quiet = False,
) -> None:
    """Fréchet distance (FID) between real and generated pictures, with its protocol.

    FID is above the true distance by an amount that falls with the number of pictures: compare
    only figures of the same counts and features. Memory does not grow with that number. REAL and
    FAKE may be statistics: what metrics stats wrote, of FAKE any number of parts, or an .npz with
    mu and sigma. --snapshots measures all networks of a run.

    $ gantools metrics fid photos/ --net faces64 --num 50000 --json

    $ gantools metrics fid photos/ --snapshots run/ --num 5000 -o curve.png -o curve.json

    $ gantools metrics fid photos.safetensors part-*.safetensors

    $ gantools generate --seeds 0-9999 | gantools metrics fid photos.tar - --features mobilenet
    """
    report.begin("metrics fid", quiet=quiet)
    asked = _sets.Asked(
        features=features,
        net=net,
        given_num=num,
        given_psi=psi,
        mirror=mirror,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype.value,
        splits=splits,
        threads=threads,
        cache=not no_cache,
    )
    asked.check(fake[0] if fake else None, output, plots=snapshots is not None)
    _snapshots.check(snapshots, fake, asked)
    from gantools.evaluation import frechet
    from gantools.io import results

    def measure(one: frechet.Measurable, other: _sets.Set) -> tuple[dict[str, Any], dict[str, Any]]:
        return frechet.measure(one, other.measurable, other.dim, ddof=ddof, splits=splits)

    if snapshots is not None:
        run = _snapshots.open_run(snapshots)
        best = _snapshots.measured(run, real, asked, "fid", measure, sums=not splits)
        return _snapshots.write(best, "fid", output, as_json=json)
    pair = _sets.open_pair(real, fake, asked, statistics=True)
    found, how = measure(pair.real.measurable, pair.fake)
    return results.write({**found, "protocol": pair.protocol(how)}, output, as_json=json)


@app.command("kid")
def kid(
    real: given.Real,
    fake: given.Fake = None,
    *,
    features: given.Features = "inception",
    net: options.Net = None,
    num: given.Num = None,
    psi: given.Psi = None,
    mirror: given.Mirror = False,
    subsets: Subsets = 100,
    subset_size: SubsetSize = 1000,
    splits: given.Splits = 0,
    snapshots: given.Snapshots = None,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    no_cache: given.NoCache = False,
    json: options.Json = False,
    output: given.Outputs = None,
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
        features=features,
        net=net,
        given_num=num,
        given_psi=psi,
        mirror=mirror,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype.value,
        splits=splits,
        threads=threads,
        cache=not no_cache,
    )
    asked.check(fake, output, plots=snapshots is not None)
    _snapshots.check(snapshots, fake, asked)
    from gantools.evaluation import kernel
    from gantools.io import results

    def measure(
        one: Iterable[np.ndarray], other: _sets.Set
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        how = {"subsets": subsets, "size": subset_size, "splits": splits, "seed": seed}
        return kernel.measure(one, other.blocks, **how)

    if snapshots is not None:
        run = _snapshots.open_run(snapshots)
        best = _snapshots.measured(run, real, asked, "kid", measure)
        return _snapshots.write(best, "kid", output, as_json=json)
    pair = _sets.open_pair(real, fake, asked)
    found, how = measure(pair.real.blocks, pair.fake)
    return results.write({**found, "protocol": pair.protocol(how)}, output, as_json=json)


@app.command("positions")
def positions(
    pictures: given.Pictures = None,
    *,
    net: options.Net = None,
    num: Few = None,
    psi: given.Psi = None,
    grid: Grid = 16,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    json: options.Json = False,
    output: options.PlotOutputs = None,
    quiet: options.Quiet = False,
) -> None:
    """Whether pictures keep things in the same places: has a generator memorised a layout?

    positions is the mean correlation of the pictures' low-pass edge maps, near 0 where places are
    free, as they should be in aerial views. Random shifts of every map say what chance gives;
    duplicates is the share of pairs that are more alike than all but 0.1 % of shifted ones. Aligned
    pictures, such as faces, share their places by nature: measure the real ones too.

    $ gantools metrics positions --net satellite -o positions.png

    $ gantools metrics positions photos/ --json
    """
    report.begin("metrics positions", quiet=quiet)
    from gantools.io import results

    results.check(output, plots=True)
    asked = _sources.Drawn(
        net=net,
        given_num=num,
        given_psi=psi,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype.value,
        threads=threads,
        default_num=64,
    )
    asked.check_num(pictures, "PICTURES")
    _sources.check_operands(pictures)
    options.set_threads(threads)
    import numpy as np

    from gantools.evaluation import plots
    from gantools.evaluation.positions import compare, layouts

    source = _sources.open_source(pictures, asked)
    maps = [*layouts(_sources.sized(source), grid)]
    found = compare(np.reshape(maps, (-1, grid, grid)), seed)
    protocol = {**source.story, "count": len(maps), "grid": grid, "seed": seed}
    protocol["version"] = f"gantools {__version__}"
    results.write(
        {**found.results(), "protocol": protocol},
        output,
        as_json=json,
        plot=lambda kind: plots.of_layouts(found, kind),
    )


app.command("w1")(metrics_latents.w1)
app.command("latents")(metrics_latents.latents)
app.command("recon")(metrics_recon.recon)
app.command("swd")(metrics_swd.swd)
app.command("pr")(metrics_pr.pr)
app.command("msssim")(metrics_msssim.msssim)
app.command("modes")(metrics_modes.modes)
app.command("nn")(metrics_nn.nn)
app.command("ls")(metrics_ls.ls)
app.command("ppl")(metrics_ppl.ppl)
app.command("is")(metrics_is.inception)
app.command("stats")(metrics_stats.stats)
