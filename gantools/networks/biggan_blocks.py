"""The residual blocks of BigGAN's generator and their batch norms (formats.md 2d)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks.batch_norm import Moments
from gantools.networks.biggan_statistics import Rows, between
from gantools.networks.spectral_norm import Conv, Dense
from gantools.ops.resample import nearest_up

BOTTLENECK = 4  # a deep block's inner channels are its inputs' / 4


class Layers(NamedTuple):
    """What the layers of all blocks have in common.

    condition: numbers that a batch norm reads; eps, n_stats: its own; spectral_norm: whether the
    convolutions have it, smooth: whether the batch norms' weights have it too.
    """

    condition: int
    eps: float
    n_stats: int
    spectral_norm: bool
    smooth: bool

    def conv(self, in_channels: int, out_channels: int, kernel: int) -> Conv:
        """A convolution that keeps the size."""
        return Conv(in_channels, out_channels, kernel, columns=True, normalised=self.spectral_norm)

    def norm(self, channels: int) -> ConditionalNorm:
        """A batch norm that reads the condition."""
        return ConditionalNorm(channels, self)


def initial(module: nn.Module, kind: Literal["orthogonal", "normal"] = "orthogonal") -> None:
    """Draw every weight of a network anew, as BigGAN's training begins: orthogonal, or N(0, 0.02²).

    Apart from the network itself, because it takes long and a file's numbers follow mostly.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if kind == "normal":
                nn.init.normal_(layer.weight, 0, 0.02)
            else:
                nn.init.orthogonal_(layer.weight)


class _Norm(Moments):
    """Moments with `n_stats` rows, 1 for one of all truncations, and an affine map behind them.

    Several rows are for evaluation: ValueError in training.
    """

    def __init__(self, channels: int, eps: float, n_stats: int) -> None:
        super().__init__(channels, eps)
        self.n_stats = n_stats
        if n_stats > 1:
            self.mean = self.mean.repeat(n_stats, 1)
            self.var = self.var.repeat(n_stats, 1)

    def applied(self, x: Tensor, gain: Tensor, shift: Tensor, rows: Rows) -> Tensor:
        """gain, shift [1 or N, C] of the normalised x [N, C, H, W]."""
        if self.training:
            if self.n_stats > 1:
                raise ValueError("a network with statistics for each truncation is not trained")
            x = self.normalised(x)
        else:
            gain = gain * (between(self.var, rows) + self.eps).rsqrt()
            shift = shift - between(self.mean, rows) * gain
        gain, shift = (part[:, :, None, None].to(x.dtype) for part in (gain, shift))
        return torch.addcmul(shift, x, gain)


class Norm(_Norm):
    """Batch norm without a condition: x [N, C, H, W] -> [N, C, H, W]."""

    def __init__(self, channels: int, eps: float, n_stats: int) -> None:
        super().__init__(channels, eps, n_stats)
        self.gain = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, rows: Rows) -> Tensor:
        """rows: of the statistics, in evaluation."""
        return self.applied(x, self.gain[None], self.shift[None], rows)


class ConditionalNorm(_Norm):
    """Batch norm with gain 1 + G c and shift S c, linear in the condition c [N, condition]."""

    def __init__(self, channels: int, own: Layers) -> None:
        super().__init__(channels, own.eps, own.n_stats)
        self.gain, self.shift = (
            Dense(own.condition, channels, bias=False, columns=True, normalised=own.smooth)
            for _ in range(2)
        )

    def forward(self, x: Tensor, condition: Tensor, rows: Rows) -> Tensor:
        """x [N, C, H, W] -> [N, C, H, W]; rows: of the statistics, in evaluation."""
        return self.applied(x, 1 + self.gain(condition), self.shift(condition), rows)


class Block(nn.Module):
    """BigGAN's: x [N, I, H, W] -> [N, O, H, W], or twice the size."""

    def __init__(self, in_channels: int, out_channels: int, own: Layers, *, doubles: bool) -> None:
        super().__init__()
        self.doubles = doubles
        self.norm0, self.norm1 = own.norm(in_channels), own.norm(out_channels)
        self.conv0 = own.conv(in_channels, out_channels, 3)
        self.conv1 = own.conv(out_channels, out_channels, 3)
        self.learned = doubles or in_channels != out_channels
        if self.learned:
            self.skip = own.conv(in_channels, out_channels, 1)

    def forward(self, x: Tensor, condition: Tensor, rows: Rows) -> Tensor:
        """condition [N, condition]."""
        y = F.relu(self.norm0(x, condition, rows))
        # A 1x1 convolution and upsampling change places: a quarter of the work.
        x = self.skip(x) if self.learned else x
        if self.doubles:
            x, y = nearest_up(x), nearest_up(y)
        y = F.relu(self.norm1(self.conv0(y), condition, rows))
        return self.conv1(y) + x


class DeepBlock(nn.Module):
    """BigGAN-deep's, a bottleneck: x [N, I, H, W] -> [N, O, H, W] with O <= I, or twice the size.

    The shortcut has no weights: it drops channels.
    """

    def __init__(self, in_channels: int, out_channels: int, own: Layers, *, doubles: bool) -> None:
        super().__init__()
        self.doubles, self.kept = doubles, out_channels
        inner = in_channels // BOTTLENECK
        self.norm0 = own.norm(in_channels)
        self.norm1, self.norm2, self.norm3 = (own.norm(inner) for _ in range(3))
        self.conv0 = own.conv(in_channels, inner, 1)
        self.conv1, self.conv2 = own.conv(inner, inner, 3), own.conv(inner, inner, 3)
        self.conv3 = own.conv(inner, out_channels, 1)

    def forward(self, x: Tensor, condition: Tensor, rows: Rows) -> Tensor:
        """condition [N, condition]."""
        y = self.conv0(F.relu(self.norm0(x, condition, rows)))
        y = F.relu(self.norm1(y, condition, rows))
        x = x[:, : self.kept]
        if self.doubles:
            x, y = nearest_up(x), nearest_up(y)
        y = F.relu(self.norm2(self.conv1(y), condition, rows))
        return self.conv3(F.relu(self.norm3(self.conv2(y), condition, rows))) + x
