"""FID, KID and precision and recall against torch-fidelity, on the same features.

    python tests/benchmarks/set_metrics.py [--count 50000] [--dim 2048] [--only fid kid pr]

Each run is a process of its own; memory is its peak above what it held with the features, which are
sums of a few factors, cut at 0, as pooled features are. KID has 100 subsets of 1000 in both.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from gantools.evaluation import frechet, kernel, manifolds

MIB = 2**10  # of ru_maxrss, which counts KiB

Run = Callable[[np.ndarray, np.ndarray], float]


def our_fid(real: np.ndarray, fake: np.ndarray) -> float:
    """In blocks, as they come from a network."""
    blocks = ((x[at : at + 1024] for at in range(0, len(x), 1024)) for x in (real, fake))
    found = [frechet.total(frechet.accumulate(of_set, real.shape[1])) for of_set in blocks]
    return frechet.fid(*found)


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


def their_pr(real: np.ndarray, fake: np.ndarray) -> float:
    """torch-fidelity's, by default with whole matrices."""
    found = prc_features_to_metric(torch.from_numpy(fake), torch.from_numpy(real), verbose=False)
    return float(found["precision"])


RUNS: dict[str, tuple[Run, Run]] = {
    "fid": (our_fid, their_fid),
    "kid": (our_kid, their_kid),
    "pr": (our_pr, their_pr),
}


def features(count: int, dim: int, seed: int) -> np.ndarray:
    """Of 64 factors, whose mixing all sets share, [count, dim]."""
    mixing = np.random.default_rng(0).standard_normal((64, dim)).astype(np.float32)
    factors = np.random.default_rng(seed).standard_normal((count, 64), np.float32)
    x = factors @ (mixing / 8)
    return np.maximum(x, 0, out=x)


def measured(run: Run, count: int, dim: int) -> tuple[float, float, float]:
    """(result, seconds, MiB above the features)."""
    real, fake = features(count, dim, 1), features(count, dim, 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    result = run(real, fake)
    seconds = time.perf_counter() - start
    return result, seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / MIB


def main() -> None:
    """A line for each metric: both results, times and memories, and the ratios theirs / ours."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    asked = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for name in asked.only:
        found = []
        for run in RUNS[name]:
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                found.append(pool.submit(measured, run, asked.count, asked.dim).result())
        (ours, s, mib), (theirs, their_s, their_mib) = found
        print(f"{name:4} ours {ours:.6g} in {s:.1f} s and {mib:.0f} MiB, theirs {theirs:.6g} in")
        print(
            f"     {their_s:.1f} s and {their_mib:.0f} MiB: {their_s / s:.2f}x the time,", end=" "
        )
        print(f"{their_mib / max(mib, 1):.2f}x the memory")


if __name__ == "__main__":
    main()
