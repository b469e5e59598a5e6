"""What an encoder's start is worth to a projection into fw+i (papers.md S2.10, S2.11; Fig 6.9).

    python tests/benchmarks/encoder_start.py PACK ENCODER [--count 50] [--steps 0 50 250]

PACK is the folder with celeba64_20k.zip, ENCODER a file or run folder of `train encoder` for the
network inside the package, trained with --hold-out 10. Held-out faces are projected from what it
sees and from the mean w, with the same settings. Prints PSNR and perceptual distance of each; a row
of them at a glance with --sheet FILE.png: targets, then encoder and mean for every number of steps.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from gantools.inversion import encoder_files
from gantools.io import image, source
from gantools.io.latent import Latent

HOLD_OUT = 10
SHOWN = 12  # faces on the sheet


def gantools(*argv: object) -> None:
    """Run one command."""
    subprocess.run([sys.executable, "-m", "gantools", *map(str, argv)], check=True)


def held_out(pack: Path, count: int, folder: Path) -> None:
    """Write `count` held-out faces, the same ones each time."""
    samples = [
        s
        for s in source.samples([str(pack / "celeba64_20k.zip")])
        if int(s.key.rpartition("/")[2]) % HOLD_OUT == 0
    ]
    for i in np.random.default_rng(0).choice(len(samples), count, replace=False):
        sample = samples[i]
        (folder / f"{sample.key.rpartition('/')[2]}.jpg").write_bytes(sample.data)


def row(folder: Path) -> np.ndarray:
    """The first pictures of a folder side by side."""
    pixels = [image.decode(s.data) for s in source.samples([str(folder)])]
    return np.concatenate(pixels[:SHOWN], axis=1)


def main() -> None:
    """Project, read what the latents record, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack", type=Path)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 50, 250])
    parser.add_argument("--perceptual", default="discriminator")
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    space = f"fw+{encoder_files.load(args.encoder).first}"
    starts: dict[str, object] = {"encoder": args.encoder, "mean": "mean"}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "target").mkdir()
        held_out(args.pack, args.count, root / "target")
        rows = [row(root / "target")] if args.sheet else []
        print("steps\tstart\tPSNR\tdistance")
        for steps in args.steps:
            for name, init in starts.items():
                out = root / f"{name}-{steps}"
                gantools("project", root / "target", "--align", "never", "--space", space,
                         "--init", init, "--steps", steps, "--perceptual", args.perceptual,
                         "-o", f"{out}/")  # fmt: skip
                told = [
                    Latent.from_bytes(s.data, s.key).header["projection"]
                    for s in source.samples([str(out)])
                ]
                psnr, distance = (
                    np.mean([one[what] for one in told]) for what in ("psnr", "distance")
                )
                print(f"{steps}\t{name}\t{psnr:.2f}\t{distance:.4f}", flush=True)
                if args.sheet:
                    gantools("generate", out, "-o", f"{out}-pictures/")
                    rows.append(row(Path(f"{out}-pictures")))
    if args.sheet:
        args.sheet.write_bytes(image.encode(np.concatenate(rows, axis=0)))


if __name__ == "__main__":
    main()
