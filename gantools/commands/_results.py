"""Text results: `name<TAB>value`, a table on a terminal, one JSON object; -o x.json|x.tsv."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gantools.report import Usage, one_line

Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Where the result goes: x.json, x.tsv, or - for standard output. Repeatable.",
        show_default=False,
    ),
]


def check(outputs: Sequence[str] | None) -> None:
    """Refuse an output that is no text before any work."""
    for output in outputs or []:
        if output != "-" and Path(output).suffix not in (".json", ".tsv"):
            raise Usage(f"-o {output}: a text result goes to x.json, x.tsv or -")


def write(
    value: Mapping[str, Any],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    outputs: Sequence[str] | None,
    *,
    as_json: bool,
) -> None:
    """Print or save a result: `value` where JSON is asked for, else the rows."""
    for output in outputs or ["-"]:
        if output == "-":
            _print(value, columns, rows, as_json=as_json)
        else:
            text = _json(value) if output.endswith(".json") else _tsv(rows)
            _save(Path(output), text)


def flat(value: Mapping[str, Any], head: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as (name.with.dots, text); what is absent is left out."""
    for name, item in value.items():
        where = f"{head}.{name}" if head else str(name)
        if isinstance(item, Mapping):
            yield from flat(item, where)
        elif isinstance(item, (list, tuple)) and any(isinstance(i, Mapping) for i in item):
            for i, entry in enumerate(item):
                yield from flat(
                    entry if isinstance(entry, Mapping) else {"": entry}, f"{where}.{i}"
                )
        elif item is not None and item != []:
            yield where, _text(item)


def _text(item: Any) -> str:
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, (list, tuple)):
        return ",".join(_text(i) for i in item)
    return f"{item:.6g}" if isinstance(item, float) else one_line(item)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _tsv(rows: Sequence[Sequence[Any]]) -> str:
    return "".join("\t".join(_text(cell) for cell in row) + "\n" for row in rows)


def _print(
    value: Mapping[str, Any],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    as_json: bool,
) -> None:
    if as_json:
        sys.stdout.write(_json(value))
    elif sys.stdout.isatty():
        _table(columns, rows)
    else:
        sys.stdout.write(_tsv(rows))


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=bool(columns), pad_edge=False)
    for name in columns or [""] * max(map(len, rows), default=0):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_text(cell) for cell in row))
    Console(markup=False, highlight=False).print(table)


def _save(path: Path, text: str) -> None:
    from gantools.io.network import replacing

    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
