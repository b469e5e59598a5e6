"""gantools spectrum: spectra of pictures and of networks (paper 003); profile and compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gantools import options, report
from gantools.commands import _set_options as given
from gantools.commands import (
    _sources,
    _spectra,
    spectrum_classify,
    spectrum_evolution,
    spectrum_figure,
    spectrum_testbed,
    spectrum_toyset,
)
from gantools.report import Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.spectra.profile import Spectrum

app = typer.Typer(
    help="Spectra of pictures and of networks: profiles, comparisons, toy sets.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Pictures = Annotated[
    str | None,
    typer.Argument(
        metavar="[PICTURES]",
        help="A folder, a tar or zip archive, - for a stream; latents; or a network file or a run "
        "folder of train, of whose network --num pictures are made. Without it: that of --net.",
        show_default=False,
    ),
]
Others = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[OTHER]...",
        help="What is compared with them, in the same forms, latents, or network files or run "
        "folders of train, of whose networks --num pictures are made. Without any: the network of "
        "--net.",
        show_default=False,
    ),
]
Mse = Annotated[
    bool,
    typer.Option(
        "--mse",
        help="Instead: pair the pictures of REFERENCE and of one OTHER by key, and tell which part "
        "of their MSE each frequency has.",
    ),
]


@app.command("profile")
def profile(
    pictures: Pictures = None,
    *,
    average: _spectra.AverageOption = _spectra.Average.mean,
    net: options.Net = None,
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
    """The spectrum of a set of pictures: the power of each frequency, averaged over directions.

    Lines: bin, f / f_nyq at which it begins (1 is the corner, an axis ends at 0.707), spectrum,
    and one standard deviation of the pictures below and above. Bin 0 is DC; plots leave it out.
    Pictures need one size, of any shape: bins are rings of cycles per pixel, 1/N wide for a shorter
    side of N pixels.

    $ gantools spectrum profile photos/ -o photos.json -o photos.png

    $ gantools spectrum profile --net faces64 --num 2000 --average logmean -o faces64.tsv

    $ gantools generate --seeds 0-999 | gantools spectrum profile - --json
    """
    report.begin("spectrum profile", quiet=quiet)
    from gantools.io import results

    results.check(output, plots=True)
    _sources.check_operands(pictures)
    asked = _spectra.drawn(
        net=net,
        num=num,
        psi=psi,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype,
        threads=threads,
    )
    asked.check_num(None if pictures and _spectra.is_network(pictures) else pictures, "PICTURES")
    one = _spectra.measured(pictures, asked, average)
    found = one.spectrum
    told = {**one.story, **_spectra.protocol(found.average)}
    columns = (found.frequencies, found.values, found.low, found.high)
    heads = ("bin", "frequency", "spectrum", "low", "high")

    def plot(kind: str) -> bytes:
        from gantools.spectra import plots

        return plots.of_profiles({one.name: found}, kind, {})

    results.write(
        {**found.results(), "protocol": told},
        output,
        as_json=json,
        rows=[heads, *_lines(columns), *results.flat({"protocol": told})],
        plot=plot,
    )


@app.command("compare")
def compare(
    reference: _spectra.Reference,
    others: Others = None,
    *,
    mse: Mse = False,
    average: _spectra.AverageOption = _spectra.Average.mean,
    net: options.Net = None,
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
    """Spectra beside that of real pictures, and their relative error at every frequency.

    error is the mean of |other / reference - 1| over the bins without DC, error_high that from
    f / f_nyq = 0.75 on, worst the largest with its sign and its frequency.

    $ gantools spectrum compare faces.tar --net faces64 -o spectra.png -o spectra.tsv

    $ gantools spectrum compare photos/ run/ other/network-001000.safetensors generated/ --json

    $ gantools spectrum compare photos/ reconstructions/ --mse -o shares.png
    """
    report.begin("spectrum compare", quiet=quiet)
    from gantools.io import results

    results.check(output, plots=True)
    _sources.check_operands(reference, *(others or []))
    made = not others or any(map(_spectra.is_network, others))
    if not made and (num, psi) != (None, None):
        raise Usage("--num and --psi are for pictures that a network makes, and none is named")
    asked = _spectra.drawn(
        net=net,
        num=num,
        psi=psi,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype,
        threads=threads,
    )
    if mse:
        if made or len(others or []) != 1:
            raise Usage("--mse takes REFERENCE and one OTHER, both pictures or latents")
        if average is not _spectra.Average.mean:
            raise Usage("--average is not for --mse, which adds up all pairs")
        return _shares(reference, (others or [""])[0], asked, json=json, output=output)
    sets = _spectra.comparable_sets(reference, others or [None], asked, average)
    found = _spectra.unique(sets)
    _write(found, sets, json=json, output=output)


def _write(
    found: dict[str, Spectrum], sets: list[_spectra.Measured], *, json: bool, output: Any
) -> None:
    from gantools.io import results
    from gantools.spectra.profile import relative_error, summary

    (first, reference), *rest = found.items()
    errors = {name: relative_error(spectrum, reference) for name, spectrum in rest}
    at = reference.frequencies
    sums = {name: summary(error, at) for name, error in errors.items()}
    told = {**_spectra.protocol(reference.average), "reference": sets[0].story}
    told["others"] = [one.story for one in sets[1:]]
    entries = [
        {"name": n, **sums[n], "spectrum": s.values.tolist(), "relative_error": errors[n].tolist()}
        for n, s in rest
    ]
    table = {
        "frequency": at.tolist(),
        "reference": {"name": first, "spectrum": reference.values.tolist()},
        "others": entries,
        "protocol": told,
    }
    heads = ["bin", "frequency", first, *(x for n, _ in rest for x in (n, f"{n} error"))]
    columns = [at, reference.values, *(x for n, s in rest for x in (s.values, errors[n]))]

    def plot(kind: str) -> bytes:
        from gantools.spectra import plots

        return plots.of_profiles(found, kind, errors)

    lines = [heads, *_lines(columns), *results.flat({**sums, "protocol": told})]
    results.write(table, output, as_json=json, rows=lines, plot=plot)


def _lines(columns: Any) -> list[tuple[Any, ...]]:
    """Lines of a bin's number and what each column, [bins], has for it."""
    values = zip(*(column.tolist() for column in columns), strict=True)
    return [(i, *cells) for i, cells in enumerate(values)]


def _shares(reference: str, other: str, asked: _sources.Drawn, *, json: bool, output: Any) -> None:
    """--mse: which part of the pairs' MSE each frequency has (S3.29)."""
    from gantools.commands import _pairs
    from gantools.io import results
    from gantools.ops.spectrum import frequencies

    size: tuple[int, int] | None = None
    total: Any = 0.0
    count = 0
    for key, a, b in _pairs.open_pairs(reference, other, asked):
        size = size or (a.shape[0], a.shape[1])
        if a.shape[:2] != size:
            report.failed(key, "not of the size of the pairs before it")
            continue
        total, count = total + _energy(a, b, options.pick_device(asked.device)), count + 1
    if size is None:
        raise Usage("no pair could be measured: both need pictures of the same keys")
    at, mse = frequencies(*size), float(total.sum()) / count
    shares = total / max(float(total.sum()), 1e-300)
    told = {**_spectra.protocol("mean"), "pairs": count, "size": _spectra.size_name(size)}
    told["spectrum"] = "|DFT(a - b)|² summed over rings, levels 0..255"
    found = {"mse": mse, "share_high": float(shares[at >= 0.75].sum())}

    def plot(kind: str) -> bytes:
        from gantools.spectra import plots

        return plots.of_shares(mse, shares, at, kind)

    results.write(
        {**found, "frequency": at.tolist(), "mse_share": shares.tolist(), "protocol": told},
        output,
        as_json=json,
        rows=[
            ("bin", "frequency", "mse_share"),
            *_lines((at, shares)),
            *results.flat({**found, "protocol": told}),
        ],
        plot=plot,
    )


def _energy(a: np.ndarray, b: np.ndarray, device: str) -> np.ndarray:
    import torch

    from gantools.commands import _pairs
    from gantools.ops.spectrum import energy

    with torch.inference_mode():
        x, y = (_spectra.exact(_pairs.stacked([p], device)) for p in (a, b))
        return energy(x - y)[0].cpu().numpy()


app.command("evolution")(spectrum_evolution.evolution)
app.command("toyset")(spectrum_toyset.toyset)
app.command("figure")(spectrum_figure.figure)
app.command("classify")(spectrum_classify.classify)
app.add_typer(spectrum_testbed.app, name="testbed")
