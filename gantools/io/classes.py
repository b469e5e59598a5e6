"""Classes of training pictures: `--labels folders|dataset|FILE.csv`."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gantools.io import labels, sample
from gantools.report import Usage

MOST_BYTES = 1 << 30  # of a dataset.json
MOST_NAMES = 1 << 24  # characters in a file of names
MOST = 100_000  # classes; more are a mistaken column or a damaged file


@dataclass(frozen=True)
class Classes:
    """Where the class of a picture comes from.

    of: a picture's key to the name of its class, None where it has none. names: all classes in
    their order, None where they are those that occur (`ordered`). origin: for messages.
    """

    of: Callable[[str], str | None]
    names: list[str] | None
    origin: str


def read(wanted: str, column: str | None, operands: Sequence[str]) -> Classes:
    """--labels and --label-column as classes; Usage where there are none.

    folders: the first folder of the key. dataset: the dataset.json of the operands, NVIDIA's form.
    Else a CSV file as `io.labels` reads it, and its column, or its only one.
    """
    if wanted in ("folders", "dataset") and column is not None:
        raise Usage(f"--label-column: --labels {wanted} has no columns, only a CSV file has")
    if wanted == "folders":
        return Classes(first_folder, None, "--labels folders")
    return _dataset(operands) if wanted == "dataset" else _table(wanted, column)


def names_in(file: str, count: int) -> list[str]:
    """The lines of a text file, the names of a network's `count` classes; Usage otherwise."""
    try:
        with Path(file).open(encoding="utf-8-sig") as lines:
            text = lines.read(MOST_NAMES + 1)
    except (OSError, ValueError) as e:
        why = e.strerror.lower() if isinstance(e, OSError) and e.strerror else "not a text file"
        raise Usage(f"{file}: {why}") from None
    names = [line.strip() for line in text.splitlines()]
    while names and not names[-1]:
        names.pop()
    if len(text) > MOST_NAMES or len(names) != count or not all(names):
        raise Usage(f"{file}: {len(names)} names, and the network has {count} classes")
    return names


def first_folder(key: str) -> str | None:
    """`cats/7` -> `cats`; None for a key without a folder."""
    folder, slash, _ = key.partition("/")
    return folder if slash else None


def ordered(names: Iterable[str], origin: str) -> list[str]:
    """The distinct names, sorted, as numbers where all are; Usage for fewer than two."""
    distinct = set(names)
    if not 2 <= len(distinct) <= MOST:
        what = "one class only" if len(distinct) == 1 else f"{len(distinct):,} classes"
        raise Usage(f"{origin}: {what}; from 2 to {MOST:,} are expected")
    if all(name.isascii() and name.isdigit() for name in distinct):
        return sorted(distinct, key=lambda name: (int(name), name))
    return sorted(distinct)


def _table(file: str, column: str | None) -> Classes:
    table = labels.read(file)
    if column is None and len(table.columns) > 1:
        raise Usage(
            f"--labels {table.name}: --label-column is needed, one of {', '.join(table.columns)}"
        )
    column = column or table.columns[0]
    table.require([column])
    at = table.columns.index(column)

    def of(key: str) -> str | None:
        row = table.rows.get(key)
        return (row[at].strip() or None) if row else None

    return Classes(of, None, f"--labels {table.name}")


def _dataset(operands: Sequence[str]) -> Classes:
    numbers: dict[str, int] = {}
    count = 0
    for operand in operands:
        found, classes = _numbers(_json(operand), f"{operand}: dataset.json")
        numbers.update(found)
        count = max(count, classes)

    def of(key: str) -> str | None:
        return str(numbers[key]) if key in numbers else None

    return Classes(of, [str(n) for n in range(count)], "--labels dataset")


def _json(operand: str) -> Any:
    """What the dataset.json of a zip or a folder holds."""
    path = Path(operand)
    try:
        if path.is_dir():
            data = _bounded((path / "dataset.json").open("rb"), operand)
        else:
            with zipfile.ZipFile(path) as archive:
                data = _bounded(archive.open("dataset.json"), operand)
        return json.loads(data)
    except (KeyError, FileNotFoundError):
        raise Usage(f"{operand}: no dataset.json in it") from None
    except zipfile.BadZipFile as e:
        raise Usage(f"{operand}: a zip or a folder with a dataset.json is needed ({e})") from None
    except (OSError, ValueError, RuntimeError, NotImplementedError, zlib.error, EOFError) as e:
        raise Usage(f"{operand}: its dataset.json cannot be read ({str(e)[:80]})") from None


def _bounded(file: Any, operand: str) -> bytes:
    with file:
        data: bytes = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise Usage(f"{operand}: its dataset.json is larger than 1 GiB")
    return data


def _numbers(story: Any, name: str) -> tuple[dict[str, int], int]:
    """Class number by key, and the number of classes: the largest + 1, or the vectors' length.

    {"labels": [["00000/img0.png", 3], ...]}; instead of 3 there may be a one-hot vector.
    """
    pairs = story.get("labels") if isinstance(story, dict) else None
    if not isinstance(pairs, list) or not pairs:
        raise Usage(f"{name} has no labels")
    numbers, count = {}, 0
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise Usage(f"{name}: its labels are no pairs of a file's name and a label")
        number, classes = _number(pair[1], f"{name}: the label of {pair[0][:80]}")
        numbers[sample.key_of_member(pair[0])] = number
        count = max(count, classes)
    return numbers, count


def _number(label: Any, what: str) -> tuple[int, int]:
    """(class, how many classes there are at least)."""
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < MOST:
        return label, label + 1
    if isinstance(label, list) and all(isinstance(x, int | float) for x in label):
        if label.count(1) == 1 and label.count(0) == len(label) - 1:
            return label.index(1), len(label)
    raise Usage(f"{what} is no class number from 0 to {MOST - 1} and no one-hot vector")
