"""Upsample, leaky ReLU, downsample with designed low-pass filters (StyleGAN3, Karras et al. 2021).

Filters are 1-D (separable) or 2-D (radially symmetric); `None` is the identity.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# ----------------------------------------------------------------------------
# Filter design: windowed ideal low-pass filters (StyleGAN3, Appendix C.1).


def kaiser_beta(taps: int, width: float, rate: float) -> float:
    """Kaiser's window parameter for a transition band of `width` at sampling rate `rate`."""
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return 0.0


def design_lowpass(
    taps: int, cutoff: float, width: float, rate: float, *, radial: bool = False
) -> Tensor | None:
    """Low-pass filter with unit gain at zero frequency; frequencies in the units of `rate`.

    Gives [taps], or [taps, taps] for a radial one, float32; None for one tap (the identity).
    """
    if taps == 1:
        return None
    n = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    beta = kaiser_beta(taps, width, rate)
    window = torch.kaiser_window(taps, periodic=False, beta=beta, dtype=torch.float64)
    if radial:
        # The ideal radial low-pass is a jinc: J1(2 pi fc r) / (pi r).
        r = torch.hypot(n[:, None], n[None, :]) / rate
        safe = r.clamp(min=1e-12 / rate)  # an odd number of taps has a sample at the centre
        kernel = torch.special.bessel_j1(2 * math.pi * cutoff * safe) / (math.pi * safe)
        kernel = kernel * torch.outer(window, window)
    else:
        kernel = torch.sinc(2 * cutoff / rate * n) * window
    return (kernel / kernel.sum()).float()


# ----------------------------------------------------------------------------
# Resampling.


def upsample(x: Tensor, f: Tensor | None, up: int, pad: tuple[int, int]) -> Tensor:
    """Insert zeros, pad by `pad` (low, high; negative crops) on both axes, filter with gain up^2.

    x [N,C,H,W] -> [N,C,H',W'] with H' = H up + sum(pad) - taps + 1.
    """
    if f is None:
        return F.pad(x, (*pad, *pad)) if any(pad) else x
    taps = f.shape[-1]
    f = f.to(x.dtype)
    if f.ndim == 2:
        return _up_axes(x, f * up**2, (up, up), taps, pad)
    x = _up_axes(x, f[None, :] * up, (1, up), taps, pad)
    return _up_axes(x, f[:, None] * up, (up, 1), taps, pad)


def downsample(x: Tensor, f: Tensor | None, down: int) -> Tensor:
    """Filter without padding and keep every `down`-th sample: H' = (H - taps) // down + 1."""
    if f is None:
        return x[:, :, ::down, ::down]
    f = f.to(x.dtype).flip(list(range(f.ndim)))  # conv2d correlates, a filter convolves
    if f.ndim == 2:
        return _depthwise(x, f, (down, down))
    x = _depthwise(x, f[None, :], (1, down))
    return _depthwise(x, f[:, None], (down, 1))


def filtered_lrelu(
    x: Tensor,
    up_filter: Tensor | None,
    down_filter: Tensor | None,
    *,
    up: int,
    down: int,
    pad: tuple[int, int],
    slope: float = 0.2,
    gain: float = math.sqrt(2),
    clamp: float | None = None,
) -> Tensor:
    """x [N,C,H,W] -> upsampled, lrelu(x) * gain within +-clamp, downsampled."""
    x = upsample(x, up_filter, up, pad)
    x = F.leaky_relu(x, slope) if slope != 1 else x
    x = x * gain if gain != 1 else x
    x = x.clamp(-clamp, clamp) if clamp is not None else x
    return downsample(x, down_filter, down)


def _depthwise(x: Tensor, kernel: Tensor, stride: tuple[int, int]) -> Tensor:
    channels = x.shape[1]
    weight = kernel[None, None].expand(channels, 1, -1, -1)
    return F.conv2d(x, weight, stride=stride, groups=channels)


def _up_axes(
    x: Tensor, kernel: Tensor, up: tuple[int, int], taps: int, pad: tuple[int, int]
) -> Tensor:
    channels, (height, width) = x.shape[1], x.shape[2:]
    weight = kernel[None, None].expand(channels, 1, -1, -1)
    y = F.conv_transpose2d(x, weight, stride=up, groups=channels)
    # The transposed convolution is the full one; the asked padding is a window of it.
    if kernel.shape[0] > 1:
        y = _window(y, 2, taps - 1 - pad[0], height * up[0] + pad[1])
    if kernel.shape[1] > 1:
        y = _window(y, 3, taps - 1 - pad[0], width * up[1] + pad[1])
    return y


def _window(y: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """Samples start..stop of an axis; outside of it the full convolution is zero."""
    size = y.shape[axis]
    low, high = max(-start, 0), max(stop - size, 0)
    y = y.narrow(axis, max(start, 0), min(stop, size) - max(start, 0))
    if low or high:
        y = F.pad(y, (low, high) if axis == 3 else (0, 0, low, high))
    return y
