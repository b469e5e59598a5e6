"""`model fetch`: resumed, atomic, checked, against a server in this process."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from gantools.io import fetch, partial, weights
from gantools.report import Usage

DATA = np.random.default_rng(0).bytes(300_000)
SHA = hashlib.sha256(DATA).hexdigest()


@dataclass
class Site:
    """What the server does, and what it was asked."""

    url: str = ""
    data: bytes = DATA
    etag: str | None = '"one"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes of the next answers before they break
    slow: float = 0.0
    status: list[int] = field(default_factory=list)  # of the next answers, instead of the file
    location: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # Range, If-Range


class Handler(BaseHTTPRequestHandler):
    """Files with ranges as RFC 9110 has them: If-Range, 206, 416."""

    site: Site

    def log_message(self, format: str, *args: object) -> None: ...

    def do_GET(self) -> None:
        site = self.site
        wanted, fresh = self.headers.get("Range"), self.headers.get("If-Range")
        site.asked.append((wanted or "", fresh))
        if site.location and self.path != "/moved.bin":
            self.send_response(302)
            self.send_header("Location", site.location)
            self.end_headers()
            return
        if site.status:
            self.send_error(site.status.pop(0))
            return
        start = 0
        if site.ranges and wanted and fresh in (None, site.etag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(site.data):
                self.send_error(416)
                return
            self.send_response(206)
            last = len(site.data) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(site.data)}")
        else:
            self.send_response(200)
        if site.etag:
            self.send_header("ETag", site.etag)
        body = site.data[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        body = body[: site.cuts.pop(0)] if site.cuts else body
        for i in range(0, len(body), 20_000):
            try:
                self.wfile.write(body[i : i + 20_000])
            except ConnectionError:
                return
            time.sleep(site.slow)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server on this machine."""
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    found = Site()
    handler = type("Here", (Handler,), {"site": found})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/file.bin"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_with_its_digest(site: Site, tmp_path: Path) -> None:
    """The digest may be given by its first digits; nothing else is left behind."""
    assert fetch.fetch(fetch.Wanted(site.url, SHA[:8]), tmp_path / "x" / "f") == SHA
    assert (tmp_path / "x" / "f").read_bytes() == DATA and left(tmp_path / "x") == ["f"]


def test_broken_connections_are_taken_up_again(site: Site, tmp_path: Path) -> None:
    """Ranges from where it broke, under the version's ETag."""
    site.cuts = [90_000, 0, 60_001]
    fetch.fetch(fetch.Wanted(site.url, SHA, len(DATA)), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA
    assert [a for a, _ in site.asked] == ["", "bytes=90000-", "bytes=90000-", "bytes=150001-"]
    assert {b for _, b in site.asked[1:]} == {'"one"'}


def test_the_next_call_goes_on(site: Site, tmp_path: Path) -> None:
    """Too many failures in a row keep the part; another call asks for the rest alone."""
    site.cuts = [100_000, *[0] * fetch.TRIES]
    with pytest.raises(Usage, match=r"0\.1 MB are kept, run it again"):
        fetch.fetch(fetch.Wanted(site.url, SHA), tmp_path / "f")
    assert left(tmp_path) == ["f.part", "f.part.json"]
    site.asked.clear()
    site.cuts.clear()
    fetch.fetch(fetch.Wanted(site.url, SHA), tmp_path / "f")
    assert site.asked == [("bytes=100000-", '"one"')]
    assert (tmp_path / "f").read_bytes() == DATA and left(tmp_path) == ["f"]


@pytest.mark.parametrize("how", ["no ranges", "new version", "no validator", "another address"])
def test_what_cannot_be_gone_on_with_is_begun_anew(site: Site, tmp_path: Path, how: str) -> None:
    """Old bytes never end up in the file: neither of another version nor of another address."""
    (tmp_path / "f.part").write_bytes(b"x" * 1000)
    url = site.url if how != "another address" else site.url + "?old"
    part = partial.Part(tmp_path / "f.part", None, old=True)  # type: ignore[arg-type]
    part.note({"url": url, "validator": '"old"', "size": len(DATA)})
    if how == "no ranges":
        site.ranges = False
    elif how == "no validator":
        site.etag = None
        part.note({"url": url, "validator": None, "size": len(DATA)})
    fetch.fetch(fetch.Wanted(site.url, SHA), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA and left(tmp_path) == ["f"]


def test_a_part_that_is_whole_is_only_checked(site: Site, tmp_path: Path) -> None:
    """The server has nothing more (416): right bytes are taken, more than it has are not."""
    for extra in (b"", b"!"):
        (tmp_path / "f.part").write_bytes(DATA + extra)
        part = partial.Part(tmp_path / "f.part", None, old=True)  # type: ignore[arg-type]
        part.note({"url": site.url, "validator": '"one"', "size": len(DATA)})
        site.asked.clear()
        fetch.fetch(fetch.Wanted(site.url, SHA), tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == DATA
        assert len(site.asked) == (2 if extra else 1)


def test_another_digest_is_removed(site: Site, tmp_path: Path) -> None:
    """Neither the file nor the part stays; another size is refused before a byte is kept."""
    with pytest.raises(Usage, match=f"its sha256 is {SHA}, expected 00000000; it was removed"):
        fetch.fetch(fetch.Wanted(site.url, "0" * 8), tmp_path / "f")
    assert left(tmp_path) == []
    with pytest.raises(Usage, match="300000 bytes, expected 7: another file"):
        fetch.fetch(fetch.Wanted(site.url, SHA, 7), tmp_path / "f")
    assert left(tmp_path) == []


def test_servers_that_refuse(site: Site, tmp_path: Path, monkeypatch) -> None:
    """404 at once, 503 after some tries, no server, a full disk: one line each."""
    site.status = [404]
    with pytest.raises(Usage, match=r"file\.bin: 404 Not Found"):
        fetch.fetch(fetch.Wanted(site.url, SHA), tmp_path / "f")
    site.status = [503, 503]
    fetch.fetch(fetch.Wanted(site.url, SHA), tmp_path / "g")
    site.status = [503] * fetch.TRIES
    with pytest.raises(Usage, match="503 Service Unavailable"):
        fetch.fetch(fetch.Wanted(site.url, SHA), tmp_path / "f")
    with pytest.raises(Usage, match="cannot be reached"):
        fetch.fetch(fetch.Wanted("http://127.0.0.1:9/x", SHA), tmp_path / "f")
    with monkeypatch.context() as m:
        m.setattr(fetch.shutil, "disk_usage", lambda _: type("U", (), {"free": 1000}))
        with pytest.raises(Usage, match=r"no room for 0\.3 MB"):
            fetch.fetch(fetch.Wanted(site.url, SHA), tmp_path / "f")
    assert left(tmp_path) == ["g"]


def test_a_full_disk_keeps_what_it_took(site: Site, tmp_path: Path, monkeypatch) -> None:
    """ENOSPC while writing: one line, the part is gone on with later."""
    whole = partial.Part.append

    def full(self: partial.Part, block: bytes) -> None:
        whole(self, block[:50_000])

        class Disk:
            def write(self, rest: object) -> int:
                raise OSError(errno.ENOSPC, "No space left on device")

            def fileno(self) -> int:
                return file.fileno()

        file, self.file = self.file, Disk()  # type: ignore[assignment]
        try:
            whole(self, block)
        finally:
            self.file = file

    with monkeypatch.context() as m:
        m.setattr(partial.Part, "append", full)
        with pytest.raises(Usage, match="the disk is full; 50000 bytes are kept"):
            fetch.fetch(fetch.Wanted(site.url, SHA), tmp_path / "f")
    fetch.fetch(fetch.Wanted(site.url, SHA), tmp_path / "f")
    assert site.asked[-1][0] == "bytes=50000-" and (tmp_path / "f").read_bytes() == DATA


@pytest.mark.parametrize("where", ["file:///etc/hostname", "ftp://127.0.0.1/x", "data:,x"])
def test_redirects_lead_to_http_alone(site: Site, tmp_path: Path, where: str) -> None:
    """A server cannot send us to files of this machine."""
    site.location = where
    with pytest.raises(Usage):
        fetch.fetch(fetch.Wanted(site.url, SHA), tmp_path / "f")
    assert left(tmp_path) == []
    site.location = "/moved.bin"
    fetch.fetch(fetch.Wanted(site.url, SHA), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA


def test_two_processes_do_not_write_one_file(site: Site, tmp_path: Path) -> None:
    with partial.opened(tmp_path / "f"), pytest.raises(Usage, match="another process"):
        fetch.fetch(fetch.Wanted(site.url, SHA), tmp_path / "f")


def test_ctrl_c_keeps_the_part(site: Site, tmp_path: Path) -> None:
    """Exit status 130 by the signal itself; the next call goes on and the file is right."""
    site.slow = 0.05
    argv = [sys.executable, "-m", "gantools", "model", "fetch", site.url]
    argv += ["--sha256", SHA, "-o", f"{tmp_path}/"]
    running = subprocess.Popen(argv, stderr=subprocess.PIPE)
    part = tmp_path / "file.bin.part"
    while not (part.exists() and part.stat().st_size > 60_000):
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=20)
    assert running.returncode == -signal.SIGINT and b"Traceback" not in err
    kept = part.stat().st_size
    assert 60_000 <= kept < len(DATA)
    site.slow = 0.0
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert f"sha256 {SHA}" in done.stderr and not done.stdout
    assert site.asked[-1] == (f"bytes={kept}-", '"one"')
    assert (tmp_path / "file.bin").read_bytes() == DATA


# ---------------------------------------------------------------------------- the command


def test_a_known_name_goes_where_weights_are_looked_for(
    gt: Callable, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by io.weights afterwards; a second call downloads nothing; a wrong file is named."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    known = weights.Weights("sub/w.pth", SHA, "a test's", site.url, len(DATA), "none")
    monkeypatch.setitem(weights.KNOWN, "mine", known)
    with pytest.raises(Usage, match=r"gantools model fetch mine, or put sub/w\.pth"):
        weights.locate("mine")
    done = gt("model", "fetch", "mine")
    assert done.code == 0 and not done.out, done.err
    target = tmp_path / "gantools" / "weights" / "sub" / "w.pth"
    assert weights.locate("mine") == target
    assert "is right" in gt("model", "fetch", "mine").err and len(site.asked) == 1
    target.write_bytes(b"other")
    done = gt("model", "fetch", "mine")
    assert done.code == 2 and "is there with the sha256" in done.err
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    monkeypatch.setenv("GANTOOLS_WEIGHTS", f"{tmp_path / 'none'}{os.pathsep}{chosen}")
    assert gt("model", "fetch", "mine", "-q").code == 0
    assert weights.locate("mine") == chosen / "sub" / "w.pth"
    assert gt("model", "fetch", "mine", "-o", f"{tmp_path}/here/", "-q").code == 0
    assert (tmp_path / "here" / "w.pth").read_bytes() == DATA


def test_the_list_says_what_there_is(gt: Callable) -> None:
    """Every entry has 64 digits, and its address where it has one ends with its file's name."""
    import json

    found = json.loads(gt("model", "fetch", "--list", "--json").text)["weights"]
    assert {row["name"] for row in found} == set(weights.KNOWN)
    for row in found:
        assert len(row["sha256"]) == 64 and row["licence"]
        prefix = fetch.digest_in_name(row["file"])
        assert prefix is None or row["sha256"].startswith(prefix)
        if row["url"] and row["name"] not in ("mobilenet", "mnist-lenet"):
            assert fetch.file_name(row["url"]) == Path(row["file"]).name
    assert len(gt("model", "fetch", "--list").text.splitlines()) == len(found)


def test_usage(gt: Callable, site: Site, tmp_path: Path) -> None:
    """One line each, exit status 2, nothing downloaded."""
    cases = [
        ((), "expected NAME or URL, or --list"),
        (("--list", "vgg16"), "--list goes alone"),
        (("vgg17",), "vgg17: neither an address nor one of vgg16"),
        (("vgg19",), "nobody publishes vgg19_conv1-3_f16.npz"),
        (("vgg16", "--sha256", "0" * 64), "vgg16 has 397923af"),
        (("vgg16", "--sha256", "zz"), "8 to 64 hexadecimal digits"),
        (("vgg16", "alexnet", "--sha256", "0" * 64), "--sha256 is of one file"),
        (("vgg16", "alexnet", "-o", "x.pth"), "2 files go to a folder"),
        (("file:///etc/passwd", "--sha256", "0" * 64), "begins with http"),
        (("http://", "--sha256", "0" * 64), "begins with http"),
        (("http://a/", "--sha256", "0" * 64), "no file name"),
        (("http://a/b/..", "--sha256", "0" * 64), "no file name"),
        ((site.url,), "its digest is not known; give the publisher's, --sha256 HEX"),
        ((site.url, "--sha256", SHA, "-o", "-"), "written to a file"),
        ((site.url, "--sha256", SHA, "-o", f"{tmp_path}/no/x"), "no such folder"),
    ]
    for argv, why in cases:
        done = gt("model", "fetch", *argv)
        assert done.code == 2 and why in done.err, (argv, done.err)
        assert done.err.count("\n") == 1 and not done.out, (argv, done.err)
    assert site.asked == []
    assert fetch.digest_in_name("vgg16-397923af.pth") == "397923af"
    assert fetch.digest_in_name("pt_inception-2015-12-05-6726825d.pth") == "6726825d"
    assert fetch.digest_in_name("20180402-114759-vggface2.pt") is None
