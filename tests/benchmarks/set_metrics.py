"""FID, KID and precision and recall against torch-fidelity, of the same files of features.

    python tests/benchmarks/set_metrics.py [--count 50000] [--dim 2048] [--only fid kid pr pr-lean]

Each run is a process of its own that reads the two files, after a run on small features that loads
what libraries load late. Its time is that of the clock and of the processors, its memory the peak
above what it has when the features are read. The features are sums of a few factors, cut at 0, as
pooled features are. KID has 100 subsets of 1000 in both; pr-lean is torch-fidelity's slower way of
using less memory, and pr needs 12 N² bytes of it or more. Linux.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from gantools.evaluation import features, frechet, kernel, manifolds

FILES = ("real.safetensors", "fake.safetensors")

Run = Callable[[np.ndarray, np.ndarray], float]


def our_fid(real: np.ndarray, fake: np.ndarray) -> float:
    """Of one block each, as a file is."""
    return float(frechet.measure([real], [fake], real.shape[1])[0]["fid"])


def their_fid(real: np.ndarray, fake: np.ndarray) -> float:
    """torch-fidelity's."""
    stats = [fid_features_to_statistics(torch.from_numpy(x)) for x in (real, fake)]
    found = fid_statistics_to_metric(*stats, verbose=False)
    return float(found["frechet_inception_distance"])


def our_kid(real: np.ndarray, fake: np.ndarray) -> float:
    """100 subsets of 1000."""
    return float(kernel.measure([real], [fake])[0]["kid"])


def their_kid(real: np.ndarray, fake: np.ndarray) -> float:
    """torch-fidelity's, of other subsets."""
    found = kid_features_to_metric(
        torch.from_numpy(real),
        torch.from_numpy(fake),
        kid_subsets=100,
        kid_subset_size=1000,
        verbose=False,
    )
    return float(found["kernel_inception_distance_mean"])


def our_pr(real: np.ndarray, fake: np.ndarray) -> float:
    """Precision; recall, density and coverage come with it."""
    return manifolds.compare(real, fake).precision


def their_pr(real: np.ndarray, fake: np.ndarray, lean: bool = False) -> float:
    """torch-fidelity's, by default with whole matrices."""
    x, y = torch.from_numpy(real), torch.from_numpy(fake)
    found = prc_features_to_metric(y, x, save_cpu_ram=lean, verbose=False)
    return float(found["precision"])


def their_lean_pr(real: np.ndarray, fake: np.ndarray) -> float:
    """The same in blocks of 10,000 rows, each distance taken once more."""
    return their_pr(real, fake, lean=True)


RUNS: dict[str, tuple[Run, Run]] = {
    "fid": (our_fid, their_fid),
    "kid": (our_kid, their_kid),
    "pr": (our_pr, their_pr),
    "pr-lean": (our_pr, their_lean_pr),
}


def write(path: Path, count: int, dim: int, seed: int) -> None:
    """Features of 64 factors, whose mixing all sets share, [count, dim]."""
    mixing = np.random.default_rng(0).standard_normal((64, dim)).astype(np.float32)
    factors = np.random.default_rng(seed).standard_normal((count, 64), np.float32)
    x = factors @ (mixing / 8)
    save_file({"features": np.maximum(x, 0, out=x)}, path)


def our_load(path: Path) -> np.ndarray:
    """As the commands do."""
    return features.load(path)[0]


def their_load(path: Path) -> np.ndarray:
    """With the format's own library."""
    array: np.ndarray = load_file(path)["features"]
    return array


def measured(run: Run, load: Callable[[Path], np.ndarray], folder: Path) -> tuple[float, ...]:
    """(result, seconds of the clock, of the processor, MiB above libraries and features)."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    small = np.random.default_rng(0).random((2, 1200, 128), np.float32)
    run(small[0], small[1])
    start, worked = time.perf_counter(), time.process_time()
    real, fake = (load(folder / name) for name in FILES)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    result = run(real, fake)
    seconds, work = time.perf_counter() - start, time.process_time() - worked
    return result, seconds, work, resident("VmHWM") - before


def resident(what: str) -> float:
    """MiB of this process: VmRSS, or VmHWM, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 2**10


def main() -> None:
    """A line for each metric: both results, times and memories, and the ratios theirs / ours."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=["fid", "kid", "pr-lean"])
    asked = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # of the processes that follow
        os.environ[name] = str(asked.threads)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for seed, name in enumerate(FILES):
            write(Path(folder) / name, asked.count, asked.dim, seed + 1)
        for name in asked.only:
            found = []
            for run, load in zip(RUNS[name], (our_load, their_load), strict=True):
                with ProcessPoolExecutor(1, mp_context=context) as pool:
                    found.append(pool.submit(measured, run, load, Path(folder)).result())
            (ours, s, cpu, mib), (theirs, their_s, their_cpu, their_mib) = found
            print(f"{name:8}ours {ours:.6g}: {s:.1f} s, {cpu:.1f} s of processors, {mib:.0f} MiB")
            print(f"        theirs {theirs:.6g}: {their_s:.1f} s, {their_cpu:.1f} s,", end=" ")
            print(f"{their_mib:.0f} MiB", flush=True)
            print(f"        {their_s / s:.2f}x the speed ({their_cpu / cpu:.2f}x by", end=" ")
            print(f"processors), {their_mib / max(mib, 1):.2f}x the memory", flush=True)


if __name__ == "__main__":
    main()
