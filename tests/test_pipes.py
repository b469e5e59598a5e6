"""Real processes under `bash -o pipefail`: pipes, signals, terminals, dead ends."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

GANTOOLS = f"{sys.executable} -m gantools"


def bash(script: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a pipeline; $G is `gantools`."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=cwd,
        env={**os.environ, "G": GANTOOLS, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def here(tmp_path: Path, tiny_network: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder; $GANTOOLS_NET is the tiny network."""
    monkeypatch.setenv("GANTOOLS_NET", str(tiny_network))
    return tmp_path


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_a_pipe_of_four_commands_and_tar(here: Path) -> None:
    """generate | edit | mix | tar: streams are tar archives, in and out."""
    run = bash(
        "$G generate --seeds 0-3 --space w | tee a.tar | tar tf - > names && "
        "mkdir d && tar xf a.tar -C d && tar cf - d | $G mix -o mixed.tar && tar tf mixed.tar",
        here,
    )
    assert run.returncode == 0, run.stderr
    assert (here / "names").read_text().split() == [f"seed00000{i}.safetensors" for i in range(4)]
    assert run.stdout.decode().strip().endswith(".safetensors")


def test_concatenated_streams_are_one(here: Path) -> None:
    run = bash(
        "$G generate --seeds 0,1 --space w -o a.tar && $G generate --seeds 2 --space w -o b.tar && "
        "cat a.tar b.tar | $G generate - -o pictures/",
        here,
    )
    assert run.returncode == 0, run.stderr
    assert files(here) == {"a.tar", "b.tar", *(f"pictures/seed00000{i}.png" for i in range(3))}


def test_a_reader_that_goes_away_gives_141(here: Path) -> None:
    run = bash("$G generate --seeds 0-999 -o .png | head -c 1 > one", here)
    assert run.returncode == 141
    assert run.stderr == b""
    assert (here / "one").stat().st_size == 1


def test_a_dead_upstream_is_noticed(here: Path) -> None:
    """The stream is cut: what came is written, no end mark, exit 2 all along the pipe."""
    bash("$G generate --seeds 0-3 --space w -o whole.tar", here)
    whole = (here / "whole.tar").read_bytes()
    (here / "cut.tar").write_bytes(whole[:-1024])  # every sample, no end mark
    run = bash("cat cut.tar | $G generate - -o out.tar; echo $?; ls", here)
    assert run.stdout.split()[0] == b"2"
    assert b"out.tar" not in run.stdout
    run = bash("cat cut.tar | $G generate - | tee kept.tar | $G generate - -o again/", here)
    assert run.returncode == 2
    assert (here / "kept.tar").stat().st_size > 0
    run = bash("false | $G generate - -o none/", here)
    assert run.returncode == 2
    assert run.stderr.count(b"\n") == 1


def test_a_closed_stdin_is_one_line(here: Path) -> None:
    run = bash("$G generate - -o x/ <&-", here)
    assert run.returncode == 2
    assert run.stderr.count(b"\n") == 1, run.stderr


@pytest.mark.parametrize(
    "argv", [["generate", "--seeds", "0"], ["generate", "--seeds", "0", "-o", ".png"]]
)
def test_a_terminal_is_refused_before_any_work(argv: list[str], here: Path) -> None:
    """A pty on stdout: exit 2, and a line that says what to do instead."""
    master, slave = pty.openpty()
    run = subprocess.run(
        [sys.executable, "-m", "gantools", *argv],
        cwd=here,
        stdout=slave,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(slave)
    os.close(master)
    assert run.returncode == 2
    assert b"-o" in run.stderr
    assert run.stderr.count(b"\n") == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("output", ["out.tar", "walk.mp4", "d/"])
def test_signals_leave_no_litter(number: int, status: int, output: str, here: Path) -> None:
    """Temporary files are removed, complete samples stay, the status is the signal's."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gantools", "generate", "--seeds", "0-99999", "-o", output],
        cwd=here,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    end = time.monotonic() + 60
    while not any(here.rglob("*.*")) and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == -number
    assert status == 128 + number
    left = files(here)
    assert not [name for name in left if "tmp" in name], left
    assert all(name.startswith("d/seed") for name in left), left
    assert err == b"", err


def test_a_full_disk_is_one_line_and_nothing_half_written(here: Path) -> None:
    """/dev/full takes no byte: exit 2."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    run = bash("$G generate --seeds 0-3 > /dev/full", here)
    assert run.returncode == 2
    assert run.stderr.count(b"\n") == 1, run.stderr
    assert b"no space left" in run.stderr.lower()


def test_no_clobber_resumes(here: Path) -> None:
    """What exists is skipped before any work; shards partition the rest."""
    first = bash("$G generate --seeds 0-3 --shard 0/2 -o d/", here)
    assert first.returncode == 0, first.stderr
    assert files(here / "d") == {"seed000000.png", "seed000002.png"}
    before = (here / "d" / "seed000000.png").stat().st_mtime_ns
    again = bash("$G generate --seeds 0-3 --no-clobber -o d/", here)
    assert again.returncode == 0, again.stderr
    assert files(here / "d") == {f"seed00000{i}.png" for i in range(4)}
    assert (here / "d" / "seed000000.png").stat().st_mtime_ns == before
