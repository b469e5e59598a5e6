"""Metrics on the processes of torchrun: who makes what, what is handed on, how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_network
from safetensors.numpy import load_file

from gantools.commands import _ranks
from gantools.report import Usage

# Runs each command line of a file as one process of several; what it prints goes to files.
RUN = """
import io, json, os, sys
from gantools import cli
from gantools.commands import _ranks
os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"  # it serves one run
for i, (port, argv) in enumerate(json.load(open(sys.argv[1]))):
    os.environ["MASTER_PORT"], _ranks._run["divided"] = str(port), False  # as in a new process
    real, sys.stdout = sys.stdout, io.TextIOWrapper(io.BytesIO(), write_through=True)
    code = cli.run(argv)
    text, sys.stdout = sys.stdout.buffer.getvalue().decode(), real
    rank = os.environ["RANK"]
    json.dump({"code": int(code), "text": text}, open(f"{sys.argv[2]}/{i}.{rank}.json", "w"))
"""
DEAD = """
import os, signal, sys
from gantools import cli
from gantools.commands import _ranks

def killed(blocks):
    with _ranks._joined():
        next(blocks)
        os.kill(os.getpid(), signal.SIGKILL)

_ranks._send = killed
sys.exit(cli.run(sys.argv[1:]))
"""


def torchrun(*argv: object) -> subprocess.CompletedProcess[str]:
    """Two processes on this machine."""
    run = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "--"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *run, *map(str, argv)], capture_output=True, text=True,
                          env=environment, check=False, timeout=100)  # fmt: skip


def ports(count: int) -> list[int]:
    """Ports of this machine that are free."""
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("ranks")
    net = make_network(folder / "net.safetensors", resolution=8, w_dim=8)
    generator = np.random.default_rng(0)
    from PIL import Image

    (folder / "real").mkdir()
    for i in range(24):
        pixels = generator.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "real" / f"{i:02d}.png")
    return {"net": net, "real": folder / "real"}


@pytest.mark.long
def test_two_processes_find_what_one_finds(
    gt: Callable[..., Any], world: dict[str, Path], tmp_path: Path
) -> None:
    """S0.16, S0.17: the first tells the same, the other nothing; 150 pictures are two rounds."""
    own = ("--net", world["net"], "--device", "cpu", "--json")
    seen = ("--features", "discriminator", "--num", "150")
    lines = [
        ("metrics", "kid", world["real"], *own, *seen, "--subsets", "5"),
        ("metrics", "stats", *own, *seen, "--mirror", "-o", tmp_path / "OWN.safetensors"),
        ("metrics", "positions", *own, "--num", "9", "--grid", "4"),
        ("metrics", "ppl", *own, "--num", "5", "--perceptual", "pyramid", "--seed", "3"),
        ("metrics", "kid", world["real"], world["real"], *own, "--features", "discriminator"),
    ]
    (tmp_path / "run.py").write_text(RUN)
    (tmp_path / "two").mkdir()
    swapped = [[str(word).replace("OWN", "two") for word in line] for line in lines]
    (tmp_path / "lines.json").write_text(json.dumps([*zip(ports(5), swapped, strict=True)]))
    done = torchrun(tmp_path / "run.py", tmp_path / "lines.json", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    for i, line in enumerate(lines[:-1]):
        alone = gt(*line)
        first, other = (json.loads((tmp_path / "two" / f"{i}.{r}.json").read_text()) for r in "01")
        assert (alone.code, first["code"], other["code"]) == (0, 0, 0), done.stderr
        wanted, found = (json.loads(text) for text in (alone.text, first["text"]))
        if line[1] in ("kid", "stats"):  # features of a batch differ by its rounding
            for key in {"kid", "kid_std"} & set(wanted):
                assert found.pop(key) == pytest.approx(wanted.pop(key), rel=1e-5)
            for part in wanted["protocol"].get("parts", []) + found["protocol"].get("parts", []):
                del part["sums_sha256"]
        assert found == wanted
        assert other["text"] == ""
    one, two = (load_file(tmp_path / f"{name}.safetensors") for name in ("OWN", "two"))
    assert one["count"] == two["count"] == 300
    np.testing.assert_allclose(one["mean"], two["mean"], rtol=1e-5)
    np.testing.assert_allclose(one["scatter"], two["scatter"], atol=1e-5 * one["scatter"].max())
    last = json.loads((tmp_path / "two" / "4.0.json").read_text())
    assert last["code"] == 2 and "torchrun divides what a network makes" in done.stderr


@pytest.mark.long
def test_a_dead_process_ends_the_run_with_a_line(world: dict[str, Path], tmp_path: Path) -> None:
    """S0.17: the first does not wait for hours."""
    (tmp_path / "dead.py").write_text(DEAD)
    argv = ["metrics", "ppl", "--net", str(world["net"]), "--num", "150", "--perceptual", "pyramid",
            "--device", "cpu", "--path", "wend"]  # fmt: skip
    told = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(ports(1)[0])}
    starts = (["-m", "gantools"], [str(tmp_path / "dead.py")])
    first, other = (
        subprocess.Popen([sys.executable, *start, *argv], text=True, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE,
                         env={**os.environ, **told, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank, start in enumerate(starts)
    )  # fmt: skip
    with first, other:
        out, err = first.communicate(timeout=100)
        assert other.wait(timeout=100) == -signal.SIGKILL
    assert (first.returncode, out) == (2, "")
    assert err == "gantools metrics ppl: another process of this run ended early\n"


@pytest.mark.parametrize("count", [1, 7, 128, 500])
def test_rounds_have_as_many_numbers_everywhere(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """What the processes make in one round lies before what they make in the next."""
    numbers = range(3, 3 + 2 * count, 2)
    monkeypatch.setenv("WORLD_SIZE", "3")
    per_rank = []
    for rank in "012":
        monkeypatch.setenv("RANK", rank)
        mine = [(i, np.zeros(1)) for i in _ranks.share(numbers) if i % 5]  # some are left out
        per_rank.append([[i for i, _ in block] for block in _ranks._blocks(mine, numbers)])
    assert len({len(blocks) for blocks in per_rank}) == 1
    rounds = [sorted(chain(*parts)) for parts in zip(*per_rank, strict=True)]
    assert [*chain(*rounds)] == [i for i in numbers if i % 5]
    assert max(map(len, chain(*per_rank))) <= _ranks.BLOCK


def test_one_process_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torchrun nothing is divided, and a run of several refuses what is not made here."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(_ranks, "_run", {"divided": False})
    assert (_ranks.world(), _ranks.rank(), _ranks.share(range(5))) == (1, 0, range(5))
    items = [(i, np.zeros(1)) for i in range(3)]
    assert [*_ranks.together(items, range(3))] == items
    _ranks.alone("FAKE")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(Usage, match="leave FAKE out"):
        _ranks.alone("FAKE")
    monkeypatch.setenv("RANK", "0")
    _ranks.together(items, range(3))  # nothing is handed on before items are taken
    with pytest.raises(Usage, match="one set of samples"):
        _ranks.together(items, range(3))
