"""Style maps and synthesis from any block (papers.md S2.0, S2.3, S2.20)."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from gantools.io.space import scaled
from gantools.networks import stylegan2_blocks as blocks
from gantools.networks.stylegan2 import Generator
from gantools.networks.stylegan2_config import GeneratorConfig, widths
from gantools.ops import resample
from gantools.ops.modulate import demodulation, modulated_conv

FIR = resample.fir_kernel((1, 3, 3, 1))


def plain(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2)


def up(x: Tensor, weight: Tensor) -> Tensor:
    return resample.conv_up(x, weight, FIR.to(x.dtype))


def tensors(*size: int, n: int = 2, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """x [N, 3, *size], W [4, 3, 3, 3], a style map of x's size."""
    torch.manual_seed(3)
    shapes = [(n, 3, *size), (4, 3, 3, 3), (n, 3, *size)]
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


def generator(resolution: int = 32, **config: object) -> Generator:
    torch.manual_seed(0)
    count = len(widths(resolution))
    g = Generator(
        GeneratorConfig(resolution, (6, 8, 5, 4, 3)[:count], 8, 8, mapping_layers=1, **config)  # type: ignore[arg-type]
    )
    for layer in g.synthesis.layers():
        torch.nn.init.constant_(layer.noise_strength, 0.2)
        torch.nn.init.normal_(layer.bias, std=0.1)
    return g.eval().requires_grad_(False)


def styles_and_noise(g: Generator, size: tuple[int, int], start: int = 1, n: int = 2) -> list[list]:
    """Vectors and noise maps of blocks start … L where F_start has that size."""
    torch.manual_seed(1)
    last = g.num_ws
    ws = [torch.randn(n, g.cfg.w_dim) for _ in range(start, last + 1)]
    noise = [torch.randn(n, 1, *scaled(size, start, j + 1)) for j in range(start, last)]
    return [ws, noise]


def over(ws: list[Tensor], size: tuple[int, int], start: int = 1) -> list[Tensor]:
    """Vectors as constant maps of their blocks' sizes."""
    sizes = [scaled(size, start, start + k) for k in range(len(ws))]
    return [w[:, :, None, None].expand(-1, -1, *s) for w, s in zip(ws, sizes, strict=True)]


# --------------------------------------------------------------------------------- S2.3, the layer


@pytest.mark.parametrize("conv", [plain, up])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_s2_3_a_constant_map_is_the_vector(conv: object, dtype: torch.dtype) -> None:
    """S2.3: everywhere, borders included; with and without demodulation."""
    x, weight, _ = tensors(5, 7, dtype=dtype)
    s = torch.randn(2, 3, dtype=dtype)
    maps = s[:, :, None, None].expand(-1, -1, 5, 7)
    for demodulate in (True, False):
        want, got = (
            modulated_conv(x, weight, one, conv, demodulate=demodulate)  # type: ignore[arg-type]
            for one in (s, maps)
        )
        torch.testing.assert_close(got, want, atol=1e-5, rtol=0)


def test_s2_3_half_precision_keeps_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp16: what is divided by its largest entry comes back, and a large style does not overflow"""
    x, weight, s = tensors(4, 6, dtype=torch.float32)
    want = modulated_conv(x, weight, 3000 * s, plain)
    got = modulated_conv(x.half(), weight, 3000 * s, plain)
    torch.testing.assert_close(got.float(), want, atol=2e-2, rtol=2e-2)


def test_s2_3_factorised_equals_the_seven_dimensional_sum() -> None:
    """S2.3: d[b,o,p] = (Σ_ck (W[o,c,k] s[b,c,p])² + 1e-8)^-1/2, word for word."""
    _, weight, s = tensors(4, 5)
    whole = weight[None, :, :, :, :, None, None] * s[:, None, :, None, None]  # [B,O,C,k,k,h,w]
    want = (whole.square().sum(dim=(2, 3, 4)) + 1e-8).rsqrt()
    torch.testing.assert_close(demodulation(weight, s), want, atol=1e-14, rtol=1e-13)


@pytest.mark.parametrize(("reading", "taps"), [("at_output", False), ("at_input", True)])
def test_s2_3_fixture(fixtures: Path, reading: str, taps: bool) -> None:
    """S2.3: both readings of the fixture, their outputs and their numeric gradients."""
    folder = fixtures / "numerics"
    tolerance = json.loads((folder / "spatial_demod.json").read_text())["tolerance"]
    exact = {"rtol": tolerance["forward_rtol"], "atol": 1e-12}
    numeric = {"rtol": tolerance["num_grad_rtol"], "atol": tolerance["num_grad_atol"]}
    t = load_file(folder / "spatial_demod.safetensors")
    names = ("x", "weight", "style")
    inputs = [t[name].clone().requires_grad_() for name in names]
    x, weight, style = inputs
    d = demodulation(weight, style, taps=taps)
    y = modulated_conv(x, weight, style, plain, taps=taps)
    torch.testing.assert_close(d, t[f"{reading}.demod"], **exact)
    torch.testing.assert_close(y, t[f"{reading}.y"], **exact)
    found = torch.autograd.grad((y * t["grad_out"]).sum(), inputs, retain_graph=True)
    for name, gradient in zip(names, found, strict=True):
        torch.testing.assert_close(gradient, t[f"{reading}.num_grad_{name}"], **numeric)
    if not taps:
        only = torch.autograd.grad((d * t["at_output.demod_grad_out"]).sum(), [style, weight])
        for name, gradient in zip(("style", "weight"), only, strict=True):
            want = t[f"at_output.demod_only_num_grad_{name}"]
            torch.testing.assert_close(gradient, want, **numeric)
        vector = t["constant.style_vector"]
        y = modulated_conv(t["x"], t["weight"], vector, plain)
        torch.testing.assert_close(y, t["constant.y"], **exact)


def test_s2_3_taps_is_the_norm_of_what_the_kernel_reads() -> None:
    """S2.3, alternative: Var(y) = 1 for white x, cell by cell, borders included."""
    _, weight, s = tensors(4, 5)
    d = demodulation(weight, s, taps=True)
    rows = []
    for p in itertools.product(range(4), range(5)):
        x = torch.zeros(20, 1, 4, 5, dtype=s.dtype)  # a basis of all inputs to each channel
        x[torch.arange(20), 0, torch.arange(20) // 5, torch.arange(20) % 5] = 1
        energy = 0
        for c in range(3):
            y = plain(x * s[:1, c : c + 1], weight[:, c : c + 1])
            energy = energy + y[:, :, p[0], p[1]].square().sum(0)  # [O]
        rows.append((energy + 1e-8) ** -0.5)
    want = torch.stack(rows, dim=1).reshape(4, 4, 5)
    torch.testing.assert_close(d[0], want)
    assert (d - demodulation(weight, s)).abs().max() > 0.01
    flat = s[:, :, :1, :1].expand_as(s)
    inside, here = demodulation(weight, flat, taps=True), demodulation(weight, flat)
    torch.testing.assert_close(inside[..., 1:-1, 1:-1], here[..., 1:-1, 1:-1])
    assert (inside[..., 0, :] > here[..., 0, :]).all()  # zeros beyond the border: less to norm


@pytest.mark.parametrize("taps", [False, True])
@pytest.mark.parametrize("conv", [plain, up])
def test_s2_3_gradients(conv: object, taps: bool) -> None:
    """S2.3: float64 gradcheck, and gradgradcheck (path length goes through it)."""
    inputs = [t[:1, :2].clone().requires_grad_() for t in tensors(3, 2)]

    def function(x: Tensor, weight: Tensor, s: Tensor) -> Tensor:
        return modulated_conv(x, weight, s, conv, taps=taps)  # type: ignore[arg-type]

    inputs[1] = inputs[1].detach().requires_grad_()
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_s2_3_the_thesis_gradient_is_off_by_the_map() -> None:
    """S2.3: dL/ds[b,c,p] = s Σ_o (-g d³)[o,p] Q[o,c] as derived; Fig. A.1's has a factor H·W."""
    _, weight, s = tensors(5, 6, n=1)
    s.requires_grad_()
    d = demodulation(weight[:1], s)
    g = torch.randn_like(d)
    (got,) = torch.autograd.grad((d * g).sum(), s)
    q = weight[:1].square().sum(dim=(2, 3))  # [1, C]
    force = (-g * d**3).detach()
    want = s.detach() * torch.einsum("bohw,oc->bchw", force, q)
    torch.testing.assert_close(got, want)
    thesis = s.detach() * g.sum(1, keepdim=True) * 30 * (-(d.detach() ** 3) * q[0][:, None, None])
    torch.testing.assert_close(thesis.norm() / got.norm(), torch.tensor(30.0, dtype=s.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_s2_3_a_style_reaches_only_its_receptive_field(dtype: torch.dtype) -> None:
    """S2.3, locality: one cell of s moves 3x3 cells here, 2 x 3 and the filter's reach above."""
    x, weight, s = (t.to(torch.float32) for t in tensors(9, 9))
    changed = s.clone()
    changed[:, :, 4, 4] += 1
    for conv, first, last in ((plain, 3, 5), (up, 5, 12)):
        a, b = (modulated_conv(x.to(dtype), weight, one, conv) for one in (s, changed))
        rows = (a != b).any(dim=(0, 1)).nonzero()
        assert rows.min() >= first and rows.max() <= last
        assert rows.min() < 4 * len(a[0, 0]) // 9 + 1 < rows.max() + 1


def test_s2_3_memory_grows_with_the_maps_alone() -> None:
    """S2.3: O(B·O·H·W): no tensor that the backward pass keeps has more than max(I,O)·H·W."""
    x, weight, s = (t.requires_grad_() for t in tensors(8, 8))
    sizes: list[int] = []

    def note(t: Tensor) -> Tensor:
        sizes.append(t.numel())
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        modulated_conv(x, weight, s, plain)
    assert 0 < max(sizes) <= 2 * max(weight.shape[:2]) * 64


# ---------------------------------------------------------------------- S2.0, synthesis from blocks


@pytest.mark.parametrize("resolution", [32, 64, 256, 1024])
def test_s2_0_the_table_of_blocks(resolution: int) -> None:
    """S2.0: F, R and N of every block; the paper's own numbers; FW_i has L + 1 - i styles."""
    rows = blocks.table(GeneratorConfig(resolution, widths(resolution)))
    last = len(rows)
    assert last == {32: 8, 64: 10, 256: 14, 1024: 18}[resolution]
    for row in rows:
        j = (row.index - 1) // 2
        size, channels = 4 * 2**j, min(32768 // (4 * 2**j), 512)
        assert row.f == (channels, size, size)
        assert row.r == (None if row.index < 3 else (3, size // 2, size // 2))
        out = size if row.index % 2 else 2 * size
        assert row.noise == (None if row.index == last else (out, out))
    assert (rows[2].f, rows[4].f, rows[4].r) == ((512, 8, 8), (512, 16, 16), (3, 8, 8))
    assert rows[-1].f[1] == resolution and len(rows[4:]) == last + 1 - 5
    assert 512 * 8 * 8 == 32_768 and 512 * 16 * 16 == 131_072


@pytest.mark.parametrize("first_block", [(4, 4), (4, 6)])
@pytest.mark.parametrize("grad", [False, True])
def test_s2_0_the_blocks_are_the_network(first_block: tuple[int, int], grad: bool) -> None:
    """S2.0: run one after another, cut anywhere, they give the network's picture, to the bit."""
    g = generator(first_block=first_block)
    ws, noise = styles_and_noise(g, first_block, n=1)
    with torch.set_grad_enabled(grad):
        want = g.synthesis(torch.stack(ws, 1), noise)
        for cut in range(1, g.num_ws + 1):
            state = blocks.first(g.synthesis)
            state = blocks.advance(g.synthesis, state, ws[: cut - 1], noise[: cut - 1])
            row = blocks.table(g.cfg)[cut - 1]
            assert state.index == cut and tuple(state.f.shape[1:]) == row.f
            assert (None if state.r is None else tuple(state.r.shape[1:])) == row.r
            got = blocks.picture_from(g.synthesis, state, ws[cut - 1 :], noise[cut - 1 :])
            assert torch.equal(got, want)


@pytest.mark.parametrize("taps", [False, True])
@pytest.mark.parametrize(("start", "size"), [(1, (4, 4)), (1, (3, 5)), (3, (10, 6)), (5, (16, 24))])
def test_s2_3_constant_maps_are_the_vector_network(
    start: int, size: tuple[int, int], taps: bool
) -> None:
    """S2.3: through the whole network, from any block, odd and wide sizes; not with taps."""
    g = generator()
    ws, noise = styles_and_noise(g, size, start)
    row = blocks.table(g.cfg)[start - 1]
    f = torch.randn(2, row.f[0], *size)
    r = torch.randn(2, 3, size[0] // 2, size[1] // 2) if row.r else None
    state = blocks.State(start, f, r)
    maps = over(ws, size, start)
    want, got = (blocks.picture_from(g.synthesis, state, s, noise, taps=taps) for s in (ws, maps))
    assert got.shape[2:] == scaled(size, start, g.num_ws)
    assert ((got - want).abs().max() < 1e-5) == (not taps)


def test_s2_3_gradients_reach_every_map() -> None:
    """S2.3: one call of autograd gives f, r, every style map and every noise map its gradient."""
    g = generator().double()
    ws, noise = styles_and_noise(g, (4, 6), 3, n=1)
    maps = [(m.double() + 0.1 * torch.randn_like(m).double()) for m in over(ws, (4, 6), 3)]
    leaves = [t.double().requires_grad_() for t in [*maps, *noise]]
    f = torch.randn(1, 8, 4, 6, dtype=torch.float64, requires_grad=True)
    r = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    made = blocks.picture_from(
        g.synthesis, blocks.State(3, f, r), leaves[: len(maps)], leaves[len(maps) :]
    )
    grads = torch.autograd.grad(made.square().sum(), [f, r, *leaves])
    assert all(torch.isfinite(t).all() and t.abs().max() > 0 for t in grads)


@pytest.mark.parametrize("start", [3, 5])
def test_s2_20_zero_r_is_no_picture_so_far(start: int) -> None:
    """S2.20: r_i = 0 is the same as no skip input; another r moves the picture by its own share."""
    g = generator()
    ws, noise = styles_and_noise(g, (8, 8), start)
    f = torch.randn(2, blocks.table(g.cfg)[start - 1].f[0], 8, 8)
    r = torch.randn(2, 3, 4, 4)

    def render(r: Tensor) -> Tensor:
        return blocks.picture_from(g.synthesis, blocks.State(start, f, r), ws, noise)

    enlarged = r
    for _ in range((g.num_ws - start + 2) // 2):
        enlarged = resample.upsample(enlarged, FIR)
    torch.testing.assert_close(render(r) - render(torch.zeros_like(r)), enlarged, atol=1e-4, rtol=0)


def test_s2_3_one_cell_moves_its_surroundings_alone() -> None:
    """S2.3, locality through the network: a cell of s_5 far from a pixel does not move it."""
    g = generator()
    ws, noise = styles_and_noise(g, (8, 24), 3, n=1)
    maps = [m.clone() for m in over(ws, (8, 24), 3)]
    state = blocks.State(3, torch.randn(1, 8, 8, 24), torch.randn(1, 3, 4, 12))
    before = blocks.picture_from(g.synthesis, state, maps, noise)
    maps[2][..., 4, 8] += 1  # block 5: cells of 2x2 pixels
    moved = (
        (blocks.picture_from(g.synthesis, state, maps, noise) != before).any(dim=(0, 1)).any(dim=0)
    )
    columns = moved.nonzero()
    assert columns.min() >= 16 - 14 and columns.max() <= 17 + 14 and len(columns) > 4


def test_s2_1_what_does_not_fit_is_said() -> None:
    g = generator()
    ws, noise = styles_and_noise(g, (8, 8), 3)
    f, r = torch.randn(2, 8, 8, 8), torch.randn(2, 3, 4, 4)

    def run(state: blocks.State, ws: list[Tensor], noise: list[Tensor]) -> None:
        blocks.picture_from(g.synthesis, state, ws, noise)

    for state, why in (
        (blocks.State(3, f[:, :5], r), "channels"),
        (blocks.State(1, f, r), "styles for the 8 blocks"),
        (blocks.State(3, f, r[..., :3]), "half of f"),
    ):
        with pytest.raises(ValueError, match=why):
            run(state, ws, noise)
    good = blocks.State(3, f, r)
    with pytest.raises(ValueError, match="5 styles for the 6 blocks"):
        run(good, ws[1:], noise)
    with pytest.raises(ValueError, match="style map 4"):
        run(good, [ws[0], over(ws, (8, 9), 3)[1], *ws[2:]], noise)
    with pytest.raises(ValueError, match="noise map 3"):
        run(good, ws, [noise[-1], *noise[1:]])
    with pytest.raises(ValueError, match="cannot be halved"):
        scaled((6, 8), 5, 1)
    with pytest.raises(ValueError, match="architecture is resnet"):
        blocks.first(generator(architecture="resnet").synthesis)


def moved(t: Tensor, start: int, cells: int, block: int) -> Tensor:
    """A map of F_block's size rolled to the right by what `cells` cells of F_start are there."""
    (_, shift) = scaled((64, cells * 64), start, block)
    return t.roll(shift // 64, dims=-1)


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("start", [3, 4, 5])
def test_s2_5_a_shifted_latent_is_a_shifted_picture(start: int, maps: bool) -> None:
    """S2.5: f, r, styles and noise moved by 2 cells move the picture by 2 res/h, inside."""
    g = generator()
    size = (8, 32)
    ws, noise = styles_and_noise(g, size, start, n=1)
    f = torch.randn(1, blocks.table(g.cfg)[start - 1].f[0], *size)
    r = torch.randn(1, 3, 4, 16)
    styles = over(ws, size, start) if maps else ws
    if maps:
        styles = [s + 0.3 * torch.randn_like(s) for s in styles]
    before = blocks.picture_from(g.synthesis, blocks.State(start, f, r), styles, noise)
    shifted = [moved(s, start, 2, start + k) if maps else s for k, s in enumerate(styles)]
    noise = [moved(n, start, 2, start + k + 1) for k, n in enumerate(noise)]
    state = blocks.State(start, f.roll(2, dims=-1), r.roll(1, dims=-1))
    after = blocks.picture_from(g.synthesis, state, shifted, noise)
    pixels = before.shape[-1] // 32
    margin = 8 * pixels  # cells that the border's zeros, or the wrapped columns, can reach
    want = before.roll(2 * pixels, dims=-1)[..., margin:-margin]
    torch.testing.assert_close(after[..., margin:-margin], want, atol=1e-5, rtol=0)
    assert (after - before)[..., margin:-margin].abs().max() > 0.01


def test_s2_22_a_larger_canvas_agrees_inside() -> None:
    """S2.22: the middle of a large picture is what its own part of the latent gives."""
    g = generator()
    ws, noise = styles_and_noise(g, (8, 40), 3, n=1)
    f, r = torch.randn(1, 8, 8, 40), torch.randn(1, 3, 4, 20)
    whole = blocks.picture_from(g.synthesis, blocks.State(3, f, r), ws, noise)
    part = [n[..., n.shape[-1] // 5 : n.shape[-1] * 4 // 5] for n in noise]  # cells 8 to 31
    state = blocks.State(3, f[..., 8:32], r[..., 4:16])
    cut = blocks.picture_from(g.synthesis, state, ws, part)
    pixels = whole.shape[-1] // 40
    inside = whole[..., 16 * pixels : 24 * pixels]
    torch.testing.assert_close(cut[..., 8 * pixels : 16 * pixels], inside, atol=1e-5, rtol=0)
