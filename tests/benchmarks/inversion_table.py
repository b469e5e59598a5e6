"""Table III of paper 004 on our networks: methods of inversion, made and real pictures (S4.19).

    python tests/benchmarks/inversion_table.py PICTURES [--net FILE] [--init ENCODER]
        [--psp ENCODER] [--count 8] [--methods encoder psp idinvert dse-finetune ...]
        [--sets made real] [--labels SOURCE [--label-column NAME]] [--steps METHOD=N ...]
        [-o table.tsv]

PICTURES is a folder of pictures that are framed as the network's; of those in folders below it as
many are taken from each. As many of the network's own samples are inverted too (--sets: only the
ones or the others). --labels: the pictures' classes, for a network that has them, as `project`
takes them; its samples are then of all classes in turn. Measures are those of `metrics recon` at
512 pixels, where they can be had with LPIPS, and the perceptual distance that --distance names at
the network's size. Seconds are those of a picture, without what a command takes to start (`-`:
less than a tenth of it for all). The paper's numbers stand beside: of other networks, 1024x1024,
and 3,000 pictures. --steps shortens a method, which is then no longer its row. --psp is the encoder
of --method psp.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gantools.commands import _classes
from gantools.inversion import perceptual
from gantools.inversion.distances import default_perceptual, embedding
from gantools.inversion.project import to_tensor
from gantools.io import image, sample, source
from gantools.io.latent import Latent
from gantools.networks.network import open_network
from gantools.training import data

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


def labelled(args: argparse.Namespace, kind: str) -> list[str]:
    """The flags for the classes of made or of real pictures."""
    if not args.labels:
        return []
    if kind == "made":
        return ["--labels", "folders"]
    column = ["--label-column", args.label_column] if args.label_column else []
    return ["--labels", args.labels, *column]


def project(args: argparse.Namespace, kind: str, folder: Path, method: str, out: Path) -> float:
    """Seconds of one command over a folder; latents in `out`."""
    argv: list[object] = ["project", folder, "--method", method, "--align", "never", "-q"]
    argv += labelled(args, kind)
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


@torch.no_grad()
def distance(args: argparse.Namespace, targets: Path, results: Path) -> tuple[str, float]:
    """Its name, and the mean between pictures of equal names at the network's size."""
    name = args.distance or default_perceptual(True)
    network = open_network(args.net, discriminator=name == "discriminator")
    embed = embedding(name, network)
    found = []
    made = {one.key: one.data for one in source.samples([str(results)])}
    for one in source.samples([str(targets)], kinds=("image",)):
        said = image.decode(made[one.key])
        true = data.fit(image.decode(one.data), network.size).transpose(1, 2, 0)
        seen = [embed(x) for x in to_tensor([true, said], network).split(1)]
        found.append(perceptual.distance(*seen).item())
    return name, float(np.mean(found))


def row(
    args: argparse.Namespace, kind: str, targets: Path, method: str, out: Path
) -> dict[str, Any]:
    """One line of the table."""
    seconds = project(args, kind, targets, method, out)
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


def made_pictures(args: argparse.Namespace, folder: Path, *, classes: bool = False) -> Path:
    """args.count samples of the network; of its classes in turn, in a folder for each."""
    net = ["--net", args.net] if args.net else []
    network = open_network(args.net)
    psi = ["--psi", 0.4 if network.truncates_z else 0.7]  # as encoders were trained (S4.12)
    drawn: list[object] = ["generate", *net, "--seeds", f"0-{args.count - 1}"]
    drawn += psi if network.has_w or network.truncates_z else []
    if not classes:
        gantools(*drawn, "-o", f"{folder}/")
        return folder
    latents = folder.with_name("drawn")
    gantools(*drawn, "--class", 0, "--space", "z", "-o", f"{latents}/")
    in_turn(args, latents, folder.with_name("latents"))
    gantools("generate", *net, folder.with_name("latents"), "-o", f"{folder}/")
    return folder


def in_turn(args: argparse.Namespace, drawn: Path, out: Path) -> None:
    """Latents of one class as latents of all in turn, in the folders of their classes."""
    network = open_network(args.net)
    count = network.g.cfg.c_dim
    names = _classes.names_of(network) or [str(n) for n in range(count)]
    for i, path in enumerate(sorted(drawn.iterdir())):
        latent = Latent.from_bytes(path.read_bytes(), path.stem)
        one = np.eye(count, dtype=np.float32)[i % count]
        own = replace(latent, tensors={**latent.tensors, "y": one})
        place = out / names[i % count] / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(own.to_bytes())


def real_pictures(args: argparse.Namespace, folder: Path) -> Path:
    """args.count of args.pictures: the first of each folder, then the second."""
    found = pictures_in(args.pictures)
    by_folder = [list(group) for _, group in groupby(found, lambda path: path.parent)]
    mixed = [path for each in zip_longest(*by_folder) for path in each if path is not None]
    copied(mixed[: args.count], args.pictures, folder)
    return folder


def pictures_in(folder: Path) -> list[Path]:
    """Its picture files and those of the folders below it, sorted."""
    every = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in every if path.suffix.lower() in sample.IMAGE_SUFFIXES)


def copied(pictures: Sequence[Path], above: Path, to: Path) -> None:
    """Copies, in the folders where they stand below `above`, and the dataset.json there."""
    labels = [path for path in [above / "dataset.json"] if path.exists()]
    for path in [*pictures, *labels]:
        place = to / path.relative_to(above)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


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
    parser.add_argument("--sets", nargs="+", choices=["made", "real"], default=["made", "real"])
    parser.add_argument("--labels", metavar="SOURCE", help="classes of PICTURES, as in project")
    parser.add_argument("--label-column", metavar="NAME")
    parser.add_argument("--steps", nargs="*", default=[], metavar="METHOD=N")
    parser.add_argument("--perceptual", help="distance of the methods that optimise")
    parser.add_argument("--distance", help="distance that is measured")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        folders = {}
        if "made" in args.sets:
            folders["made"] = made_pictures(args, root / "made", classes=bool(args.labels))
        if "real" in args.sets:
            folders["real"] = real_pictures(args, root / "real")
        kind = args.sets[0]
        copied(pictures_in(folders[kind])[:1], folders[kind], root / "one")
        args.begin = project(args, kind, root / "one", "encoder", root / "begin")
        name = args.distance or default_perceptual(True)
        head = ["set", "method", *COLUMNS, name, "seconds", "paper's", *COLUMNS]
        lines = ["\t".join(head)]
        print(lines[0], flush=True)
        for kind in args.sets:
            for method in args.methods:
                found = row(args, kind, folders[kind], method, root / f"{kind}-{method}")
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
