"""The reduced spectrum against the routine of paper 003's authors, on the same pictures.

    git clone https://github.com/autonomousvision/frequency_bias
    python tests/benchmarks/spectrum.py --peer frequency_bias [--count 10000] [--size 256]

Both see float32 batches [n, 3, H, W], theirs as their own statistics call it, each with the size of
batch that suits it best of those given. Seconds are the process's, or wall clock with --clock wall;
making the pictures is not counted. What both give is compared bin by bin.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gantools.ops.spectrum import reduced

Run = Callable[[Tensor], Tensor]


def theirs(peer: Path) -> Run:
    """get_spectrum of the authors' checkout, mean of the channels."""
    spec = importlib.util.spec_from_file_location("peer_spectrum", peer / "utils/spectrum.py")
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    warnings.filterwarnings("ignore", message="torch.meshgrid")

    def run(x: Tensor) -> Tensor:
        found: Tensor = module.get_spectrum(x.flatten(0, 1))
        return found.unflatten(0, x.shape[:2]).mean(1)

    return run


def pictures(count: int, size: int, seed: int) -> Tensor:
    """Noise whose power falls as in photographs, [count, 3, size, size], within [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    f = torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None])
    white = torch.fft.rfft2(torch.randn(count, 3, size, size, generator=generator))
    x = torch.fft.irfft2(white / f.clamp(min=1 / size), s=(size, size))
    return (x / x.std() / 3).clamp(-1, 1)


def seconds(run: Run, x: Tensor, batch: int, clock: Callable[[], float]) -> tuple[float, Tensor]:
    """How long all of x takes in batches, and the spectra."""
    start = clock()
    with torch.inference_mode():
        found = torch.cat([run(part) for part in x.split(batch)])
    return clock() - start, found


def main() -> None:
    """Seconds for all pictures, theirs and ours, their ratio and the largest difference."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 32])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=["cpu", "wall"], default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    clock = {"cpu": time.process_time, "wall": time.perf_counter}[asked.clock]
    runs = {"theirs": theirs(asked.peer), "ours": reduced}
    first = pictures(64, asked.size, 0)
    best = {}
    for name, run in runs.items():
        seconds(run, first, 32, clock)  # tables, and the FFT's plans
        times = {b: min(seconds(run, first, b, clock)[0] for _ in range(3)) for b in asked.batches}
        best[name] = min(times, key=times.__getitem__)
    totals, worst = dict.fromkeys(runs, 0.0), 0.0
    for i in range(0, asked.count, 64):
        x = pictures(min(64, asked.count - i), asked.size, i)
        found = {}
        for name, run in runs.items():
            took, found[name] = seconds(run, x, best[name], clock)
            totals[name] += took
        away = (found["ours"].double() / found["theirs"].double() - 1).abs().max()
        worst = max(worst, float(away))
    for name, total in totals.items():
        each = 1000 * total / asked.count
        print(f"{name}: {total:.1f} s, {each:.2f} ms a picture, batches of {best[name]}")
    ratio = totals["theirs"] / totals["ours"]
    print(f"{ratio:.1f}x; largest relative difference of a bin {worst:.1e}")


if __name__ == "__main__":
    main()
