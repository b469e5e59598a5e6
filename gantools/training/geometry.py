"""ADA's geometry: pixel blits exactly, the rest through the sym6 wavelet (arXiv 2006.06676, B)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Daubechies' least asymmetric wavelet of 6 vanishing moments, low-pass decomposition taps.
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
DELAY = sum(i * t for i, t in enumerate(SYM6)) / sum(SYM6)  # 5.098 samples
_WHOLE_DELAY = round(DELAY)
_PAD = 3  # pixels that the taps reach beyond the picture


def blit(images: Tensor, flip: Tensor, turns: Tensor, shift: Tensor) -> Tensor:
    """Flip in x, turn by 90 degrees, move by whole pixels: a copy of pixels, so exact.

    images [N,C,H,W], H - W even: the frame is not turned, so a picture that is not square is cut
    there and continued by reflection here. flip [N] bool; turns [N] quarter turns counter-
    clockwise, 0..3; shift [N,2] pixels to the right and down, reflected at the border.
    Differentiable any number of times.
    """
    n, c, h, w = images.shape
    y, x = torch.meshgrid(
        torch.arange(h, device=images.device), torch.arange(w, device=images.device), indexing="ij"
    )
    # Backwards: from the output pixel to the pixel that it copies.
    x = x[None] - shift[:, 0, None, None]
    y = y[None] - shift[:, 1, None, None]
    for _ in range(3):  # about the centre, ((w - 1) / 2, (h - 1) / 2)
        again = turns[:, None, None] > 0
        turns = turns - 1
        x, y = (
            torch.where(again, (h + w) // 2 - 1 - y, x),
            torch.where(again, x + (h - w) // 2, y),
        )
    x, y = _reflect(x, w), _reflect(y, h)
    x = torch.where(flip[:, None, None], w - 1 - x, x)
    index = (y * w + x).reshape(n, 1, h * w).expand(n, c, h * w)
    return images.reshape(n, c, h * w).gather(2, index).reshape(n, c, h, w)


def _reflect(index: Tensor, size: int) -> Tensor:
    """Whole-number coordinates folded into 0..size-1 about the centres of the border pixels."""
    period = 2 * (size - 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index)


class _Sample(torch.autograd.Function):
    """Bilinear sampling with reflection, linear in the image, so differentiable again (R1)."""

    @staticmethod
    def forward(ctx, image: Tensor, grid: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(grid)
        ctx.shape = image.shape
        return F.grid_sample(image, grid, "bilinear", "reflection", align_corners=True)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        (grid,) = ctx.saved_tensors
        return _SampleTransposed.apply(gradient, grid, ctx.shape), None


class _SampleTransposed(torch.autograd.Function):
    """The transposed map of _Sample; its own transpose is _Sample again."""

    @staticmethod
    def forward(ctx, gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(grid)
        empty = gradient.new_zeros(1).expand(shape)
        bilinear, reflection = 0, 2
        return torch.ops.aten.grid_sampler_2d_backward(
            gradient, empty, grid, bilinear, reflection, True, [True, False]
        )[0]

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]
        (grid,) = ctx.saved_tensors
        return _Sample.apply(gradient, grid), None, None


def _up(x: Tensor, taps: Tensor) -> Tensor:
    """Zeros between the samples, then `taps` along both axes: [N,C,H,W] -> [N,C,2H+k-2,2W+k-2]."""
    c, k = x.shape[1], taps.numel()
    x = F.conv_transpose2d(x, taps.view(1, 1, k, 1).expand(c, 1, k, 1), stride=(2, 1), groups=c)
    return F.conv_transpose2d(x, taps.view(1, 1, 1, k).expand(c, 1, 1, k), stride=(1, 2), groups=c)


def _down(x: Tensor, taps: Tensor) -> Tensor:
    """The transpose of `_up`: [N,C,2H+k-2,2W+k-2] -> [N,C,H,W]."""
    c, k = x.shape[1], taps.numel()
    x = F.conv2d(x, taps.view(1, 1, k, 1).expand(c, 1, k, 1), stride=(2, 1), groups=c)
    return F.conv2d(x, taps.view(1, 1, 1, k).expand(c, 1, 1, k), stride=(1, 2), groups=c)


def warp(images: Tensor, inverse: Tensor) -> Tensor:
    """Resample images [N,C,H,W] under affine maps without aliasing.

    inverse [N,2,3] takes an output position to the input position, both in pixels from the
    picture's centre, x to the right and y down. The picture goes to twice the resolution with the
    sym6 low-pass, is sampled bilinearly there (continued by reflection at the centres of its border
    pixels, for ever), filtered by the transposed low-pass and decimated. The taps are orthogonal to
    their even shifts, so positions that fall on the finer lattice lose nothing.
    """
    h, w = images.shape[2:]
    taps = torch.tensor(SYM6, device=images.device, dtype=images.dtype)
    fine = _up(F.pad(images, [_PAD] * 4, mode="reflect"), taps * 2**0.5)
    # Pixel 0's centre lies DELAY samples after 2 PAD; cut at the nearest sample.
    top = 2 * _PAD + _WHOLE_DELAY
    inner = fine[:, :, top : top + 2 * h - 1, top : top + 2 * w - 1]
    grid = _grid(inverse.to(images.dtype), h, w, taps.numel())
    return _down(_Sample.apply(inner, grid), taps / 2**0.5)


def _grid(inverse: Tensor, h: int, w: int, k: int) -> Tensor:
    """Where the decimating filter's inputs lie in the fine picture: [N,2h+k-2,2w+k-2,2]."""

    def lattice(size: int) -> Tensor:  # pixels from the centre
        j = torch.arange(2 * size + k - 2, device=inverse.device, dtype=inverse.dtype)
        return (j - DELAY) / 2 - (size - 1) / 2

    y, x = torch.meshgrid(lattice(h), lattice(w), indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], dim=-1)  # [2h+k-2, 2w+k-2, 3]
    where = torch.einsum("yxj,nij->nyxi", points, inverse)
    size = torch.tensor([w, h], device=inverse.device, dtype=inverse.dtype)
    index = 2 * (where + (size - 1) / 2) + (DELAY - _WHOLE_DELAY)
    return index / (size - 1) - 1
