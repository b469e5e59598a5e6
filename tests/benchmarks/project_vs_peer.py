"""Projection on the CPU against NVIDIA's projector: same network, pictures, steps and distance.

    python tests/benchmarks/project_vs_peer.py --peer PATH

PATH is a checkout of NVlabs/stylegan2-ada-pytorch, which is not part of this repository. Its
`project` runs as it is on a network of its own class with the weights of the network inside our
package; only its VGG16, which it would download, is replaced: by the perceptual space that ours
uses, the discriminator's. Ours is `--method stylegan2`, the same algorithm, 8 pictures at a time
and one by one; fp32. In turn, the least of each counts: CPU seconds, or with --clock wall those of
the wall (--threads 2); the mean of w and the start are left out on both sides (a run of one step is
taken off). Printed too: PSNR of both, and the other spaces batched against one by one (wanted: 3).
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantools.inversion.methods import METHODS
from gantools.inversion.project import Projector
from gantools.inversion.quality import psnr
from gantools.io import image, source
from gantools.networks.network import Network, open_network
from gantools.ops.pixels import to_uint8

SPACES = ("w+", "nw+", "fnw+5")


def peer_network(checkout: Path, network: Network) -> Any:
    """The peer's generator with our weights."""
    sys.path.insert(0, str(checkout))
    warnings.simplefilter("ignore")
    from training.networks import Generator  # type: ignore[import-not-found]

    cfg = network.g.cfg
    top = cfg.widths[-1] * cfg.resolution
    kwargs = {"channel_base": top, "channel_max": max(cfg.widths), "num_fp16_res": 0}
    peer = Generator(
        cfg.z_dim, 0, cfg.w_dim, cfg.resolution, 3,
        mapping_kwargs={"num_layers": cfg.mapping_layers}, synthesis_kwargs=kwargs,
    )  # fmt: skip
    peer.load_state_dict(network.g.state_dict(), strict=False)
    return peer.eval().requires_grad_(False)


def peer_projector(network: Network, embed: Callable[[Tensor], list[Tensor]]) -> Callable[..., Any]:
    """Its `project` with our perceptual space in place of the VGG16 that it downloads."""
    import dnnlib  # type: ignore[import-not-found]
    import projector  # type: ignore[import-not-found]

    class Features(torch.nn.Module):
        def forward(self, x: Tensor, resize_images: bool, return_lpips: bool) -> Tensor:
            return torch.cat([y.flatten(1) for y in embed(x / 127.5 - 1)], 1)

    dnnlib.util.open_url = lambda url: nullcontext()
    projector.torch.jit.load = lambda file: Features()
    return projector.project  # type: ignore[no-any-return]


def seconds(run: Callable[[int], object], steps: int, clock: Callable[[], float]) -> float:
    """Seconds of `steps` steps; what a run of one step takes besides is taken off."""
    taken = []
    for n in (1, steps + 1):
        start = clock()
        run(n)
        taken.append(clock() - start)
    return taken[1] - taken[0]


def main() -> None:
    """Print name and value, a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, metavar="PATH")
    parser.add_argument("--faces", type=Path, required=True, help="a folder of 64x64 faces")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.clock == "cpu" else time.perf_counter
    network = open_network(discriminator=True)
    samples = list(source.samples([str(args.faces)]))[:8]
    pixels = [image.decode(s.data) for s in samples]
    keys = [str(i) for i in range(len(pixels))]
    found: dict[str, np.ndarray] = {}

    def ours(space: str, batch: int) -> Callable[[int], object]:
        def run(steps: int) -> None:
            method = replace(METHODS["stylegan2"], steps=steps)
            projector = Projector(network, space, "stylegan2", method, "discriminator")
            made = []
            for i in range(0, len(keys), batch):
                made += projector.run(keys[i : i + batch], pixels[i : i + batch])
            shown = to_uint8(projector.render(made, network.size))
            found[f"{space}_{batch}"] = shown

        return run

    embed = Projector(network, "nw", "stylegan2", METHODS["stylegan2"], "discriminator").embed
    peer = peer_network(args.peer, network)
    project = peer_projector(network, embed)

    def theirs(steps: int) -> None:
        shown = []
        for x in pixels:
            target = torch.from_numpy(x).permute(2, 0, 1)
            # It writes noise into the network that it copies, and renders with the noise found.
            w = project(peer, target, num_steps=steps, device=torch.device("cpu"))[-1:]
            shown.append(to_uint8(peer.synthesis(w, noise_mode="const"))[0])
        found["peer"] = np.stack(shown)

    runs = {"peer": theirs, "nw_8": ours("nw", 8), "nw_1": ours("nw", 1)}
    runs |= {f"{s}_{n}": ours(s, n) for s in SPACES for n in (8, 1)}
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(args.repeats):
        for name, run in runs.items():
            best[name] = min(best[name], seconds(run, args.steps, clock))
    for name, value in best.items():
        each = value / len(pixels) / args.steps * 1000
        quality = np.mean([psnr(a, b) for a, b in zip(found[name], pixels, strict=True)])
        print(f"{name}_ms_per_picture_and_step\t{each:.2f}\tPSNR {quality:.2f}")
    print(f"peer_to_nw_8\t{best['peer'] / best['nw_8']:.2f}")
    print(f"peer_to_nw_1\t{best['peer'] / best['nw_1']:.2f}")
    for space in ("nw", *SPACES):
        print(f"{space}_one_by_one_to_batched\t{best[f'{space}_1'] / best[f'{space}_8']:.2f}")


if __name__ == "__main__":
    main()
