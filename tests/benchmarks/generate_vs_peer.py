"""Our StyleGAN2 generator on the CPU against NVIDIA's own: same weights, same run, a ratio.

    python tests/benchmarks/generate_vs_peer.py --peer PATH

PATH is a checkout of NVlabs/stylegan2-ada-pytorch, which is not part of this repository. On the CPU
it takes its reference path. Both sides render the same ws, 256x256, channel_base 16384, batch 4,
with the stored noise; measured in turn, the fastest of each counts. Wanted: fp32 1.5, bf16 2.5.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gantools.networks.stylegan2 import Generator
from gantools.networks.stylegan2_config import GeneratorConfig, widths

RESOLUTION, BASE, CLAMP, FP16_RES = 256, 16384, 256.0, 4


def peer_generator(checkout: Path) -> Any:
    """The peer's network with random weights, its noise and biases not left at zero."""
    sys.path.insert(0, str(checkout))
    warnings.simplefilter("ignore")
    from training.networks import Generator as Peer  # type: ignore[import-not-found]

    torch.manual_seed(0)
    kwargs = {"channel_base": BASE, "num_fp16_res": FP16_RES, "conv_clamp": CLAMP}
    peer = Peer(512, 0, 512, RESOLUTION, 3, synthesis_kwargs=kwargs).eval().requires_grad_(False)
    for name, parameter in peer.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.1)
        elif name.endswith("bias") and "affine" not in name:
            parameter.normal_(std=0.1)
    return peer


def our_generator(peer: Any) -> Generator:
    """Ours with the peer's weights."""
    cfg = GeneratorConfig(
        RESOLUTION, widths(RESOLUTION, BASE), conv_clamp=CLAMP, num_fp16_res=FP16_RES
    )
    ours = Generator(cfg).eval().requires_grad_(False)
    names = ours.state_dict()
    ours.load_state_dict({n: t for n, t in peer.state_dict().items() if n in names})
    return ours


def measure(runs: dict[str, Callable[[], Tensor]], repeats: int) -> dict[str, float]:
    """Seconds of each run: all in turn, `repeats` times after a warm-up, the least counts."""
    best = dict.fromkeys(runs, float("inf"))
    for i in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if i:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def main() -> None:
    """Print name and value, a line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, metavar="PATH")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    peer = peer_generator(args.peer)
    ours = our_generator(peer)
    ws = peer.mapping(torch.randn(args.batch, 512), None)

    def theirs(**kwargs: Any) -> Tensor:
        return peer.synthesis(ws, noise_mode="const", force_fp32=True, **kwargs)

    runs: dict[str, Callable[[], Tensor]] = {
        "peer": theirs,
        "peer-unfused": lambda: theirs(fused_modconv=False),  # not its default
        "fp32": lambda: ours.synthesis(ws),
        "bf16": lambda: ours.synthesis(ws, dtype=torch.bfloat16),
    }
    wanted = theirs()
    seconds = measure(runs, args.repeats)
    for name, value in seconds.items():
        print(f"{name}_seconds\t{value:.3f}")
    for name in ("fp32", "bf16"):
        print(f"{name}_ratio\t{seconds['peer'] / seconds[name]:.2f}")
        fastest = min(seconds["peer"], seconds["peer-unfused"])
        print(f"{name}_ratio_to_fastest_peer\t{fastest / seconds[name]:.2f}")
    for name in ("fp32", "bf16"):
        print(f"{name}_max_difference\t{(runs[name]() - wanted).abs().max():.2e}")
    print(f"image_standard_deviation\t{wanted.std():.2f}")


if __name__ == "__main__":
    main()
