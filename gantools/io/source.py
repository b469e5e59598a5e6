"""Operands to samples: files, folders, tar, zip, IDX, CIFAR, Zarr, `-`; known by their bytes.

What counts as a sample in a folder or an archive: whatever is an image or a latent by its bytes,
and whatever claims to be one by its suffix (so that an empty `7.jpg` is a failure and not a
silence). A README.txt or a labels.csv between them is left out, and a note says how many were.
"""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from gantools import report
from gantools.io import operands as opened
from gantools.io import sample
from gantools.io.operands import Item, Operand
from gantools.io.places import Spool
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
    for at, (item, repeated) in enumerate(_counted(plan, kinds)):
        if at % count != index:
            continue
        try:
            yield _read(item, kinds, repeated)
        except report.SampleError as e:
            report.failed(item.name, e)
            if on_failure is not None:
                on_failure(item.key, item.name, str(e))


def at_rest(operands: Sequence[str], spool: Spool | None = None) -> Iterator[Item]:
    """Every picture of the operands, in order, as an item that any thread can read at any time.

    A pattern (`shards/*.tar`) stands for what it matches, a folder that has tars and no pictures
    for its tars. What can be read only from front to back is copied into the spool, and a note
    says so; without one such items hold their bytes. Usage, DamagedStream and what is skipped are
    as in `samples`.
    """
    kinds = ("image",)
    if not operands or "-" in operands:
        raise report.Usage("no input: name files, folders or archives")
    paths = [path for text in operands for path in _expanded(text)]
    plan = [opened.at_rest(path, kinds) for path in paths]
    _refuse_duplicates(plan)
    for item, repeated in _counted(plan, kinds):
        if repeated:
            report.failed(item.name, _repeated(item.key))
        elif spool is not None and opened.is_in_hand(item):
            yield replace(item, read=spool.add(item.read()))
        else:
            yield item
    if spool is not None and spool.size:
        report.note(
            f"compressed or unindexed data: {spool.size / 1e6:,.0f} MB of pictures were copied "
            "into a temporary file of the run folder (a plain tar or zip is read where it is)"
        )


def _expanded(text: str) -> list[Path]:
    """The operand's files: what a pattern matches, the tars of a folder of tars, or itself."""
    path = Path(text)
    if not path.exists() and glob.has_magic(text):
        matches = glob.glob(text, recursive=True)  # noqa: PTH207 - Path's knows no absolute one
        found = sorted(Path(match) for match in matches)
        if not found:
            raise report.Usage(f"{text}: no such file, and nothing matches it as a pattern")
        return found
    return (opened.shards(path) if path.is_dir() else []) or [path]


def _counted(plan: list[Operand], kinds: tuple[str, ...]) -> Iterator[tuple[Item, bool]]:
    """What counts as a sample, and whether its key came before; notes what was left out."""
    seen: set[str] = set()
    for operand in plan:
        left_out = operand.left_out
        for item in operand.stream or operand.items:
            if opened.is_left_out(item, KINDS):
                left_out += 1
                continue
            repeated = item.key in seen
            seen.add(item.key)
            yield item, repeated
        if left_out:
            report.note(f"{operand.name}: {_files(left_out)} left out, no {' or '.join(kinds)}")


def _files(n: int) -> str:
    return f"{n} file" + ("" if n == 1 else "s")


def _read(item: Item, kinds: tuple[str, ...], repeated: bool) -> Sample:
    if repeated:
        raise report.SampleError(_repeated(item.key))
    data = item.read()
    check(data, kinds)
    return Sample(item.key, data, item.name)


def _repeated(key: str) -> str:
    return f"a sample with the key {key} came before"


def check(data: bytes, kinds: tuple[str, ...]) -> None:
    """SampleError unless the file, or its first `sample.HEAD` bytes, is of one of the kinds."""
    if not data:
        raise report.SampleError("empty file (0 bytes)")
    kind = sample.kind(data)
    if kind not in kinds:
        wanted = " or ".join(_ARTICLES.get(k, k) for k in kinds)
        found = f", but {_ARTICLES[kind]}" if kind in _ARTICLES else ""
        raise report.SampleError(f"not {wanted}{found}")
