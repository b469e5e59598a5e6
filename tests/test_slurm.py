"""README's Slurm scripts on a real Slurm of one node: munged, slurmctld and slurmd on this host."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_training import picture

from gantools.io import tensorfile

README = Path(__file__).parent.parent / "README.md"
PATIENCE = 300.0  # seconds that a job may take
UNFINISHED = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING"}
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 Gres=gpu:2
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
# config_overrides: two CPUs, whatever the machine has. The GPUs are only counted: no job opens one.
GPUS = "Name=gpu File={folder}/gpu0\nName=gpu File={folder}/gpu1\n"
# The daemons and where Debian has them.
PACKAGES = {"munged": "munge", "slurmctld": "slurm-wlm", "slurmd": "slurm-wlm"}


@dataclass(frozen=True)
class Cluster:
    """A running Slurm. All its processes carry its environment, by which they are found."""

    folder: Path
    daemons: list[subprocess.Popen[bytes]]

    @property
    def environment(self) -> dict[str, str]:
        """That of the daemons and of the jobs: gantools and torchrun are those of this Python."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
        outer = ("SLURM_", "SBATCH_", "SRUN_")  # the tests may be a job themselves
        own = {n: v for n, v in os.environ.items() if not n.startswith(outer)}
        return {
            **own,
            "PATH": path,
            "OMP_NUM_THREADS": "1",
            "SLURM_CONF": f"{self.folder}/slurm.conf",
        }

    def start(self, *command: str) -> None:
        """A daemon in the foreground; what it says is kept for a failure's message."""
        with (self.folder / f"{command[0]}.log").open("wb") as log:
            self.daemons.append(
                subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
            )

    def ask(self, *command: object) -> str:
        """What a Slurm command says; it has to end well."""
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False,
                              env=self.environment, cwd=self.folder, timeout=60)  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}\n{self.said()}"
        return done.stdout

    def submit(self, *command: object) -> str:
        """Submit a job; its number."""
        return self.ask("sbatch", "--parsable", *command).strip()

    def states(self, job: str) -> set[str]:
        """States of the job's tasks."""
        return set(re.findall(r"JobState=(\w+)", self.ask("scontrol", "-o", "show", "job", job)))

    def finished(self, job: str) -> str:
        """Wait for the job's good end; what its tasks wrote, stderr included."""
        wait(lambda: not self.states(job) & UNFINISHED, lambda: f"{job}: {self.said()}")
        said = "".join(p.read_text() for p in sorted(self.folder.glob(f"slurm-{job}[_.]*")))
        assert self.states(job) == {"COMPLETED"}, said
        return said

    def said(self) -> str:
        """The ends of the daemons' logs."""
        logs = self.folder.glob("*.log")
        return "\n".join(f"{p.name}: {p.read_text(errors='replace')[-2000:]}" for p in logs)

    def processes(self) -> dict[int, dict[str, str]]:
        """Its living processes, daemons, steps and what the jobs started; their environments."""
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit():
                    text = (entry / "environ").read_bytes().decode(errors="replace")
                    variables = dict(v.split("=", 1) for v in text.split("\0") if "=" in v)
                    if variables.get("SLURM_CONF") == self.environment["SLURM_CONF"]:
                        found[int(entry.name)] = variables
        return found

    def ranks(self) -> set[str]:
        """Those of the processes that train, as "RANK of WORLD_SIZE"."""
        each = self.processes().values()
        return {f"{e['RANK']} of {e['WORLD_SIZE']}" for e in each if "RANK" in e}

    def stop(self) -> None:
        """End all its processes: nothing in the folder is needed any more."""

        def gone() -> bool:
            for process in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            return not self.processes()

        wait(gone, lambda: f"alive: {list(self.processes())}")
        for daemon in self.daemons:
            daemon.wait()


def wait(done: Callable[[], bool], why: Callable[[], str], seconds: float = PATIENCE) -> None:
    """Until `done`; an AssertionError that says why it is not."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, why()
        time.sleep(0.2)


@contextlib.contextmanager
def slurm(folder: Path) -> Iterator[Cluster]:
    """A Slurm of one node with two CPUs, with all its files in `folder`, and nothing left of it."""
    with contextlib.ExitStack() as stack:
        free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        ports = [one.getsockname()[1] for one in free]
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "gres.conf").write_text(GPUS.format(folder=folder))
    for name in ("gpu0", "gpu1"):
        (folder / name).touch()
    (folder / "slurm.conf").write_text(CONFIGURATION.format(host=host, ports=ports, folder=folder))
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid",
             "log-file": "munged.said.log", "seed-file": "munged.seed"}  # fmt: skip
    cluster = Cluster(folder, [])
    try:
        # --force: the folder is only this user's, and so are those who ask.
        cluster.start("munged", "--force", "--foreground",
                      *(f"--{flag}={folder}/{name}" for flag, name in files.items()))  # fmt: skip
        wait((folder / "munge.socket").exists, cluster.said, seconds=30)
        cluster.start("slurmctld", "-D")
        cluster.start("slurmd", "-D")
        wait(lambda: _idle(cluster), cluster.said, seconds=30)
        yield cluster
    finally:
        cluster.stop()


def _idle(cluster: Cluster) -> bool:
    """Whether the controller answers and has its node."""
    for daemon in cluster.daemons:
        assert daemon.poll() is None, cluster.said()
    asked = subprocess.run(["sinfo", "-h", "-o", "%T"], env=cluster.environment, check=False,
                           capture_output=True, text=True, timeout=60)  # fmt: skip
    return asked.stdout.strip() == "idle"


@pytest.fixture(scope="module")
def needed() -> None:
    """Skips, with the package's name, where a daemon is missing or may not be started."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    for daemon, package in PACKAGES.items():
        if shutil.which(daemon, path=path) is None:
            pytest.skip(f"no {daemon}: install Debian's {package}")
    if os.geteuid() != 0:
        pytest.skip("the daemons of slurm-wlm and munge are started by root only")


@pytest.fixture(scope="module")
def cluster(needed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
def scripts(tmp_path: Path) -> list[Path]:
    """README's scripts as files: of generating, of training."""
    text = README.read_text().partition("## On a cluster")[2].partition("\n## ")[0]
    paths = [tmp_path / "generate.sbatch", tmp_path / "train.sbatch"]
    found = re.findall(r"```bash\n(#!/bin/bash\n.*?)```", text, flags=re.DOTALL)
    for path, script in zip(paths, found, strict=True):
        assert path.name in text
        path.write_text(script)
    return paths


@pytest.mark.long
def test_an_array_job_makes_the_pictures_of_one_run(
    cluster: Cluster, scripts: list[Path], tmp_path: Path, tiny_network: Path
) -> None:
    """Two tasks, one shard each; and what is lost comes back by the same line, the rest stays."""
    what = ("--net", tiny_network, "--seeds", "0-6", "-o")
    one, two = tmp_path / "one", tmp_path / "two"
    gantools = Path(sys.executable).with_name("gantools")
    subprocess.run([gantools, "generate", *what, f"{one}/"], check=True, capture_output=True)
    cluster.finished(cluster.submit("--array=0-1", scripts[0], *what, f"{two}/"))
    pictures = {p.name: p.read_bytes() for p in one.iterdir()}
    assert len(pictures) == 7
    assert {p.name: p.read_bytes() for p in two.iterdir()} == pictures
    lost, *kept = sorted(two.iterdir())
    lost.unlink()
    times = [p.stat().st_mtime_ns for p in kept]
    cluster.finished(cluster.submit("--array=0-1", scripts[0], *what, f"{two}/"))
    assert {p.name: p.read_bytes() for p in two.iterdir()} == pictures
    assert [p.stat().st_mtime_ns for p in kept] == times


@pytest.mark.long
def test_training_on_two_tasks_is_one_run(
    cluster: Cluster, scripts: list[Path], tmp_path: Path
) -> None:
    """One folder with one log; the same line goes on where one task has a node's two GPUs."""
    faces, run = tmp_path / "faces", tmp_path / "run"
    faces.mkdir()
    for i in range(30):
        (faces / f"{i:05d}.png").write_bytes(picture(i, 16))
    what = (scripts[1], "stylegan2", faces, "-o", run, "--resolution", "8", "--batch", "32",
            "--channel-max", "8", "--map-depth", "1", "--gamma", "0.05", "--device", "cpu",
            "--workers", "1", "--snapshot", "1k", "--images")  # fmt: skip

    def trained(until: str, tasks: int, gpus: int) -> str:
        job = cluster.submit("--nodes=1", f"--ntasks-per-node={tasks}", f"--gpus-per-node={gpus}",
                             *what, until)  # fmt: skip
        wait(lambda: cluster.ranks() == {"0 of 2", "1 of 2"}, cluster.said)
        return cluster.finished(job)

    said = trained("1k", tasks=2, gpus=0)
    assert said.count("network-000001") == 1, said
    assert _images(run) == [1024]
    said = trained("2k", tasks=1, gpus=2)
    assert said.count("network-000002") == 1, said
    assert _images(run) == [1024, 2016]


def _images(run: Path) -> list[int]:
    return [json.loads(line)["images"] for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.long
def test_a_job_that_is_requeued_or_cancelled_loses_nothing(
    cluster: Cluster, scripts: list[Path], tmp_path: Path
) -> None:
    """Near its time's end (USR1, the script requeues it), then by scancel and the same line again.

    The state is written at these ends alone, and the run's files are those of one that had none.
    """
    faces = tmp_path / "faces"
    faces.mkdir()
    for i in range(30):
        (faces / f"{i:05d}.png").write_bytes(picture(i, 16))

    def submit(run: Path) -> str:
        return cluster.submit(
            "--nodes=1", "--ntasks-per-node=2", "--gpus-per-node=0", scripts[1], "stylegan2",
            faces, "-o", run, "--resolution", "8", "--batch", "32", "--channel-max", "8",
            "--map-depth", "1", "--gamma", "0.05", "--device", "cpu", "--workers", "1",
            "--snapshot", "100k", "--images", "8k",
        )  # fmt: skip

    def said(job: str) -> str:
        return (cluster.folder / f"slurm-{job}.out").read_text()

    whole, run = tmp_path / "whole", tmp_path / "run"
    cluster.finished(submit(whole))
    job, state = submit(run), run / "state.safetensors"
    wait(lambda: (run / "log.jsonl").exists() and _images(run) == [4000], cluster.said)
    assert not state.exists()
    cluster.ask("scancel", "--batch", "--signal=USR1", job)
    wait(lambda: cluster.states(job) == {"PENDING"}, cluster.said)
    first = tensorfile.read(state)[0]["images"]
    cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now")  # else in two minutes
    wait(lambda: f"goes on from {first:,} images" in said(job), cluster.said)
    wait(lambda: cluster.ranks() == {"0 of 2", "1 of 2"}, cluster.said)
    cluster.ask("scancel", job)
    wait(lambda: not cluster.states(job) & UNFINISHED, cluster.said)
    assert cluster.states(job) == {"CANCELLED"}
    second = tensorfile.read(state)[0]["images"]
    assert 4000 <= first <= second < 8000
    job = submit(run)
    cluster.finished(job)
    assert f"goes on from {second:,} images" in said(job)
    network = "network-000008.safetensors"
    assert (run / network).read_bytes() == (whole / network).read_bytes()
    left, right = (tensorfile.read(place / "state.safetensors")[1] for place in (whole, run))
    assert left.keys() == right.keys()
    assert all((left[name] == right[name]).all() for name in left)
    assert _losses(run) == _losses(whole)


def _losses(run: Path) -> list[tuple[float, ...]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(line["images"], line["loss_g"], line["loss_d"], line["r1"]) for line in lines]


@pytest.mark.long
def test_nothing_is_left_of_a_cluster_where_a_test_fails(needed: None, tmp_path: Path) -> None:
    """A failure while a job runs: daemons, step and job are gone."""
    with pytest.raises(ZeroDivisionError), slurm(tmp_path) as cluster:
        job = cluster.submit("--wrap", "sleep 1000")
        wait(lambda: cluster.states(job) == {"RUNNING"}, cluster.said)
        wait((tmp_path / f"slurm-{job}.out").exists, cluster.said)
        assert len(cluster.processes()) > len(cluster.daemons) == 3
        raise ZeroDivisionError
    assert cluster.processes() == {}
