"""The arithmetic below the networks against literal, slow formulations (formats.md 2a)."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gantools.ops import convolve, resample
from gantools.ops.modulate import demodulation, modulated_conv
from gantools.ops.pixel_norm import pixel_norm
from gantools.ops.pixels import to_uint8


def upfirdn(
    x: Tensor,
    kernel: Tensor,
    *,
    up: int = 1,
    down: int = 1,
    pad: tuple[int, int] = (0, 0),
    gain: float = 1.0,
) -> Tensor:
    """Zeros between, pad, true convolution, drop: word for word, one channel at a time."""
    n, c, h, w = x.shape
    y = x.new_zeros(n, c, h * up, w * up)
    y[:, :, ::up, ::up] = x
    y = F.pad(y, (pad[0], pad[1], pad[0], pad[1]))
    weight = (kernel.flip([0, 1]) * gain)[None, None].to(x.dtype)
    y = torch.cat([F.conv2d(y[:, i : i + 1], weight) for i in range(c)], dim=1)
    return y[:, :, ::down, ::down]


KERNELS = [(1, 3, 3, 1), (1, 2, 1), (1, 1), (1, 4, 6, 4, 1), (1, 5, 10, 10, 5, 1)]


@pytest.mark.parametrize("taps", KERNELS)
def test_up_and_down_equal_the_definition(taps: tuple[float, ...]) -> None:
    """RGB up: pad [(k+1)//2, (k-2)//2], gain 4; RGB down: pad [(k-1)//2, (k-2)//2]."""
    kernel = resample.fir_kernel(taps).double()
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    k = len(taps)
    wanted = upfirdn(x, kernel, up=2, pad=((k + 1) // 2, (k - 2) // 2), gain=4)
    torch.testing.assert_close(resample.upsample(x, kernel), wanted)
    wanted = upfirdn(x, kernel, down=2, pad=((k - 1) // 2, (k - 2) // 2))
    torch.testing.assert_close(resample.downsample(x, kernel), wanted)
    assert resample.upsample(x, kernel).shape == (2, 3, 12, 16)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("taps", KERNELS[:1] + KERNELS[3:])
def test_convolution_with_resampling_equals_the_definition(
    taps: tuple[float, ...], size: int
) -> None:
    """Up: transposed convolution of the zero-filled input, then FIR; down: FIR, then stride 2."""
    kernel = resample.fir_kernel(taps).double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    weight = torch.randn(5, 3, size, size, dtype=torch.float64)
    k, half = len(taps), size // 2
    zeros = x.new_zeros(2, 3, 12, 12)
    zeros[:, :, ::2, ::2] = x
    # FIR-then-convolve agrees in the interior (formats.md: not on the border)
    up = resample.conv_up(x, weight, kernel)
    assert up.shape == (2, 5, 12, 12)
    smooth = resample.upsample(x, kernel)
    flipped = weight.flip([2, 3])
    inner = slice(k, -k)
    other = F.conv2d(smooth, flipped, padding=half)
    torch.testing.assert_close(up[:, :, inner, inner], other[:, :, inner, inner])
    down = resample.conv_down(x, weight, kernel)
    before, after = half + (k - 1) // 2, half + (k - 2) // 2
    wanted = F.conv2d(upfirdn(x, kernel, pad=(before, after)), weight, stride=2)
    torch.testing.assert_close(down, wanted)


def test_modulation_on_activations_equals_per_sample_weights() -> None:
    """demod(s) conv(W, x s) is the grouped convolution with W s: values and gradients."""
    torch.manual_seed(0)
    x = torch.randn(3, 4, 7, 7, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    styles = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)

    def conv(a: Tensor, b: Tensor) -> Tensor:
        return F.conv2d(a, b, padding=1)

    ours = modulated_conv(x, weight, styles, conv)
    per_sample = weight[None] * styles[:, None, :, None, None]
    scale = (per_sample.square().sum(dim=[2, 3, 4]) + 1e-8).rsqrt()
    torch.testing.assert_close(demodulation(weight, styles), scale)
    per_sample = per_sample * scale[:, :, None, None, None]
    theirs = torch.cat([conv(x[i : i + 1], per_sample[i]) for i in range(3)])
    torch.testing.assert_close(ours, theirs)
    probe = torch.randn_like(ours)
    a = torch.autograd.grad((ours * probe).sum(), [x, weight, styles])
    b = torch.autograd.grad((theirs * probe).sum(), [x, weight, styles])
    for one, other in zip(a, b, strict=True):
        torch.testing.assert_close(one, other)


def test_modulation_has_a_second_derivative() -> None:
    """Path length and R1 need double backward (S0.9): gradgradcheck in float64."""
    torch.manual_seed(0)
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    styles = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    kernel = resample.fir_kernel((1, 3, 3, 1)).double()

    def function(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
        return modulated_conv(x, weight, styles, lambda a, b: resample.conv_up(a, b, kernel))

    assert torch.autograd.gradcheck(function, (x, weight, styles))
    assert torch.autograd.gradgradcheck(function, (x, weight, styles))


def test_one_output_channel_is_not_depthwise() -> None:
    """[1, I, k, k] in one group: its gradient to x has I channels."""
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(1, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: convolve.conv2d(x, w, padding=1), (x, weight))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups", "size"),
    [(3, 1, 1, 1, 5), (1, 1, 0, 1, 4), (3, 2, 0, 1, 6), (3, 2, 0, 1, 7), (4, 2, 1, 2, 6),
     (4, 1, 2, 2, 5), (4, 1, 1, 2, 5)],
)  # fmt: skip
def test_convolutions_on_the_cpu_and_their_derivatives(
    kernel: int, stride: int, padding: int, groups: int, size: int
) -> None:
    """R1 and path length (S0.9): values are torch's, first and second derivatives exact."""
    torch.manual_seed(0)
    settings = {"stride": stride, "padding": padding, "groups": groups}

    def tensor(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    x, square = tensor(2, 2, size, size + 1), (kernel, kernel)
    out = 2 if groups == 2 else 3
    forth = (x, tensor(out, 2 // groups, *square), tensor(out))
    back = (x, tensor(2, out // groups, *square))
    for ours, theirs, inputs in (
        (convolve.conv2d, F.conv2d, forth),
        (convolve.conv_transpose2d, F.conv_transpose2d, back),
    ):
        for memory_format in (torch.contiguous_format, torch.channels_last):
            first = x.detach().contiguous(memory_format=memory_format).requires_grad_()
            given = (first, *inputs[1:])
            function = partial(ours, **settings)
            torch.testing.assert_close(function(*given), theirs(*given, **settings))
            assert torch.autograd.gradcheck(function, given)
            assert torch.autograd.gradgradcheck(function, given, fast_mode=True)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_wide_convolutions(dtype: torch.dtype, tolerance: float, stride: int) -> None:
    """Where weight gradients are taken in another memory layout, and FIRs in float32."""
    torch.manual_seed(0)
    kernel = resample.fir_kernel((1, 3, 3, 1))
    weight = torch.randn(130, 128, 3, 3) / 34
    x = torch.randn(2, 128, 8, 8)

    def gradients(dtype: torch.dtype) -> list[Tensor]:
        a, w = (t.to(dtype).requires_grad_() for t in (x, weight))
        y = resample.conv_down(a, w, kernel) if stride == 2 else convolve.conv2d(a, w, padding=1)
        low = resample.downsample(y, kernel)
        (by_x,) = torch.autograd.grad(low.square().sum(), a, create_graph=True)
        return [by_x, *torch.autograd.grad(by_x.square().sum(), [a, w])]

    for got, wanted in zip(gradients(dtype), gradients(torch.float64), strict=True):
        assert (got.double() - wanted).norm() < tolerance * wanted.norm()


def test_a_derivative_by_inputs_only() -> None:
    """What autograd.grad gives for x is the same, and weights get theirs from the second one."""
    torch.manual_seed(0)
    x, weight = torch.randn(1, 2, 5, 5, requires_grad=True), torch.randn(3, 2, 3, 3)
    weight.requires_grad_()

    def second(*, only: bool) -> list[Tensor]:
        y = convolve.conv2d(x, weight, padding=1).square().sum()
        with convolve.inputs_only() if only else nullcontext():
            (by_x,) = torch.autograd.grad(y, x, create_graph=True)
        return [by_x, *torch.autograd.grad(by_x.square().sum(), [x, weight])]

    for one, other in zip(second(only=True), second(only=False), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_pixels_of_a_picture() -> None:
    """Every byte comes back from [-1, 1]; ties go to the even number, the rest is clipped."""
    every = torch.arange(256).view(1, 1, 16, 16)
    np.testing.assert_array_equal(to_uint8(every / 127.5 - 1)[0, :, :, 0], every[0, 0].numpy())
    ends = torch.tensor([-9.0, -1, 0, 1, 9]).view(1, 1, 1, 5)
    assert to_uint8(ends).ravel().tolist() == [0, 0, 128, 255, 255]


def test_pixel_norm_is_differentiated_as_it_is_written() -> None:
    """S1.5: first and second derivatives, also where eps counts."""

    def written(x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 0.3)

    x = torch.randn(2, 5, 2, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 5, 2, 3, dtype=torch.float64)

    def derivatives(y: Tensor) -> list[Tensor]:
        (first,) = torch.autograd.grad((y * weights).sum(), x, create_graph=True)
        return [y, first, *torch.autograd.grad(first.pow(3).sum(), x)]

    found = pixel_norm(x, 0.3)
    for own, wanted in zip(derivatives(found), derivatives(written(x)), strict=True):
        torch.testing.assert_close(own, wanted)
    with torch.no_grad():
        assert torch.equal(pixel_norm(x, 0.3), found)
    assert torch.autograd.gradgradcheck(lambda x: pixel_norm(x, 0.3), x)
