"""Text results: `name<TAB>value`, a table on a terminal, one JSON object, or files (-o x.json|tsv).

A command that has a plot of them writes that to x.png, x.svg and x.pdf.
Numbers are written so that they read back exactly; only the terminal's table rounds them.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gantools.report import Usage

SUFFIXES = (".json", ".tsv")
PLOTS = (".png", ".svg", ".pdf")

Plot = Callable[[str], bytes]
"""`png`, `svg` or `pdf` -> the file's bytes."""


def check(outputs: Sequence[str] | None, *, plots: bool = False) -> None:
    """Usage, before any work, for an output that is no text (or plot), or cannot be written."""
    from gantools.io.atomic import real_target

    for output in outputs or []:
        if output == "-":
            continue
        suffix = Path(output).suffix.lower()
        if plots and suffix not in (*SUFFIXES, *PLOTS):
            raise Usage(f"-o {output}: results go to x.json, x.tsv, x.png, x.svg, x.pdf or -")
        if not plots and suffix not in SUFFIXES:
            raise Usage(f"-o {output}: text results go to x.json, x.tsv or -")
        real_target(Path(output))


def is_plot(output: str) -> bool:
    """Whether an output is a plot by its suffix."""
    return Path(output).suffix.lower() in PLOTS


def write(
    results: Mapping[str, Any],
    outputs: Sequence[str] | None = None,
    *,
    as_json: bool = False,
    rows: Sequence[Sequence[Any]] | None = None,
    columns: Sequence[str] = (),
    plot: Plot | None = None,
) -> None:
    """Write results to every output, or to standard output where none is named.

    results: names to numbers, words, lists or further mappings. rows: the cells of its lines in
    text, with the heads `columns` on a terminal; without them `flat(results)`, so a mapping's
    entries are lines `protocol.count<TAB>50000`. as_json: --json, which decides about standard
    output alone. plot: what makes the plots, called where an output is one.
    """
    lines = list(flat(results)) if rows is None else rows
    for output in outputs or ["-"]:
        if output == "-":
            _print(results, lines, columns, as_json)
        elif plot is not None and is_plot(output):
            _plot_to_file(Path(output), plot)
        else:
            _to_file(Path(output), results, lines)


Rows = Sequence[Sequence[Any]]


def _plot_to_file(path: Path, plot: Plot) -> None:
    from gantools.io.atomic import real_target, write_bytes

    write_bytes(real_target(path), plot(path.suffix.lower()[1:]))


def _to_file(path: Path, results: Mapping[str, Any], rows: Rows) -> None:
    from gantools.io.atomic import real_target, write_bytes

    text = as_object(results) if path.suffix.lower() == ".json" else _tsv(rows)
    write_bytes(real_target(path), _utf8(text).encode())


def _print(results: Mapping[str, Any], rows: Rows, columns: Sequence[str], as_json: bool) -> None:
    if not as_json and sys.stdout.isatty():
        return _print_table(rows, columns)
    sys.stdout.write(_utf8(as_object(results) if as_json else _tsv(rows)))
    sys.stdout.flush()


def _print_table(rows: Rows, columns: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=bool(columns), pad_edge=False)
    for i in range(max(map(len, rows), default=0)):
        table.add_column(columns[i] if columns else "", no_wrap=not i, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_short(cell)) for cell in row))
    Console(file=sys.stdout).print(table)


def _utf8(text: str) -> str:
    """The text with escapes such as \\udcff for what a file name that is not UTF-8 left in it."""
    return text.encode("utf-8", "backslashreplace").decode()


def as_object(results: Mapping[str, Any]) -> str:
    """One JSON object and a newline; what JSON has no number for is "inf", "-inf" or "nan"."""
    return json.dumps(_plain(results), ensure_ascii=False, allow_nan=False) + "\n"


def as_lines(results: Mapping[str, Any]) -> str:
    """Lines `name<TAB>value`."""
    return _tsv(list(flat(results)))


def _tsv(rows: Rows) -> str:
    return "".join("\t".join(map(_exact, row)) + "\n" for row in rows)


def flat(results: Mapping[str, Any], head: str = "") -> Iterator[tuple[str, Any]]:
    """(name, value) of everything, names of inner mappings joined with dots."""
    for name, value in results.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{head}{name}.")
        elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
            yield from flat({str(i): v for i, v in enumerate(value)}, f"{head}{name}.")
        else:
            yield f"{head}{name}", value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _exact(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_exact, value))
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: ""}[value]
    return " ".join(str(value).split())  # a word from a file name must not make a new line


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " … ".join(map(_short, value))
    return f"{value:.6g}" if isinstance(value, float) else _exact(value)
