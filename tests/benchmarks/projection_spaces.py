"""How near projections come in w, w+, nw+ and fnw+5, and how usual they stay (paper 002, ch. 6, 7).

`python tests/benchmarks/projection_spaces.py PACK COUNT WORK [ENCODER]`: COUNT faces of the pack of
64x64 faces that the network inside the package never saw (numbers divisible by 10) are projected
by `gantools project --method thesis` into each space, with 250 steps and with 1000, with and
without distribution regularisation, fnw+5 also from an encoder (`train encoder`). Latents stay in
WORK, where a second run goes on.

Printed: PSNR; the perceptual distance that was minimised (the network's own discriminator's);
VGG19's, which nobody minimised ($GANTOOLS_WEIGHTS has vgg19_conv1-3_f16.npz); W1 of the styles
(S2.17), of F and of R from the network's own. Then the gain of fnw+5 over nw+ in each distance,
1 - mean/mean, with a 95 % interval: 10,000 bootstraps over the pictures, seed 0.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gantools.inversion.distances import embedding
from gantools.inversion.perceptual import distance
from gantools.inversion.project import to_tensor
from gantools.io import image, source
from gantools.io.latent import Latent
from gantools.latents.distribution import parts, scalars
from gantools.latents.render import images
from gantools.latents.targets import of_features, of_styles
from gantools.networks.network import Network, open_network
from gantools.ops.pixels import to_uint8
from gantools.ops.quantiles import Distribution, w1

HOLD_OUT = 10
MEASURES = ("psnr", "discriminator", "vgg19", "W1 w", "W1 f", "W1 r")


@dataclass(frozen=True)
class Row:
    """One way to project."""

    space: str
    steps: int
    dist: float = 0.0
    init: str = "mean"

    @property
    def name(self) -> str:
        start = "" if self.init == "mean" else ", encoder"
        return f"{self.space}, {self.steps} steps, dist {self.dist:g}{start}"


def rows(encoder: str | None) -> list[Row]:
    """Every row of the table, the quick ones first."""
    found = [Row(space, 250, dist) for space in ("w", "w+") for dist in (0.0,)]
    found += [Row(space, 250, dist) for space in ("nw+", "fnw+5") for dist in (0.0, 1.0)]
    if encoder:
        found += [Row("fnw+5", 250, dist, encoder) for dist in (0.0, 1.0)]
    found += [Row("fnw+5", 1000, dist) for dist in (0.0, 1.0)]
    found += [Row("nw+", 1000, dist) for dist in (0.0, 1.0)]
    if encoder:
        found += [Row("fnw+5", 1000, dist, encoder) for dist in (0.0, 1.0)]
    return [*found, Row("w", 1000), Row("w+", 1000)]


def pictures(pack: Path, count: int, folder: Path) -> list[str]:
    """Write the chosen held-out faces; their keys."""
    held_out = [
        s
        for s in source.samples([str(pack / "celeba64_20k.zip")])
        if int(s.key.rpartition("/")[2]) % HOLD_OUT == 0
    ]
    chosen = np.random.default_rng(0).choice(len(held_out), count, replace=False)
    folder.mkdir(parents=True, exist_ok=True)
    keys = []
    for sample in (held_out[i] for i in chosen):
        keys.append(sample.key.rpartition("/")[2])
        (folder / f"{keys[-1]}.jpg").write_bytes(sample.data)
    return keys


def project(row: Row, targets: Path, out: Path) -> None:
    """`gantools project`, as far as it was not done before."""
    argv = ["--method", "thesis", "--space", row.space, "--steps", str(row.steps)]
    argv += ["--dist-weight", str(row.dist), "--init", row.init, "--align", "never"]
    command = ["gantools", "project", str(targets), *argv, "--no-clobber", "-q", "-o", f"{out}/"]
    subprocess.run(command, check=True)


@torch.no_grad()
def measured(
    network: Network, targets: Path, latents: Path, keys: list[str], own: dict[str, Distribution]
) -> dict[str, np.ndarray]:
    """Each measure of each picture."""
    embeds = {name: embedding(name, network) for name in ("discriminator", "vgg19")}
    found: dict[str, list[float]] = {}
    for key in keys:
        latent = Latent.from_bytes((latents / f"{key}.safetensors").read_bytes(), key)
        wanted = to_tensor([image.decode((targets / f"{key}.jpg").read_bytes())], network)
        shown = to_tensor(list(to_uint8(images(network, [latent]))), network)
        found.setdefault("psnr", []).append(latent.header["projection"]["psnr"])
        for name, embed in embeds.items():
            found.setdefault(name, []).append(distance(embed(shown), embed(wanted)).item())
        for part, names in parts(latent).items():
            far = w1(Distribution.of(scalars(latent, names)), own[part])
            found.setdefault(f"W1 {part}", []).append(far)
    return {name: np.array(values) for name, values in found.items()}


def gain(ours: np.ndarray, theirs: np.ndarray) -> str:
    """1 - mean(ours) / mean(theirs) and its interval, the pictures drawn in pairs."""
    draw = np.random.default_rng(0).integers(len(ours), size=(10_000, len(ours)))
    low, high = np.quantile(1 - ours[draw].mean(1) / theirs[draw].mean(1), (0.025, 0.975))
    return f"{1 - ours.mean() / theirs.mean():.1%} [{low:.1%}, {high:.1%}]"


def main() -> None:
    """Project, measure, compare."""
    pack, count, work = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    encoder = sys.argv[4] if len(sys.argv) > 4 else None
    keys = pictures(pack, count, work / "target")
    network = open_network(discriminator=True)
    own = {"w": of_styles(network), **of_features(network, 5)}
    print("| space | " + " | ".join(MEASURES) + " |\n|---|" + "---|" * len(MEASURES))
    results: dict[Row, dict[str, np.ndarray]] = {}
    for row in rows(encoder):
        out = work / row.name.replace(", ", "_").replace(" ", "-")
        project(row, work / "target", out)
        results[row] = measured(network, work / "target", out, keys, own)
        cells = [f"{results[row][m].mean():.4g}" if m in results[row] else "" for m in MEASURES]
        print(f"| {row.name} | " + " | ".join(cells) + " |", flush=True)
    for ours in (row for row in results if row.space == "fnw+5"):
        theirs = Row("nw+", ours.steps)
        for name in ("discriminator", "vgg19"):
            found = gain(results[ours][name], results[theirs][name])
            print(f"{ours.name}: {found} below nw+ without in {name}")


if __name__ == "__main__":
    main()
