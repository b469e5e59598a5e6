"""gantools metrics modes: how many of stacked MNIST's thousand modes there are (S1.22)."""

from __future__ import annotations

from typing import Annotated

import typer

from gantools import __version__, options, report
from gantools.commands import _set_options as given
from gantools.commands import _sources
from gantools.report import SampleError, Usage

Pictures = Annotated[
    str | None,
    typer.Argument(
        metavar="[PICTURES]",
        help="Pictures of three digits, one in each channel: a folder, a tar or zip archive, - for "
        "a stream; or latents. Without it: --num pictures of the network of --net.",
        show_default=False,
    ),
]
Num = Annotated[
    int | None,
    typer.Option(
        "--num",
        metavar="N",
        min=1,
        help="Pictures that the network makes where there are no PICTURES. Default: 25600.",
        show_default=False,
    ),
]


def modes(
    pictures: Pictures = None,
    *,
    net: options.Net = None,
    num: Num = None,
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
    """Modes of stacked MNIST: how many of the 1000 combinations of three digits there are.

    A LeNet reads a digit in each channel. modes counts the combinations that are there, kl is the
    divergence of their histogram from the uniform one: ln 1000 = 6.908 for a single mode, about
    (1000 - 1) / 2N for N pictures that leave nothing out. modes_ci is about the modes of the
    source, those that are not in the pictures included. --json has the counts.

    $ gantools metrics modes --net digits.safetensors --num 25600

    $ gantools metrics modes rgb.tar --json -o modes.png
    """
    report.begin("metrics modes", quiet=quiet)
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
        default_num=25_600,
    )
    asked.check_num(pictures, "PICTURES")
    _sources.check_operands(pictures)
    options.set_threads(threads)
    import numpy as np
    import torch

    from gantools.commands import _pairs
    from gantools.evaluation import modes as counted
    from gantools.evaluation import plots
    from gantools.io import weights

    on = options.pick_device(device)
    digits = counted.load(weights.locate("mnist-lenet")).to(on)
    source = _sources.open_source(pictures, asked)
    counts = np.zeros(counted.COUNT, np.int64)
    for group in _pairs.of_one_size(_sources.sized(source), batch):
        with torch.inference_mode():
            images = _pairs.stacked([pixels for _, pixels in group], on)
            try:
                counts += np.bincount(counted.codes(images, digits), minlength=counted.COUNT)
            except SampleError as e:
                for name, _ in group:
                    report.failed(name, e)
    if not counts.any():
        raise Usage("no picture could be measured")
    found = counted.Modes(counts)
    protocol = {**source.story, "count": int(counts.sum()), "classifier": "mnist-lenet"}
    protocol |= {"classifier_sha256": weights.KNOWN["mnist-lenet"].sha256, **counted.PROTOCOL}
    protocol |= {"quantisation": _sources.QUANTISATION, "seed": seed}
    protocol["version"] = f"gantools {__version__}"
    table = {**found.results(), **found.intervals(seed), "protocol": protocol}
    results.write(
        {**table, "counts": counts.tolist()},
        output,
        as_json=json,
        rows=list(results.flat(table)),
        plot=lambda kind: plots.of_modes(found, kind),
    )
