"""`train encoder` on several processes: torchrun with two of them on this machine, gloo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_network
from test_distributed import lines
from test_dse_training import network_file, trainer_of
from test_encoder_training import trainer_of as fw_trainer_of
from test_training import picture

from gantools.io import tensorfile
from gantools.io.network import load, save
from gantools.report import Usage
from gantools.training.distributed import Ranks

PAIR = [Ranks(rank, 2) for rank in range(2)]
CASES = {
    # Features and styles with photographs beside the samples, in an encoder with batch norm.
    "fw": ("stylegan2", "--first", "3", "--width", "4", "--mirror", "--hold-out", "5"),
    # Conditional batch norm whose moments are the whole batch's (S4.10), and noise of the encoder.
    "biggan": ("biggan", "--arch", "dse", "--width", "8"),
    "psp": ("stylegan2", "--arch", "psp", "--width", "8"),
}
SCRIPT = """
import contextlib, json, sys
import torch
from torch import nn
from gantools import cli
from gantools.inversion.encoder_backbones import Norm
from gantools.training import distributed

def norms(ranks):
    torch.manual_seed(0)
    x, slope = torch.randn(2, 6, 4, 3, 3, dtype=torch.float64) * 2 + 5
    found = []
    for processes in (None, ranks):
        norm = Norm(4).double()
        norm.processes = processes
        torch.manual_seed(1)
        nn.init.normal_(norm.weight)
        mine = ranks.take if processes else lambda whole: whole
        own = mine(x).clone().requires_grad_()
        for _ in range(2):
            y = norm(own)
        (y * mine(slope)).sum().backward()
        gradient, shares = norm.weight.grad, [y.detach(), own.grad]
        if processes:
            gradient = ranks.total(gradient)
        else:
            shares = [ranks.take(one) for one in shares]
        found.append([*shares, gradient, norm.running_mean, norm.running_var, norm.eval()(x)])
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(two, one, atol=1e-9, rtol=1e-9)

with distributed.joined("cpu") as ranks:  # once for everything: starting takes the longest
    norms(ranks)
    distributed.joined = lambda device: contextlib.nullcontext(ranks)
    codes = [cli.run(argv) for argv in json.loads(sys.argv[1])]
sys.exit(max(codes))
"""


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Untrained networks of 16 and 32 pixels."""
    folder = tmp_path_factory.mktemp("nets")
    biggan = network_file(folder / "biggan.safetensors", "biggan")
    ckpt = load(biggan)  # a tanh that is nearly flat would make gradients of rounding errors
    ckpt.tensors["g_ema.norm.gain"] = ckpt.tensors["g_ema.norm.gain"] * 0.05
    save(biggan, replace(ckpt, meta={}))
    return {"stylegan2": make_network(folder / "stylegan2.safetensors"), "biggan": biggan}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    for i in range(12):
        (folder / f"{i:05d}.png").write_bytes(picture(i, 16))
    return folder


def asked(trainer: Any) -> tuple[list[range], list[torch.Tensor]]:
    """The numbers of samples and of photographs that a step of each of two processes has."""
    samples: list[range] = []
    trainer.photographs = lambda position, count: trainer.ranks.take(torch.arange(count) + position)
    shown: list[torch.Tensor] = []
    trainer.move = lambda numbers, real: (samples.append(numbers), shown.append(real))
    for ranks in PAIR:
        trainer.ranks, trainer.iteration = ranks, 3
        trainer.step()
    return samples, shown


def test_two_processes_share_a_step(nets: dict[str, Path]) -> None:
    """Each sample, each photograph and each map of noise has one process, in order."""
    for trainer in (
        trainer_of(nets["stylegan2"], batch=6),
        fw_trainer_of(nets["stylegan2"], first=3),
    ):
        batch = trainer.config.batch
        first = 3 * batch
        trainer.iteration = 3
        beside = trainer._noise(2 * batch)  # of samples, and of photographs behind them
        flat = [m for maps in beside for m in (maps if isinstance(maps, list) else [maps])]
        samples, shown = asked(trainer)
        assert [n for numbers in samples for n in numbers] == list(range(first, first + batch))
        assert torch.cat(shown).tolist() == list(range(first, first + batch))
        parts = []
        for ranks in PAIR:
            trainer.ranks, trainer.iteration = ranks, 3
            own = trainer._noise(batch)
            parts.append([m for maps in own for m in (maps if isinstance(maps, list) else [maps])])
        for whole, *halves in zip(flat, *parts, strict=True):
            both = [torch.cat(pair) for pair in zip(*(h.chunk(2) for h in halves), strict=True)]
            assert torch.equal(torch.cat(both), whole)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"batch": 3}, "choose another --batch"),
        ({"cosine": "batch"}, "--cos batch looks at whole batches: train in one process"),
        ({"tsa": "gradcam", "cam": "dse"}, "--cam dse looks at whole batches"),
    ],
)
def test_what_does_not_divide_is_refused(
    nets: dict[str, Path], changes: dict[str, Any], why: str
) -> None:
    """Released forms that look at whole batches (S4.2, S4.7)."""
    trainer = trainer_of(nets["stylegan2"], areas=lambda a, b: iter(()), **changes)
    with pytest.raises(Usage, match=why):
        trainer.divide(PAIR[1])


def torchrun(folder: Path, commands: list[list[object]]) -> str:
    """What two processes say that run the commands; they have to end well."""
    (folder / "run.py").write_text(SCRIPT)
    words = json.dumps([[str(word) for word in argv] for argv in commands])
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run([*run, str(folder / "run.py"), words], capture_output=True, text=True,
                          check=False, timeout=120,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def encoder_of(folder: Path) -> dict[str, np.ndarray]:
    return tensorfile.read(folder / "encoder.safetensors")[1]


@pytest.mark.long
def test_two_processes_train_encoders_as_one_does(
    gt: Any, nets: dict[str, Path], faces: Path, tmp_path: Path
) -> None:
    """Within rounding; half of the way in two processes, the rest in one; one set of files.

    First, in double precision: a backbone's batch norm, its gradients and its running moments.
    """
    lines_of = {}
    for case, (family, *flags) in CASES.items():
        operands = [faces] if case == "fw" else []
        lines_of[case] = [
            "train", "encoder", *operands, "--net", nets[family], *flags, "--perceptual",
            "pyramid", "--batch", "4", "--device", "cpu", "--workers", "1", "--snapshot", "2",
        ]  # fmt: skip
    half = [[*a, "--steps", "2", "-o", tmp_path / case] for case, a in lines_of.items()]
    said = torchrun(tmp_path, half)
    assert said.count("2 steps, 0 minutes") == len(CASES)
    for case, argv in lines_of.items():
        for folder in (tmp_path / case, tmp_path / f"{case} in one"):
            result = gt(*argv, "--steps", "4", "-o", folder)
            assert result.code == 0, result.err
        whole, found = (encoder_of(tmp_path / name) for name in (f"{case} in one", case))
        for key, value in whole.items():
            scale = max(float(np.abs(value).max()), 1e-2)
            np.testing.assert_allclose(found[key] / scale, value / scale, atol=0.02, err_msg=key)
        one, two = lines(tmp_path / f"{case} in one"), lines(tmp_path / case)
        assert [line["step"] for line in two] == [line["step"] for line in one] == [2, 4]
        for a, b in zip(one, two, strict=True):
            for key in a.keys() - {"seconds", "samples"}:
                assert b[key] == pytest.approx(a[key], rel=0.02, abs=0.01), (case, key)
