"""Does projection into fnsw+5 work, which failed in paper 002 (S2.26, section 9.1.1)?

`python tests/benchmarks/style_map_projection.py PACK COUNT WORK [STEPS]`: COUNT held-out faces (as
in projection_spaces.py) are projected into fnw+5 and, with and without each regulariser, fnsw+5.
Printed: PSNR; the perceptual distance that was minimised; W1 of the style maps, F and R from the
network's own; and how real the network's discriminator finds them, and them after `gantools edit
--dir age` (the mean logit; the photographs' own is the first row): a latent that only copies its
picture falls apart when it is edited.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from projection_spaces import pictures
from torch import Tensor

from gantools.inversion.project import to_tensor
from gantools.io import image
from gantools.io.latent import Latent
from gantools.latents.distribution import parts, scalars
from gantools.latents.render import images
from gantools.latents.targets import of_features, of_styles
from gantools.networks.network import Network, open_network
from gantools.ops.quantiles import Distribution, w1

USUAL = ("--dist-weight", "1")
ROWS: dict[str, tuple[str, ...]] = {
    "fnw+5": ("--space", "fnw+5", *USUAL),
    "fnsw+5": ("--space", "fnsw+5"),
    "fnsw+5, smooth 1": ("--space", "fnsw+5", "--style-smooth", "1"),
    "fnsw+5, 4 cells": ("--space", "fnsw+5", "--style-cells", "4"),
    "fnsw+5, dist 1, 4 cells": ("--space", "fnsw+5", *USUAL, "--style-cells", "4"),
    "fnsw+5, dist 1, 4 cells, smooth 1, falloff 0.7": (
        "--space", "fnsw+5", *USUAL, "--style-cells", "4", "--style-smooth", "1",
        "--style-falloff", "0.7",
    ),
}  # fmt: skip
MEASURES = ("psnr", "distance", "W1 w", "W1 f", "W1 r", "logit", "logit, older")


def opened(folder: Path, keys: list[str]) -> list[Latent]:
    """The latents of a folder."""
    return [Latent.from_bytes((folder / f"{k}.safetensors").read_bytes(), k) for k in keys]


@torch.no_grad()
def logit(network: Network, shown: Tensor) -> float:
    """The mean over the pictures, one by one: no statistics of a batch."""
    assert network.d is not None
    return float(torch.cat([network.d(x) for x in shown.split(1)]).mean())


def main() -> None:
    """Project, edit, measure."""
    pack, count, work = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    steps = sys.argv[4] if len(sys.argv) > 4 else "250"
    keys = pictures(pack, count, work / "target")
    network = open_network(discriminator=True)
    own = {"w": of_styles(network), **of_features(network, 5)}
    print("| space | " + " | ".join(MEASURES) + " |\n|---|" + "---|" * len(MEASURES))
    photos = [image.decode((work / "target" / f"{k}.jpg").read_bytes()) for k in keys]
    print(f"| the photographs | | | | | | {logit(network, to_tensor(photos, network)):.3f} | |")
    for name, flags in ROWS.items():
        out = work / name.replace(", ", "_").replace(" ", "-")
        argv = [
            "--method",
            "thesis",
            *flags,
            "--steps",
            steps,
            "--align",
            "never",
            "--init",
            "mean",
        ]
        command = ["gantools", "project", f"{work}/target", *argv, "--no-clobber", "-q"]
        subprocess.run([*command, "-o", f"{out}/"], check=True)
        older = ["gantools", "edit", str(out), "--dir", "age", "-q", "--no-clobber"]
        subprocess.run([*older, "-o", f"{out}-older/"], check=True)
        latents = opened(out, keys)
        stories = [latent.header["projection"] for latent in latents]
        found = [np.mean([s["psnr"] for s in stories]), np.mean([s["distance"] for s in stories])]
        for part in ("w", "f", "r"):
            far = [w1(Distribution.of(scalars(x, parts(x)[part])), own[part]) for x in latents]
            found.append(np.mean(far))
        for some in (latents, opened(Path(f"{out}-older"), keys)):
            shown = torch.cat([images(network, [x]) for x in some]).clamp(-1, 1)
            found.append(logit(network, shown))
        print(f"| {name} | " + " | ".join(f"{x:.4g}" for x in found) + " |", flush=True)


if __name__ == "__main__":
    main()
