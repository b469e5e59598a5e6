"""Resampling by 2: FIR (StyleGAN2), and the ways that paper 003 compares (S3.9, S3.14).

FIR (formats.md 2a, "Resampling exactness") as depthwise convolutions: in channels_last the fastest
form on CPU and GPU alike that keeps plain autograd (double backward included); the reference with
explicit zeros stands in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from gantools.ops.convolve import conv2d, conv_transpose2d

Upsampling = Literal["nearest", "bilinear", "zeros", "reshape"]
Downsampling = Literal["avg", "blurpool", "stride"]
UPSAMPLINGS: tuple[Upsampling, ...] = get_args(Upsampling)
BILINEAR = (1.0, 3.0, 3.0, 1.0)  # the FIR of StyleGAN2
DOWNSAMPLINGS: tuple[Downsampling, ...] = get_args(Downsampling)


def fir_kernel(taps: Sequence[float]) -> Tensor:
    """The separable kernel of `taps`, [k, k], summing to 1; on the CPU, whatever the default."""
    row = torch.tensor(list(taps), dtype=torch.float32, device="cpu")
    kernel = torch.outer(row, row)
    return kernel / kernel.sum()


def _depthwise(kernel: Tensor, x: Tensor, gain: float, *, flip: bool) -> Tensor:
    kernel = (kernel.flip([0, 1]) if flip else kernel) * gain
    return kernel.to(x.dtype).expand(x.shape[1], 1, *kernel.shape)  # [C, 1, k, k]


def fir(
    x: Tensor, kernel: Tensor, pad: tuple[int, int], *, gain: float = 1.0, down: int = 1
) -> Tensor:
    """Convolve every channel with `kernel`, `pad` zeros before and after, keep every `down`th.

    x [N, C, H, W] -> [N, C, (H + sum(pad) - k) // down + 1, …]. A true convolution: it flips.
    """
    before, after = pad
    if before != after:
        x = F.pad(x, (before, after, before, after))
        before = 0
    weight = _depthwise(kernel, x, gain, flip=True)
    return conv2d(x, weight, padding=before, stride=down, groups=x.shape[1])


def upsample(x: Tensor, kernel: Tensor) -> Tensor:
    """Zeros between the samples, FIR, gain 4: [N, C, H, W] -> [N, C, 2H, 2W]."""
    taps = kernel.shape[0]
    before, after = (taps + 1) // 2, (taps - 2) // 2  # as NVIDIA pads; [2, 1] for four taps
    weight = _depthwise(kernel, x, 4.0, flip=False)
    y = conv_transpose2d(x, weight, stride=2, groups=x.shape[1])  # [2H + taps - 2]
    first = taps - 1 - before
    last = taps - 1 - after - 1
    return y[:, :, first : y.shape[2] - last, first : y.shape[3] - last]


def downsample(x: Tensor, kernel: Tensor) -> Tensor:
    """FIR, then every second sample: [N, C, H, W] -> [N, C, H/2, W/2]."""
    taps = kernel.shape[0]
    return fir(x, kernel, ((taps - 1) // 2, (taps - 2) // 2), down=2)


def conv_up(x: Tensor, weight: Tensor, kernel: Tensor) -> Tensor:
    """Convolution on the twofold upsampled input: transposed convolution, then FIR.

    x [N, I, H, W], weight [O, I, k, k] -> [N, O, 2H, 2W]. Upsampling first and convolving then
    would differ along the border.
    """
    taps, k = kernel.shape[0], weight.shape[-1]
    before = k // 2 + (taps + 1) // 2 - (k - 1)
    after = k // 2 + (taps - 2) // 2 - (k - 2)
    trim = max(min(-before, -after), 0)
    y = conv_transpose2d(x, weight.transpose(0, 1), stride=2, padding=trim)
    return fir(y, kernel, (before + trim, after + trim), gain=4.0)


def conv_down(x: Tensor, weight: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """FIR, then convolution with stride 2: x [N, I, H, W], weight [O, I, k, k], half the size."""
    taps, k = kernel.shape[0], weight.shape[-1]
    before, after = k // 2 + (taps - 1) // 2, k // 2 + (taps - 2) // 2
    if k == 1:  # filtering only the samples that are kept
        return conv2d(fir(x, kernel, (before, after), down=2), weight, bias)
    return conv2d(fir(x, kernel, (before, after)), weight, bias, stride=2)


def nearest_up(x: Tensor) -> Tensor:
    """Every sample twice in both directions."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


def box_down(x: Tensor) -> Tensor:
    """The mean of every 2x2 cell."""
    return F.avg_pool2d(x, 2)


def up(x: Tensor, how: Upsampling) -> Tensor:
    """[N, C, H, W] -> [N, C, 2H, 2W]; reshape takes its samples from channels, [N, C/4, 2H, 2W].

    On an axis with theta = 2 pi u / 2N the spectrum X, repeated, is multiplied by 1 (zeros),
    2 cos(theta/2) (nearest) or 2 cos^3(theta/2) (bilinear) in magnitude (S3.9).
    """
    if how == "nearest":
        return nearest_up(x)
    if how == "bilinear":
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    if how == "reshape":
        return F.pixel_shuffle(x, 2)
    n, c, h, w = x.shape
    cells = F.pad(x.reshape(n, c, h, 1, w, 1), (0, 1, 0, 0, 0, 1))  # the sample, then a zero
    return cells.reshape(n, c, 2 * h, 2 * w)


def down(x: Tensor, how: Downsampling) -> Tensor:
    """[N, C, H, W] -> [N, C, H/2, W/2]: means of 2x2, after a blur by [1, 3, 1]/5, or every other.

    On an axis Y(u) = (Y H(u) + Y H(u + N)) / 2, with H = (1 + e^i theta)/2 for avg, that times
    (3 + 2 cos theta)/5 for blurpool, 1 for stride (S3.14). The blur mirrors at the border.
    """
    if how == "stride":
        return x[:, :, ::2, ::2]
    if how == "blurpool":
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        x = x[:, :, :-2] + 3 * x[:, :, 1:-1] + x[:, :, 2:]
        x = (x[..., :-2] + 3 * x[..., 1:-1] + x[..., 2:]) / 25
    return box_down(x)


FUSED_FROM = 16  # pixels at the coarser side; below, the transposed convolution's start costs more


def box_kernel(weight: Tensor) -> Tensor:
    """[O, I, k, k] -> [O, I, k + 1, k + 1]: convolved with a 2x2 box of ones ("fused scale")."""
    w = F.pad(weight, (1, 1, 1, 1))
    return w[..., 1:, 1:] + w[..., 1:, :-1] + w[..., :-1, 1:] + w[..., :-1, :-1]


def nearest_up_conv(x: Tensor, weight: Tensor) -> Tensor:
    """nearest_up, then a 3x3 convolution: [N, I, H, W] -> [N, O, 2H, 2W] (S0.7).

    From FUSED_FROM on as one transposed convolution, with 4/9 of the products.
    """
    if x.shape[-1] < FUSED_FROM:
        return conv2d(nearest_up(x), weight, padding=1)
    kernel = box_kernel(weight).flip([2, 3]).transpose(0, 1)
    return conv_transpose2d(x, kernel, stride=2, padding=1)


def up_conv(x: Tensor, weight: Tensor, how: Upsampling) -> Tensor:
    """`up`, then a 3x3 convolution that keeps the size: zeros outside.

    nearest and zeros are one transposed convolution from FUSED_FROM on.
    """
    if how == "nearest":
        return nearest_up_conv(x, weight)
    if how == "zeros" and x.shape[-1] >= FUSED_FROM:
        kernel = F.pad(weight, (1, 0, 1, 0)).flip([2, 3]).transpose(0, 1)  # even: an even size
        return conv_transpose2d(x, kernel, stride=2, padding=1)
    return conv2d(up(x, how), weight, padding=1)


def conv_box_down(x: Tensor, weight: Tensor) -> Tensor:
    """A 3x3 convolution, then box_down: [N, I, H, W] -> [N, O, H/2, W/2] (S0.8).

    From FUSED_FROM on as one convolution of stride 2, with 4/9 of the products.
    """
    if x.shape[-1] < 2 * FUSED_FROM:
        return box_down(conv2d(x, weight, padding=1))
    return conv2d(x, box_kernel(weight) / 4, stride=2, padding=1)
