"""ops.styled, the CPU's rendering path, against the plain formula of S2.0 (formats.md 2a)."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gantools.networks.stylegan2 import Generator
from gantools.networks.stylegan2_config import GeneratorConfig
from gantools.ops import styled
from gantools.ops.styled import styled_conv, styled_rgb

FIR = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def reference(  # weights modulated per sample, as the paper writes it
    x: Tensor, weight: Tensor, styles: Tensor, bias: Tensor, *, noise: Tensor | None, up: bool
) -> Tensor:
    outputs = []
    for i in range(len(x)):
        w = weight * styles[i][None, :, None, None]
        w = w / (w.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            y = F.conv_transpose2d(x[i : i + 1], w.transpose(0, 1), stride=2)
            f = (FIR * 4).to(x.dtype)[None, None].expand(len(bias), 1, 4, 4)
            y = F.conv2d(y, f, padding=1, groups=len(bias))
        else:
            y = F.conv2d(x[i : i + 1], w, padding=w.shape[-1] // 2)
        if noise is not None:
            y = y + noise[i if len(noise) > 1 else 0]
        outputs.append(F.leaky_relu(y + bias[:, None, None], 0.2) * math.sqrt(2))
    return torch.cat(outputs)


def tensors(n: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(5)
    x = torch.randn(n, 12, 9, 7, generator=g)
    weight = torch.randn(20, 12, 3, 3, generator=g)
    return x, weight, torch.randn(n, 12, generator=g), torch.randn(20, generator=g)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("maps", [0, 1, 3])
def test_styled_conv_equals_the_formula(up: bool, maps: int) -> None:
    x, weight, styles, bias = tensors()
    size = (18, 14) if up else (9, 7)
    g = torch.Generator().manual_seed(6)
    noise = torch.randn(maps, 1, *size, generator=g) if maps else None
    got = styled_conv(
        x, weight, styles, bias, noise=noise, up_filter=FIR if up else None, clamp=None
    )
    doubles = [t.double() for t in (x, weight, styles, bias)]
    want = reference(*doubles, noise=None if noise is None else noise.double(), up=up)
    assert got.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got.double(), want, atol=1e-5, rtol=1e-5)


def test_a_weight_that_changes_is_prepared_again() -> None:
    """The laid-out copy of a weight follows changes in place, and does not outlive the weight."""
    x, weight, styles, bias = tensors(1)
    first = styled_conv(x, weight, styles, bias)
    weight.mul_(torch.linspace(0.5, 2, 9).view(3, 3))
    torch.testing.assert_close(
        styled_conv(x, weight, styles, bias),
        reference(x, weight, styles, bias, noise=None, up=False),
    )
    weight.data = weight.data.roll(1, 0)
    second = styled_conv(x, weight, styles, bias, clamp=0.5)
    assert not torch.allclose(first, second) and second.abs().max() == 0.5
    count = len(styled._ready)
    del weight
    assert len(styled._ready) == count - 1


def test_rgb_is_a_modulated_1x1_convolution() -> None:
    x, _, styles, _ = tensors(1)
    weight, bias = torch.randn(3, 12, 1, 1), torch.randn(3)
    got = styled_rgb(x, weight, styles, bias, clamp=2.0)
    want = torch.einsum("nihw,ci,ni->nchw", x, weight[:, :, 0, 0], styles) + bias[:, None, None]
    torch.testing.assert_close(got, want.clamp(-2, 2), atol=1e-5, rtol=1e-5)


# ----------------------------------------------------------------------------
# Whole generators: rendering (no gradient) against the path with gradients.


def tiny(architecture: str, **config: object) -> Generator:
    torch.manual_seed(8)
    cfg = GeneratorConfig(
        32,
        (12, 12, 8, 8),
        z_dim=16,
        w_dim=16,
        architecture=architecture,
        **config,  # type: ignore[arg-type]
    )
    g = Generator(cfg).requires_grad_(False)
    for layer in g.synthesis.layers():
        layer.noise_strength.fill_(0.3)
        layer.bias.normal_()
    return g


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("clamp", [None, 2.0])
def test_rendering_equals_the_path_with_gradients(architecture: str, clamp: float | None) -> None:
    g = tiny(architecture, conv_clamp=clamp)
    ws = torch.randn(3, g.num_ws, 16)
    maps = [torch.randn(3, 1, h, w) for h, w in g.noise_shapes]
    maps[2] = None  # type: ignore[call-overload]
    for noise in ("const", "none", maps):
        want = g.synthesis(ws, noise)
        with torch.no_grad():
            got = g.synthesis(ws, noise)
        torch.testing.assert_close(got, want, atol=2e-5, rtol=1e-4)


def test_rendering_in_inference_mode_and_out_of_it() -> None:
    g = tiny("skip")
    ws = torch.randn(2, g.num_ws, 16)
    want = g.synthesis(ws)
    with torch.inference_mode():
        first = g.synthesis(ws).clone()
        born = tiny("skip")  # its weights are inference tensors
        torch.testing.assert_close(born.synthesis(ws), want, atol=2e-5, rtol=1e-4)
        born.synthesis.b32.conv1.weight.mul_(torch.rand(9).view(3, 3))
        assert not torch.allclose(born.synthesis(ws), want, atol=1e-3)
    with torch.no_grad():
        assert torch.equal(g.synthesis(ws), first)
    ws.requires_grad_()
    g.synthesis(ws).sum().backward()
    assert ws.grad is not None and ws.grad.isfinite().all()


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@torch.no_grad()
def test_a_rendered_picture_does_not_depend_on_its_batch(
    architecture: str, dtype: torch.dtype | None
) -> None:
    g = tiny(architecture)
    ws = torch.randn(8, g.num_ws, 16)
    many = g.synthesis(ws, dtype=dtype)
    for i in range(8):
        assert torch.equal(many[i : i + 1], g.synthesis(ws[i : i + 1], dtype=dtype))
