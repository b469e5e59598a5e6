"""Faces found per second, ours against facenet-pytorch in a loop, interleaved (S0.2).

    python tests/benchmarks/prefilter_vs_facenet.py PICTURES... [--rounds 3] [--threads N]

PICTURES: files or folders. Both decode and detect each picture; the peer in the way its own page
shows: `MTCNN(keep_all=True).detect(PIL)`, one picture after another. Ours: `gantools prefilter
--dry-run`, in this process, with its report and quality scores. Prints pictures per second and the
ratio; the goal is 2 on the CPU.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from facenet_pytorch import MTCNN
from PIL import Image

from gantools import cli


def peer(mtcnn: MTCNN, files: list[Path]) -> int:
    """Faces in all."""
    found = (mtcnn.detect(Image.open(file).convert("RGB"))[0] for file in files)
    return sum(0 if boxes is None else len(boxes) for boxes in found)


def ours(files: list[Path]) -> None:
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as report:
        flags = ["--dry-run", "-q", "--report", report.name, "--device", "cpu"]
        assert cli.run(["prefilter", *map(str, files), *flags]) == 0


def timed(run: object, *args: object) -> float:
    """Seconds."""
    assert callable(run)
    start = time.perf_counter()
    run(*args)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    files = [f for p in args.pictures for f in (sorted(p.rglob("*.jpg")) if p.is_dir() else [p])]
    mtcnn = MTCNN(keep_all=True, device="cpu")
    timed(ours, files[:2]), timed(peer, mtcnn, files[:2])  # imports and first kernels
    for number in range(args.rounds):
        theirs, mine = timed(peer, mtcnn, files), timed(ours, files)
        print(
            f"round {number}: facenet-pytorch {len(files) / theirs:.2f} pictures/s, "
            f"gantools {len(files) / mine:.2f} pictures/s, ratio {theirs / mine:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
