"""Does `--dir age` make people older? Over held-out faces, as another network reads ages.

    GANTOOLS_WEIGHTS=WEIGHTS python tests/benchmarks/age_edit.py PACK [COUNT] [STEPS] [SHEET.png]

PACK is the folder with celeba64_20k.zip, WEIGHTS holds face-api's age network (faceapi/). COUNT
held-out faces (100) are projected (STEPS, default the command's own), edited at the default
strength and rendered; prints the share whose read age rises by ten years or more (the bound is
80 %), the mean rise, and PSNR. SHEET shows rows of target, projection, edit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from gantools.evaluation import faceapi
from gantools.io import image, source
from gantools.io.latent import Latent

HOLD_OUT = 10


def gantools(*argv: object) -> None:
    """Run one command."""
    words = [sys.executable, "-m", "gantools", *map(str, argv)]
    subprocess.run(words, check=True)


def pictures(folder: Path) -> np.ndarray:
    """uint8 [N, H, W, 3] of a folder, in the order of keys."""
    return np.stack([image.decode(s.data) for s in source.samples([str(folder)])])


def main() -> None:
    """Project, edit, render, read."""
    pack = Path(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    steps = ["--steps", sys.argv[3]] if len(sys.argv) > 3 else []
    held_out = [
        s
        for s in source.samples([str(pack / "celeba64_20k.zip")])
        if int(s.key.rpartition("/")[2]) % HOLD_OUT == 0
    ]
    chosen = np.random.default_rng(0).choice(len(held_out), count, replace=False)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "target").mkdir()
        for i in chosen:
            sample = held_out[i]
            (root / "target" / f"{sample.key.rpartition('/')[2]}.jpg").write_bytes(sample.data)
        gantools("project", root / "target", "--align", "never", *steps, "-o", f"{root}/w/")
        gantools("generate", root / "w", "-o", f"{root}/before/")
        gantools("edit", root / "w", "--dir", "age", "-o", f"{root}/after/{{}}.png")
        sets = [pictures(root / name) for name in ("target", "before", "after")]
        latents = [Latent.from_bytes(s.data, s.key) for s in source.samples([f"{root}/w"])]
    weights = faceapi.load(Path(os.environ["GANTOOLS_WEIGHTS"]))
    ages = [faceapi.age_and_male(pixels, weights)[0] for pixels in sets]
    share = faceapi.share_raised(ages[1], ages[2])
    psnr = np.mean([latent.header["projection"]["psnr"] for latent in latents])
    print(f"raised by 10 years or more\t{share:.3f}")
    print(f"mean age before, after\t{ages[1].mean():.1f}\t{ages[2].mean():.1f}")
    print(f"mean PSNR of the projections\t{psnr:.2f}")
    if len(sys.argv) > 4:
        rows = [np.concatenate(list(pixels[:16]), axis=1) for pixels in sets]
        Path(sys.argv[4]).write_bytes(image.encode(np.concatenate(rows, axis=0)))


if __name__ == "__main__":
    main()
