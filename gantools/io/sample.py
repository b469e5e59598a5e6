"""One sample: its key, its bytes, and what kind of thing the bytes are (gantools-stream(5))."""

from __future__ import annotations

import re
import struct
import unicodedata
from dataclasses import dataclass

HEAD = 4096
"""How many first bytes `kind` needs to see."""

IMAGE_SUFFIXES = frozenset(
    ".png .apng .jpg .jpeg .jpe .jfif .mpo .gif .webp .avif .avifs .heic .heif .bmp .dib "
    ".tif .tiff .pbm .pgm .ppm .pnm .pam .jp2 .j2k .jpx .jpf .ico .qoi".split()
)
LATENT_SUFFIXES = frozenset({".safetensors"})

_PICTURES: tuple[tuple[int, bytes], ...] = (
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"\xff\xd8\xff"),
    (0, b"GIF87a"),
    (0, b"GIF89a"),
    (8, b"WEBPVP8"),
    (0, b"II*\0"),
    (0, b"MM\0*"),
    (0, b"II+\0"),  # BigTIFF
    (0, b"MM\0+"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n"),
    (0, b"\xff\x4f\xff\x51"),
    (0, b"qoif"),
    (0, b"\0\0\1\0"),
)
_FTYP = frozenset({b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1", b"hevc"})
_NETWORK = re.compile(rb'(?<!\\)"g(_ema)?\.')
"""A tensor of a generator; quotes inside the metadata's own JSON stand behind a backslash."""
_ARCHIVES: tuple[tuple[bytes, str], ...] = (
    (b"PK\3\4", "zip"),
    (b"PK\5\6", "zip"),
    (b"\x1f\x8b", "gz"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bz2"),
    (b"\x28\xb5\x2f\xfd", "zst"),
)


@dataclass(slots=True)
class Sample:
    """One thing that flows through a pipe.

    key: what it is called, cleaned, with `/` between folders and without a suffix.
    data: the bytes of its file. name: for messages (`photos/7.jpg`, `stdin:a/7.png`).
    """

    key: str
    data: bytes
    name: str


def clean_key(key: str) -> str:
    """A key that is safe below a folder: no leading `/`, `..`, backslash or control character."""
    text = "".join(c for c in key.replace("\\", "/") if _may_stand_in_a_name(c))
    return "/".join(p for p in text.split("/") if p not in ("", ".", "..")) or "unnamed"


def _may_stand_in_a_name(c: str) -> bool:
    """No control characters, line separators or halves of characters (names not UTF-8 may stay)."""
    return unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") or "\udc80" <= c <= "\udcff"


def key_of_member(name: str) -> str:
    """The key of an archive's member or of a path below a folder: its name without suffix.

    Only what looks like a suffix goes (a dot, a letter, up to 11 letters or digits), so that
    `frame.0001` and `frame.0002` stay two keys.
    """
    return clean_key(re.sub(r"(?<=[^/])\.[A-Za-z][A-Za-z0-9]{0,11}$", "", name))


def suffix_of(name: str) -> str:
    """The suffix in lower case with its dot, or nothing."""
    found = re.search(r"(?<=[^/])\.[A-Za-z][A-Za-z0-9]{0,11}$", name)
    return found.group().lower() if found else ""


def kind(data: bytes) -> str:
    """What the bytes are; the first `HEAD` of them suffice, a name is never looked at.

    "image", "latent" (any safetensors file that is not a network), "network", "tar", "zip",
    "idx", "gz", "xz", "bz2", "zst" or "unknown".
    """
    for magic, name in _ARCHIVES:
        if data.startswith(magic):
            return name
    if _is_safetensors(data):
        header = data[8 : 8 + struct.unpack("<Q", data[:8])[0]]
        return "network" if _NETWORK.search(header) else "latent"
    if _is_image(data):
        return "image"
    if _is_tar(data):
        return "tar"
    if len(data) >= 8 and data[:2] == b"\0\0" and data[2] in _IDX_TYPES and 1 <= data[3] <= 4:
        return "idx"
    return "unknown"


_IDX_TYPES = frozenset({0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E})


def _is_safetensors(data: bytes) -> bool:
    return len(data) >= 10 and data[8:9] == b"{" and struct.unpack("<Q", data[:8])[0] <= 100_000_000


def _is_image(data: bytes) -> bool:
    if any(data.startswith(magic, at) for at, magic in _PICTURES):
        return True
    if data[4:8] == b"ftyp" and data[8:12] in _FTYP:
        return True
    if len(data) >= 26 and data[:2] == b"BM":  # bytes 14: size of the second header
        return int.from_bytes(data[14:18], "little") in (12, 40, 52, 56, 64, 108, 124)
    return len(data) >= 3 and data[:1] == b"P" and data[1:2] in b"1234567" and data[2:3].isspace()


def _is_tar(data: bytes) -> bool:
    if len(data) < 512:
        return False
    if data[257:262] == b"ustar":
        return True
    return tar_checksum_holds(data[:512]) or not any(data[:512])


def tar_checksum_holds(header: bytes) -> bool:
    """Whether the 512 bytes carry their own sum (POSIX: unsigned; some old tars: signed)."""
    field = header[148:156].strip(b" \0")
    if not field or any(c not in b"01234567" for c in field):
        return False
    said = int(field, 8)
    unsigned = sum(header[:148]) + 8 * 32 + sum(header[156:512])
    signed = unsigned - 256 * sum(c > 127 for c in header[:148] + header[156:512])
    return said in (unsigned, signed)
