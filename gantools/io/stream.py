"""The stream: a tar of ordinary files, one member per sample (gantools-stream(5)).

Written and read by hand in blocks of 512 bytes, because `tarfile` holds a small record back until
the next one, keeps every header, stops at the first archive of `cat a.tar b.tar`, and with
`ignore_zeros` drops a sample whose header is damaged. Layout: POSIX.1-2001 (ustar and pax) and
GNU tar's long names, as stock tar writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from os import SEEK_END
from typing import IO

from gantools import report
from gantools.io.sample import tar_checksum_holds

BLOCK = 512
LIMIT = 1 << 30
"""No member larger than this is taken into memory (1 GiB)."""
_LONGEST_NAME = 1 << 20
_CHUNK = 1 << 20
_REGULAR = frozenset({b"0", b"\0", b"7"})
_UNREAD = {b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a named pipe"}


class DamagedStream(report.Usage):
    """The stream is cut or damaged; what was good has been yielded."""


class StreamWriter:
    """Writes members to a binary file object; every member is flushed, so a reader has it at once.

    Time, owner and mode are fixed: the same samples give the same bytes.
    """

    def __init__(self, fileobj: IO[bytes]) -> None:
        self._file = fileobj
        self._open = True

    def write(self, name: str, data: bytes) -> None:
        """Append one member."""
        head = _headers(name, len(data))
        self._file.write(b"".join((head, data, bytes(-len(data) % BLOCK))))
        self._file.flush()

    def close(self) -> None:
        """Write the end mark: without it a reader knows that the stream was cut."""
        if self._open:
            self._open = False
            self._file.write(bytes(2 * BLOCK))
            self._file.flush()

    def abort(self) -> None:
        """End without an end mark, so that the failure travels down the pipe."""
        self._open = False


def _headers(name: str, size: int) -> bytes:
    raw = name.encode("utf-8", "surrogateescape")
    if raw.isascii() and len(raw) <= 100:
        return _ustar(raw, b"", size, b"0")
    split = raw.rfind(b"/", 0, 156)
    if raw.isascii() and split > 0 and len(raw) - split - 1 <= 100:
        return _ustar(raw[split + 1 :], raw[:split], size, b"0")
    records = _record(b"path", raw)
    if not _is_utf8(raw):  # a file name of the Latin-1 age: keep its bytes (pax, hdrcharset)
        records = _record(b"hdrcharset", b"BINARY") + records
    short = bytes(c if c < 128 else ord("_") for c in raw)[-100:]
    pax = _ustar(b"pax/header", b"", len(records), b"x") + records + bytes(-len(records) % BLOCK)
    return pax + _ustar(short.lstrip(b"/") or b"_", b"", size, b"0")


def _ustar(name: bytes, prefix: bytes, size: int, typeflag: bytes) -> bytes:
    head = b"".join(
        (
            name.ljust(100, b"\0"),
            b"0000644\0" + b"0000000\0" + b"0000000\0",
            b"%011o\0" % size + b"%011o\0" % 0,
            b" " * 8 + typeflag + bytes(100),
            b"ustar\x0000" + bytes(32 + 32) + b"0000000\0" * 2,
            prefix.ljust(155, b"\0") + bytes(12),
        )
    )
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def _record(key: bytes, value: bytes) -> bytes:
    """A pax record, `length key=value`, where the length counts its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while length != len(str(length)) + len(rest):
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_stream(fileobj: IO[bytes], name: str) -> Iterator[tuple[str, bytes]]:
    """Yield (member name, data) of every ordinary file, as soon as its bytes are there.

    Goes on behind an end mark (`cat a.tar b.tar`). Folders, links and devices are not followed: a
    hard link, whose bytes are elsewhere, is reported as failed; the others are noted. Raises
    DamagedStream after yielding what was good: a bad header, a cut, a missing end mark.
    """
    for member, data in _Reader(fileobj, name).members():
        assert isinstance(data, bytes)
        yield member, data


def index_stream(fileobj: IO[bytes], name: str) -> Iterator[tuple[str, int, int]]:
    """Yield (member name, offset, size) as `read_stream` yields data, without reading them.

    The file must be one that can be sought.
    """
    for member, place in _Reader(fileobj, name, size=fileobj.seek(0, SEEK_END)).members():
        assert isinstance(place, tuple)
        yield member, *place


class _Reader:
    """Where we are in the stream, and what belongs to the next member.

    size: of a file whose members are not to be read: it is sought instead.
    """

    def __init__(self, fileobj: IO[bytes], name: str, size: int | None = None) -> None:
        self._file = fileobj
        self._name = name
        self._size_of_file = size
        if size is not None:
            fileobj.seek(0)
        self._at = 0
        self._good = 0
        self._extra: dict[str, bytes] = {}  # pax records and GNU long names of the next member

    def members(self) -> Iterator[tuple[str, bytes | tuple[int, int]]]:
        ended = False
        while header := self._block(ended):
            if not any(header):
                self._second_zero_block(ended)
                ended = True
                continue
            ended = False
            if not tar_checksum_holds(header):
                raise self._damaged(f"the header at byte {self._at - BLOCK} is broken")
            yield from self._member(header)
        if not ended:
            raise self._damaged("it has no end mark, so it was cut")

    def _member(self, header: bytes) -> Iterator[tuple[str, bytes | tuple[int, int]]]:
        flag = header[156:157]
        size = self._size(header)
        if flag in b"xgLK":
            self._remember(flag, self._read(size, _LONGEST_NAME, "a header"))
            self._skip(-size % BLOCK)
            return
        name = self._member_name(header)
        extra, self._extra = self._extra, {}
        why = self._refusal(flag, size, header, extra)
        if flag in b"123456" and flag != b"\0":
            size = 0
        if why or flag not in _REGULAR or name.endswith("/"):
            self._skip(size + -size % BLOCK)
            self._tell(name, flag, why)
            return
        data = self._take(size, name)
        self._good += 1
        yield name, data
        self._skip(-size % BLOCK)

    def _take(self, size: int, name: str) -> bytes | tuple[int, int]:
        """The member's bytes; (offset, size) where only they are asked for."""
        if self._size_of_file is None:
            return self._read(size, LIMIT, name)
        at = self._at
        if at + size > self._size_of_file:
            there = self._size_of_file - at
            raise self._damaged(f"it is cut inside {name} ({there} of {size} bytes)")
        self._at = self._file.seek(at + size)
        return at, size

    def _refusal(self, flag: bytes, size: int, header: bytes, extra: dict[str, bytes]) -> str:
        """Why an ordinary file cannot be taken, or nothing."""
        if flag == b"1":
            return "a hard link has no bytes of its own (write it with tar --hard-dereference)"
        if flag == b"S":
            more = header[482:483] not in (b"\0", b"")
            while more:
                block = self._block(False)
                more = block[504:505] not in (b"\0", b"")
        if flag == b"S" or any(key.startswith("GNU.sparse") for key in extra):
            return "a sparse file (write it with tar without --sparse)"
        if flag in _REGULAR and size > LIMIT:
            return f"{size} bytes is more than one sample may have ({LIMIT})"
        return ""

    def _tell(self, name: str, flag: bytes, why: str) -> None:
        if why:
            report.failed(f"{self._name}:{name}", why)
        elif flag not in _REGULAR and flag not in b"5DV":  # folders and volume labels go unsaid
            what = _UNREAD.get(flag, f"a member of type {flag!r}")
            report.note(f"{self._name}:{name}: {what}, skipped")

    def _remember(self, flag: bytes, data: bytes) -> None:
        if flag == b"L":
            self._extra["path"] = data.rstrip(b"\0")
        elif flag == b"x":
            self._extra.update(self._pax(data))

    def _pax(self, data: bytes) -> dict[str, bytes]:
        records: dict[str, bytes] = {}
        while data.strip(b"\0"):
            digits, _, _ = data.partition(b" ")
            length = int(digits) if digits.isdigit() and len(digits) < 9 else 0
            record, data = data[:length], data[length:]
            key, equals, value = record[len(digits) + 1 :].partition(b"=")
            if not equals or len(record) != length or not value.endswith(b"\n"):
                raise self._damaged(f"the pax header before byte {self._at} is broken")
            records[key.decode("utf-8", "replace")] = value[:-1]
        return records

    def _size(self, header: bytes) -> int:
        field = header[124:136]
        if header[156:157] not in b"xgLK" and "size" in self._extra:
            field = self._extra["size"]
            if field.isdigit() and len(field) < 20:
                return int(field)
        elif field[0] == 0x80:  # base 256, for 8 GiB and more
            return int.from_bytes(field[1:], "big")
        else:
            digits = field.strip(b" \0")
            if all(c in b"01234567" for c in digits):
                return int(digits or b"0", 8)
        raise self._damaged(f"the header at byte {self._at - BLOCK} claims an impossible size")

    def _member_name(self, header: bytes) -> str:
        raw = self._extra.get("path")
        if raw is None:
            raw = header[:100].split(b"\0")[0]
            if header[257:263] == b"ustar\0" and header[345]:
                raw = header[345:500].split(b"\0")[0] + b"/" + raw
        return raw.decode("utf-8", "surrogateescape")

    def _second_zero_block(self, ended: bool) -> None:
        """An end mark is two zero blocks; behind it, any number of them is padding."""
        block = bytes(1) if ended else self._block(False)
        if not block:
            raise self._damaged("its end mark is cut")
        if any(block):
            raise self._damaged(f"the header at byte {self._at - 2 * BLOCK} is blank")

    def _block(self, may_end: bool) -> bytes:
        block = self._raw(BLOCK)
        if len(block) == BLOCK:
            return block
        if not block or (may_end and not any(block)):
            return b""
        raise self._damaged("it is cut inside a header")

    def _read(self, size: int, limit: int, what: str) -> bytes:
        if size > limit:
            raise self._damaged(f"{what} claims {size} bytes")
        data = self._raw(size)
        if len(data) < size:
            raise self._damaged(f"it is cut inside {what} ({len(data)} of {size} bytes)")
        return data

    def _skip(self, size: int) -> None:
        while size > 0:
            chunk = self._raw(min(size, _CHUNK))
            size -= len(chunk)
            if not chunk:
                raise self._damaged(f"it is cut at byte {self._at}")

    def _raw(self, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end; grows with what arrives, not with a claim."""
        parts = []
        while size > 0:
            part = self._file.read(min(size, _CHUNK))
            if not part:
                break
            parts.append(part)
            size -= len(part)
            self._at += len(part)
        return b"".join(parts)

    def _damaged(self, why: str) -> DamagedStream:
        good = f"{self._good} sample{'' if self._good == 1 else 's'} before it"
        return DamagedStream(f"{self._name}: damaged stream: {why}; {good}")
