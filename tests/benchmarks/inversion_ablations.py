"""Tables IV and V of paper 004 on our networks: areas of the loss, and its SSIM term (S4.20).

    python tests/benchmarks/inversion_ablations.py areas [--net FILE] none=RUN at1=RUN at1+at2=RUN
        [--count 1500] [-o table.tsv]
    python tests/benchmarks/inversion_ablations.py ssim PICTURES [--init ENCODER] [--net FILE]
        [--steps 1500 3500] [--count 500] [-o table.tsv]

areas: encoders that were trained with `--tsa none`, `--area-weights 5,0` and `5,9` invert COUNT
samples of the network in one pass; whole pictures (x') and the areas x1', x2' of S4.6 are measured.
ssim: DSE (E) of COUNT real pictures, without the SSIM term and with it, after STEPS. PSNR and SSIM
as `metrics recon --size 512`; LPIPS where its weights are there, and the distance that --distance
names; FID with --features. An FID of few pictures is far above the truth: n stands with it. The
paper's numbers stand beside: of other networks, 1024x1024.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from inversion_table import distance, gantools, made_pictures, real_pictures

from gantools.io import image, source
from gantools.ops.crops import part

SHOWN = {"x'": "full", "x1'": "at1", "x2'": "at2"}
PAPER = {  # PSNR, SSIM, LPIPS, FID
    ("none", "x'"): (18.97, 0.699, 0.411, 165.45),
    ("at1", "x'"): (18.82, 0.698, 0.409, 149.34),
    ("at1+at2", "x'"): (18.75, 0.697, 0.412, 152.80),
    ("none", "x1'"): (19.65, 0.685, 0.404, 135.34),
    ("at1", "x1'"): (19.76, 0.686, 0.401, 127.25),
    ("at1+at2", "x1'"): (19.71, 0.688, 0.402, 136.48),
    ("none", "x2'"): (20.79, 0.701, 0.386, 101.63),
    ("at1", "x2'"): (20.72, 0.699, 0.381, 87.23),
    ("at1+at2", "x2'"): (21.23, 0.712, 0.377, 86.09),
    ("without", "1500"): (21.92, 0.632, 0.395, 78.10),
    ("with", "1500"): (23.07, 0.657, 0.396, 68.06),
    ("without", "3500"): (22.90, 0.639, 0.386, 76.06),
    ("with", "3500"): (23.19, 0.657, 0.393, 65.03),
}


def cropped(folder: Path, name: str, out: Path) -> Path:
    """The pictures of a folder, of which a part is left, as PNG."""
    out.mkdir()
    for sample in source.samples([str(folder)]):
        pixels = image.decode(sample.data)
        rows, columns = part(name, *pixels.shape[:2])
        crop = image.encode(pixels[rows, columns])
        (out / f"{sample.key.rpartition('/')[2]}.png").write_bytes(crop)
    return out


def line(args: argparse.Namespace, names: tuple[str, str], true: Path, made: Path) -> str:
    """One line: our measures of two folders, and the paper's."""
    found = json.loads(gantools("metrics", "recon", true, made, "--size", 512, "--json"))
    near = distance(args, true, made)[1]
    fid = json.loads(gantools("metrics", "fid", true, made, "--features", args.features, "--json"))
    count = fid["protocol"]["fake"]["count"]
    own = [found["psnr"], found["ssim"], found.get("lpips"), near, fid["fid"], count]
    numbers = ["-" if number is None else f"{number:.4g}" for number in own]
    return "\t".join([*names, *numbers, *(f"{n:g}" for n in PAPER.get(names, ())), ""]).rstrip()


def areas(args: argparse.Namespace, root: Path) -> Iterator[str]:
    """Table IV."""
    net = ["--net", args.net] if args.net else []
    true = made_pictures(args, root / "true")
    encoders = dict(pair.split("=", 1) for pair in args.encoders)
    for name, encoder in encoders.items():
        made = root / f"made-{name}"
        found = root / f"found-{name}.tar"
        gantools(
            "project", true, *net, "--method", "encoder", "--init", encoder, "--align", "never",
            "-q", "-o", found,
        )  # fmt: skip
        gantools("generate", found, *net, "-o", f"{made}/")
        for shown, crop in SHOWN.items():
            both = [cropped(x, crop, root / f"{x.name}-{name}-{crop}") for x in (true, made)]
            yield line(args, (name, shown), *both)


def ssim(args: argparse.Namespace, root: Path) -> Iterator[str]:
    """Table V."""
    net = ["--net", args.net] if args.net else []
    init = ["--init", args.init] if args.init else []
    real = real_pictures(args, root / "real")
    for steps in args.steps:
        for name, more in (("without", ["--ssim-weight", 0]), ("with", [])):
            latents, made = root / f"{name}-{steps}.tar", root / f"{name}-{steps}"
            gantools(
                "project", real, *net, *init, "--method", "dse-finetune", "--align", "never",
                "-q", "--steps", steps, *more, "-o", latents,
            )  # fmt: skip
            gantools("generate", latents, *net, "-o", f"{made}/")
            yield line(args, (name, str(steps)), real, made)


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--net")
    shared.add_argument(
        "--distance", default="vgg19", help="distance that is measured, of areas too"
    )
    shared.add_argument("--features", default="mobilenet", help="of FID")
    shared.add_argument("-o", "--output", type=Path)
    verbs = parser.add_subparsers(dest="table", required=True)
    of = verbs.add_parser("areas", parents=[shared])
    of.add_argument("encoders", nargs="+", metavar="NAME=ENCODER")
    of.add_argument("--count", type=int, default=1500)
    of = verbs.add_parser("ssim", parents=[shared])
    of.add_argument("pictures", type=Path)
    of.add_argument("--init")
    of.add_argument("--steps", type=int, nargs="+", default=[1500, 3500])
    of.add_argument("--count", type=int, default=500)
    args = parser.parse_args()
    measures = ["psnr", "ssim", "lpips", args.distance, "fid", "n"]
    lines = ["\t".join(["", args.table, *measures, "paper's psnr", "ssim", "lpips", "fid"])]
    print(lines[0], flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for found in (areas if args.table == "areas" else ssim)(args, Path(temporary)):
            lines.append(found)
            print(found, flush=True)
    if args.output:
        args.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
