"""A run on several processes: torchrun with two of them on this machine, gloo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training import picture

from gantools.networks.layers import minibatch_stddev
from gantools.report import Usage
from gantools.training.distributed import Ranks

SMALL = (
    "--batch", "32", "--channel-max", "8", "--device", "cpu", "--workers", "2", "--snapshot", "1k",
)  # fmt: skip
FAMILIES = {
    "stylegan2": ("--resolution", "8", "--map-depth", "1", "--gamma", "0.05", "--mirror"),
    "stylegan": ("--resolution", "16", "--map-depth", "1", "--latent-dim", "16", "--gamma", "1",
                 "--stable", "500", "--fade", "500"),
    "pggan": ("--resolution", "16", "--latent-dim", "16", "--stable", "500", "--fade", "500"),
    "sngan": ("--resolution", "32", "--latent-dim", "8", "--d-steps", "2", "--channel-max", "4"),
}  # fmt: skip


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    for i in range(30):
        (folder / f"{i:05d}.png").write_bytes(picture(i, 32))
    (folder / "cut.png").write_bytes(picture(3, 32)[:60])
    return folder


def command(*argv: object, processes: int = 2) -> list[str]:
    run = ["torch.distributed.run", "--nproc-per-node", str(processes), "--standalone", "-m"]
    return [sys.executable, "-m", *(run if processes > 1 else []), "gantools", *map(str, argv)]


def trained(*argv: object, processes: int = 2) -> str:
    """What a run says; it has to end well, but for the picture that is cut."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command("train", *argv, processes=processes), capture_output=True,
                          text=True, env=environment, check=False, timeout=300)  # fmt: skip
    assert 'Traceback (most recent call last):\n  File "/' not in done.stderr or processes > 1
    assert "network-" in done.stderr, done.stderr
    return done.stderr


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(x) for x in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("n", "group", "world"), [(32, 4, 2), (24, 4, 3), (16, 1, 4), (8, 8, 1)])
def test_shares_are_whole_groups(n: int, group: int, world: int) -> None:
    """Each sample has one process, and D's statistics of a share are those of the whole batch."""
    shares = [Ranks(rank, world).share(n, group) for rank in range(world)]
    assert sorted(torch.cat(shares).tolist()) == list(range(n))
    x = torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = minibatch_stddev(x, group)
    for rank, share in enumerate(shares):
        own = Ranks(rank, world).take(x, group)
        torch.testing.assert_close(minibatch_stddev(own, group), whole[share])


@pytest.mark.parametrize(("n", "group"), [(32, 0), (32, 32), (10, 4), (10, 2)])
def test_groups_that_do_not_divide_are_refused(n: int, group: int) -> None:
    with pytest.raises(Usage, match="choose another --batch"):
        Ranks(1, 2).share(n, group)


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_two_processes_train_as_one_does(faces: Path, tmp_path: Path, family: str) -> None:
    """The same losses within rounding; one set of files, one line for the cut picture."""
    args = (family, faces, *SMALL, *FAMILIES[family], "--images", "1k")
    trained(*args, "-o", tmp_path / "one", processes=1)
    said = trained(*args, "-o", tmp_path / "two")
    one, two = lines(tmp_path / "one"), lines(tmp_path / "two")
    assert len(one) == len(two) == 1
    skip = {"seconds", "images_per_second", "waiting"}
    for name in one[0].keys() - skip:
        if isinstance(one[0][name], float):
            assert two[0][name] == pytest.approx(one[0][name], rel=0.02, abs=0.01), name
        else:
            assert two[0][name] == one[0][name], name
    assert said.count("cut.png") == 1
    assert said.count("network-000001") == 1


@pytest.mark.long
def test_a_run_goes_on_with_another_number_of_processes(faces: Path, tmp_path: Path) -> None:
    args = ("stylegan2", faces, *SMALL, *FAMILIES["stylegan2"], "-o", tmp_path / "run", "--images")
    trained(*args, "1k")
    trained(*args, "2k", processes=1)
    trained(*args, "3k")
    images = [line["images"] for line in lines(tmp_path / "run")]
    assert images == [1024, 2016, 3008]


@pytest.mark.long
def test_a_dead_process_ends_the_job_and_the_run_goes_on(faces: Path, tmp_path: Path) -> None:
    """kill -9 of the second process: the job ends, not by itself, and resumes."""
    run = tmp_path / "run"
    args = ("stylegan2", faces, *SMALL, *FAMILIES["stylegan2"], "-o", run, "--images")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command("train", *args, "900k"), stderr=subprocess.PIPE, text=True,
                          env=environment) as job:  # fmt: skip
        deadline = time.monotonic() + 120
        while not (run / "state.safetensors").exists():
            assert job.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(_worker(job.pid, rank=1), signal.SIGKILL)
        _, err = job.communicate(timeout=120)
    assert job.returncode != 0
    assert "signal 9" in err.lower() or "sigkill" in err.lower(), err
    done = lines(run)[-1]["images"]
    trained(*args, str(done + 1000), processes=1)


def _worker(parent: int, rank: int) -> int:
    """The process that torchrun started as this rank."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            ppid = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if ppid == parent and f"RANK={rank}".encode() in variables:
            return int(entry.name)
    raise AssertionError(f"no process of rank {rank}")
