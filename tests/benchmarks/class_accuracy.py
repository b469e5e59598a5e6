"""Whether a conditional network's pictures are of their class: a classifier of real ones is asked.

    python tests/benchmarks/class_accuracy.py PICTURES NET [--real 5000] [--each 100] [--psi 1]

PICTURES: a folder with a folder for each class, as `train --labels folders` took it. The classifier
is a logistic regression on MobileNetV2's features (weights: $GANTOOLS_WEIGHTS) of --real pictures.
Printed: the share of other real pictures, as many as are made, that it finds the class of, and of
--each pictures made of each class; a tenth of ten classes is chance.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gantools.evaluation import features
from gantools.io import image


def seen(paths: list[Path]) -> np.ndarray:
    """Features [n, dim] of picture files."""
    extract = features.mobilenet_v2()
    pictures = ((path.stem, image.decode(path.read_bytes())) for path in paths)
    return np.concatenate(list(features.of_pictures(pictures, extract)))


def drawn(folder: Path, count: int, skipped: int, classes: list[str]) -> tuple[list[Path], list]:
    """`count` files and their classes, equally many of each, behind the first `skipped`."""
    order = np.random.default_rng(0)
    each, first = count // len(classes), skipped // len(classes)
    found = []
    for name in classes:
        files = sorted(path for path in (folder / name).iterdir() if path.is_file())
        found += [files[i] for i in order.permutation(len(files))[first : first + each]]
    return found, [path.parent.name for path in found]


def made(net: str, name: str, each: int, psi: float, folder: Path) -> list[Path]:
    """Files of `each` pictures of a class."""
    argv = ["generate", "--net", net, "--class", name, "--seeds", f"0-{each - 1}"]
    argv += ["-o", f"{folder}/", "-q"] + (["--psi", str(psi)] if psi != 1 else [])
    subprocess.run([sys.executable, "-m", "gantools", *argv], check=True)
    return sorted(folder.iterdir())


def main() -> None:
    """Fit, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("net")
    parser.add_argument("--real", type=int, default=5000)
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--psi", type=float, default=1.0)
    args = parser.parse_args()
    classes = sorted(path.name for path in args.pictures.iterdir() if path.is_dir())
    files, labels = drawn(args.pictures, args.real, 0, classes)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=1000))
    model.fit(seen(files), labels)
    others, known = drawn(args.pictures, args.each * len(classes), args.real, classes)
    print(f"real\t{np.mean(model.predict(seen(others)) == known):.3f}")
    shares = []
    for name in classes:
        with tempfile.TemporaryDirectory() as folder:
            said = model.predict(seen(made(args.net, name, args.each, args.psi, Path(folder))))
        shares.append(np.mean(said == name))
        print(f"{name}\t{shares[-1]:.3f}", flush=True)
    print(f"made\t{np.mean(shares):.3f}")


if __name__ == "__main__":
    main()
