"""Pictures per second of `project --method encoder` against the optimisation (issue of paper 004).

    python tests/benchmarks/encoder_speed.py PICTURES [--net FILE] [--init ENCODER] [--count 200]
        [--optimised 4] [--method quick]

PICTURES is a folder. Both are whole commands in processes of their own; what a command takes to
start, which is measured with one picture for the encoder, is taken off its time.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gantools.inversion.methods import ENCODED


def seconds(pictures: list[Path], method: str, more: list[str]) -> float:
    """Of one command over these pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "in")
        folder.mkdir()
        for path in pictures:
            shutil.copy(path, folder)
        start = time.perf_counter()
        command = [sys.executable, "-m", "gantools", "project", str(folder), "--method", method]
        command += ["--align", "never", "--batch", "64", "-q", "-o", str(Path(name, "out.tar"))]
        subprocess.run([*command, *more], check=True)
        return time.perf_counter() - start


def main() -> None:
    """Print a line for each method, and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--net")
    parser.add_argument("--init")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--optimised", type=int, default=4)
    parser.add_argument("--method", default="quick")
    args = parser.parse_args()
    pictures = sorted(path for path in args.pictures.iterdir() if path.is_file())[: args.count]
    net = ["--net", args.net] if args.net else []
    mean = [] if args.method in ENCODED else ["--init", "mean"]  # not what an encoder sees
    init = ["--init", args.init] if args.init else []
    begin = seconds(pictures[:1], "encoder", net + init)
    fast = (len(pictures) - 1) / (seconds(pictures, "encoder", net + init) - begin)
    chosen = pictures[: args.optimised]
    slow = len(chosen) / (seconds(chosen, args.method, net + mean) - begin)
    print(f"encoder: {fast:.3g} pictures per second, {args.method}: {slow:.3g}; {fast / slow:.0f}x")


if __name__ == "__main__":
    main()
