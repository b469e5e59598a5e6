"""The discriminator in an encoder's training: `train encoder --adv-weight` (papers.md S4.16)."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import test_dse_training as of_dse
import test_psp_training as of_psp
import torch
from conftest import make_network
from torch import nn
from torch.nn import functional

from gantools.networks.network import open_network
from gantools.training import encoder_report, encoder_state
from gantools.training.distributed import Ranks
from gantools.training.encoder_critic import Critic
from gantools.training.encoder_trainer import check_shares

SMALL = {"dse": of_dse.SMALL, "psp": of_psp.SMALL}
TRAINERS = {"dse": of_dse.trainer_of, "psp": of_psp.trainer_of}


class Linear(nn.Module):
    """a · x, whose gradient is a."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.arange(12.0).view(1, 3, 2, 2) / 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.a * x).sum((1, 2, 3))[:, None]


def test_s4_16_a_linear_discriminator_by_hand(tiny_network: Path) -> None:
    """softplus(−a·x'), its gradient; D's Adam step of the logistic loss and gamma/2 |a|²."""
    network = open_network(str(tiny_network))
    network.d = Linear()
    critic = Critic(network, lr=0.01, gamma=10.0)
    true, made = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2, requires_grad=True)
    term = critic.term(true, made)
    a = network.d.a.detach()
    logits = (a * made.detach()).sum((1, 2, 3))
    torch.testing.assert_close(term.detach(), functional.softplus(-logits).mean())
    (gradient,) = torch.autograd.grad(term, made)
    wanted = -torch.sigmoid(-logits)[:, None, None, None] * a / 4
    torch.testing.assert_close(gradient, wanted)
    assert critic.d.a.grad is None

    by_hand = nn.Parameter(a.clone())
    fake, real = ((by_hand * x.detach()).sum((1, 2, 3)) for x in (made, true))
    loss = functional.softplus(fake).mean() + functional.softplus(-real).mean()
    adam = torch.optim.Adam([by_hand], lr=0.01, betas=(0.0, 0.99))
    (loss + 5 * by_hand.square().sum()).backward()
    adam.step()
    torch.testing.assert_close(critic.step(), loss.detach())
    torch.testing.assert_close(critic.d.a.grad, by_hand.grad)
    torch.testing.assert_close(critic.d.a, by_hand)
    assert torch.equal(network.d.a.detach(), a)


@pytest.mark.parametrize("arch", ["dse", "psp"])
def test_s4_16_the_discriminator_learns_beside_the_encoder(tiny_network: Path, arch: str) -> None:
    """The term enters with its weight; the network's own D and G keep their bits."""
    network = open_network(str(tiny_network), discriminator=True)
    assert network.d is not None
    before = [copy.deepcopy(m.state_dict()) for m in (network.g, network.d)]
    trainer = TRAINERS[arch](network, adv_weight=0.5, perceptual_weight=0.0)
    without = TRAINERS[arch](network, perceptual_weight=0.0)
    assert trainer.critic is not None and without.critic is None
    start = copy.deepcopy(trainer.critic.d.state_dict())
    for one in (trainer, without):
        one.step()
    means, others = (one.sums.means(Ranks()) for one in (trainer, without))
    assert means["loss"] == pytest.approx(others["loss"] + 0.5 * means["adv"], rel=1e-5)
    assert means["critic"] > 0
    assert any(not torch.equal(t, start[n]) for n, t in trainer.critic.d.state_dict().items())
    for module, state in zip((network.g, network.d), before, strict=True):
        assert all(torch.equal(t, state[n]) for n, t in module.state_dict().items())
    other = list(without.encoder.parameters())
    moved = [p.detach() for p in trainer.encoder.parameters()]
    assert any(not torch.equal(a, b) for a, b in zip(moved, other, strict=True))
    with pytest.raises(Exception, match="--adv-weight looks at whole batches"):
        check_shares(trainer.config, Ranks(0, 2))


@pytest.mark.parametrize("arch", ["dse", "psp"])
def test_s4_16_a_run_in_pieces_is_the_same_run(
    gt: Any, tiny_network: Path, tmp_path: Path, arch: str
) -> None:
    """To the bit, D and its Adam too; without the flag it is another run."""
    args = ("train", "encoder", *SMALL[arch], "--net", tiny_network, "--snapshot", "1")
    judged = (*args, "--adv-weight", "0.1", "-o")
    assert gt(*judged, tmp_path / "a", "--steps", "2").code == 0
    for steps in ("1", "2"):
        assert gt(*judged, tmp_path / "b", "--steps", steps).code == 0
    one, two = (of_dse.stored(tmp_path / run / encoder_state.NAME) for run in "ab")
    assert one == two
    assert any(name.startswith("critic_adam.") for name in one)
    line = json.loads((tmp_path / "a" / "log.jsonl").read_text().splitlines()[-1])
    assert {"adv", "critic"} <= set(line)
    drawn = {name for _, names in encoder_report.CURVES for name in names}
    assert set(line) - {"step", "images", "seconds", "samples"} <= drawn
    changed = gt(*args, "-o", tmp_path / "a", "--steps", "3")
    assert (changed.code, "--adv-weight differs from the run" in changed.err) == (2, True)


@pytest.mark.parametrize(
    ("arch", "flags", "why"),
    [
        ("dse", ["--gamma", "1"], "--gamma goes with --adv-weight"),
        ("fw", ["--adv-weight", "1"], "--adv-weight is for --arch dse and psp, and this is fw"),
        ("dse", ["--adv-weight", "-1"], "--adv-weight"),
    ],
)
def test_what_cannot_be_is_one_line(
    gt: Any, tiny_network: Path, tmp_path: Path, arch: str, flags: list[str], why: str
) -> None:
    args = ("train", "encoder", "--arch", arch, "--net", tiny_network, "-o", tmp_path / "r", *flags)
    result = gt(*args)
    assert (result.code, len(result.err.splitlines()), why in result.err) == (2, 1, True)
    assert not (tmp_path / "r").exists()


def test_networks_without_such_a_discriminator(gt: Any, tmp_path: Path) -> None:
    """None at all, or one that judges pictures by their class."""
    args = ("train", "encoder", "--arch", "dse", "--perceptual", "pyramid", "--adv-weight", "1")
    alone = of_dse.network_file(tmp_path / "alone.safetensors", "pggan")
    result = gt(*args, "--net", alone, "-o", tmp_path / "r")
    assert (result.code, "alone holds no discriminator" in result.err) == (2, True)
    classes = make_network(tmp_path / "classes.safetensors", c_dim=3)
    result = gt(*args, "--net", classes, "-o", tmp_path / "r")
    assert (result.code, "judges pictures by their class" in result.err) == (2, True)
    assert not (tmp_path / "r").exists()
