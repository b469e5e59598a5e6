"""What a run leaves behind on its way: network files and grids of uncurated samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantools.io import atomic, image, network, seeds
from gantools.io.alpha import straight
from gantools.io.network import Checkpoint
from gantools.networks import biggan, pggan, sngan, stylegan, stylegan2
from gantools.networks.network import numbers
from gantools.ops.pixels import to_uint8
from gantools.training.families import Trainer


def network_name(images: int) -> str:
    """`network-001000.safetensors`: thousands of images shown."""
    return f"network-{images // 1000:06d}.safetensors"


def sample_name(images: int) -> str:
    """`000123.png`: thousands of images shown."""
    return f"{images // 1000:06d}.png"


def save_network(path: Path, trainer: Trainer, meta: dict[str, Any]) -> str:
    """Write g_ema, g, d and a spectral discriminator as a network file; returns its identity.

    ALAE's is a StyleGAN network without a discriminator: its own judges w.
    """
    family = trainer.config.family
    players = {"g": trainer.g} if family == "alae" else {"g": trainer.g, "d": trainer.d}
    parts = {"g_ema": trainer.g_ema, **players}
    if trainer.critic.net is not None:
        parts["spectral"] = trainer.critic.net
    tensors = {
        f"{part}.{name}": value
        for part, module in parts.items()
        for name, value in numbers(module).items()
    }
    growth = {"lod": trainer.lod} if family in ("pggan", "stylegan", "alae") else {}
    config = {part: {**module.cfg.to_dict(), **growth} for part, module in players.items()}
    if trainer.critic.net is not None:
        config["spectral"] = {"kind": trainer.critic.kind}
    meta = {**meta, "images_shown": trainer.images}
    own = "stylegan" if family == "alae" else family
    return network.save(path, Checkpoint(own, config, tensors, meta))


@torch.inference_mode()
def sample(
    g: Any,
    count: int,
    seed: int,
    purpose: str,
    dtype: torch.dtype | None,
    *,
    lod: float = 0.0,
    batch: int = 32,
    classes: Sequence[int] = (),
) -> Iterator[np.ndarray]:
    """uint8 batches [n,H,W,C] of `count` samples, psi 1, fresh noise; sample i is always the same.

    Of four channels the colour is premultiplied, as the generator makes it.

    The random numbers come from the CPU, so that every device draws the same. Of a growing network
    at `lod` the small pictures are enlarged, pixel by pixel. classes: of the samples, `count` of
    them; without them a conditional network's classes come in turn.
    """
    device = next(g.parameters()).device
    for start in range(0, count, batch):
        numbers = range(start, min(start + batch, count))
        drawn = [_draw(g, seeds.derive(seed, str(i), purpose)) for i in numbers]
        z, *noise = (torch.stack(one).to(device) for one in zip(*drawn, strict=True))
        f = noise.pop() if _sampled(g) else None
        label = _labels(g, [classes[i] if len(classes) else i for i in numbers], device)
        pictures = to_uint8(_rendered(g, z, label, noise, dtype, lod, f))
        times = g.cfg.size[0] // pictures.shape[1]
        yield pictures.repeat(times, axis=1).repeat(times, axis=2)


def _labels(g: Any, classes: Sequence[int], device: torch.device) -> Tensor | None:
    """One-hot [n, c_dim], class numbers modulo c_dim; None for a network without classes."""
    count = g.cfg.c_dim
    return torch.eye(count, device=device)[torch.tensor(classes) % count] if count else None


def _rendered(
    g: Any,
    z: Tensor,
    label: Tensor | None,
    noise: list[Tensor],
    dtype: torch.dtype | None,
    lod: float,
    f: Tensor | None,
) -> Tensor:
    if isinstance(g, pggan.Generator):
        return g(z, label, dtype=dtype, lod=lod)  # type: ignore[no-any-return]
    if isinstance(g, sngan.Generator | biggan.Generator):
        return g(z, label, dtype=dtype)  # type: ignore[no-any-return]
    if isinstance(g, stylegan.Generator):
        return g.synthesis(g.mapping(z, label), noise, dtype, lod)  # type: ignore[no-any-return]
    return g.synthesis(g.mapping(z, label), noise, dtype, f=f)  # type: ignore[no-any-return]


def _sampled(g: Any) -> bool:
    """Whether it starts from sampled features (FNZ_i, S2.20)."""
    return isinstance(g, stylegan2.Generator) and bool(g.cfg.fnz)


def _draw(g: Any, seed: int) -> list[Tensor]:
    """z [z_dim], then the noise maps [1,H,W], then, where they are sampled, f [C,h,w]."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(g.cfg.z_dim,), *((1, *shape) for shape in g.noise_shapes)]
    drawn = [torch.randn(shape, generator=generator) for shape in shapes]
    if isinstance(g, biggan.Generator):  # as generate draws it
        drawn[0] = torch.from_numpy(seeds.truncated(drawn[0].numpy()))
    return [*drawn, g.sampled(1, generator)[0]] if _sampled(g) else drawn


def grid(pictures: np.ndarray, columns: int) -> np.ndarray:
    """uint8 [N,H,W,C] as one picture, row by row."""
    n, h, w, c = pictures.shape
    rows = n // columns
    cells = pictures[: rows * columns].reshape(rows, columns, h, w, c)
    return cells.transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, c)


def save_samples(path: Path, trainer: Trainer) -> None:
    """A grid of the EMA generator's samples, always of the same z and noise; none is chosen.

    With alpha where the pictures have it, in straight colour.
    """
    side = 8 if max(trainer.config.size) <= 256 else 4
    seed = trainer.config.seed
    batches = sample(trainer.g_ema, side * side, seed, "grid", trainer.dtype, lod=trainer.lod)
    path.parent.mkdir(exist_ok=True)
    sheet = grid(np.concatenate(list(batches)), side)
    atomic.write_bytes(path, image.encode(straight(sheet) if sheet.shape[2] == 4 else sheet))
