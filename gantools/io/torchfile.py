"""Files of torch.save, without torch: the zip archives of today and the streams before them."""

from __future__ import annotations

import itertools
import struct
from typing import Any

from gantools.io.arrays import Storage, raw_bytes, storage_kind
from gantools.io.inert import Budget, Malformed, Persistent, Record, short
from gantools.io.pickles import load

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
ZIP_START = b"PK\x03\x04"
_FROM_BYTES = ("torch.storage", "_load_from_bytes")
_MOST_RECORDS = 200_000


class Storages:
    """Finds the storage that a tensor's record names: by key, or inside the pickle as bytes."""

    def __init__(self, budget: Budget, found: dict[str, memoryview] | None = None) -> None:
        self.budget = budget
        self.found = found or {}
        self.nested: dict[int, Storage] = {}

    def __call__(self, source: Any) -> Storage:
        if isinstance(source, Persistent):
            return self.keyed(source.pid)
        if isinstance(source, Record) and source.pair == _FROM_BYTES:
            if id(source) not in self.nested:
                self.nested[id(source)] = self.enclosed(source.args[0])
            return self.nested[id(source)]
        raise Malformed("names no storage that is read")

    def keyed(self, pid: Any) -> Storage:
        """('storage', type, key, device, elements[, view]) over the records of the file."""
        word, kind, key, _, count = pid[:5]
        if word != "storage" or not isinstance(key, str) or key not in self.found:
            raise Malformed(f"the file lacks the storage {short(key)}")
        view = pid[5] if len(pid) > 5 else None
        storage = Storage(storage_kind(kind), self.found[key])
        if view is not None:
            raise Malformed("is a storage inside another storage: a form that is not read")
        if not isinstance(count, int):
            raise Malformed("its storage has no size")
        size = count * storage.dtype.itemsize
        if not 0 <= size <= len(storage.data):
            raise Malformed(f"its storage claims {count} elements over {len(storage.data)} bytes")
        return Storage(storage.kind, storage.data[:size])

    def enclosed(self, data: Any) -> Storage:
        """The storage that is one whole torch.save stream inside a pickle."""
        raw = raw_bytes(data)
        if raw is not data:
            self.budget.copy(len(raw))
        data = memoryview(raw)
        if bytes(data[:4]) == ZIP_START:
            value, inner = archive(data, self.budget)
        else:
            value, inner = legacy(data, self.budget)
        if not isinstance(value, Persistent):
            raise Malformed("its storage is something else than a storage")
        return inner(value)


def legacy(data: memoryview, budget: Budget) -> tuple[Any, Storages]:
    """A stream of torch.save before 1.6: four pickles, the keys, then each storage's bytes.

    Raises Malformed unless it begins with torch's magic number.
    """
    magic, at = load(data, budget)
    version, at = load(data, budget, at)
    if magic != LEGACY_MAGIC or version != 1001:
        raise Malformed("no torch.save stream")
    info, at = load(data, budget, at)
    if isinstance(info, dict) and info.get("little_endian") is False:
        raise Malformed("a big-endian torch file is not read")
    value, at = load(data, budget, at)
    keys, at = load(data, budget, at)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Malformed("damaged list of storages")
    # Each storage says its count of elements but not their type: that stands where it is named.
    types = _types(value)
    found = {}
    for key in keys:
        if at + 8 > len(data):
            raise Malformed("the file is cut short")
        count = struct.unpack_from("<q", data, at)[0]
        width = types.get(key, 0)
        if not width:
            raise Malformed(f"nothing says the type of the storage {key[:40]!r}")
        end = at + 8 + count * width
        if not 0 <= count or end > len(data):
            raise Malformed("the file is cut short")
        found[key] = data[at + 8 : end]
        at = end
    return value, Storages(budget, found)


def _types(value: Any) -> dict[str, int]:
    """Bytes per element of every storage that a tree names, each node visited once."""
    types: dict[str, int] = {}
    todo, seen = [value], set()
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        if isinstance(node, Persistent):
            pid = node.pid
            if isinstance(pid, tuple) and len(pid) >= 5 and isinstance(pid[2], str):
                types[pid[2]] = Storage(storage_kind(pid[1]), memoryview(b"")).dtype.itemsize
        elif isinstance(node, (list, tuple, dict, Record)):
            seen.add(id(node))
            todo.extend(_children(node))
    return types


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    if isinstance(node, Record):
        return [node.args, node.state, node.items, node.pairs]
    return list(node)


def archive(data: memoryview, budget: Budget) -> tuple[Any, Storages]:
    """A zip of torch.save: `<folder>/data.pkl` and `<folder>/data/<key>`, none compressed.

    Raises Malformed for anything else, for compressed or overlapping records too: what a file
    unpacks to is what it is long.
    """
    records = _records(data, budget)
    main = [name for name in records if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(main) != 1:
        raise Malformed("a zip archive, but not one of torch.save")
    folder = main[0][: -len("data.pkl")]
    order = records.get(folder + "byteorder")
    if order is not None and bytes(order[:8]) != b"little":
        raise Malformed("a big-endian torch file is not read")
    head = folder + "data/"
    found = {name[len(head) :]: part for name, part in records.items() if name.startswith(head)}
    value, _ = load(records[main[0]], budget)
    return value, Storages(budget, found)


def _records(data: memoryview, budget: Budget) -> dict[str, memoryview]:
    """Name and bytes of each record of a zip archive."""
    count, at = _directory(data)
    budget.spend(1000 + count)
    found: dict[str, memoryview] = {}
    spans = []
    for _ in range(count):
        name, start, size, at = _entry(data, at)
        if name in found:
            raise Malformed("a zip archive that has a record twice")
        found[name] = data[start : start + size]
        spans.append((start, start + size))
    spans.sort()
    if any(first[1] > second[0] for first, second in itertools.pairwise(spans)):
        raise Malformed("a zip archive whose records overlap")
    return found


def _directory(data: memoryview) -> tuple[int, int]:
    """Number of records and position of the central directory."""
    tail = bytes(data[-65_557:])
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + 22 > len(tail):
        raise Malformed("a zip archive that is cut short")
    count, _, start = struct.unpack_from("<HII", tail, at + 10)
    if count == 0xFFFF or start == 0xFFFFFFFF:
        wide = tail.rfind(b"PK\x06\x06", 0, at)
        if wide < 0 or wide + 56 > len(tail):
            raise Malformed("a zip archive that is cut short")
        count, _, start = struct.unpack_from("<QQQ", tail, wide + 32)
    if count > min(_MOST_RECORDS, len(data) // 46) or start >= len(data):
        raise Malformed("a zip archive with an impossible directory")
    return count, start


def _entry(data: memoryview, at: int) -> tuple[str, int, int, int]:
    """Name, start and size of the record that the central directory describes at `at`."""
    try:
        head = struct.unpack_from("<4sHHHHHHIIIHHHHHII", data, at)
        mark, flags, method = head[0], head[3], head[4]
        packed, size, names, extras, comments = head[8], head[9], head[10], head[11], head[12]
        local, extra = head[16], at + 46 + names
        name = bytes(data[at + 46 : extra]).decode("utf-8")
        if 0xFFFFFFFF in (packed, size, local):
            wide = _wide(bytes(data[extra : extra + extras]), [size, packed, local])
            size, packed, local = wide
        lead = struct.unpack_from("<4s22xHH", data, local)
    except (struct.error, UnicodeDecodeError):
        raise Malformed("a zip archive with a damaged directory") from None
    start = local + 30 + lead[1] + lead[2]
    if mark != b"PK\x01\x02" or lead[0] != ZIP_START or start + size > len(data):
        raise Malformed("a zip archive with a damaged directory")
    if method != 0 or packed != size or flags & 1:
        raise Malformed("a zip archive with compressed or locked records, which torch never writes")
    return name, start, size, extra + extras + comments


def _wide(extra: bytes, values: list[int]) -> list[int]:
    """The 64-bit values that replace those of 0xFFFFFFFF (zip64)."""
    at = 0
    while at + 4 <= len(extra):
        tag, size = struct.unpack_from("<HH", extra, at)
        if tag == 1:
            field = at + 4
            for i, value in enumerate(values):
                if value == 0xFFFFFFFF:
                    values[i] = struct.unpack_from("<Q", extra, field)[0]
                    field += 8
            return values
        at += 4 + size
    raise Malformed("a zip archive with a damaged directory")
