"""MobileNetV2 1.0 224 (Sandler et al. 2018, Table 2) as published for TensorFlow: 1280 features.

Its weights are 3 MB where Inception's are 95 MB; distances in its features compare with each other
and with nothing published.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gantools.io import tflite

SIZE = 224
DIM = 1280
CLASSES = 1001  # 0 is background

# Table 2: expansion t, channels c, repeats n, stride s of each stage of bottlenecks.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class Conv(nn.Module):
    """Convolution with bias and relu6 where `bounded`, on pictures turned by 180 degrees.

    TensorFlow's padding SAME puts the odd pixel of a stride of 2 at the end, torch's at the
    beginning. On turned pictures with turned kernels both are the same, without a padded copy.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, bounded: bool = True
    ) -> None:
        super().__init__()
        groups = inputs if kernel > 1 and inputs == outputs else 1  # depthwise
        self.weight = nn.Parameter(torch.zeros(outputs, inputs // groups, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.stride, self.groups, self.bounded = stride, groups, bounded

    def forward(self, x: Tensor) -> Tensor:
        padding = self.weight.shape[2] // 2
        x = functional.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)
        return functional.hardtanh_(x, 0.0, 6.0) if self.bounded else x


class Bottleneck(nn.Module):
    """Inverted residual: expand 1x1, depthwise 3x3, project 1x1, plus the input where it fits."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        expand = [Conv(inputs, wide, 1)] if expansion > 1 else []
        depthwise = Conv(wide, wide, 3, stride)
        self.body = nn.Sequential(*expand, depthwise, Conv(wide, outputs, 1, bounded=False))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return y.add_(x) if self.residual else y


class MobileNetV2(nn.Module):
    """Pictures [N, 3, 224, 224] in [-1, 1] -> features [N, 1280]. Sides: multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [Conv(3, 32, 3, 2)]
        channels = 32
        for t, c, n, s in STAGES:
            for i in range(n):
                layers.append(Bottleneck(channels, c, s if i == 0 else 1, t))
                channels = c
        self.trunk = nn.Sequential(*layers, Conv(channels, DIM, 1))
        self.head = nn.utils.skip_init(nn.Linear, DIM, CLASSES)  # nobody's random numbers
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        """The average-pooled features [N, 1280], in [0, 6]."""
        turned = x.flip(2, 3).contiguous(memory_format=torch.channels_last)
        return self.trunk(turned).mean((2, 3))

    def logits(self, x: Tensor) -> Tensor:
        """[N, 1001]; the class 0 is background, 1 to 1000 are ImageNet's in their order."""
        return self.head(self(x))

    def convolutions(self) -> list[Conv]:
        """Every convolution in the order in which it runs."""
        return [module for module in self.trunk.modules() if isinstance(module, Conv)]


def load(path: Path) -> MobileNetV2:
    """The network with its weights, (kernel - zero) · scale in float32, of either file.

    TensorFlow Lite's published one, or an .npz of the same numbers: per layer `cNN.w` uint8
    [O,I,k,k], `.scale`, `.zp`, `.b`. ValueError, KeyError or Usage where the file is another one.
    """
    net = MobileNetV2()
    layers: list[Conv | nn.Linear] = [*net.convolutions(), net.head]
    stored = tflite.convolutions(path) if tflite.looks_like(path) else _of_arrays(path)
    for layer, found in zip(layers, stored, strict=True):
        weight = (found.kernel.astype(np.float32) - np.float32(found.zero)) * found.scale
        turned = torch.from_numpy(weight).flip(2, 3)  # see Conv
        layer.weight.copy_(turned.view_as(layer.weight))
        layer.bias.copy_(torch.from_numpy(found.bias))
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _of_arrays(path: Path) -> list[tflite.Convolution]:
    with np.load(path, allow_pickle=False) as file:
        return [
            tflite.Convolution(
                file[f"c{i:02d}.w"],
                np.float32(file[f"c{i:02d}.scale"]),
                int(file[f"c{i:02d}.zp"]),
                file[f"c{i:02d}.b"],
            )
            for i in range(sum(name.endswith(".w") for name in file.files))
        ]
