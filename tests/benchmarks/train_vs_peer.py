"""A training step of StyleGAN2 on the CPU against NVIDIA's own code: same run, a ratio.

    python tests/benchmarks/train_vs_peer.py --peer PATH --resolution 64 --batch 8
    python tests/benchmarks/train_vs_peer.py --peer PATH --resolution 256 --batch 4

PATH is a checkout of NVlabs/stylegan2-ada-pytorch, which is not part of this repository: its
networks, its StyleGAN2Loss and its optimisers, on the CPU its reference path. Both sides train the
preset's network without augmentation (path length every 4th step, R1 every 16th, style mixing,
EMA). First they get the same weights, and logits, pictures and gradients are compared, those of the
regularisers too: the l2 norm of the difference as a share of the peer's. (1e-6 is rounding; where
rounding turns the sign before one leaky ReLU, gradients differ by about 1e-3, on either side.) Then
each side has a process of its own, all make a step in turn, and the median of each phase counts:

    seconds per picture = (G + path / 4 + D + R1 / 16 + the rest of a step) / batch.

`peer-kept` is the peer with our allocator setting (training/memory.py), which it does not have.
--clock cpu is for a machine that does other things too, with --threads 1. Wanted: fp32 1.5.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing as mp
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gantools.training import control, losses
from gantools.training.loop import Trainer
from gantools.training.memory import keep_memory
from gantools.training.networks import new_networks
from gantools.training.presets import TrainConfig, resolve
from gantools.training.reader import in_memory

PHASES = ("G", "path", "D", "R1", "rest")
SHARE = dict(zip(PHASES, (1, 1 / control.G_INTERVAL, 1, 1 / control.D_INTERVAL, 1), strict=True))
SIDES = ("peer", "peer-kept", "fp32", "bf16")


class Peer:
    """The peer's classes with the settings of `config`; `step` does what its training_loop does."""

    def __init__(self, checkout: Path, config: TrainConfig) -> None:
        sys.path.insert(0, str(checkout))
        warnings.simplefilter("ignore")
        from training.loss import StyleGAN2Loss  # type: ignore[import-not-found]
        from training.networks import Discriminator, Generator  # type: ignore[import-not-found]

        torch.manual_seed(0)
        self.config = c = config
        size, z = c.resolution, c.latent_dim
        width = {"channel_base": c.channel_base, "channel_max": c.channel_max}
        depth, group = {"num_layers": c.map_depth}, {"mbstd_group_size": c.mbstd_group}
        self.g = Generator(z, 0, z, size, 3, mapping_kwargs=depth, synthesis_kwargs=width)
        self.d = Discriminator(0, size, 3, epilogue_kwargs=group, **width)
        for net in (self.g, self.d):
            net.train().requires_grad_(False)
            for name, parameter in net.named_parameters():  # nothing is left at zero
                if name.endswith("noise_strength"):
                    parameter.fill_(0.1)
                elif name.endswith("bias") and "affine" not in name:
                    parameter.normal_(std=0.1)
        self.g_ema = copy.deepcopy(self.g).eval()
        parts = (self.g.mapping, self.g.synthesis, self.d, None)
        self.loss = StyleGAN2Loss("cpu", *parts, style_mixing_prob=c.mixing, r1_gamma=c.gamma)
        self.g_opt = self._adam(self.g, control.G_INTERVAL)
        self.d_opt = self._adam(self.d, control.D_INTERVAL)
        self.pictures = torch.randint(0, 256, [c.batch, 3, size, size], dtype=torch.uint8)

    def _adam(self, net: Any, interval: int) -> torch.optim.Adam:
        ratio = interval / (interval + 1)
        betas = (0.0, 0.99**ratio)
        return torch.optim.Adam(net.parameters(), self.config.lr * ratio, betas, eps=1e-8)

    def _phase(self, name: str, net: Any, opt: torch.optim.Adam, interval: int) -> None:
        z = torch.randn(self.config.batch, self.config.latent_dim)
        none = torch.zeros(self.config.batch, 0)
        reals = self.pictures.to(torch.float32) / 127.5 - 1
        opt.zero_grad(set_to_none=True)
        net.requires_grad_(True)
        self.loss.accumulate_gradients(name, reals, none, z, none, sync=True, gain=interval)
        net.requires_grad_(False)
        for p in net.parameters():
            if p.grad is not None:
                torch.nan_to_num(p.grad, nan=0, posinf=1e5, neginf=-1e5, out=p.grad)
        opt.step()

    @torch.no_grad()
    def _average(self) -> None:
        for ema, p in zip(self.g_ema.parameters(), self.g.parameters(), strict=True):
            ema.copy_(p.lerp(ema, 0.999))
        for ema, b in zip(self.g_ema.buffers(), self.g.buffers(), strict=True):
            ema.copy_(b)

    def step(self) -> list[float]:
        """One step with all phases: the seconds of each."""
        g, d = (self.g, self.g_opt), (self.d, self.d_opt)
        runs: list[Callable[[], None]] = [
            lambda: self._phase("Gmain", *g, 1),
            lambda: self._phase("Greg", *g, control.G_INTERVAL),
            lambda: self._phase("Dmain", *d, 1),
            lambda: self._phase("Dreg", *d, control.D_INTERVAL),
            self._average,
        ]
        return [_seconds(run) for run in runs]


class Ours:
    """Our trainer with the peer's weights."""

    def __init__(self, config: TrainConfig, peer: Peer) -> None:
        networks = new_networks(config)
        for net, other in ((networks.g, peer.g), (networks.d, peer.d), (networks.g_ema, peer.g)):
            names = net.state_dict()
            net.load_state_dict({n: t for n, t in other.state_dict().items() if n in names})
        self.trainer = Trainer(config, networks, in_memory(config, peer.pictures.numpy()))
        self._learn = self.trainer._learn
        self.trainer._learn = self._timed  # type: ignore[method-assign]

    def _timed(self, *args: Any, **kwargs: Any) -> None:
        self.phases.append(_seconds(lambda: self._learn(*args, **kwargs)))

    def step(self) -> list[float]:
        """One step with all phases: the seconds of each."""
        self.phases: list[float] = []
        self.trainer.iteration = 0  # path length and R1 have their turn
        whole = _seconds(self.trainer.step)
        return [*self.phases, whole - sum(self.phases)]


def _seconds(run: Callable[[], object]) -> float:
    start = clock()
    run()
    return clock() - start


clock = time.perf_counter


# ----------------------------------------------------------------------------
# That both compute the same.


def differences(ours: Trainer, peer: Peer) -> Iterator[tuple[str, float]]:
    """Of w, logits, pictures and gradients where the random numbers can be the same."""
    c = peer.config
    z = torch.randn(c.batch, c.latent_dim)
    w = peer.g.mapping(z, None, skip_w_avg_update=True).detach()
    yield "w", _apart(ours.g.mapping(z), w)
    reals = peer.pictures / 127.5 - 1
    noise = torch.randn(c.batch // 2, 3, c.resolution, c.resolution)
    half = w[: len(noise)].requires_grad_()
    pairs = (
        (_d_quantities(ours.d, ours.d, reals), _d_quantities(peer.d, _unlabelled(peer.d), reals)),
        (
            _g_quantities(ours.g, ours.g.synthesis, half, noise),
            _g_quantities(peer.g, lambda w: peer.g.synthesis(w, noise_mode="const"), half, noise),
        ),
    )
    for mine, theirs in pairs:
        for name, value in theirs.items():
            yield name, _apart(mine[name], value)


def _unlabelled(d: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: d(x, None)


def _d_quantities(d: Any, logits_of: Callable[[Tensor], Tensor], x: Tensor) -> dict[str, Tensor]:
    weights = _weights(d.requires_grad_(True))
    x = x.clone().requires_grad_()
    logits = logits_of(x)
    first = torch.autograd.grad(losses.generator_loss(logits), weights, retain_graph=True)
    (by_x,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    second = torch.autograd.grad(by_x.square().sum(), weights)
    return {"d_logits": logits, "d_grad": _flat(first), "r1_grad": by_x, "r1_second": _flat(second)}


def _g_quantities(
    g: Any, render: Callable[[Tensor], Tensor], w: Tensor, noise: Tensor
) -> dict[str, Tensor]:
    weights = _weights(g.requires_grad_(True).synthesis)
    fake = render(w)
    first = torch.autograd.grad((fake * noise).sum(), weights, retain_graph=True)
    lengths = losses.path_lengths(fake, w, noise)
    second = torch.autograd.grad(lengths.sum(), weights)
    return {
        "g_pictures": fake, "g_grad": _flat(first),
        "path_lengths": lengths, "path_second": _flat(second),
    }  # fmt: skip


def _weights(net: Any) -> list[Tensor]:
    """Sorted by name, as both sides name them alike."""
    return [p for n, p in sorted(net.named_parameters()) if n.endswith("weight")]


def _flat(tensors: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


def _apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


# ----------------------------------------------------------------------------
# Each side in a process of its own, all in turn.


def serve(side: str, args: argparse.Namespace, pipe: Connection) -> None:
    """A side: for each True that comes, the seconds of a step's phases go back."""
    global clock  # noqa: PLW0603
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    torch.set_num_threads(args.threads)
    if side != "peer":
        keep_memory()
    peer = Peer(args.peer, _config(args, side))
    if side == "fp32" and args.check:
        pipe.send(dict(differences(Ours(peer.config, peer).trainer, peer)))
    runner = peer if side.startswith("peer") else Ours(peer.config, peer)
    del peer
    while pipe.recv():
        pipe.send(runner.step())


def _config(args: argparse.Namespace, side: str) -> TrainConfig:
    given = {"batch": args.batch, "aug": "noaug", "dtype": "bf16" if side == "bf16" else "fp32"}
    return resolve(args.preset, args.resolution, given)


def measure(pipes: dict[str, Connection], repeats: int) -> dict[str, dict[str, float]]:
    """Median seconds of each side's phases: all in turn, `repeats` times after a warm-up."""
    taken: dict[str, list[list[float]]] = {side: [] for side in pipes}
    for i in range(repeats + 1):
        for side, pipe in pipes.items():
            pipe.send(True)
            seconds = pipe.recv()
            if i:
                taken[side].append(seconds)
    return {
        side: dict(zip(PHASES, map(statistics.median, zip(*rows, strict=True)), strict=True))
        for side, rows in taken.items()
    }


def main() -> None:
    """Print name and value, a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, metavar="PATH")
    parser.add_argument("--preset", default="auto")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--no-check", dest="check", action="store_false")
    args = parser.parse_args()
    context, pipes, processes = mp.get_context("spawn"), {}, []
    for side in args.sides:
        pipes[side], other = context.Pipe()
        processes.append(context.Process(target=serve, args=(side, args, other), daemon=True))
        processes[-1].start()
        other.close()
    if args.check and "fp32" in pipes:
        for name, value in pipes["fp32"].recv().items():
            print(f"{name}_difference\t{value:.1e}", flush=True)
    seconds = measure(pipes, args.repeats)
    for pipe in pipes.values():
        pipe.send(False)
    tell(seconds, args.batch)


def tell(seconds: dict[str, dict[str, float]], batch: int) -> None:
    """Seconds and, for ours, ratios to each of the peer's."""
    whole = {side: sum(SHARE[p] * t for p, t in by.items()) for side, by in seconds.items()}
    for side, by in seconds.items():
        for phase, t in by.items():
            print(f"{side}_{phase}_seconds\t{t:.3f}")
        print(f"{side}_images_per_second\t{batch / whole[side]:.3f}")
    for side in (s for s in seconds if not s.startswith("peer")):
        for peer in (s for s in seconds if s.startswith("peer")):
            suffix = peer.removeprefix("peer").replace("-", "_to_peer_")
            for phase, t in seconds[side].items():
                print(f"{side}_{phase}_ratio{suffix}\t{seconds[peer][phase] / t:.2f}")
            print(f"{side}_ratio{suffix}\t{whole[peer] / whole[side]:.2f}")


if __name__ == "__main__":
    main()
