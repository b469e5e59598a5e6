"""The attribute network: a small CNN that reads labels from pictures, trained on labelled ones.

`train direction` labels generated faces with it (S2.7). It is no judge of people: it repeats the
labels that it was given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.io import tensorfile
from gantools.io.seeds import derive
from gantools.report import Usage

SIZE = 64  # pixels along a side that it sees
WIDTHS = (32, 64, 128, 256)
SHIFT = 2  # pixels by which training pictures are moved at most
FEWEST = 50  # pictures


class Reader(nn.Module):
    """Pictures [N, 3, 64, 64] in [-1, 1] -> labels [N, K] in units of their standard deviation."""

    mean: Tensor
    sd: Tensor

    def __init__(self, columns: Sequence[str]) -> None:
        super().__init__()
        self.columns = list(columns)
        layers, channels = _conv(3, WIDTHS[0], 2), WIDTHS[0]
        for width in WIDTHS[1:]:
            layers += [*_conv(channels, width, 2), *_conv(width, width, 1)]
            channels = width
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(channels, len(self.columns))
        self.register_buffer("mean", torch.zeros(len(self.columns)))
        self.register_buffer("sd", torch.ones(len(self.columns)))

    def forward(self, x: Tensor) -> Tensor:
        """Standardised labels [N, K]."""
        return self.head(self.trunk(x).mean((2, 3)))

    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        """Labels [N, K] in their own units of pictures [N, C, H, W] in about [-1, 1], any size."""
        return self(resized(images)) * self.sd + self.mean


def _conv(channels: int, width: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(width), nn.ReLU()]


def resized(images: Tensor) -> Tensor:
    """Any pictures as the reader takes them: RGB, 64x64, clamped to [-1, 1]."""
    if images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    if images.shape[2:] != (SIZE, SIZE):
        images = F.interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True)
    return images.clamp(-1, 1)


@dataclass
class Pictures:
    """Labelled pictures in memory: uint8 [N, 64, 64, 3], labels [N, K] (NaN: not known).

    held [N]: those that are never trained on, and measure how well the labels are read.
    """

    pixels: np.ndarray
    labels: np.ndarray
    held: np.ndarray


def small(pixels: np.ndarray) -> np.ndarray:
    """One picture uint8 [H, W, 3] -> [64, 64, 3], averaged where it shrinks."""
    if pixels.shape[:2] == (SIZE, SIZE):
        return pixels
    x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()
    y = F.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True)
    return y.round().clamp(0, 255).to(torch.uint8)[0].permute(1, 2, 0).numpy()


def train(
    pictures: Pictures,
    columns: Sequence[str],
    *,
    epochs: int,
    seed: int = 0,
    lr: float = 2e-3,
    device: str = "cpu",
    step: Callable[[], None] = lambda: None,
) -> tuple[Reader, dict[str, float]]:
    """Train a reader; also the correlation per column on the held-out pictures.

    Mean squared error on standardised labels, AdamW, one cycle of the learning rate. `step` is
    called after every batch. Usage with fewer than 50 pictures or a column of one value.
    """
    held = pictures.held
    if len(held) < FEWEST or not 0 < held.sum() < len(held):
        raise Usage(f"{len(held)} labelled pictures are too few to learn labels from")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "", "attribute network"))
        reader = Reader(columns).to(device)
    mean, sd = _moments(pictures.labels[~held], columns)
    reader.mean.copy_(torch.from_numpy(mean))
    reader.sd.copy_(torch.from_numpy(sd))
    chosen = np.flatnonzero(~held)
    x = torch.from_numpy(pictures.pixels)
    y = torch.from_numpy((pictures.labels - mean) / sd).float()
    optimiser = torch.optim.AdamW(reader.parameters(), lr=lr, weight_decay=1e-2)
    rng = np.random.default_rng(derive(seed, "", "order of pictures"))
    total, batch = steps(len(chosen), epochs), batch_of(len(chosen))
    reader.to(memory_format=torch.channels_last)
    reader.train()
    for i, indices in enumerate(_batches(chosen, total, batch, rng)):
        for group in optimiser.param_groups:
            group["lr"] = lr * _cycle(i / total)
        shift = rng.integers(-SHIFT, SHIFT + 1, 2)
        loss = _loss(reader, _moved(x[indices], shift).to(device), y[indices].to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step()
    reader.eval().requires_grad_(False)
    return reader, _quality(reader, x[held], pictures.labels[held], device)


# Up over the first tenth, then down along half a cosine.
def _cycle(t: float) -> float:
    return min(1.0, 10 * t + 0.01) * 0.5 * (1 + math.cos(math.pi * t))


def batch_of(pictures: int) -> int:
    """128, and less where there are few pictures to take a step from."""
    return min(128, max(16, pictures // 16))


def steps(pictures: int, epochs: int) -> int:
    """How many batches `train` takes for so many pictures."""
    return max(1, epochs * pictures // batch_of(pictures))


def _moments(labels: np.ndarray, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    mean, sd = np.nanmean(labels, axis=0), np.nanstd(labels, axis=0)
    for column, value in zip(columns, sd, strict=True):
        if not value > 0:
            raise Usage(f"the label {column} is the same in every picture")
    return mean, sd


def _batches(
    chosen: np.ndarray, total: int, batch: int, rng: np.random.Generator
) -> Iterator[Tensor]:
    """`total` batches of indices, every picture once per round."""
    order = np.empty(0, np.int64)
    for _ in range(total):
        while len(order) < batch:
            order = np.concatenate([order, rng.permutation(chosen)])
        yield torch.from_numpy(order[:batch])
        order = order[batch:]


def _moved(pixels: Tensor, shift: np.ndarray) -> Tensor:
    """uint8 [N, H, W, 3] -> [-1, 1] [N, 3, H, W], moved by whole pixels, borders repeated."""
    x = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    padded = F.pad(x, [SHIFT] * 4, mode="replicate")
    top, left = (int(s) + SHIFT for s in shift)
    return padded[:, :, top : top + SIZE, left : left + SIZE]


def _loss(reader: Reader, x: Tensor, y: Tensor) -> Tensor:
    known = ~y.isnan()
    error = torch.where(known, reader(x) - y.nan_to_num(), 0)
    return error.square().sum() / known.sum().clamp(min=1)


def _quality(reader: Reader, x: Tensor, labels: np.ndarray, device: str) -> dict[str, float]:
    parts = [reader.read(_moved(p, np.zeros(2)).to(device)).cpu().numpy() for p in x.split(256)]
    read = np.concatenate(parts)
    made = {}
    for i, column in enumerate(reader.columns):
        known = ~np.isnan(labels[:, i])
        pair = read[known, i], labels[known, i]
        usable = known.sum() > 2 and pair[0].std() > 0 and pair[1].std() > 0
        made[column] = float(np.corrcoef(*pair)[0, 1]) if usable else 0.0
    return made


def save(path: Path, reader: Reader, quality: dict[str, float]) -> None:
    """Write a reader atomically."""
    story: dict[str, Any] = {"format": 1, "kind": "attributes", "columns": reader.columns}
    tensors = {name: t.cpu().numpy() for name, t in reader.state_dict().items()}
    tensorfile.write(path, tensors, {**story, "r": quality})


def load(path: Path, *, device: str = "cpu") -> tuple[Reader, dict[str, float]]:
    """Read what `save` wrote; Usage where it is something else."""
    try:
        story, tensors = tensorfile.read(path)
        if story.get("kind") != "attributes":
            raise ValueError(f"a {story.get('kind')} file")
        reader = Reader(story["columns"])
        reader.load_state_dict({n: torch.from_numpy(np.array(t)) for n, t in tensors.items()})
    except (KeyError, ValueError, RuntimeError, TypeError) as e:
        raise Usage(f"{path.name}: no attribute network ({e})") from None
    return reader.eval().requires_grad_(False).to(device), dict(story.get("r", {}))
