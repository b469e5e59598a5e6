"""Operands to samples: files, folders, tar, zip, IDX, Zarr, `-`; known by their bytes, not names.

What counts as a sample in a folder or an archive: whatever is an image or a latent by its bytes,
and whatever claims to be one by its suffix (so that an empty `7.jpg` is a failure and not a
silence). A README.txt or a labels.csv between them is left out, and a note says how many were.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from gantools import report
from gantools.io import operands as opened
from gantools.io import sample
from gantools.io.operands import Item, Operand
from gantools.io.sample import Sample
from gantools.io.stream import DamagedStream

T = TypeVar("T")

KINDS = ("image", "latent")
_ARTICLES = {
    "image": "an image",
    "latent": "a latent",
    "network": "a network (a network is named with --net)",
    "tar": "a tar inside another archive or folder (name it as an operand)",
    "zip": "a zip inside another archive or folder (name it as an operand)",
    "idx": "an IDX file",
    "gz": "gzip data",
    "xz": "xz data",
    "bz2": "bzip2 data",
    "zst": "Zstandard data",
}


def samples(
    operands: Sequence[str] | None,
    *,
    kinds: tuple[str, ...] = KINDS,
    shard: str | None = None,
    stdin_ok: bool = True,
    examples: bool = True,
    on_failure: Callable[[str, str, str], None] | None = None,
) -> Iterator[Sample]:
    """Every sample of the operands, in order; one in memory at a time.

    No operands, or `-`: the stream on standard input. `shard`: "I/N", the samples whose index is
    I modulo N. What cannot be read is told by `report.failed`, and to on_failure(key, name, why),
    and skipped. Usage, before any sample: no input, a folder without samples, keys that are given
    twice, a broken shard.
    DamagedStream after the good samples of a damaged stream.
    """
    index, count = parse_shard(shard)
    if not stdin_ok and (not operands or "-" in operands):
        raise report.Usage("no input: name files, folders or archives")
    if list(operands or ()).count("-") > 1:
        raise report.Usage("standard input (-) can be read only once")
    plan = [_open(text, kinds, examples) for text in operands or ["-"]]
    _refuse_duplicates(plan)
    return _read_all(plan, kinds, index, count, on_failure)


def known_keys(
    operands: Sequence[str] | None,
    *,
    kinds: tuple[str, ...] = KINDS,
    shard: str | None = None,
) -> list[str] | None:
    """The keys that `samples` would give, before any picture is read; None if a stream is there."""
    index, count = parse_shard(shard)
    if not operands or "-" in operands:
        return None
    plan = [_open(text, kinds, True) for text in operands]
    _refuse_duplicates(plan)
    if any(operand.stream for operand in plan):
        return None
    return [item.key for operand in plan for item in operand.items][index::count]


def parse_shard(shard: str | None) -> tuple[int, int]:
    """`2/8` as (2, 8), and (0, 1) for None. Usage for anything else."""
    if shard is None:
        return 0, 1
    left, _, right = shard.partition("/")
    if left.isascii() and right.isascii() and left.isdigit() and right.isdigit():
        index, count = int(left), int(right)
        if index < count:
            return index, count
    raise report.Usage(f"--shard {shard}: I/N with 0 <= I < N is expected, as in --shard 0/4")


def batches(items: Iterable[T], full: Callable[[list[T]], bool]) -> Iterator[list[T]]:
    """Items in groups, each as soon as it is `full`, the last with what is left.

    Where a damaged stream ends the items, what came whole is given before DamagedStream goes on.
    """
    group: list[T] = []
    try:
        for item in items:
            group.append(item)
            if full(group):
                yield group
                group = []
    except DamagedStream:
        if group:
            yield group
        raise
    if group:
        yield group


def _open(text: str, kinds: tuple[str, ...], examples: bool) -> Operand:
    """One operand, as far as its keys need it: no picture is read yet."""
    path = Path(text)
    if text == "-":
        if sys.stdin is None:
            raise report.Usage("standard input is closed: name files, or pipe a stream in")
        if sys.stdin.isatty():
            raise report.Usage("no input: name files or folders, or pipe a stream in")
        return opened.standard_input(sys.stdin.buffer)
    if text.startswith("example:") and not path.exists() and examples:
        return opened.example(text)
    if path.is_dir():
        return opened.folder(path, kinds)
    return opened.file(path, kinds)


def _refuse_duplicates(plan: list[Operand]) -> None:
    names: dict[str, str] = {}
    for operand in plan:
        for item in operand.items:
            before = names.setdefault(item.key, item.name)
            if before is not item.name:
                raise report.Usage(
                    f"two inputs have the key {item.key}: {before} and {item.name}; "
                    "rename one, or give the folder above them"
                )


def _read_all(
    plan: list[Operand],
    kinds: tuple[str, ...],
    index: int,
    count: int,
    on_failure: Callable[[str, str, str], None] | None,
) -> Iterator[Sample]:
    seen: set[str] = set()
    at = -1
    for operand in plan:
        left_out = operand.left_out
        for item in operand.stream or operand.items:
            if not item.claims and sample.kind(item.read()) not in KINDS:
                left_out += 1
                continue
            at += 1
            repeated = item.key in seen
            seen.add(item.key)
            if at % count != index:
                continue
            try:
                yield _read(item, kinds, repeated)
            except report.SampleError as e:
                report.failed(item.name, e)
                if on_failure is not None:
                    on_failure(item.key, item.name, str(e))
        if left_out:
            report.note(f"{operand.name}: {_files(left_out)} left out, no {' or '.join(kinds)}")


def _files(n: int) -> str:
    return f"{n} file" + ("" if n == 1 else "s")


def _read(item: Item, kinds: tuple[str, ...], repeated: bool) -> Sample:
    if repeated:
        raise report.SampleError(f"a sample with the key {item.key} came before")
    data = item.read()
    _check(data, kinds)
    return Sample(item.key, data, item.name)


def _check(data: bytes, kinds: tuple[str, ...]) -> None:
    if not data:
        raise report.SampleError("empty file (0 bytes)")
    kind = sample.kind(data)
    if kind not in kinds:
        wanted = " or ".join(_ARTICLES.get(k, k) for k in kinds)
        found = f", but {_ARTICLES[kind]}" if kind in _ARTICLES else ""
        raise report.SampleError(f"not {wanted}{found}")
