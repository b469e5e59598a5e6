"""What an ALAE leaves beside its networks: encoders, and sheets of reconstructions (S4.17)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantools.inversion import encoder_files
from gantools.io import atomic, image
from gantools.io import encoder as files
from gantools.io.alpha import straight
from gantools.networks.growing import crossfade, shrunk
from gantools.ops import similarity
from gantools.ops.pixels import to_uint8
from gantools.training.alae import AlaeTrainer
from gantools.training.snapshots import grid, sample_name

SHOWN = 64  # pictures that are reconstructed at each snapshot
COLUMNS, ROWS = 8, 4  # of them on the sheet, each row above its reconstructions
LARGEST = 256  # above it half the columns and a row


def pictures(trainer: AlaeTrainer, held: np.ndarray) -> Tensor:
    """The pictures that are reconstructed, uint8 [n, C, H, W]: held out, or else the run's first.

    Read from the trainer's reader: before the run, whose pictures are then the next.
    """
    if len(held):
        return torch.from_numpy(held[:SHOWN]).to(trainer.device)
    return trainer.reader.batch(0, min(SHOWN, len(trainer.reader)), lambda whole: whole)[0]


def write(
    path: Path, trainer: AlaeTrainer, identity: str, told: str, shown: Tensor
) -> dict[str, Any]:
    """Write the encoder of the network file at `path`, and a sheet; what the log says of them.

    identity: of that network; told: the pictures that it was trained on; shown: `pictures`.
    """
    file = encoder_files.to_file(
        trainer.e_ema, {"images": trainer.images, "pictures": told, "seed": trainer.config.seed}
    )
    file.config = {**file.config, "lod": trainer.lod}
    file.network = {"name": path.stem, "id": identity}
    files.write(path.with_name(path.stem + files.SUFFIX), file)
    name = sample_name(trainer.images).replace(".png", ".reconstructions.png")
    psnr, sheet = reconstructed(trainer, shown)
    atomic.write_bytes(path.parent / "samples" / name, image.encode(sheet))
    return {"psnr": round(psnr, 3), "reconstructions": name}


@torch.no_grad()
def reconstructed(trainer: AlaeTrainer, shown: Tensor) -> tuple[float, np.ndarray]:
    """Mean PSNR of G(E(x)) with the averaged networks, and the sheet uint8 [H, W, C].

    shown: uint8 [n, C, H, W]. Pictures are as large as the network's are by now, faded as its are;
    on the sheet they are enlarged to full size.
    """
    lod = trainer.lod
    large = max(trainer.config.size) > LARGEST
    columns, rows = (COLUMNS // 2, 1) if large else (COLUMNS, ROWS)
    height, width = trainer.config.size
    size = height >> int(lod), width >> int(lod)
    found, cells = [], []
    for at in range(0, len(shown), columns):
        part = shown[at : at + columns].float()
        reals = crossfade(shrunk(part, size) / 127.5 - 1, lod)
        ws = trainer.e_ema(reals, lod)[:, None].expand(-1, trainer.g.num_ws, -1)
        made = trainer.g_ema.synthesis(ws, lod=lod)
        found.append(similarity.psnr(similarity.levels(reals), similarity.levels(made)))
        if at < rows * columns:
            cells += [_row(x, columns, height // size[0]) for x in (reals, made)]
    sheet = grid(np.concatenate(cells), columns)
    sheet = straight(sheet) if sheet.shape[2] == 4 else sheet
    return float(torch.cat(found).mean()), sheet


def _row(images: Tensor, columns: int, times: int) -> np.ndarray:
    """`columns` pictures, black ones where there are fewer, pixel by pixel enlarged."""
    pixels = to_uint8(images)
    missing = columns - len(pixels)
    pixels = np.pad(pixels, [(0, missing), (0, 0), (0, 0), (0, 0)])
    return pixels.repeat(times, axis=1).repeat(times, axis=2)
