"""Table III of paper 004 on our networks: methods of inversion, made and real pictures (S4.19).

    python tests/benchmarks/inversion_table.py PICTURES [--net FILE] [--init ENCODER]
        [--psp ENCODER] [--count 8] [--methods encoder psp idinvert dse-finetune ...]
        [--steps METHOD=N ...] [-o table.tsv]

PICTURES is a folder of pictures that are framed as the network's; as many of its own samples are
inverted too. Measures are those of `metrics recon` at 512 pixels, where they can be had with LPIPS,
and the perceptual distance that --distance names at the network's size. Seconds are those of a
picture, without what a command takes to start (`-`: less than a tenth of it for all). The paper's
numbers stand beside: of other networks, 1024x1024, and 3,000 pictures. --steps shortens a method,
which is then no longer its row. --psp is the encoder of --method psp.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gantools.inversion import perceptual
from gantools.inversion.distances import default_perceptual, embedding
from gantools.inversion.project import to_tensor
from gantools.io import image, source
from gantools.networks.network import open_network

COLUMNS = ("psnr", "ssim", "mse_e2", "lpips", "cosine")
PAPER = {  # PSNR, SSIM, MSE in hundreds, LPIPS, cosine
    ("made", "encoder"): ("DSE", (20.45, 0.630, 6.67, 0.368, 0.92)),
    ("made", "idinvert-start"): ("In-domain", (19.53, 0.584, 8.96, 0.422, 0.90)),
    ("made", "psp"): ("pSp", (21.53, 0.640, 5.17, 0.398, 0.94)),
    ("made", "alae"): ("ALAE", (15.68, 0.497, 20.24, 0.485, 0.77)),
    ("real", "encoder"): ("DSE", (19.12, 0.601, 8.57, 0.421, 0.91)),
    ("real", "idinvert"): ("In-domain (W)", (23.45, 0.672, 3.37, 0.367, 0.97)),
    ("real", "idinvert-start"): ("In-domain", (19.51, 0.599, 7.83, 0.427, 0.92)),
    ("real", "dse-finetune"): ("DSE (E)", (25.92, 0.767, 1.76, 0.293, 0.98)),
    ("real", "psp"): ("pSp", (21.38, 0.649, 5.12, 0.416, 0.95)),
}
OTHERS = ("pSp", "ALAE", "In-domain")  # stand in the table also where they are not measured
WITH_ENCODER = ("encoder", "hybrid", "idinvert", "dse-finetune")


def gantools(*argv: object) -> str:
    """What a command prints; its own line where it fails."""
    command = [sys.executable, "-m", "gantools", *map(str, argv)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, argv))}: {done.stderr.strip()}")
    return done.stdout


def project(args: argparse.Namespace, folder: Path, method: str, out: Path) -> float:
    """Seconds of one command over a folder; latents in `out`."""
    argv: list[object] = ["project", folder, "--method", method, "--align", "never", "-q"]
    argv += ["--net", args.net] if args.net else []
    argv += ["--init", args.init] if args.init and method in WITH_ENCODER else []
    argv += ["--init", args.psp] if args.psp and method == "psp" else []
    argv += ["--init", "mean"] if method == "quick" else []
    steps = dict(pair.split("=") for pair in args.steps)
    if method not in ("encoder", "psp"):
        argv += ["--perceptual", args.perceptual] if args.perceptual else []
        argv += ["--steps", steps[method]] if method in steps else []
    start = time.perf_counter()
    gantools(*argv, "-o", f"{out}/")
    return time.perf_counter() - start


def distance(args: argparse.Namespace, targets: Path, results: Path) -> tuple[str, float]:
    """Its name, and the mean between pictures of equal names at the network's size."""
    network = open_network(args.net, discriminator=True)
    name = args.distance or default_perceptual(True)
    embed = embedding(name, network)
    found = []
    made = {s.key.rpartition("/")[2]: s.data for s in source.samples([str(results)])}
    for sample in source.samples([str(targets)]):
        both = [image.decode(sample.data), image.decode(made[sample.key.rpartition("/")[2]])]
        true, said = to_tensor(both, network).split(1)
        with torch.no_grad():
            found.append(perceptual.distance(embed(true), embed(said)).item())
    return name, float(np.mean(found))


def row(args: argparse.Namespace, targets: Path, method: str, out: Path) -> dict[str, Any]:
    """One line of the table."""
    seconds = project(args, targets, method, out)
    pictures = out.with_name(out.name + "-pictures")
    net = ["--net", args.net] if args.net else []
    gantools("generate", out, *net, "-o", f"{pictures}/")
    measured = json.loads(gantools("metrics", "recon", targets, pictures, "--size", 512, "--json"))
    name, value = distance(args, targets, pictures)
    found = {c: measured.get(c) for c in COLUMNS if c != "mse_e2"}
    found |= {"mse_e2": measured["mse"] / 100, name: value}
    more = seconds - args.begin
    return found | {"seconds": more / args.count if more > args.begin / 10 else None}


def shown(found: dict[str, Any], name: str) -> list[str]:
    """Its numbers as the table has them, `-` for what was not measured."""
    numbers = [found[column] for column in COLUMNS] + [found[name], found["seconds"]]
    return ["-" if number is None else f"{number:.4g}" for number in numbers]


def made_pictures(args: argparse.Namespace, folder: Path) -> Path:
    """args.count samples of the network."""
    net = ["--net", args.net] if args.net else []
    gantools("generate", *net, "--seeds", f"0-{args.count - 1}", "--psi", 0.7, "-o", f"{folder}/")
    return folder


def real_pictures(args: argparse.Namespace, folder: Path) -> Path:
    """The first args.count of args.pictures."""
    folder.mkdir()
    found = sorted(path for path in args.pictures.iterdir() if path.is_file())
    for path in found[: args.count]:
        shutil.copy(path, folder)
    return folder


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--net")
    parser.add_argument("--init")
    parser.add_argument("--psp")
    parser.add_argument("--count", type=int, default=8)
    default = ["encoder", "hybrid", "quick", "i2s", "idinvert", "dse-finetune"]
    parser.add_argument("--methods", nargs="+", default=default)
    parser.add_argument("--steps", nargs="*", default=[], metavar="METHOD=N")
    parser.add_argument("--perceptual", help="distance of the methods that optimise")
    parser.add_argument("--distance", help="distance that is measured")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        folders = {
            "made": made_pictures(args, root / "made"),
            "real": real_pictures(args, root / "real"),
        }
        first = root / "one"
        first.mkdir()
        shutil.copy(sorted(folders["real"].iterdir())[0], first)
        args.begin = project(args, first, "encoder", root / "begin")
        name = args.distance or default_perceptual(True)
        head = ["set", "method", *COLUMNS, name, "seconds", "paper's", *COLUMNS]
        lines = ["\t".join(head)]
        print(lines[0], flush=True)
        for kind, folder in folders.items():
            for method in args.methods:
                found = row(args, folder, method, root / f"{kind}-{method}")
                own, numbers = PAPER.get((kind, method), ("-", ()))
                beside = [f"{number:g}" for number in numbers] or ["-"] * len(COLUMNS)
                lines.append("\t".join([kind, method, *shown(found, name), own, *beside]))
                print(lines[-1], flush=True)
            for (of, method), (own, numbers) in PAPER.items():
                if of == kind and method not in args.methods and own in OTHERS:
                    theirs = "\t".join([own, *(f"{number:g}" for number in numbers)])
                    lines.append(f"{kind}\t-" + "\t-" * 7 + f"\t{theirs}")
                    print(lines[-1], flush=True)
    if args.output:
        args.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
