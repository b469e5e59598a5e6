"""Label files: `--labels FILE.csv`, first column the key with or without suffix, then numbers.

Also MNIST's: the IDX file of the labels beside that of the pictures.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gantools.io import idx
from gantools.report import Usage

MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Labels:
    """A table of labels: `columns` names them, `rows` finds a sample's numbers by its key."""

    columns: list[str]
    rows: dict[str, list[str]]
    name: str

    def values(self, key: str, columns: Sequence[str]) -> np.ndarray | None:
        """The sample's labels in these columns [K], NaN where a cell is empty; None without a row.

        Usage where a cell is no number.
        """
        row = self.rows.get(key)
        if row is None:
            return None
        at = [self.columns.index(column) for column in columns]
        return np.array([self._number(row[i], key, columns[n]) for n, i in enumerate(at)])

    def _number(self, cell: str, key: str, column: str) -> float:
        if not cell.strip():
            return math.nan
        try:
            return float(cell)
        except ValueError:
            raise Usage(f"{self.name}: {column} of {key} is {cell[:20]!r}, not a number") from None

    def require(self, columns: Sequence[str]) -> None:
        """Usage where a column is not there."""
        for column in columns:
            if column not in self.columns:
                shown = ", ".join(self.columns)
                raise Usage(f"{self.name}: no column {column}; it has {shown}")


def read(file: str | Path) -> Labels:
    """Read a CSV with a header line, or an IDX file (its column is `label`).

    Usage where it is neither, or names a key twice.
    """
    path = Path(file)
    try:
        if idx.may_be_labels(path):
            rows = {key: [str(label)] for key, label in idx.labels(path).items()}
            return Labels(["label"], rows, path.name)
        if path.stat().st_size > MOST_BYTES:
            raise Usage(f"--labels {path.name}: larger than 1 GiB")
        lines = list(csv.reader(path.read_text("utf-8-sig").splitlines()))
    except OSError as e:
        raise Usage(f"--labels {file}: {(e.strerror or str(e)).lower()}") from None
    except (UnicodeDecodeError, csv.Error) as e:
        raise Usage(f"--labels {path.name}: not a CSV file ({e})") from None
    table = [line for line in lines if line]
    if len(table) < 2 or len(table[0]) < 2:
        raise Usage(
            f"--labels {path.name}: a header line, a key column and a label column are needed"
        )
    columns = [name.strip() for name in table[0][1:]]
    if len(set(columns)) < len(columns):
        raise Usage(f"--labels {path.name}: a column stands there twice")
    return Labels(columns, _rows(table, path.name), path.name)


def _rows(table: list[list[str]], name: str) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {}
    for line in table[1:]:
        key, cells = line[0].strip(), line[1:]
        if len(line) != len(table[0]):
            raise Usage(
                f"--labels {name}: the row of {key} has {len(line)} cells, not {len(table[0])}"
            )
        if key in rows:
            raise Usage(f"--labels {name}: {key} has two rows")
        rows[key] = cells
    # A name with a suffix also answers to its stem, unless another row is called so.
    for key in list(rows):
        stem, dot, suffix = key.rpartition(".")
        if dot and stem and "/" not in suffix:
            rows.setdefault(stem, rows[key])
    return rows
