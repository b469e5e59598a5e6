"""gantools spectrum evolution: the spectrum's error over a training (S3.3, Fig 2)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from gantools import options, report
from gantools.commands import _set_options as given
from gantools.commands import _sources, _spectra
from gantools.report import Usage

Snapshots = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN|SET...",
        help="A run folder, whose networks are taken; or snapshots one by one: network files, or "
        "sets of pictures, whose names end in a number.",
    ),
]
IMAGES = "thousands of images shown"


def evolution(
    reference: _spectra.Reference,
    snapshots: Snapshots,
    *,
    average: _spectra.AverageOption = _spectra.Average.mean,
    num: _spectra.Num = None,
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
    """How the error of a network's spectrum changes while it trains, frequency by frequency.

    A line for each snapshot: when it was (thousands of images shown; of sets the number in their
    name), the mean relative error of all frequencies and of the highest quarter. JSON and plot have
    every frequency; the plot, cut at ±1, is red where there is too much power and blue where too
    little. Every network makes its pictures of the same seeds.

    $ gantools spectrum evolution faces.tar run/ -o evolution.png -o evolution.json

    $ gantools spectrum evolution photos.json samples-100/ samples-200/ samples-400/ --json
    """
    report.begin("spectrum evolution", quiet=quiet)
    from gantools.io import results

    results.check(output, plots=True)
    _sources.check_operands(reference, *snapshots)
    names = [name for given_name in snapshots for name in _of_run(given_name)]
    networks = [_spectra.is_network(name) for name in names]
    if not any(networks) and (num, psi) != (None, None):
        raise Usage("--num and --psi are for pictures that a network makes, and none is named")
    times, label = _times(names, networks)
    asked = _spectra.drawn(
        net=None,
        num=num,
        psi=psi,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype,
        threads=threads,
    )
    order = sorted(range(len(names)), key=times.__getitem__)
    first, *sets = _spectra.comparable_sets(reference, [names[i] for i in order], asked, average)
    _write(first, sets, sorted(times), label, json=json, output=output)


def _of_run(name: str) -> list[str]:
    """The snapshots of a run folder; any other operand itself."""
    return [str(file) for file in _spectra.networks_of_run(Path(name))] or [name]


def _times(names: list[str], networks: list[bool]) -> tuple[list[float], str]:
    """When each snapshot was, and in which unit. Usage where that is unknown, or told twice."""
    from gantools.io import network

    if all(networks):
        shown = [network.header(Path(name)).get("images_shown") for name in names]
        if not all(isinstance(images, int | float) for images in shown):
            raise Usage("a network that does not say how many images it was shown")
        times, label = [float(images or 0) / 1000 for images in shown], IMAGES
    else:
        numbers = [re.findall(r"\d+", Path(name).resolve().name) for name in names]
        if not all(numbers):
            raise Usage("the name of each snapshot has to have a number, such as samples-100/")
        times, label = [float(found[-1]) for found in numbers], "number in the name"
    twice = next((time for time in times if times.count(time) > 1), None)
    if twice is not None:
        raise Usage(f"two snapshots are of {label} {twice:g}")
    return times, label


def _write(
    first: _spectra.Measured,
    sets: list[_spectra.Measured],
    times: list[float],
    label: str,
    *,
    json: bool,
    output: Any,
) -> None:
    import numpy as np

    from gantools.io import results
    from gantools.spectra.profile import relative_error, summary

    errors = np.stack([relative_error(one.spectrum, first.spectrum) for one in sets])
    at = first.spectrum.frequencies
    sums = [summary(error, at) for error in errors]
    told = {**_spectra.protocol(first.spectrum.average), "reference": first.story}
    told["snapshots"] = [one.story for one in sets]
    table = {
        "time": times,
        "unit": label,
        "frequency": at.tolist(),
        "relative_error": errors.tolist(),
        **{key: [s[key] for s in sums] for key in sums[0]},
        "protocol": told,
    }

    def plot(kind: str) -> bytes:
        from gantools.spectra import plots

        return plots.of_evolution(times, errors, at, label, kind)

    heads = ("snapshot", label, *sums[0])
    lines = [(one.name, t, *s.values()) for one, t, s in zip(sets, times, sums, strict=True)]
    results.write(
        table,
        output,
        as_json=json,
        rows=[heads, *lines, *results.flat({"protocol": told})],
        plot=plot,
    )
