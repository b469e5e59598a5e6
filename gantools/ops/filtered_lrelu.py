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


def upsample(
    x: Tensor, f: Tensor | None, up: int, pad: tuple[int, int], gain: float = 1.0
) -> Tensor:
    """Insert zeros, pad by `pad` (low, high; negative crops) on both axes, filter, gain up^2 gain.

    x [N,C,H,W], f [taps] -> [N,C,H',W'] with H' = H up + sum(pad) - taps + 1.
    """
    if f is None:
        x = F.pad(x, (*pad, *pad)) if any(pad) else x
        return x * gain if gain != 1 else x
    for axis, scale in ((3, up * gain), (2, up)):
        # The filter's full convolution; the asked padding is a window of it.
        stop = x.shape[axis] * up + pad[1]
        full = _full(x, (f * scale).to(x.dtype), up, axis)
        x = _window(full, axis, len(f) - 1 - pad[0], stop)
    return x


def downsample(x: Tensor, f: Tensor | None, down: int) -> Tensor:
    """Filter without padding and keep every `down`-th sample: H' = (H - taps) // down + 1."""
    if f is None:
        return x[:, :, ::down, ::down]
    f = f.to(x.dtype).flip(list(range(f.ndim)))  # conv2d correlates, a filter convolves
    if f.ndim == 2:
        return _depthwise(x, f, stride=(down, down))
    x = _depthwise(x, f[None, :], stride=(1, down))
    return _depthwise(x, f[:, None], stride=(down, 1))


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
    in_place = up_filter is not None and not torch.is_grad_enabled()  # then x is ours
    x = upsample(x, up_filter, up, pad, gain)  # lrelu(x) * gain = lrelu(x * gain)
    if slope != 1:
        x = F.leaky_relu(x, slope, inplace=in_place)
    if clamp is not None:
        x = x.clamp_(-clamp, clamp) if in_place else x.clamp(-clamp, clamp)
    return downsample(x, down_filter, down)


def _depthwise(
    x: Tensor, kernel: Tensor, *, stride: tuple[int, int] = (1, 1), pad: tuple[int, int] = (0, 0)
) -> Tensor:
    channels = x.shape[1]
    weight = kernel[None, None].expand(channels, 1, -1, -1)
    return F.conv2d(x, weight, stride=stride, padding=pad, groups=channels)


def _full(x: Tensor, f: Tensor, up: int, axis: int) -> Tensor:
    """The full convolution of zero-stuffed x with f along an axis: (n - 1) up + taps samples."""
    if x.device.type == "cpu" and x.dtype is not torch.float32 and len(f) % up == 0:
        return _polyphase(x, f, up, axis)
    channels = x.shape[1]
    weight = _along(f, axis)[None, None].expand(channels, 1, -1, -1)
    return F.conv_transpose2d(x, weight, stride=(1, up) if axis == 3 else (up, 1), groups=channels)


def _polyphase(x: Tensor, f: Tensor, up: int, axis: int) -> Tensor:
    """The same where CPUs have no transposed kernel (bf16): sample j up + p of taps p, p + up, …"""
    reach = len(f) // up - 1
    size = list(x.shape)
    size[axis] = (size[axis] + reach) * up
    y = torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last)
    for p in range(up):
        phase = y[..., p::up] if axis == 3 else y[..., p::up, :]
        kernel = _along(f[p::up].flip(0), axis)
        phase.copy_(_depthwise(x, kernel, pad=(0, reach) if axis == 3 else (reach, 0)))
    return y


def _along(f: Tensor, axis: int) -> Tensor:
    return f[None, :] if axis == 3 else f[:, None]


def _window(y: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """Samples start..stop of an axis; outside of it the full convolution is zero."""
    size = y.shape[axis]
    low, high = max(-start, 0), max(stop - size, 0)
    y = y.narrow(axis, max(start, 0), min(stop, size) - max(start, 0))
    if low or high:
        y = F.pad(y, (low, high) if axis == 3 else (0, 0, low, high))
    return y
