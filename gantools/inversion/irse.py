"""IR-SE: the residual network of face recognition that pSp's encoders see with (papers.md S4.18).

He et al. 2016 with a batch norm before the first convolution (Deng et al. 2019), and squeeze and
excitation (Hu et al. 2018). Its parts have the names of the published files.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gantools.inversion.encoder_backbones import Norm

UNITS = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
}
"""By depth, which counts convolutions: units of each stage. 50 is pSp's, 10 to 34 are smaller."""
WIDTH = 512  # channels of the last stage as published
SQUEEZED = 16  # channels for each of the bottleneck of squeeze and excitation


def widths(width: int) -> list[int]:
    """Channels of the four stages: an eighth of the last one's, and twice as many in each next."""
    return [max(1, width * share // 8) for share in (1, 2, 4, 8)]


class Squeeze(nn.Module):
    """x · σ(W2 relu(W1 mean(x))), a share for every channel: [N, C, H, W] -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        fewer = max(1, channels // SQUEEZED)
        self.fc1 = nn.Conv2d(channels, fewer, 1, bias=False)
        self.fc2 = nn.Conv2d(fewer, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W]."""
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class Unit(nn.Module):
    """Two convolutions beside a shortcut: [N, I, H, W] -> [N, O, H / stride, W / stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.wider = inputs != outputs
        if self.wider:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, bias=False), Norm(outputs)
            )
        self.res_layer = nn.Sequential(
            Norm(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            Norm(outputs),
            Squeeze(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x [N, I, H, W]."""
        # Every other pixel for a 1x1 convolution of stride 2: torch 2.15's own has gradients that
        # write beyond their memory on the CPU, channels last.
        short = x[:, :, :: self.stride, :: self.stride]
        short = self.shortcut_layer(short) if self.wider else short
        return self.res_layer(x) + short  # type: ignore[no-any-return]


class IrSe(nn.Module):
    """Pictures [N, C, H, W] in [-1, 1] -> the last maps of its four stages, strides 2, 4, 8, 16."""

    def __init__(self, channels: int, width: int, depth: int) -> None:
        """width: channels of the last stage; depth: a key of UNITS."""
        super().__init__()
        own = widths(width)
        self.input_layer = nn.Sequential(
            nn.Conv2d(channels, own[0], 3, 1, 1, bias=False), Norm(own[0]), nn.PReLU(own[0])
        )
        units, inputs = [], own[0]
        for outputs, count in zip(own, UNITS[depth], strict=True):
            units.append(Unit(inputs, outputs, 2))
            units += [Unit(outputs, outputs, 1) for _ in range(count - 1)]
            inputs = outputs
        self.body = nn.Sequential(*units)
        self.ends = [end - 1 for end in itertools.accumulate(UNITS[depth])]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Sides that two does not divide are rounded up."""
        x, found = self.input_layer(images), []
        for i, unit in enumerate(self.body):
            x = unit(x)
            if i in self.ends:
                found.append(x)
        return found

    def fill(self, published: Mapping[str, Tensor]) -> None:
        """Take the numbers of a published file; its first layer only where that sees colour.

        RuntimeError for numbers of another shape.
        """
        own = {n: t for n, t in published.items() if n.partition(".")[0] in ("input_layer", "body")}
        own = {n: t for n, t in own.items() if not n.endswith(".num_batches_tracked")}
        if self.input_layer[0].in_channels != 3:  # type: ignore[union-attr]
            mine = {n: t for n, t in self.state_dict().items() if n.startswith("input_layer.")}
            own |= mine
        with torch.no_grad():
            self.load_state_dict(own)
