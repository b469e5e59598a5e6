"""Convolutions on the CPU whose derivatives of every order are convolutions again (R1, S0.9; S2.0).

A convolution C(x, w), its transpose T(y, w) and its weight gradient G(x, y) belong to one trilinear
form <C(x, w), y>, so each one's derivatives are the other two, and nothing is computed that nobody
asked for. torch's own double backward turns batch and channels round instead, which is slow, and
its weight gradients in channels_last are slow where the stride is 2; both are avoided here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

LAST = torch.channels_last


_inputs_only: ContextVar[bool] = ContextVar("_inputs_only", default=False)


@contextmanager
def inputs_only() -> Iterator[None]:
    """Derivatives taken in here are none by weights, which torch.autograd.grad cannot tell them."""
    token = _inputs_only.set(True)
    try:
        yield
    finally:
        _inputs_only.reset(token)


class Geometry(NamedTuple):
    """What a convolution's shapes do not say; `size` is (H, W) of its input."""

    stride: int
    padding: int
    groups: int
    size: tuple[int, int]


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> Tensor:
    """F.conv2d: x [N, I, H, W], weight [O, I / groups, k, k], bias [O]."""
    if not _ours(x):
        return F.conv2d(x, weight, bias, stride, padding, groups=groups)
    size = (x.shape[2], x.shape[3])
    geometry = Geometry(stride, padding, groups, size)
    return _Convolution.apply(x, weight, bias, geometry)


def conv_transpose2d(
    y: Tensor, weight: Tensor, *, stride: int = 1, padding: int = 0, groups: int = 1
) -> Tensor:
    """F.conv_transpose2d: y [N, I, H, W], weight [I, O / groups, k, k]."""
    if not _ours(y):
        return F.conv_transpose2d(y, weight, None, stride, padding, groups=groups)
    high, wide = (
        (n - 1) * stride - 2 * padding + k
        for n, k in zip(y.shape[2:], weight.shape[2:], strict=True)
    )
    return _Transpose.apply(y, weight, Geometry(stride, padding, groups, (high, wide)))


def _ours(x: Tensor) -> bool:
    """Whether the functions below serve: on the CPU, with gradients, not under the compiler.

    Frozen networks take them too, so that their numbers do not depend on what is frozen.
    """
    on_cpu = x.device.type == "cpu" and torch.is_grad_enabled()
    return on_cpu and not torch.compiler.is_compiling()


class _Convolution(Function):
    """C(x, w) + b."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return _convolve(x, weight, bias, geometry)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        by_x, by_weight, by_bias, _ = ctx.needs_input_grad
        return (
            _Transpose.apply(grad, weight, ctx.geometry) if by_x else None,
            _by_weight(x, grad, weight, ctx.geometry) if by_weight else None,
            grad.sum(dim=(0, 2, 3)) if by_bias and not _inputs_only.get() else None,
            None,
        )


class _Transpose(Function):
    """T(y, w): from an output of the convolution to its input."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, y: Tensor, weight: Tensor, geometry: Geometry
    ) -> Tensor:
        ctx.save_for_backward(y, weight)
        ctx.geometry = geometry
        return _transpose(y, weight, geometry)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        y, weight = ctx.saved_tensors
        by_y, by_weight, _ = ctx.needs_input_grad
        return (
            _Convolution.apply(grad, weight, None, ctx.geometry) if by_y else None,
            _by_weight(grad, y, weight, ctx.geometry) if by_weight else None,
            None,
        )


def _by_weight(x: Tensor, y: Tensor, weight: Tensor, geometry: Geometry) -> Tensor | None:
    if _inputs_only.get():
        return None
    return _WeightGradient.apply(x, y, weight.shape, geometry)


class _WeightGradient(Function):
    """G(x, y): what w gets where the convolution's output gets y."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, y: Tensor, shape: torch.Size, geometry: Geometry
    ) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.geometry = geometry
        return _weight_gradient(x, y, shape, geometry)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, y = ctx.saved_tensors
        by_x, by_y, _, _ = ctx.needs_input_grad
        return (
            _Transpose.apply(y, grad, ctx.geometry) if by_x else None,
            _Convolution.apply(x, grad, None, ctx.geometry) if by_y else None,
            None,
            None,
        )


# ----------------------------------------------------------------------------
# The three on the CPU, each in the memory layout in which oneDNN is fastest.


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    if _pointwise(weight, g):
        return _image(F.conv2d(_rows(x), weight, bias), x.shape)
    x = x.contiguous(memory_format=LAST)
    return F.conv2d(x, weight, bias, g.stride, g.padding, groups=g.groups)


def _transpose(y: Tensor, weight: Tensor, g: Geometry) -> Tensor:
    if _pointwise(weight, g):
        return _image(F.conv2d(_rows(y), weight.transpose(0, 1)), y.shape)
    y = y.contiguous(memory_format=LAST)
    depthwise = g.groups == y.shape[1] and weight.shape[1] == 1
    if g.stride == 1 and depthwise:  # a convolution with the kernels turned round
        pad = weight.shape[-1] - 1 - g.padding
        return F.conv2d(y, weight.flip([2, 3]), padding=pad, groups=g.groups)
    if g.groups > 1 and y.dtype == torch.bfloat16:
        # oneDNN's transpose of a strided depthwise convolution in bf16 is ten times slower.
        return _transpose(y.float(), weight.float(), g).to(y.dtype)
    low = [(n - 1) * g.stride - 2 * g.padding + weight.shape[-1] for n in y.shape[2:]]
    more = [size - n for size, n in zip(g.size, low, strict=True)]
    return F.conv_transpose2d(y, weight, None, g.stride, g.padding, more, g.groups)


def _weight_gradient(x: Tensor, y: Tensor, shape: torch.Size, g: Geometry) -> Tensor:
    weight = x.new_empty(shape)  # only its shape counts
    if _pointwise(weight, g):
        x, y = _rows(x), _rows(y)
    elif x.dtype != torch.bfloat16 and min(shape[:2]) >= (128 if g.stride == 1 else 64):
        x, y = planes(x), planes(y)
    else:
        x, y = (t.contiguous(memory_format=LAST) for t in (x, y))
    steps, pads = [g.stride, g.stride], [g.padding, g.padding]
    _, gradient, _ = torch.ops.aten.convolution_backward(
        y, x, weight, None, steps, pads, [1, 1], False, [0, 0], g.groups, [False, True, False]
    )
    return gradient


def _pointwise(weight: Tensor, g: Geometry) -> bool:
    return weight.shape[2:] == (1, 1) and (g.stride, g.padding, g.groups) == (1, 0, 1)


def _rows(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N H, C, 1, W], no copy in channels_last: for 1x1 kernels it is the same.

    With few samples torch does not give 1x1 convolutions to oneDNN, which is twice as fast.
    """
    n, c, h, w = x.shape
    return x.permute(0, 2, 3, 1).reshape(n * h, 1, w, c).permute(0, 3, 1, 2)


def _image(rows: Tensor, shape: torch.Size) -> Tensor:
    """The way back; no view of `rows` to autograd, so that it may be changed in place."""
    n, _, h, w = shape
    return rows.permute(0, 2, 3, 1).reshape(n, h, w, rows.shape[1]).permute(0, 3, 1, 2).data


def planes(x: Tensor) -> Tensor:
    """x with contiguous channels, [N, C, H, W]."""
    if x.is_contiguous():
        return x
    _, c, h, w = x.shape
    if not x.is_contiguous(memory_format=LAST):
        return x.contiguous()
    y = x.new_empty(x.shape)
    for one, other in zip(x, y, strict=True):  # torch transposes matrices in blocks
        other.view(c, h * w).copy_(one.permute(1, 2, 0).view(h * w, c).t())
    return y
