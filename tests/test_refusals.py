"""What `train` refuses before it reads a picture: processes, batches, networks, metrics, names."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import make_network

from gantools.report import Usage
from gantools.training import growing_presets, presets, refusals, run
from gantools.training.distributed import Ranks

SMALL = ("--resolution", "16", "--channel-max", "8", "--device", "cpu", "--images", "1k",
         "--snapshot", "1k")  # fmt: skip


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A named pipe into which nobody writes: whoever reads it waits for ever."""
    path = tmp_path / "endless.tar"
    os.mkfifo(path)
    return path


class Pretended(Ranks):
    """One of several processes, of which no other is there."""

    def wait(self) -> None: ...


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Pictures that may not be read; call it to pretend that there are so many processes."""

    def read(*_: Any) -> None:
        raise AssertionError("the pictures were read")

    def several(world: int) -> None:
        @contextlib.contextmanager
        def joined(_: str) -> Iterator[Ranks]:
            yield Pretended(0, world)

        monkeypatch.setattr(run.distributed, "joined", joined)

    monkeypatch.setattr(run, "_pictures", read)
    yield several


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["pggan", "--preset", "ablation-e*"], "trained by one process"),
        (["pggan", "--preset", "ablation-a", "--batch-gpu", "4"], "whole batch of a process"),
        (["stylegan2", "--batch", "16", "--batch-gpu", "3"], "give 4 or more, or another --batch"),
        (["stylegan2", "--batch", "10"], "a batch of 10 in groups of 4 does not divide over 2"),
        (["stylegan", "--batch", "3"], "a batch of 3 in groups of 3 does not divide over 2"),
        (["pggan", "--preset", "celebahq", "--batch", "15"], "a batch of 15 in groups of 15 does"),
        (["pggan", "--preset", "celebahq", "--batch-gpu", "4"], "give 8 or more, or another"),
    ],
)
def test_several_processes_s1_6(
    gt: Any, endless: Path, tmp_path: Path, unread: Callable[[int], None], words: list[str],
    why: str,
) -> None:  # fmt: skip
    """What does not divide over processes or parts, and layers that see whole batches."""
    unread(2)
    family, *more = words
    done = gt("train", family, endless, *SMALL, *more, "-o", tmp_path / "run")
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert why in done.err


def test_the_batch_of_every_resolution_has_to_divide() -> None:
    """The table for one GPU has 16 at 128 pixels, which 8 processes cannot share equally."""
    config = growing_presets.resolve("stylegan", "auto", 512, {})
    assert config.schedule().all_batches() == [128, 128, 64, 32, 16, 8, 4]
    for world, fits in ((1, True), (2, True), (8, False)):
        with contextlib.nullcontext() if fits else pytest.raises(Usage, match="a batch of 16 in"):
            refusals.check(config, None, None, Ranks(0, world), batch_gpu=None, labelled=False)
    eight = growing_presets.resolve("stylegan", "auto", 512, {"gpus": 8})
    refusals.check(eight, None, None, Ranks(0, 8), batch_gpu=None, labelled=False)


@pytest.mark.parametrize("preset", ["celebahq", "lsun", "cifar10", "mnist-rgb"])
def test_groups_of_the_whole_batch_stand_in_two_processes_s1_6(preset: str) -> None:
    """The presets of PGGAN's paper; 1024 pixels have minibatches of 3, for three processes."""
    size = {"celebahq": 512}.get(preset)
    config = growing_presets.resolve("pggan", preset, size, {})
    refusals.check(config, None, None, Ranks(0, 2), batch_gpu=None, labelled=False)


def test_half_a_batch_has_to_divide_too() -> None:
    """Path length regularisation takes half of it; without, the whole is enough."""
    given = {"batch": 12, "mbstd_group": 1}
    config = presets.resolve("stylegan2", 16, given)
    with pytest.raises(Usage, match="a batch of 6 in groups of 1"):
        refusals.check(config, None, None, Ranks(0, 4), batch_gpu=None, labelled=False)
    config = presets.resolve("stylegan2", 16, {**given, "pl_weight": 0.0})
    refusals.check(config, None, None, Ranks(0, 4), batch_gpu=None, labelled=False)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--metric", "fid"], "0 pictures are held out"),
        (["--metric", "kid", "--hold-out", "10"], "weights inception"),
        (["--metric", "kid", "--hold-out", "10", "--features", "mobilenet"], "weights mobilenet"),
        (["--metric", "kid", "--hold-out", "10", "--features", "x"], "features x: expected"),
        (["--net", "NET", "--resolution", "32"], "16 pixels and 3 channels, not 32 and 3"),
        (["--net", "NET", "--channels", "1"], "16 pixels and 3 channels, not 16 and 1"),
        (["--net", "NET", "--labels", "folders"], "has 0 classes, the pictures have some"),
        (["--net", "CLASSES"], "has 3 classes, the pictures have 0"),
        (["--net", "NET", "--freeze-d", "9"], "--freeze-d 9: the discriminator has"),
        (["--net", "missing.safetensors"], "missing.safetensors"),
        (["--freeze-d", "2"], "give --net"),
        (["--preset", "ffhq"], "ffhq"),
        (["--label-column", "x"], "Give --labels FILE.csv"),
    ],
)
def test_what_the_pictures_cannot_change(
    gt: Any, endless: Path, tmp_path: Path, unread: Callable[[int], None], words: list[str],
    why: str,
) -> None:  # fmt: skip
    """A metric without its pictures or weights, a network that does not fit, a wrong number."""
    nets = {
        "NET": lambda: make_network(tmp_path / "net.safetensors"),
        "CLASSES": lambda: make_network(tmp_path / "classes.safetensors", c_dim=3),
    }
    given = [nets[word]() if word in nets else word for word in words]
    done = gt("train", "stylegan2", endless, *SMALL, *given, "-o", tmp_path / "run")
    assert done.code == 2, done.err
    assert why in done.err
    assert done.err.count("\n") == 1


def test_a_finished_or_changed_run_reads_no_picture(
    gt: Any, endless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same line again, and one with another flag."""
    from test_training import picture

    faces, folder = tmp_path / "faces", tmp_path / "run"
    faces.mkdir()
    for i in range(8):
        (faces / f"{i}.png").write_bytes(picture(i, 16))
    args = ("train", "stylegan2", *SMALL, "--batch", "32", "-o", folder)
    assert gt(*args, faces).code == 0

    def read(*_: Any) -> None:
        raise AssertionError("the pictures were read")

    monkeypatch.setattr(run, "_pictures", read)
    done = gt(*args, endless)
    assert (done.code, "images are done" in done.err) == (0, True)
    done = gt(*args, endless, "--gamma", "3")
    assert (done.code, "--gamma differs" in done.err) == (2, True)


@pytest.mark.long
def test_torchrun_refuses_in_one_line(endless: Path, tmp_path: Path) -> None:
    """Two processes, a pipe that never ends: the job does, and says why once."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
               "--standalone", "-m", "gantools", "train", "pggan", endless, *SMALL, "--preset",
               "ablation-e*", "-o", tmp_path / "run"]  # fmt: skip
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False,
                          timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode != 0
    assert "trained by one process" in done.stderr
    assert not list((tmp_path / "run").glob("*.safetensors"))
