"""--labels and --label-column: where pictures' classes are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from gantools import options
from gantools.report import Usage

SOURCES = (
    "folders: the first folder of a picture's key is its class; dataset: the labels in the "
    "dataset.json of the zip or folder; else a CSV file, keys first and --label-column, or MNIST's "
    "file of labels."
)
Labels = Annotated[
    str | None,
    options.number(
        "--labels",
        "SOURCE",
        f"Train a conditional network. {SOURCES} Pictures without a class are left out.",
    ),
]
LabelColumn = Annotated[
    str | None,
    options.number(
        "--label-column",
        "NAME",
        "Column of the CSV file of --labels with the classes. Default: its only one.",
    ),
]


def labels_name(labels: str | None, column: str | None) -> str | None:
    """--labels as a run remembers it: without the file's folder."""
    check_column(labels, column)
    return None if labels is None else Path(labels).name


def check_column(labels: str | None, column: str | None) -> None:
    """Usage for --label-column without --labels."""
    if labels is None and column is not None:
        raise Usage("--label-column: a column of which file? Give --labels FILE.csv")
