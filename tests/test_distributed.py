"""A run on several processes: torchrun with two of them on this machine, gloo."""

from __future__ import annotations

import json
import math
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
CASES = {
    **{family: (family, *more) for family, more in FAMILIES.items()},
    # What looks at spectra is averaged too (S3.17, S3.18, S3.30).
    "spectral": ("stylegan2", *FAMILIES["stylegan2"], "--spectral-d", "jk"),
    "mining": ("sngan", *FAMILIES["sngan"], "--f-mining", "--spec-reg", "durall"),
    # One group of the minibatch stddev in both processes; both networks step at once (S1.21).
    "cifar10": ("pggan", "--preset", "cifar10", "--resolution", "8", "--batch", "16",
                "--latent-dim", "16", "--stable", "500", "--fade", "500"),
}  # fmt: skip
SPREAD = """
import torch
from gantools.networks.batch_norm import BatchNorm
from gantools.networks.layers import MinibatchStddev
from gantools.networks.pggan_discriminator import Discriminator, DiscriminatorConfig
from gantools.training import losses
from gantools.training.distributed import joined

def slopes(d, x, ranks):
    logits = d(x.requires_grad_())
    loss = logits.mean() + losses.r1_penalty(logits, x, 2.0) + losses.gradient_penalty(logits, x)
    loss.backward()
    ranks.average_gradients(list(d.parameters()))
    return [p.grad.clone() for p in d.parameters() if p.grad is not None]

with joined("cpu") as ranks:
    for n, group, norm in ((8, 0, "none"), (8, 8, "batch"), (12, 4, "none"), (16, 4, "none")):
        torch.manual_seed(0)
        d = Discriminator(DiscriminatorConfig(8, (4, 4), mbstd_group=group, norm=norm)).double()
        x = torch.randn(n, 3, 8, 8, dtype=torch.float64)
        wanted = slopes(d, x, type(ranks)())
        d.zero_grad()
        for module in d.modules():
            if isinstance(module, MinibatchStddev | BatchNorm):
                module.processes = ranks
        found = slopes(d, ranks.take(x.detach(), group), ranks)
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-8)
    if ranks.first:
        print("the same")
"""


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


@pytest.mark.parametrize(
    ("n", "group", "world"),
    [(8, 0, 2), (8, 16, 4), (12, 4, 2), (10, 2, 2), (16, 8, 8), (9, 4, 3), (48, 16, 2)],
)
def test_where_groups_are_too_few_each_process_has_a_part_of_all(
    n: int, group: int, world: int
) -> None:
    """S1.6: the samples of a share stand in the groups that they have in the whole batch."""
    shares = [Ranks(rank, world).share(n, group).tolist() for rank in range(world)]
    assert sorted(i for share in shares for i in share) == list(range(n))
    groups = math.ceil(n / (group or n))
    for share in shares:
        if groups % world:
            assert [i % groups for i in share] == [j % groups for j in range(n // world)]


@pytest.mark.long
def test_gradients_of_a_group_in_two_processes(tmp_path: Path) -> None:
    """S1.6, S1.22, S1.9, S0.9: first and second order, in double precision, against all at once."""
    script = tmp_path / "spread.py"
    script.write_text(SPREAD)
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run([*run, str(script)], capture_output=True, text=True, check=False,
                          timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert "the same" in done.stdout, done.stderr


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


@pytest.mark.parametrize(("n", "group"), [(31, 0), (10, 4), (27, 3), (3, 16)])
def test_groups_that_do_not_divide_are_refused(n: int, group: int) -> None:
    with pytest.raises(Usage, match="choose another --batch"):
        Ranks(1, 2).share(n, group)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one_does(faces: Path, tmp_path: Path, case: str) -> None:
    """The same losses within rounding; one set of files, one line for the cut picture."""
    family, *more = CASES[case]
    args = (family, faces, *SMALL, *more, "--images", "1k")
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
