"""The spatial style layer (papers.md S2.3) against paper 002's own formulation, forward + backward.

    python tests/benchmarks/spatial_layer.py [--channels 512] [--sizes 16 32 64] [--device cpu]

The thesis demodulates with the sum over a 7-D tensor of (W·s)² [B,O,C,k,k,h,w] and has two backward
formulas of its own for it (Fig A.1), written here from the formulas. Peak memory is what a run
takes above its inputs: CUDA's own count, on the CPU the resident set of a process of its own. A run
that needs more than --most GiB is not started, and its memory follows from its shape (marked ~).
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gantools.ops.modulate import modulated_conv

GIB = 2**30


class Thesis(torch.autograd.Function):
    """d = (Σ (W·s)² + 1e-8)^-1/2 by the 7-D sum; backward as in Fig A.1, mistakes included."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, s: Tensor) -> Tensor:
        whole = weight[None, :, :, :, :, None, None] * s[:, None, :, None, None]
        d = (whole.square().sum(dim=(2, 3, 4)) + 1e-8).rsqrt()  # [B, O, h, w]
        ctx.save_for_backward(weight, s, d)
        return d

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        weight, s, d = ctx.saved_tensors
        height, width = s.shape[2:]
        cube = -(d**3)[:, :, None, None, None]
        by_w = cube * s.square()[:, None, :, None, None] * weight[None, ..., None, None]
        by_w = (by_w.mean(dim=(5, 6)) * g.sum(dim=(2, 3))[:, :, None, None, None]).sum(0)
        by_s = cube * s[:, None, :, None, None] * weight.square()[None, ..., None, None]
        by_s = by_s.sum(dim=(3, 4)).mean(dim=1) * g.sum(dim=1, keepdim=True) * height * width
        return by_w, by_s


def thesis(x: Tensor, weight: Tensor, s: Tensor) -> Tensor:
    """The layer with the 7-D demodulation."""
    return F.conv2d(x * s, weight, padding=1) * Thesis.apply(weight, s)  # type: ignore[no-untyped-call, no-any-return]


def ours(x: Tensor, weight: Tensor, s: Tensor) -> Tensor:
    """The layer as it is rendered."""
    return modulated_conv(x, weight, s, lambda a, b: F.conv2d(a, b, padding=1))


def thesis_bytes(channels: int, size: int) -> int:
    """Forward holds W·s and its square at once: 2 · O · C · 9 · h · w numbers of 4 bytes."""
    return 2 * channels * channels * 9 * size * size * 4


def run(layer: str, channels: int, size: int, device: str, repeats: int) -> tuple[float, float]:
    """(seconds of forward and backward, the fastest of `repeats`; peak bytes above the inputs)."""
    torch.manual_seed(0)
    inputs = _inputs(channels, size, device)
    function = {"thesis": thesis, "ours": ours}[layer]
    cuda = device != "cpu"
    _step(function, _inputs(4, 4, device))  # libraries are loaded before anything is counted
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if cuda else _resident()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        _step(function, inputs)
        if cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() if cuda else _resident()
    return best, peak - before


def _inputs(channels: int, size: int, device: str) -> list[Tensor]:
    shapes = [(1, channels, size, size), (channels, channels, 3, 3), (1, channels, size, size)]
    return [torch.randn(shape, device=device, requires_grad=True) for shape in shapes]


def _step(function: Callable[..., Tensor], inputs: list[Tensor]) -> None:
    torch.autograd.grad(function(*inputs).square().sum(), inputs)


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _alone(arguments: tuple[str, int, int, str, int]) -> tuple[float, float]:
    """In a process of its own: the resident set's high-water mark never falls."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run, arguments)


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--most", type=float, default=8.0, help="GiB that a run may take")
    args = parser.parse_args()
    print("channels size  thesis s   ours s  times  thesis MiB  ours MiB  times")
    for size in args.sizes:
        ours_s, ours_b = _alone(("ours", args.channels, size, args.device, args.repeats))
        guess = thesis_bytes(args.channels, size)
        told, seconds = "~", float("nan")
        bytes_ = float(guess)
        if guess <= args.most * GIB:
            job = ("thesis", args.channels, size, args.device, args.repeats)
            seconds, bytes_ = _alone(job)
            told = " "
        print(
            f"{args.channels:8d} {size:4d} {seconds:9.4f} {ours_s:8.4f} {seconds / ours_s:6.1f} "
            f"{told}{bytes_ / 2**20:10.1f} {ours_b / 2**20:9.1f} {bytes_ / ours_b:6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
