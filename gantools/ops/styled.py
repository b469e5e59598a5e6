"""Styled convolutions for rendering on the CPU: no gradient, in place, weights laid out once.

`ops.modulate` is the reference, with gradients and for any device. Called with one sample at a time
the activations stay in the cache through the chain of element-wise steps, memory does not grow with
the batch, and a sample's numbers cannot depend on which others stand beside it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from gantools.ops.resample import conv_up

SLOPE = 0.2
EPS = 1e-8


def rendering(x: Tensor) -> bool:
    """Whether these forms serve x: on the CPU, no gradient, not float16 (which could overflow)."""
    on_cpu = x.device.type == "cpu" and x.dtype is not torch.float16
    return on_cpu and not torch.is_grad_enabled()


class _Ready(NamedTuple):
    """A weight [O,I,k,k] in the dtype and memory layout of its convolution, and its energy."""

    key: tuple[object, ...]
    kernel: Tensor
    energy: Tensor  # [I,O], sum over k of W^2


# Lives as long as the weight itself; a weight that was changed in place has another version.
_ready: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def _prepare(weight: Tensor, dtype: torch.dtype, *, transposed: bool) -> _Ready:
    tracked = not weight.is_inference()  # made in inference mode: changes do not show
    key = (weight._version if tracked else -1, weight.data_ptr(), dtype, transposed)
    known = _ready.get(weight) if tracked else None
    if known is not None and known.key == key:
        return known  # type: ignore[no-any-return]
    kernel = weight.detach().to(dtype)
    if transposed:  # the layout that conv_transpose2d takes without a copy
        kernel = kernel.transpose(0, 1)
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    kernel = kernel.transpose(0, 1) if transposed else kernel
    energy = weight.detach().square().sum(dim=(2, 3)).T.contiguous()
    ready = _Ready(key, kernel, energy)
    if tracked:
        _ready[weight] = ready
    return ready


def styled_conv(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    bias: Tensor,
    *,
    noise: Tensor | None = None,
    up_filter: Tensor | None = None,
    gain: float = math.sqrt(2),
    clamp: float | None = None,
) -> Tensor:
    """lrelu(demod * conv(W, x * s) + noise + b) * gain, within +-clamp.

    x [N,I,h,w]; weight [O,I,k,k]; styles [N,I]; bias [O]; noise [1 or N,1,H,W], strength included;
    up_filter: twofold upsampling with this kernel. Gives [N,O,H,W], channels_last, in x's dtype.
    """
    dtype = x.dtype
    ready = _prepare(weight, dtype, transposed=up_filter is not None)
    # lrelu(a) * gain = lrelu(a * gain): the gain goes into what is multiplied and added anyway.
    demod = (styles.square() @ ready.energy + EPS).rsqrt() * gain  # [N,O]
    x = x * styles.to(dtype)[:, :, None, None]
    x = x.contiguous(memory_format=torch.channels_last)
    if up_filter is None:
        y = F.conv2d(x, ready.kernel, padding=weight.shape[-1] // 2)
    else:
        y = conv_up(x, ready.kernel, up_filter)
    shift = (bias * gain).to(dtype)[:, None, None]
    torch.addcmul(shift, y, demod.to(dtype)[:, :, None, None], out=y)
    if noise is not None:
        y.add_((noise * gain).to(dtype))
    F.leaky_relu_(y, SLOPE)
    return y if clamp is None else y.clamp_(-clamp, clamp)


def styled_rgb(
    x: Tensor, weight: Tensor, styles: Tensor, bias: Tensor, *, clamp: float | None = None
) -> Tensor:
    """1x1 convolution of one x * s without demodulation, plus bias, within +-clamp.

    x [1,I,H,W]; weight [C,I,1,1]; styles [1,I], 1/sqrt(I) included; gives [1,C,H,W], at least
    float32.
    """
    own = weight * styles[0][:, None, None]  # far smaller than x
    y = F.conv2d(x, own.to(x.dtype), bias.to(x.dtype)).contiguous()
    y = y if x.dtype is torch.float64 else y.float()
    return y if clamp is None else y.clamp_(-clamp, clamp)
