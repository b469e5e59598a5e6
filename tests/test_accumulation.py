"""--batch-gpu: a batch computed in parts moves the networks as the whole one does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_growing_labels import SHOWN
from test_growing_labels import config as growing_config
from test_labels_training import conditional

from gantools.networks.batch_norm import BatchNorm
from gantools.report import Usage
from gantools.training import networks
from gantools.training.distributed import parts_of
from gantools.training.growing import GrowingTrainer
from gantools.training.loop import Trainer
from gantools.training.reader import in_memory

RTOL = 1e-3


def stylegan2(batch_gpu: int | None, **more: Any) -> Trainer:
    made = conditional(mbstd_group=2, **more)
    made.batch_gpu = batch_gpu
    made.p.fill_(0.7)
    return made


def growing(batch_gpu: int | None, family: str, **more: Any) -> GrowingTrainer:
    made = growing_config(family, mbstd_group=2, **more)
    size = made.resolution
    pixels = np.random.default_rng(0).integers(0, 256, (48, 3, size, size), np.uint8)
    nets = networks.new_networks(made, classes=3)
    return GrowingTrainer(made, nets, in_memory(made, pixels, SHOWN), batch_gpu=batch_gpu)


def gradients(made: Any, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What one step descends, phase by phase; the optimisers stay where they are."""
    seen: list[torch.Tensor] = []
    for optimiser in (made.g_opt, made.d_opt):
        parameters = [p for group in optimiser.param_groups for p in group["params"]]

        def step(parameters: Any = parameters) -> None:
            seen.extend(p.grad.clone() for p in parameters if p.grad is not None)

        monkeypatch.setattr(optimiser, "step", step)
    made.step()
    return seen


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> None:
    """Up to rounding: a bias before an instance norm has a gradient of 0 as a sum of large ones."""
    assert len(left) == len(right) > 0
    atol = 2e-5 * max(float(x.abs().max()) for x in left)
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, atol=atol, rtol=RTOL)


@pytest.mark.parametrize("batch_gpu", [4, 2])
def test_stylegan2_in_parts_is_the_whole_batch(
    batch_gpu: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Main losses, R1, ADA, style mixing, classes, groups of the minibatch stddev (S2.20)."""
    whole, parts = (stylegan2(n, pl_weight=0.0) for n in (None, batch_gpu))
    same(gradients(whole, monkeypatch), gradients(parts, monkeypatch))
    torch.testing.assert_close(whole.g.mapping.w_avg, parts.g.mapping.w_avg)
    torch.testing.assert_close(whole.signs, parts.signs)
    assert whole.sums.values.keys() == parts.sums.values.keys()
    for name in ("loss_d", "loss_g", "score_fake", "score_real"):
        of_whole, of_parts = (t.sums.values[name] for t in (whole, parts))
        torch.testing.assert_close(of_whole[0] / of_whole[1], of_parts[0] / of_parts[1])
    assert torch.equal(whole.generator.get_state(), parts.generator.get_state())


def test_path_lengths_in_parts_move_the_same_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part's own mean replaces the whole's in the gradient, by a hundredth (S2.20)."""
    whole, parts = (stylegan2(n, gamma=0.0, mixing=0.0) for n in (None, 2))
    a, b = gradients(whole, monkeypatch), gradients(parts, monkeypatch)
    torch.testing.assert_close(whole.pl_mean, parts.pl_mean)
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, atol=0.02 * float(x.abs().max()) + 1e-6, rtol=0)


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("pggan", {}),
        ("pggan", {"label_mode": "projection"}),
        ("pggan", {"loss": "lsgan"}),
        ("stylegan", {"mixing": 1.0}),
        ("stylegan", {"loss": "gan-cls", "gamma": 1.0}),
    ],
)
def test_growing_in_parts_is_the_whole_batch(
    family: str, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """WGAN-GP with AC-GAN, LSGAN's noise, R1, GAN-CLS (S1.9-S1.11, S1.28)."""
    whole, parts = (growing(n, family, labels="folders", **more) for n in (None, 2))
    for made in (whole, parts):
        made.gdrop.fill_(0.9)
    same(gradients(whole, monkeypatch), gradients(parts, monkeypatch))
    assert torch.equal(whole.generator.get_state(), parts.generator.get_state())


def test_fewest_parts_that_hold_whole_groups() -> None:
    assert [parts_of(n, 2, 3) for n in (2, 4, 6, 8, 12)] == [1, 2, 3, 4, 6]
    assert parts_of(6, 1, 3) == 2
    assert parts_of(1000, 4, None) == 1
    for n, group, at_once in ((8, 2, 1), (10, 4, 5), (16, 0, 8)):
        with pytest.raises(Usage, match=f"--batch-gpu {at_once}: {n} pictures in groups of"):
            parts_of(n, group, at_once)


class Alone:
    """One process that is treated as one of several."""

    world = 1

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        return value


@pytest.mark.parametrize("c_dim", [0, 3])
def test_moments_over_processes_are_the_batch_norm(c_dim: int) -> None:
    """Values, running moments and gradients of torch's; two halves are one batch (S3.25)."""
    torch.manual_seed(0)
    ours, torchs = BatchNorm(4, c_dim).double(), BatchNorm(4, c_dim).double()
    torchs.load_state_dict(ours.state_dict())
    ours.processes = Alone()
    x = (torch.randn(6, 4, 3, 5, dtype=torch.float64) * 2 + 7).requires_grad_()
    label = torch.eye(3, dtype=torch.float64)[[0, 1, 2, 2, 1, 0]] if c_dim else None
    weight = torch.randn_like(x)
    for _ in range(2):
        found, wanted = ours(x, label), torchs(x, label)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
        for a, b in zip(ours.buffers(), torchs.buffers(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
        pairs = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (found, wanted)]
        torch.testing.assert_close(*pairs, rtol=0, atol=1e-10)
