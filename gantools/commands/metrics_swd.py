"""gantools metrics swd: the sliced Wasserstein distance, level by level (S1.18)."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gantools import __version__, options, report
from gantools.commands import _ranks, _sources
from gantools.commands import _set_options as given
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    from gantools.evaluation.sliced import Patches

Real = Annotated[
    str,
    typer.Argument(
        metavar="REAL",
        help="The real pictures: a folder, a tar or zip archive, - for a stream.",
    ),
]
Fake = Annotated[
    str | None,
    typer.Argument(
        metavar="[FAKE]",
        help="The generated pictures, in the same forms, or latents. Without it: pictures of the "
        "network of --net.",
        show_default=False,
    ),
]
Num = Annotated[
    int | None,
    typer.Option(
        "--num",
        metavar="N",
        min=1,
        help="The first N pictures of each set; the network makes as many as REAL has. Published "
        "figures use 16384. Default: all.",
        show_default=False,
    ),
]


def swd(
    real: Real,
    fake: Fake = None,
    *,
    num: Num = None,
    net: options.Net = None,
    psi: given.Psi = None,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    json: options.Json = False,
    output: options.PlotOutputs = None,
    quiet: options.Quiet = False,
) -> None:
    """Sliced Wasserstein distance (SWD) between real and generated pictures, by resolution.

    Of 128 patches of 7x7 pixels of each level of each picture's Laplacian pyramid, down to 16
    pixels, along 512 random directions; swd_<resolution> is a level's, swd their mean, times 1000
    as published, each with a 95 % interval of what the directions leave open. It needs sets of
    equally many pictures of one size. Patches follow from the seed and a picture's key, so a set
    has the distance 0 from itself. They wait in temporary files: 75 kB for each level of each
    picture. Parts do not merge: a distance needs the order of all descriptors at once.

    $ gantools metrics swd faces.tar --net faces64 --num 16384 --json

    $ gantools metrics swd photos/ generated/ -o swd.png
    """
    report.begin("metrics swd", quiet=quiet)
    from gantools.io import results

    results.check(output, plots=True)
    if fake is not None and psi is not None:
        raise Usage("--psi is for pictures that the network makes: leave FAKE out")
    _sources.check_operands(real, fake)
    if fake is not None:
        _ranks.alone("FAKE")
    asked = _sources.Drawn(
        net=net,
        given_num=num,
        given_psi=psi,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype.value,
        threads=threads,
    )
    options.set_threads(threads)
    from gantools.evaluation import plots, sliced

    real_story, real_patches = _patches(real, asked, num)
    asked.given_num = real_patches.count  # where the network makes FAKE
    fake_story, fake_patches = _patches(fake, asked, num)
    found, ends = sliced.compare(real_patches, fake_patches, seed)
    protocol = {"real": real_story, "fake": fake_story, **sliced.PROTOCOL, "seed": seed}
    protocol |= {"quantisation": _sources.QUANTISATION, "version": f"gantools {__version__}"}
    results.write(
        {**found, **ends, "protocol": protocol},
        output,
        as_json=json,
        plot=lambda kind: plots.of_levels(found, kind),
    )


def _patches(
    operand: str | None, asked: _sources.Drawn, num: int | None
) -> tuple[dict[str, Any], Patches]:
    """What a set is, and its descriptors."""
    from gantools.commands._pairs import in_colour
    from gantools.evaluation.sliced import Patches

    source = _sources.open_source(operand, asked, keyed=True)
    found = Patches(asked.seed, options.pick_device(asked.device))
    for key, pixels in islice(_sources.sized(source), num):
        try:
            found.add(key, in_colour(pixels))
        except SampleError as e:
            report.failed(key, e)
    if not found.count:
        raise Usage(f"{source.story.get('source', 'the network')}: no picture could be measured")
    return {**source.story, "count": found.count}, found
