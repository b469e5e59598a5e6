"""What every verb of spectrum shares: its options, and the spectrum of an operand (S3.2)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gantools import __version__, options, report
from gantools.commands import _sources
from gantools.report import Usage

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gantools.evaluation.features import Picture
    from gantools.spectra.profile import Profile, Spectrum

Size = tuple[int, int]  # height, width
MADE = 1000  # pictures of a network, where --num says nothing


class Average(StrEnum):
    """Of a set's spectra."""

    mean = "mean"
    logmean = "logmean"


AverageOption = Annotated[
    Average,
    typer.Option(
        "--average",
        help="mean: E[S], as paper 003; logmean: exp E[log S], as Jung and Keuper: spikes of few "
        "pictures move it less, common faint ones more. Spectra by different ones do not compare.",
    ),
]
Reference = Annotated[
    str,
    typer.Argument(
        metavar="REFERENCE",
        help="The real pictures: a folder, a tar or zip archive, - for a stream; or what spectrum "
        "profile wrote to an x.json.",
    ),
]
Num = Annotated[
    int | None,
    typer.Option(
        "--num",
        metavar="N",
        min=1,
        help=f"Pictures that a network makes. Default: {MADE}.",
        show_default=False,
    ),
]


@dataclass
class Measured:
    """The spectrum of one set, what it is called, its story, and its operand's folder."""

    name: str
    spectrum: Spectrum
    story: dict[str, Any]
    folder: str = ""


def drawn(
    *,
    net: str | None,
    num: int | None,
    psi: float | None,
    seed: int,
    batch: int,
    device: str,
    dtype: options.Dtype,
    threads: int,
) -> _sources.Drawn:
    """What the flags say about pictures that a network makes; sets the threads."""
    options.set_threads(threads)
    return _sources.Drawn(
        net=net,
        given_num=num,
        given_psi=psi,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype.value,
        threads=threads,
        default_num=MADE,
    )


def is_network(name: str) -> bool:
    """Whether an operand is a network file of ours, or the run folder of a training."""
    return network_file(name) is not None


def network_file(name: str) -> str | None:
    """An operand that is a network file; of a training's run folder the best, or the last."""
    from gantools.io import sample

    path = Path(name)
    if path.is_file():
        with path.open("rb") as file:
            return name if sample.kind(file.read(sample.HEAD)) == "network" else None
    found = networks_of_run(path)
    best = path / "best.safetensors"
    return str(best if best.is_file() else found[-1]) if found else None


def networks_of_run(folder: Path) -> list[Path]:
    """The networks in the run folder of a training, in order; none of any other operand."""
    # A network trained with an encoder has it beside it: network-….encoder.safetensors.
    found = folder.glob("network-*[0-9].safetensors") if folder.is_dir() else ()
    return sorted(file for file in found if file.is_file())


def measured(operand: str | None, asked: _sources.Drawn, average: Average) -> Measured:
    """The spectrum of an operand: pictures, latents, a network, or what profile wrote.

    None is the network of --net. Usage where nothing could be measured.
    """
    given, (operand, asked) = operand, network_of(operand, asked)
    folder = "" if given in (None, "-") else Path(str(given)).resolve().parent.name
    before = None if operand in (None, "-") else earlier(Path(str(operand)))
    if before is not None:
        return replace(before, folder=folder)
    name, profile, story = profiled(operand, asked)
    if given is not None and operand is None and Path(given).is_dir():
        name = Path(given).resolve().name  # a run's, where all networks are called best
    found = profile.spectrum(average.value)
    story = {**story, "count": found.count, "size": size_name(found.size)}
    return Measured(name, found, story, folder)


def comparable_sets(
    reference: str, others: Sequence[str | None], asked: _sources.Drawn, average: Average
) -> list[Measured]:
    """The reference's spectrum and the others'; Usage at the first that does not compare."""
    from gantools.spectra.profile import comparable

    sets = [measured(reference, asked, average)]
    for operand in others:
        one = measured(operand, asked, average)
        comparable(one.spectrum, sets[0].spectrum, one.name)
        sets.append(one)
    return sets


def profiled(operand: str | None, asked: _sources.Drawn) -> tuple[str, Profile, dict[str, Any]]:
    """(name, both averages, story) of an operand's pictures; None is the network of --net.

    Usage where nothing could be measured.
    """
    from gantools.spectra.profile import Profile

    source = _sources.open_source(operand, asked)
    name = str(source.story.get("source") or source.story["network"])
    profile = Profile()
    for spectra, size in _blocks(source, asked):
        profile.add(spectra, size)
    if not profile.count or profile.size is None:
        raise Usage(f"{name}: no picture could be measured")
    if min(profile.size) < 2:
        raise Usage(f"{name}: pictures of {size_name(profile.size)} pixels have no frequencies")
    return name, profile, source.story


def network_of(operand: str | None, asked: _sources.Drawn) -> tuple[str | None, _sources.Drawn]:
    """(None, its network as --net's) for an operand that is a network; else as they are."""
    file = None if operand is None else network_file(operand)
    return (operand, asked) if file is None else (None, replace(asked, net=file))


def protocol(average: str) -> dict[str, Any]:
    """How spectra are measured: what has to be equal before two of them compare."""
    return {
        "average": average,
        "spectrum": "|DFT|², not normalised, mean over rings of radius 1, pixels in [-1, 1]",
        "colour": "sRGB, mean of the spectra of R, G and B",
        "window": "none",
        "quantisation": _sources.QUANTISATION,
        "version": f"gantools {__version__}",
    }


def unique(sets: Sequence[Measured]) -> dict[str, Spectrum]:
    """Spectra by their sets' names; equal ones with their folders where that tells, or a number."""
    folders: dict[str, set[str]] = {}
    for one in sets:
        folders.setdefault(one.name, set()).add(one.folder)
    found: dict[str, Spectrum] = {}
    for one in sets:
        own = f"{one.folder}/{one.name}".lstrip("/") if len(folders[one.name]) > 1 else one.name
        name, i = own, 2
        while name in found:
            name, i = f"{own} ({i})", i + 1
        found[name] = one.spectrum
    return found


def size_name(size: Size) -> str:
    """`64x48`, width first, as protocols have it."""
    return f"{size[1]}x{size[0]}"


def _blocks(source: _sources.Source, asked: _sources.Drawn) -> Iterator[tuple[np.ndarray, Size]]:
    """(spectra [n, bins], size) of neighbours."""
    from gantools.commands import _pairs

    device = options.pick_device(asked.device)
    for group in _pairs.of_one_size(of_first_size(_sources.sized(source, flat=True)), asked.batch):
        height, width = group[0][1].shape[:2]
        yield spectra_of([pixels for _, pixels in group], device), (height, width)


def of_first_size(pictures: Iterable[Picture], wanted: Size | None = None) -> Iterator[Picture]:
    """Those of the first one's size, or of `wanted`; the others are reported."""
    known = "those of the classifier" if wanted else "the pictures before it"
    for name, pixels in pictures:
        size = (pixels.shape[0], pixels.shape[1])
        wanted = wanted or size
        if size == wanted:
            yield name, pixels
        else:
            report.failed(
                name,
                f"{size_name(size)} pixels, {known} {size_name(wanted)}: "
                "prefilter --size brings all to one size",
            )


def spectra_of(pictures: Sequence[np.ndarray], device: str) -> np.ndarray:
    """S of uint8 pictures of one size, [n, bins], without a trace of the batch."""
    import torch

    from gantools.commands import _pairs
    from gantools.ops.spectrum import reduced

    with torch.inference_mode():
        x = _pairs.stacked([_pairs.in_colour(p) for p in pictures], device)
        return reduced(exact(x).div_(127.5).sub_(1)).double().cpu().numpy()


def exact(x: Tensor) -> Tensor:
    """In float64, or what the device has."""
    return x.float() if x.device.type == "mps" else x.double()


def earlier(path: Path) -> Measured | None:
    """What an x.json of spectrum profile says; None for any other file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if file.read(1) != b"{":
            return None
    from gantools.spectra.profile import restored

    try:
        told = json.loads(path.read_bytes())
    except ValueError:
        raise Usage(f"{path.name}: no result of spectrum profile") from None
    return Measured(path.stem, restored(told, path.name), {"source": path.name, **_told(told)})


def _told(told: dict[str, Any]) -> dict[str, Any]:
    kept = ("count", "size", "network", "psi", "seeds")
    return {name: told["protocol"][name] for name in kept if name in told["protocol"]}
