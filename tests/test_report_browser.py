"""report.html in headless Chromium: no message, no request to anywhere, and all of it is drawn."""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_training import picture

from gantools.training import report_html

PATIENCE = 120.0  # seconds for all that one page needs
WAYS = {  # command: what makes it small; three snapshots each
    "stylegan2": (
        "--resolution", "8", "--images", "6k", "--snapshot", "2k", "--batch", "32",
        "--channel-max", "8", "--map-depth", "1", "--gamma", "0.05",
    ),
    "pggan": (
        "--resolution", "16", "--images", "6k", "--snapshot", "2k", "--stable", "1k",
        "--fade", "1k", "--batch", "32", "--channel-base", "64", "--channel-max", "8",
        "--latent-dim", "16",
    ),
}  # fmt: skip
FLAGS = (
    "--headless", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--force-color-profile=srgb", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1200,800",
)  # fmt: skip


class Browser:
    """Chromium's DevTools protocol over a pair of pipes; JSON messages that end in a zero byte."""

    def __init__(self, to: int, answers: int) -> None:
        self.to, self.answers = to, answers
        self.numbers = itertools.count(1)
        self.events: list[tuple[str, Any]] = []
        self.session: str | None = None
        self._bytes = b""
        self._until = time.monotonic() + PATIENCE

    def ask(self, method: str, **params: Any) -> Any:
        """The answer to one command; events that come before it are kept."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self.events.append((answer["method"], answer["params"]))
        assert "result" in answer, answer
        return answer["result"]

    def wait(self, method: str) -> None:
        """Until the event has come."""
        while all(name != method for name, _ in self.events):
            answer = self._next()
            self.events.append((answer["method"], answer["params"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._bytes:
            with contextlib.suppress(BlockingIOError):
                got = os.read(self.answers, 1 << 20)
                assert got, "Chromium went away"
                self._bytes += got
                continue
            assert time.monotonic() < self._until, "Chromium does not answer"
            time.sleep(0.02)
        line, _, self._bytes = self._bytes.partition(b"\0")
        return json.loads(line)


@dataclass
class Page:
    """What a page did and what it looks like."""

    requests: list[str]
    messages: list[str]
    pixels: np.ndarray
    facts: Mapping[str, Any]


# What the page says of itself: pictures (natural width, width shown), curves drawn, text, overflow.
FACTS = """({
  images: [...document.images].map(x => [x.complete ? x.naturalWidth : 0, x.width]),
  curves: [...document.querySelectorAll('polyline')].map(x => x.getBoundingClientRect().width),
  labels: [...document.querySelectorAll('svg')].map(x => [...x.querySelectorAll('text')].every(
    t => t.getBoundingClientRect().left >= x.getBoundingClientRect().left)),
  text: document.body.innerText,
  overflow: document.documentElement.scrollWidth - innerWidth,
})"""


def read(browser: Browser, url: str) -> Page:
    """Open a page, wait until it is there, and look at it."""
    target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
    attached = browser.ask("Target.attachToTarget", targetId=target, flatten=True)
    browser.session = attached["sessionId"]
    for domain in ("Page", "Network", "Log", "Runtime"):
        browser.ask(f"{domain}.enable")
    browser.events.clear()
    browser.ask("Page.navigate", url=url)
    browser.wait("Page.loadEventFired")
    found = browser.ask("Runtime.evaluate", expression=FACTS, returnByValue=True)
    shot = browser.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
    image = Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB")
    requests = [p["request"]["url"] for n, p in browser.events if n == "Network.requestWillBeSent"]
    heard = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    messages = [json.dumps(p) for n, p in browser.events if n in heard]
    return Page(requests, messages, np.asarray(image), found["result"]["value"])


@pytest.fixture
def program() -> str:
    """Chromium's path; skips, with the package's name, where it is missing."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium: install Debian's chromium")
    return found


@contextlib.contextmanager
def chromium(program: str, profile: Path) -> Iterator[Browser]:
    """A Chromium of one's own, ended with all its processes."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    commands, answers = os.pipe(), os.pipe()
    os.set_blocking(answers[0], False)
    # It reads commands from descriptor 3 and answers on 4; a shell puts the pipes there.
    line = f'exec "$@" 3<&{commands[0]} 4>&{answers[1]}'
    given = [program, *FLAGS, *sandbox, f"--user-data-dir={profile}", "about:blank"]
    with (profile.parent / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", line, "chromium", *given],
            pass_fds=(commands[0], answers[1]),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": str(profile.parent)},
            start_new_session=True,
        )
    os.close(commands[0])
    os.close(answers[1])
    try:
        yield Browser(commands[1], answers[0])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(commands[1])
        os.close(answers[0])


def shows(page: np.ndarray, part: np.ndarray) -> bool:
    """Whether the picture stands somewhere in the page, pixel by pixel."""
    height, width = part.shape[:2]
    rows, columns = page.shape[0] - height + 1, page.shape[1] - width + 1
    probes = [(i * height // 7, i * width // 7) for i in range(7)]
    here = np.ones((rows, columns), bool)
    for y, x in probes:
        here &= (page[y : y + rows, x : x + columns] == part[y, x]).all(2)
    places = np.argwhere(here)
    return any((page[y : y + height, x : x + width] == part).all() for y, x in places.tolist())


@pytest.mark.long
@pytest.mark.parametrize("family", WAYS)
def test_report_opens_whole_and_silent(
    family: str, program: str, gt: Callable[..., Any], tmp_path: Path
) -> None:
    """No console message, no request besides the file, every grid and curve drawn (S1.27)."""
    size = 8 if family == "stylegan2" else 16
    faces = tmp_path / "faces"
    faces.mkdir()
    for i in range(200):
        (faces / f"{i:05d}.png").write_bytes(picture(i, size))
    run = tmp_path / "run"
    made = gt(
        "train", family, faces, "-o", run, *WAYS[family], "--device", "cpu", "--workers", "2", "-q"
    )
    assert made.code == 0, made.err
    alone = tmp_path / "elsewhere" / "report.html"  # nothing else of the run beside it
    alone.parent.mkdir()
    shutil.copy(run / "report.html", alone)
    with chromium(program, tmp_path / "profile") as browser:
        page = read(browser, alone.as_uri())
    assert [x for x in page.requests if not x.startswith("data:image/png;")] == [alone.as_uri()]
    assert page.messages == []

    grids = sorted((run / "samples").iterdir())
    assert len(grids) == 3
    assert len(page.facts["images"]) == len(grids)
    for grid, (natural, shown) in zip(grids, page.facts["images"], strict=True):
        pixels = np.asarray(Image.open(grid).convert("RGB"))
        assert natural == pixels.shape[1]
        assert shown % natural == 0 and shown >= report_html.WIDE
        times = shown // natural
        assert shows(page.pixels, pixels.repeat(times, 0).repeat(times, 1)), grid.name
    lines = report_html.read_log(run / "log.jsonl")
    names = {x for _, names in report_html.CURVES for x in names if any(x in y for y in lines)}
    assert len(page.facts["curves"]) == len(names) >= 5
    assert min(page.facts["curves"]) > 100, "a curve that is not drawn"
    assert all(page.facts["labels"]), "a label of an axis is cut off"
    assert page.facts["overflow"] <= 0
    words = ("Samples", "Curves", "Configuration", f"{lines[-1]['images']:,} images", *names)
    assert all(word in page.facts["text"] for word in words)


@pytest.mark.long
def test_the_browser_tells_of_requests_and_messages(program: str, tmp_path: Path) -> None:
    """Of a page that loads from elsewhere and complains, both are heard."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<!doctype html><img src="http://example.invalid/x.png"><img src="missing.png">'
        '<script>console.error("complaint"); nowhere()</script>'
    )
    with chromium(program, tmp_path / "profile") as browser:
        page = read(browser, bad.as_uri())
    missing = (tmp_path / "missing.png").as_uri()
    assert set(page.requests) == {bad.as_uri(), "http://example.invalid/x.png", missing}
    told = "\n".join(page.messages)
    for word in ("complaint", "nowhere is not defined", "ERR_NAME_NOT_RESOLVED", "ERR_FILE_NOT"):
        assert word in told
