"""Files of numbers per sample that metrics ppl, ls and modes write in shards, and merge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gantools import report
from gantools.report import Usage

if TYPE_CHECKING:
    from gantools.evaluation.shards import Rows

SUFFIX = ".safetensors"

Operands = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PART]...",
        help="Files that this command wrote with --shard, in the place of a network.",
        show_default=False,
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Where the result goes: x.json, x.tsv, - for standard output, or a plot of it: x.png, "
        "x.svg, x.pdf; the numbers of the samples go to x.safetensors. Repeatable.",
        show_default=False,
    ),
]


def check(outputs: Sequence[str] | None, *, shard: str | None, given: bool) -> list[str] | None:
    """The outputs that are no parts, for `results.write`; Usage for what cannot be written.

    given: whether operands are. A shard without a file is refused: its result is nobody's.
    """
    from gantools.io import results
    from gantools.io.atomic import real_target
    from gantools.io.source import parse_shard

    parse_shard(shard)
    text = [output for output in outputs or [] if not _is_part(output)]
    for output in outputs or []:
        if _is_part(output):
            real_target(Path(output))
    results.check(text, plots=True)
    if shard is not None and not given and len(text) == len(outputs or []):
        raise Usage("--shard measures a part: name its file with -o part.safetensors")
    return text or None


def _is_part(output: str) -> bool:
    return Path(output).suffix.lower() == SUFFIX


def read(operands: Sequence[str], kind: str) -> Rows:
    """The parts, merged; a remark where shards are missing."""
    from gantools.evaluation import shards

    paths = [Path(name) for name in operands]
    for path in paths:
        if not path.exists():
            raise Usage(f"{path}: no such file")
        if not shards.is_rows(path):
            raise Usage(f"{path.name}: no part of metrics {kind}")
    rows = shards.merged([shards.load(path, kind) for path in paths])
    lost = shards.missing(rows.shards)
    if lost:
        report.note(f"of the shards these are missing: {', '.join(lost[:8])}")
    return rows


def keep(outputs: Sequence[str] | None, rows: Rows, kind: str) -> None:
    """Write the rows to every output that is a file of them."""
    from gantools.evaluation import shards

    for output in outputs or []:
        if _is_part(output):
            shards.save(Path(output), rows, kind)


def told(rows: Rows) -> dict[str, Any]:
    """What the protocol says of the rows: how many there are, and of which shards."""
    import numpy as np

    counted: dict[str, Any] = {"count": int(np.isfinite(rows.values).all(axis=1).sum())}
    return {**counted, "shards": rows.shards} if rows.shards else counted
