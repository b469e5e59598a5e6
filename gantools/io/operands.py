"""One operand of a command, opened as far as its keys need: a file, a folder, an archive, a stream.

Keys are as `cp` would name files: the stem of a file operand, the path below a folder operand, the
name in an archive, each without its suffix.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from gantools import report
from gantools.io import archives, cifar, idx, places, sample
from gantools.io.archives import Entry, Peekable
from gantools.io.stream import LIMIT, read_stream

EXAMPLES = {"portrait": "grace_hopper.jpg"}
"""`example:NAME` and its file in matplotlib's sample data (Grace Hopper: public domain)."""

LABELS = "dataset.json"
"""NVIDIA's labels of the pictures beside it: no note says that it is no picture."""


@dataclass(slots=True)
class Item:
    """A sample before its bytes are read. `read` raises SampleError where it cannot."""

    key: str
    name: str
    read: Callable[[], bytes]
    claims: bool = True  # it was asked for by name, or its suffix says that it is a sample


@dataclass(slots=True)
class Operand:
    """What one operand holds: `items` known before work, or the `stream` that they come from."""

    name: str
    items: list[Item] = field(default_factory=list)
    stream: Iterator[Item] | None = None
    left_out: int = 0


def example(text: str) -> Operand:
    """`example:portrait`. Usage for another name, or where matplotlib is missing."""
    file = EXAMPLES.get(text.removeprefix("example:"))
    spec = find_spec("matplotlib")  # found, not imported: that would take longer than the work
    if file is None or spec is None or spec.origin is None:
        names = ", ".join(f"example:{name}" for name in EXAMPLES)
        why = "needs matplotlib" if file else f"no such example; there is {names}"
        raise report.Usage(f"{text}: {why}")
    path = Path(spec.origin).parent / "mpl-data" / "sample_data" / file
    return Operand(text, [Item(text.removeprefix("example:"), text, partial(read_file, path))])


def file(path: Path, kinds: tuple[str, ...]) -> Operand:
    """A file of any kind, a named pipe, or a path at which there is nothing to read."""
    item = Item(sample.key_of_member(path.name), str(path), partial(read_file, path))
    try:
        if path.exists() and not path.is_file():  # a named pipe, `<(…)`: opened when it is read
            return Operand(str(path), stream=_file_items(path, item.key))
        with path.open("rb") as f:
            head = f.read(sample.HEAD)
        kind = sample.kind(head)
        batch = kind == "unknown" and cifar.may_be_batch(head, path.stat().st_size)
    except (OSError, ValueError) as e:
        item.read = partial(_refuse, _why(e))
        return Operand(str(path), [item])
    if kind == "zip":
        return _known(str(path), path, archives.zip_entries(path), kinds)
    if batch or kind in ("tar", "idx", "gz", "xz", "bz2", "zst"):
        return Operand(str(path), stream=_file_items(path, item.key))
    return Operand(str(path), [item])


def folder(path: Path, kinds: tuple[str, ...]) -> Operand:
    """Every sample below a folder, sorted; hidden files are passed over. Usage if there is none."""
    if archives.is_zarr(path):
        entries = archives.zarr_entries(path)
        items = [Item(sample.clean_key(n), f"{path}: {n}", read) for n, read in entries]
        return Operand(str(path), items)
    names = sorted(_walk(path, ()))
    entries = [("/".join(parts), partial(read_file, path.joinpath(*parts))) for parts in names]
    return _known(str(path), path, entries, kinds)


def at_rest(path: Path, kinds: tuple[str, ...]) -> Operand:
    """As `file` and `folder`, but of a plain tar only the headers are read.

    The `read` of its items is a `places.Place`.
    """
    if path.is_dir():
        return folder(path, kinds)
    try:
        with path.open("rb") as f:
            is_tar = path.is_file() and sample.kind(f.read(sample.HEAD)) == "tar"
    except (OSError, ValueError):
        is_tar = False
    return Operand(str(path), stream=_tar_items(path)) if is_tar else file(path, kinds)


def _tar_items(path: Path) -> Iterator[Item]:
    for inside, place in places.of_tar(path):
        item = _member(inside, str(path), place)
        head = b"" if item.claims else place.part(0, sample.HEAD)
        if sample.kind(head) == "unknown" and cifar.may_be_batch(head, place.size):
            yield from _cifar(place(), item.key, item.name)
        else:
            yield item


def shards(path: Path) -> list[Path]:
    """The tars of a folder that has no picture beside them, sorted; none in any other folder."""
    tars = sorted(p for p in path.glob("*.tar") if not p.name.startswith("."))
    if not tars or any(sample.suffix_of(x[-1]) in sample.IMAGE_SUFFIXES for x in _walk(path, ())):
        return []
    return tars


def _known(name: str, path: Path, entries: list[Entry], kinds: tuple[str, ...]) -> Operand:
    """The entries that are, or claim to be, of the wanted kinds."""
    sep = "/" if path.is_dir() else ":"
    operand = Operand(name)
    for inside, read in entries:
        if _wanted(inside, read, kinds):
            key = sample.key_of_member(inside)
            operand.items.append(Item(key, f"{name.rstrip('/')}{sep}{inside}", read))
        elif inside.rpartition("/")[2] != LABELS:
            operand.left_out += 1
    if not operand.items:
        what = " or ".join(f"{kind}s" for kind in kinds)
        there = f"{operand.left_out} other files" if entries else "it is empty"
        raise report.Usage(
            f"{name}: no {what} in it ({there}); archives in a folder are not opened"
        )
    return operand


def _wanted(inside: str, read: Callable[[], bytes], kinds: tuple[str, ...]) -> bool:
    """By the suffix if it is one of ours, else by the first bytes."""
    suffix = sample.suffix_of(inside)
    if suffix in sample.IMAGE_SUFFIXES and not _is_apple_double(inside):
        return "image" in kinds
    if suffix in sample.LATENT_SUFFIXES:
        return "latent" in kinds or "network" in kinds
    try:
        head = _head(read)
    except report.SampleError:
        return False
    return sample.kind(head) in kinds


def _is_apple_double(inside: str) -> bool:
    """`._7.jpg` and `__MACOSX/…`: what macOS puts beside the files of an archive."""
    return inside.rpartition("/")[2].startswith("._") or inside.startswith("__MACOSX/")


def _head(read: Callable[[], bytes]) -> bytes:
    """The first bytes of an entry: of a file without reading all of it."""
    if isinstance(read, partial) and read.func is read_file:
        return read_file(read.args[0], sample.HEAD)
    if isinstance(read, places.Place):
        return read.part(0, sample.HEAD)
    return read()[: sample.HEAD]


def is_left_out(item: Item, kinds: tuple[str, ...]) -> bool:
    """Whether an item is no sample: neither its suffix nor its bytes say so."""
    if item.claims:
        return False
    try:
        return sample.kind(_head(item.read)) not in kinds
    except report.SampleError:  # whoever reads it tells
        return False


def is_in_hand(item: Item) -> bool:
    """Whether the item's bytes have been read: there is no place to read them from again."""
    return isinstance(item.read, partial) and item.read.func is bytes


def place_of(item: Item) -> places.AnyPlace:
    """Where the bytes of an item are that is not in hand. SampleError where they cannot be read."""
    read = item.read
    if isinstance(read, places.Place):
        return read
    place: places.AnyPlace | None = None
    if isinstance(read, partial) and read.func is read_file:
        place = places.of_file(read.args[0])
    elif isinstance(read, partial) and read.func is archives.read_zip:
        archive, info = read.args
        place = places.of_zip_member(Path(archive.filename), info)
    return place or places.Made(read, len(read()))


def _walk(top: Path, parts: tuple[str, ...], above: frozenset[Any] = frozenset()) -> Iterator[Any]:
    """Every visible file below `top` as its path's parts; links are followed, loops are not."""
    try:
        with os.scandir(top.joinpath(*parts)) as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries if entry.name[0] != "."]
        status = top.joinpath(*parts).stat()
    except OSError as e:
        raise report.Usage(f"{top.joinpath(*parts)}: {_why(e)}") from e
    here = (status.st_dev, status.st_ino)
    for name, is_dir in found:
        if is_dir and here not in above:
            yield from _walk(top, (*parts, name), above | {here})
        elif not is_dir:
            yield (*parts, name)


def read_file(path: Path, size: int = -1) -> bytes:
    """A file's bytes, or its first `size`. SampleError where it cannot be read, or is too large."""
    try:
        if path.stat().st_size > LIMIT and size < 0:
            raise report.SampleError(f"more than {LIMIT} bytes in one file")
        with path.open("rb") as f:
            return f.read(size)
    except OSError as e:
        raise report.SampleError(_why(e)) from e


def _refuse(why: str) -> NoReturn:
    raise report.SampleError(why)


def _why(error: Exception) -> str:
    """`No such file or directory` as a person says it: without errno and path."""
    return str(getattr(error, "strerror", None) or error)


def standard_input(fileobj: IO[bytes]) -> Operand:
    """What comes down the pipe. Usage, when it is read, if nothing comes."""
    name = "standard input"
    return Operand(name, stream=_items(Peekable(fileobj, name), name, "stdin", "stdin"))


def _file_items(path: Path, stem: str) -> Iterator[Item]:
    """The samples of an archive without a table of contents; one without any is a failure."""
    count = 0
    try:
        with path.open("rb") as fileobj:
            for item in _items(Peekable(fileobj, str(path)), str(path), str(path), stem):
                count += 1
                yield item
    except OSError as e:
        raise report.Usage(f"{path}: {_why(e)}") from e
    if not count:
        report.failed(str(path), "an archive with nothing in it")


def _items(source: Peekable, name: str, short: str, stem: str) -> Iterator[Item]:
    source = archives.unpacked(source, name)
    head = source.peek(sample.HEAD)
    kind = sample.kind(head)
    if not head:
        raise report.Usage(f"{name} is empty: nothing came (did the command before it fail?)")
    if kind == "tar":
        for inside, data in read_stream(cast(IO[bytes], source), short):
            if _is_cifar(data):
                yield from _cifar(data, sample.key_of_member(inside), f"{short}:{inside}")
            else:
                yield _member(inside, short, partial(bytes, data))
    elif kind == "idx":
        for inside, read in idx.entries(source, name, stem):
            yield Item(inside, f"{short}:{inside}", read)
    elif kind == "zip":
        raise report.Usage(f"{name}: a zip cannot be read from a pipe: name the file")
    else:
        yield from _bare_items(source, short, stem)


def _bare_items(source: Peekable, short: str, stem: str) -> Iterator[Item]:
    """One file is `stem`; of several, the i-th is `stem/i` with six digits."""
    for i, data in enumerate(archives.bare(source)):
        if i == 0 and _is_cifar(data):
            yield from _cifar(data, stem, short)
            return
        several = i > 0 or bool(source.peek(1))
        inside = f"{stem}/{i:06d}" if several else stem
        yield Item(sample.clean_key(inside), short + f":{i}" * several, partial(bytes, data))


def _is_cifar(data: bytes) -> bool:
    return sample.kind(data[: sample.HEAD]) == "unknown" and cifar.is_batch(data)


def _cifar(data: bytes, stem: str, short: str) -> Iterator[Item]:
    """The pictures of a batch of CIFAR-10, a folder for each class."""
    for inside, read in cifar.entries(data, stem):
        yield Item(sample.clean_key(inside), f"{short}:{inside}", read)


def _member(inside: str, short: str, read: Callable[[], bytes]) -> Item:
    suffix = sample.suffix_of(inside)
    claims = suffix in sample.IMAGE_SUFFIXES or suffix in sample.LATENT_SUFFIXES
    claims = claims and not _is_apple_double(inside)
    return Item(sample.key_of_member(inside), f"{short}:{inside}", read, claims)
