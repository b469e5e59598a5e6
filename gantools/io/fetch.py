"""One file over http(s): resumed where it broke off, checked by its sha256, whole or not at all.

The bytes gather in FILE.part; FILE.part.json says what they are the beginning of. Both stay when a
connection breaks, the disk is full or a person presses Ctrl-C, and the next call goes on from
there. Bytes with another digest than the wanted one are removed: nothing good follows from them.
What was fetched is never opened here, only counted and hashed.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

from gantools import __version__, report
from gantools.io import partial, weights
from gantools.io.partial import Part, in_words, megabytes
from gantools.report import Usage

TIMEOUT = 30.0  # seconds without a byte
TRIES = 5  # broken connections in a row that bring nothing new
PAUSE = 1.0  # seconds after the first of them; then 2, 3, …
BLOCK = 1 << 18
SOON = frozenset({408, 429, 500, 502, 503, 504})  # statuses that may be others in a moment
_BROKEN = (http.client.HTTPException, ConnectionError, TimeoutError)


@dataclass(frozen=True)
class Wanted:
    """What is fetched: the address, the digest's first digits (all 64 or fewer), the bytes."""

    url: str
    digest: str
    size: int | None = None


class _Broken(Exception):
    """The connection ended early; what came is kept."""


class _OnlyHttp(urllib.request.HTTPRedirectHandler):
    """Redirects lead to http(s) alone."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check_address(url: str) -> None:
    """Usage for what is no http(s) address."""
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url:
        raise Usage(f"{url}: expected an address that begins with http:// or https://")


def file_name(url: str) -> str:
    """The name that an address ends with; Usage where it has none."""
    name = urllib.parse.unquote(urllib.parse.urlsplit(url).path).rpartition("/")[2]
    if not name.strip(".") or not name.isprintable():
        raise Usage(f"{url}: no file name at its end, give one with -o")
    return name


def digest_in_name(name: str) -> str | None:
    """The digits of the sha256 that torch hub's file names carry: vgg16-397923af.pth."""
    found = re.search(r"-([0-9a-f]{8,64})\.[^.]+$", name)
    return found[1] if found else None


def fetch(wanted: Wanted, target: Path) -> str:
    """Fetch into `target`, whose folder is made; returns the sha256. Usage where it cannot be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with partial.opened(target) as part:
        _fill(wanted, part)
        found = weights.sha256(part.path)
        if part.old and not found.startswith(wanted.digest):
            report.note(f"{target.name}: what was kept does not fit; from the beginning again")
            part.cut(0)
            _fill(wanted, part)
            found = weights.sha256(part.path)
        if not found.startswith(wanted.digest):
            part.remove()
            raise Usage(
                f"{wanted.url}: its sha256 is {found}, expected {wanted.digest}; it was removed"
            )
        os.fsync(part.file.fileno())
        part.path.replace(target)
        part.remove()
    return found


def _fill(wanted: Wanted, part: Part) -> None:
    """Append until the file is whole; a broken connection is taken up again."""
    failures = 0
    while True:
        kept = part.size
        try:
            return _attempt(wanted, part)
        except _Broken as why:
            failures = 1 if part.size > kept else failures + 1
            if failures >= TRIES:
                raise Usage(
                    f"{wanted.url}: {why}; {megabytes(part.size)} are kept, run it again to go on"
                ) from None
        time.sleep(PAUSE * failures)


def _attempt(wanted: Wanted, part: Part) -> None:
    """One request, for what is missing."""
    story = part.told()
    if story.get("url") != wanted.url:
        part.cut(0)
    have = part.size
    headers = {"User-Agent": f"gantools/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if story.get("validator"):
            headers["If-Range"] = str(story["validator"])
    answer = _opened(urllib.request.Request(wanted.url, headers=headers), wanted.url)
    if answer is None:
        if story.get("size") == have:
            return
        part.cut(0)
        raise _Broken("the server has less than what was kept")
    with answer:
        start, total = _place(answer, have, wanted.url)
        if wanted.size is not None and total not in (None, wanted.size):
            part.remove()
            raise Usage(f"{wanted.url}: {total} bytes, expected {wanted.size}: another file")
        part.cut(start)  # to 0 where the server begins anew
        _check_room(part.path.parent, start, total)
        part.note({"url": wanted.url, "validator": _validator(answer), "size": total})
        _copy(answer, part, total)


def _opened(request: urllib.request.Request, url: str) -> HTTPResponse | None:
    """The server's answer; None where it has nothing from the asked place on (416)."""
    check_address(url)
    opener = urllib.request.OpenerDirector()  # no file:, ftp: or data: among its handlers
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _OnlyHttp(),
    ):
        opener.add_handler(handler)
    try:
        answer: HTTPResponse = opener.open(request, timeout=TIMEOUT)
        return answer
    except urllib.error.HTTPError as e:
        e.close()
        if e.code == 416 and request.has_header("Range"):
            return None
        if e.code in SOON:
            raise _Broken(f"{e.code} {e.reason}") from None
        raise Usage(f"{url}: {e.code} {e.reason}") from None
    except urllib.error.URLError as e:
        if isinstance(e.reason, _BROKEN) and not isinstance(e.reason, ConnectionRefusedError):
            raise _Broken(in_words(e.reason)) from None
        raise Usage(f"{url}: cannot be reached ({in_words(e.reason)})") from None
    except _BROKEN as e:
        raise _Broken(in_words(e)) from None


def _place(answer: HTTPResponse, have: int, url: str) -> tuple[int, int | None]:
    """Where the answer's bytes begin, and how many the whole file has."""
    length = answer.headers.get("Content-Length", "")
    if answer.status != 206:
        return 0, int(length) if length.isdecimal() else None
    said = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if said is None or int(said[1]) != have:
        raise Usage(f"{url}: the server answers with another part than was asked for")
    return have, None if said[2] == "*" else int(said[2])


def _validator(answer: HTTPResponse) -> str | None:
    """What If-Range names this version by: a strong ETag, or the date of its last change."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified")


def _check_room(folder: Path, start: int, total: int | None) -> None:
    if total is not None and total - start > shutil.disk_usage(folder).free:
        raise Usage(f"{folder}: no room for {megabytes(total - start)} more")


def _copy(answer: HTTPResponse, part: Part, total: int | None) -> None:
    bar = report.progress_bar(total=total, unit="B", desc=part.path.stem, scale=True)
    bar.update(part.size)
    try:
        while block := _block(answer):
            part.append(block)
            bar.update(len(block))
    finally:
        bar.close()
    if total is not None and part.size < total:
        raise _Broken(f"the connection ended after {megabytes(part.size)} of {megabytes(total)}")


def _block(answer: HTTPResponse) -> bytes:
    try:
        return answer.read(BLOCK)
    except (http.client.HTTPException, OSError) as e:
        raise _Broken(in_words(e)) from None
