"""Perceptual distances as embeddings: d(a, b) = Σ (embed(a) − embed(b))² (papers.md S2.14, S0.17).

An embedding is computed once for a target. Pictures are [N,C,H,W] in [-1,1]; an embedding is a
list of tensors [N, …], scaled so that the sum of squared differences is the distance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gantools.ops import pyramid as laplacian

Embed = Callable[[Tensor], list[Tensor]]
Backbone = Literal["vgg", "alex", "squeeze"]

# Last module of torchvision's `features` before each tap, and the trunk's weights file.
TAPS: dict[str, tuple[int, ...]] = {
    "vgg": (3, 8, 15, 22, 29),  # relu1_2 relu2_2 relu3_3 relu4_3 relu5_3
    "alex": (1, 4, 7, 9, 11),  # relu1 … relu5
    "squeeze": (1, 4, 7, 9, 10, 11, 12),  # relu1, then the Fire modules before each pooling, …
}
TRUNKS = {"vgg": "vgg16", "alex": "alexnet", "squeeze": "squeezenet"}
LARGEST = 256  # perceptual networks of photographs see about this many pixels a face
RELU4_3 = 23  # modules of VGG16's `features` up to it
SMALLEST = 64  # and at least this many: AlexNet's pooling needs them


def distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Sum of squared differences of two embeddings, per sample: [N]."""
    parts = [(x - y).flatten(1).square().sum(1) for x, y in zip(a, b, strict=True)]
    return torch.stack(parts).sum(0)


def unit_channels(x: Tensor) -> Tensor:
    """Every location's channel vector [N,C,H,W] at length 1; x / (‖x‖ + 1e-10), as LPIPS does.

    `vector_norm`, not sqrt of a sum: its gradient at a location whose channels are all 0 is 0.
    """
    return x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10)


def spatial_mean(x: Tensor) -> Tensor:
    """Scale a map [N,C,H,W] so that its squared sum is a mean over locations."""
    return x * (x.shape[2] * x.shape[3]) ** -0.5


# ---------------------------------------------------------------------------- LPIPS


class Lpips(nn.Module):
    """LPIPS 0.1 over a torchvision trunk: unit channels, 1×1 heads, spatial mean, sum of layers."""

    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: nn.Sequential, taps: Sequence[int], heads: Sequence[Tensor]) -> None:
        """trunk: torchvision's `features`; heads: one non-negative [C] per tap."""
        super().__init__()
        self.trunk, self.taps = trunk[: taps[-1] + 1], tuple(taps)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))
        # d = Σ head·(a − b)² = Σ (√head·a − √head·b)²
        self.roots = nn.ParameterList([head.view(1, -1, 1, 1).sqrt() for head in heads])
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Embedding of images [N,3,H,W], at their own size."""
        x = (images - self.shift) / self.scale
        embedding: list[Tensor] = []
        for i, module in enumerate(self.trunk):
            x = module(x)
            if i in self.taps:
                root = self.roots[len(embedding)]
                embedding.append(spatial_mean(unit_channels(x) * root))
        return embedding


def build_trunk(backbone: Backbone) -> nn.Sequential:
    """torchvision's convolutional trunk without memory for its weights (device meta)."""
    from torchvision import models

    make = {"vgg": models.vgg16, "alex": models.alexnet, "squeeze": models.squeezenet1_1}
    with torch.device("meta"):
        trunk: nn.Sequential = make[backbone](weights=None).features
    return trunk.eval()


def lpips(backbone: Backbone) -> Lpips:
    """LPIPS with the published weights; Usage where they are missing (io.weights)."""
    trunk = _published_trunk(backbone)
    heads = _published(f"lpips-{backbone}")
    lins = [heads[f"lin{i}.model.1.weight"].float() for i in range(len(TAPS[backbone]))]
    return Lpips(trunk, TAPS[backbone], lins)


def _published_trunk(backbone: Backbone) -> nn.Sequential:
    state = _published(TRUNKS[backbone])
    trunk = build_trunk(backbone)
    head = "features."
    kept = {n.removeprefix(head): t.float() for n, t in state.items() if n.startswith(head)}
    trunk.load_state_dict(kept, assign=True)
    return trunk


def _published(name: str) -> dict[str, Tensor]:
    """The tensors of a published .pth whose bytes were checked."""
    from gantools.io import weights

    path = weights.locate(name)
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


# ---------------------------------------------------------------------------- VGG19, first blocks


class Vgg19(nn.Module):
    """Unit-normalised features relu1_2, relu2_2 and relu3_4 of VGG19; no trained heads."""

    means: Tensor

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        """arrays: conv{block}_{n}.weight [O,I,3,3] and .bias [O]; input is BGR, 0..255."""
        super().__init__()
        self.register_buffer("means", torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1))
        self.blocks = nn.ModuleList(
            nn.Sequential(*(m for c in _convs(arrays, block) for m in (c, nn.ReLU(inplace=True))))
            for block in (1, 2, 3)
        )
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Embedding of images [N,3,H,W]."""
        x, embedding = (images.flip(1) + 1) * 127.5 - self.means, []
        for i, block in enumerate(self.blocks):
            x = block(functional.max_pool2d(x, 2) if i else x)
            embedding.append(spatial_mean(unit_channels(x)))
        return embedding


def _convs(arrays: dict[str, np.ndarray], block: int) -> list[nn.Conv2d]:
    convs = []
    for name in sorted(n for n in arrays if n.startswith(f"conv{block}_") and n.endswith("weight")):
        weight = torch.from_numpy(arrays[name].astype(np.float32))
        conv = nn.utils.skip_init(nn.Conv2d, weight.shape[1], weight.shape[0], 3, padding=1)
        conv.weight.data.copy_(weight)
        conv.bias.data.copy_(torch.from_numpy(arrays[name.replace("weight", "bias")]))
        convs.append(conv)
    return convs


def vgg19() -> Vgg19:
    """VGG19's first blocks with the published weights; Usage where they are missing."""
    from gantools.io import weights

    with np.load(weights.locate("vgg19"), allow_pickle=False) as file:
        return Vgg19({name: file[name] for name in file.files})


# ---------------------------------------------------------------------------- VGG16, one layer


class Vgg16(nn.Module):
    """relu4_3 of VGG16, a mean square of features (papers.md S4.16).

    In-Domain inversion has Keras' weights, which read 0..255 and give as many times larger features
    as torchvision's, which read units of a deviation: these are brought to that size, for a weight
    of 5e-5 to mean what it says.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: nn.Sequential) -> None:
        """trunk: torchvision's `features`."""
        super().__init__()
        self.trunk = trunk[:RELU4_3]
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Embedding of images [N,3,H,W]."""
        x = self.trunk(((images + 1) / 2 - self.mean) / self.std)
        return [spatial_mean(x) * (255 * float(self.std.mean()) * x.shape[1] ** -0.5)]


def vgg16() -> Vgg16:
    """VGG16's layer with torchvision's weights; Usage where they are missing."""
    return Vgg16(_published_trunk("vgg"))


# ---------------------------------------------------------------------------- without weights


COARSEST = 8  # pixels along a side that are still halved
CONTRAST = 0.34  # 0.17 of pictures in [0, 1]: what is added to a location's own contrast


def pyramid(images: Tensor) -> list[Tensor]:
    """Normalised Laplacian pyramid: every level over the contrast around it, means of squares.

    z / (0.34 + blurred |z|), the divisive normalisation of Laparra et al. 2016 with the pyramid's
    own filter in place of learned ones; the low-pass as it is; the distance is the levels' mean.
    Without the division a pyramid is only another way to compute a squared error. Any size; below
    8 pixels it is one.
    """
    count = 1 + max(0, (min(images.shape[2:]) // COARSEST).bit_length())
    levels = laplacian.laplacian(images, count)
    seen = [z / (CONTRAST + laplacian.blurred(z.abs())) for z in levels[:-1]]
    return [spatial_mean(x) * (x.shape[1] * count) ** -0.5 for x in (*seen, levels[-1])]


def of_discriminator(features: Callable[[Tensor], list[Tensor]]) -> Embed:
    """The discriminator's own features per resolution, unit channels, mean over the layers."""

    def embed(images: Tensor) -> list[Tensor]:
        maps = features(images)
        return [spatial_mean(unit_channels(x)) * len(maps) ** -0.5 for x in maps]

    return embed


def on_black_and_white(embed: Embed, *, premultiplied: bool) -> Embed:
    """Of pictures [N,4,H,W] half the distance is that on black, half that on white.

    So is alpha seen by networks of photographs. premultiplied: whether the colour is.
    """

    def laid(images: Tensor) -> list[Tensor]:
        if images.shape[1] != 4:
            return embed(images)
        colour, share = images[:, :3], images[:, 3:]
        if not premultiplied:
            colour = (colour + 1) * (share + 1) / 2 - 1
        both = (*embed(colour), *embed(colour + 1 - share))  # white seen through: 2 (1 - a)
        return [x * 0.5**0.5 for x in both]

    return laid


def at_photograph_size(embed: Embed, resolution: int, smallest: int = SMALLEST) -> Embed:
    """What a network of that resolution makes, shrunk by max(1, resolution/256), by area (S2.14).

    So a network sees the same of a face in a picture of any size. What is below `smallest` px is
    enlarged.
    """
    factor = max(1, resolution // LARGEST)

    def resized(images: Tensor) -> list[Tensor]:
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        if factor > 1:
            images = functional.avg_pool2d(images, factor)
        side = min(images.shape[2:])
        if side < smallest:
            images = functional.interpolate(images, scale_factor=smallest / side, mode="bilinear")
        return embed(images)

    return resized
