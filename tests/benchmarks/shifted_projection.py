"""Does it matter where in the picture a face stands? Shifted pictures in w+, nw+ and fnw+5 (S2.15).

`python tests/benchmarks/shifted_projection.py PACK COUNT WORK [ENCODER]`: COUNT photographs of the
pack of 128x128 faces are cut to the framing of the network inside the package, and the same cut
moved to the side by 1, 2 and 4 cells of F_5 (4, 8 and 16 px of 64), with what the photograph has
there, mirrored beyond its edge. `gantools project --method thesis --steps 250` of each, fnw+5 also
from an encoder (`train encoder`). Printed for every space and shift: PSNR, VGG19's distance, which
nobody minimised, and how much larger it is than that of the pictures that are not moved, over what
both show of the photograph, with a 95 % interval (10,000 bootstraps over the photographs, in pairs,
seed 0).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from gantools.faces.align import align
from gantools.faces.detect import Detector
from gantools.faces.warp import crop_quad
from gantools.inversion.distances import embedding
from gantools.inversion.perceptual import Embed, distance
from gantools.inversion.project import to_tensor
from gantools.io import image, source
from gantools.io.latent import Latent
from gantools.latents.render import images
from gantools.networks.network import Network, open_network
from gantools.ops.pixels import to_uint8
from gantools.report import SampleError

SHIFTS = (0, 1, 2, 4)  # cells of F_5
CELL = 4  # px


def cut(pack: Path, count: int, network: Network, work: Path) -> list[str]:
    """Write the moved pictures of the first `count` photographs with a face; their keys."""
    detector, keys = Detector(), []
    for sample in source.samples([str(pack / "ffhq128_5k.zip")]):
        photo = image.decode(sample.data)
        try:
            _, corners, _ = align(photo, network.meta["crop"], 64, "always", detector)
        except SampleError:
            continue
        keys.append(sample.key.rpartition("/")[2])
        across = (corners[3] - corners[0]) / 64
        for shift in SHIFTS:
            moved = crop_quad(photo, corners + across * CELL * shift, 64)
            path = work / f"target-{shift}" / f"{keys[-1]}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image.encode(moved))
        if len(keys) == count:
            break
    return keys


class Measured:
    """Targets and pictures of the latents found, [n, 3, 64, 64]; PSNR [n]."""

    def __init__(self, network: Network, target: Path, latents: Path, keys: list[str]) -> None:
        found = [Latent.from_bytes((latents / f"{k}.safetensors").read_bytes(), k) for k in keys]
        self.psnr = np.array([x.header["projection"]["psnr"] for x in found])
        photos = [image.decode((target / f"{k}.png").read_bytes()) for k in keys]
        self.wanted = to_tensor(photos, network)
        with torch.no_grad():
            pixels = np.concatenate([to_uint8(images(network, [x])) for x in found])
        self.shown = to_tensor(list(pixels), network)

    @torch.no_grad()
    def distance(self, embed: Embed, columns: slice) -> np.ndarray:
        """[n], of some of the columns."""
        pairs = zip(self.shown.split(1), self.wanted.split(1), strict=True)
        each = [distance(embed(a[..., columns]), embed(b[..., columns])) for a, b in pairs]
        return torch.cat(each).numpy()


def main() -> None:
    """Cut, project, measure."""
    pack, count, work = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    network = open_network(discriminator=True)
    embed = embedding("vgg19", network)
    keys = cut(pack, count, network, work)
    starts = {"w+": "mean", "nw+": "mean", "fnw+5": "mean"}
    if len(sys.argv) > 4:
        starts["fnw+5, encoder"] = sys.argv[4]
    print("| space | shift, cells | PSNR | vgg19 | against no shift |\n|---|---|---|---|---|")
    draw = np.random.default_rng(0).integers(len(keys), size=(10_000, len(keys)))
    for name, init in starts.items():
        still: Measured | None = None
        for shift in SHIFTS:
            target, out = work / f"target-{shift}", work / f"{name.replace(', ', '_')}-{shift}"
            argv = ["--method", "thesis", "--steps", "250", "--space", name.partition(",")[0]]
            command = ["gantools", "project", str(target), *argv, "--init", init]
            command += ["--align", "never", "--no-clobber", "-q", "-o", f"{out}/"]
            subprocess.run(command, check=True)
            found = Measured(network, target, out, keys)
            still = still or found
            both = 64 - CELL * shift
            near = found.distance(embed, slice(None, both))
            before = still.distance(embed, slice(CELL * shift, None))
            ratios = near[draw].mean(1) / before[draw].mean(1) - 1
            low, high = np.quantile(ratios, (0.025, 0.975))
            change = f"{near.mean() / before.mean() - 1:+.1%} [{low:+.1%}, {high:+.1%}]"
            far = found.distance(embed, slice(None)).mean()
            print(
                f"| {name} | {shift} | {found.psnr.mean():.2f} | {far:.4f} | {change} |", flush=True
            )


if __name__ == "__main__":
    main()
