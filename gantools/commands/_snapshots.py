"""metrics fid|kid --snapshots: every network of a run against one real set (S0.15)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantools import report
from gantools.commands import _sets
from gantools.report import Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.evaluation.frechet import Gaussian, Moments

    Kept = Moments | Gaussian | list[np.ndarray]

_NAME = re.compile(r"network-(?:snapshot-)?(\d{1,12})\.(?:safetensors|pkl)")
Measure = Callable[[Any, _sets.Set], tuple[dict[str, Any], dict[str, Any]]]
"""REAL's features and a snapshot's -> (values, how they were measured)."""


@dataclass(frozen=True)
class Run:
    """The networks of a folder, from the earliest on, with the thousands of images each saw."""

    name: str
    networks: list[tuple[int, Path]]


def check(run: str | None, fake: object, asked: _sets.Asked) -> None:
    """Usage for flags that do not go with --snapshots."""
    if run is None:
        return
    if fake:
        raise Usage("--snapshots: the networks make the pictures, leave FAKE out")
    if asked.net is not None:
        raise Usage("--snapshots: the networks are RUN's, leave --net out")
    if asked.features == "discriminator":
        raise Usage("--snapshots: one discriminator has to see them all: --features FILE")


def open_run(folder: str) -> Run:
    """The networks of a run; Usage where there is none."""
    path = Path(folder)
    if not path.is_dir():
        raise Usage(f"--snapshots {folder}: no such folder")
    named = [(found, file) for file in path.iterdir() if (found := _NAME.fullmatch(file.name))]
    if not named:
        raise Usage(f"--snapshots {folder}: no network-*.safetensors in it")
    networks = sorted((int(found[1]), file) for found, file in named)
    return Run(path.resolve().name, networks)


def measured(
    run: Run, real: str, asked: _sets.Asked, key: str, measure: Measure, *, sums: bool = False
) -> dict[str, Any]:
    """The best snapshot's value, all of them as `each`, and the protocol.

    sums: whether `measure` does with the sums of REAL's features, which need no memory. A network
    that cannot be read is reported. Usage where none can.
    """
    from gantools.training.control import best_of

    each: list[dict[str, Any]] = []
    pair, kept = None, None
    for kimg, path, made in _made(run, asked):
        if pair is None or kept is None:
            pair = _sets.open_pair(real, None, asked, statistics=sums, made=made)
            kept = _read(pair.real, sums)
        made.story.pop("extractor", None)
        values, how = measure(kept, made)
        each.append({"snapshot": path.name, "images": 1000 * kimg, **values})
        protocol = _sets.Pair(pair.real, made, pair.extractor).protocol(how)
    best = best_of((row["images"], row[key]) for row in each)
    if best is None:
        raise Usage(f"{run.name}: no snapshot could be measured")
    found = next(row for row in each if row["images"] == best)
    values = {name: found[name] for name in found if name.startswith(key)}
    protocol["fake"] = {"run": run.name, **_common(protocol["fake"])}
    told = {"best": found["snapshot"], "images": best, "each": each, "protocol": protocol}
    return {**values, **told}


def write(found: dict[str, Any], key: str, output: Sequence[str] | None, *, as_json: bool) -> None:
    """A line for each snapshot, then everything else; a curve where an output is a plot."""
    from gantools.io import results

    rest = {name: value for name, value in found.items() if name != "each"}
    lines = [(row["snapshot"], row["images"], row[key]) for row in found["each"]]

    def plot(kind: str) -> bytes:
        from gantools.evaluation import plots

        return plots.of_snapshots(found["each"], key, found["images"], kind)

    rows = [*lines, *results.flat(rest)]
    results.write(found, output, as_json=as_json, rows=rows, plot=plot)


def _made(run: Run, asked: _sets.Asked) -> Iterator[tuple[int, Path, _sets.Set]]:
    for kimg, path in run.networks:
        try:
            made = _sets.of_network(str(path), asked)
        except Usage as e:
            report.failed(path.name, e)
            continue
        yield kimg, path, made


def _common(story: dict[str, Any]) -> dict[str, Any]:
    """What is so of all snapshots."""
    return {name: value for name, value in story.items() if not name.startswith("network")}


def _read(real: _sets.Set, sums: bool) -> Kept:
    """The set, read once for all snapshots."""
    from gantools.evaluation import frechet

    if real.moments is not None:
        return real.moments
    if sums:
        return frechet.accumulate(real.blocks, real.dim)[0]
    return [*real.blocks]
