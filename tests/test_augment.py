"""ADA's transformations against closed forms (arXiv 2006.06676, appendix B; S2.20)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gantools.training import augment, geometry
from gantools.training.augment import Draw


def pictures(n: int = 4, size: int = 16, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(n, 3, size, size, generator=generator, dtype=dtype) * 2 - 1


def none(n: int) -> Draw:
    """No transformation at all."""
    return augment.draw(n, torch.tensor(0.0), (16, 16), torch.Generator().manual_seed(0))


def smooth(size: int = 32, dtype: torch.dtype = torch.float64) -> Tensor:
    """A blob off the centre that is zero at the border: [1,3,size,size]."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    blob = np.exp(-((x - 4) ** 2 / 12 + (y + 2) ** 2 / 24))
    return torch.from_numpy(np.stack([blob, 0.5 * blob, -blob])[None]).to(dtype)


def map_of(**values: float) -> Tensor:
    """An inverse map, [1,2,3]; dx, dy in pixels, angles in radians."""
    get = {"scale": 1.0, "before": 0.0, "aniso": 1.0, "after": 0.0, "dx": 0.0, "dy": 0.0} | values
    scalars = [torch.tensor([get[n]], dtype=torch.float64) for n in list(get)[:4]]
    offset = torch.tensor([[get["dx"], get["dy"]]], dtype=torch.float64)
    return augment.inverse_map(*scalars, offset)


def test_nothing_happens_at_p_0() -> None:
    images = pictures()
    assert torch.equal(augment.apply(images, none(4)), images)
    drawn = none(4)
    assert not drawn.moved.any()
    assert not drawn.flip.any()
    assert torch.equal(drawn.turns, torch.zeros(4, dtype=torch.long))


def test_everything_happens_at_p_1() -> None:
    drawn = augment.draw(2000, torch.tensor(1.0), (64, 64), torch.Generator().manual_seed(0))
    assert drawn.moved.all()
    assert drawn.flip.float().mean().item() == pytest.approx(0.5, abs=0.04)
    np.testing.assert_allclose(torch.bincount(drawn.turns) / 2000, 0.25, atol=0.03)
    assert drawn.shift.min() == -8
    assert drawn.shift.max() == 8
    beyond = augment.draw(50, torch.tensor(7.0), (64, 64), torch.Generator().manual_seed(0))
    assert beyond.moved.all()  # p has no upper bound (S2.20)


def test_flip_turn_and_shift_are_exact() -> None:
    """x-flip, quarter turns counter-clockwise and whole-pixel moves copy pixels."""
    images = pictures(4)
    no, zero, still = (
        torch.zeros(4, dtype=torch.bool),
        torch.zeros(4).long(),
        torch.zeros(4, 2).long(),
    )
    assert torch.equal(geometry.blit(images, ~no, zero, still), images.flip(3))
    turned = geometry.blit(images, no, torch.tensor([0, 1, 2, 3]), still)
    for k in range(4):
        assert torch.equal(turned[k], images[k].rot90(k, (1, 2)))
    shift = torch.tensor([[3, 0], [0, -2], [-1, 5], [16, 0]])
    moved = geometry.blit(images, no, zero, shift)
    assert torch.equal(moved[0, :, :, 3:], images[0, :, :, :-3])
    assert torch.equal(moved[0, :, :, :3], images[0, :, :, 1:4].flip(2))  # reflected
    assert torch.equal(moved[1, :, :-2], images[1, :, 2:])
    assert torch.equal(moved[2, :, 5:, :-1], images[2, :, :-5, 1:])
    assert torch.equal(moved[3, :, :, 1:], images[3, :, :, 1:].flip(2))  # more than the picture


def test_order_is_flip_then_turn_then_shift() -> None:
    images = pictures(1)
    found = geometry.blit(images, torch.tensor([True]), torch.tensor([1]), torch.tensor([[2, 0]]))
    wanted = images.flip(3).rot90(1, (2, 3))
    assert torch.equal(found[..., 2:], wanted[..., :-2])


def test_the_inverse_map_inverts() -> None:
    """scale, rotate, stretch, rotate, translate, as matrices (float64)."""
    s, a, k, b, dx, dy = 1.3, 0.4, 0.8, -1.1, 3.0, -2.0

    def turn(t: float) -> np.ndarray:  # counter-clockwise where y points down
        return np.array([[math.cos(t), math.sin(t)], [-math.sin(t), math.cos(t)]])

    forward = turn(b) @ np.diag([k, 1 / k]) @ turn(a) * s
    found = map_of(scale=s, before=a, aniso=k, after=b, dx=dx, dy=dy)[0].numpy()
    np.testing.assert_allclose(found[:, :2] @ forward, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(found @ [dx, dy, 1], 0, atol=1e-12)


def test_wavelet_is_orthonormal() -> None:
    """sym6: orthogonal to its even shifts, so up- and downsampling lose nothing."""
    taps = np.array(geometry.SYM6)
    assert taps.sum() == pytest.approx(math.sqrt(2), abs=1e-10)
    for shift in range(6):
        product = (taps[2 * shift :] * taps[: 12 - 2 * shift]).sum()
        assert product == pytest.approx(float(shift == 0), abs=1e-10)


def test_identity_warp_keeps_the_picture() -> None:
    images = pictures(2, 32, torch.float64)
    warped = geometry.warp(images, map_of().expand(2, 2, 3))
    inner = (slice(None), slice(None), slice(6, -6), slice(6, -6))
    torch.testing.assert_close(warped[inner], images[inner], atol=1e-9, rtol=0)
    assert (warped - images).abs().max() < 0.5  # the border sees the reflection's own filter


def test_constant_picture_stays_constant() -> None:
    """Any map: the low-pass has gain 1 and the reflection reaches everywhere."""
    images = torch.full([1, 3, 16, 16], 0.7, dtype=torch.float64)
    for values in ({"scale": 0.2}, {"scale": 5.0}, {"before": 0.7}, {"dx": 100.0}):
        torch.testing.assert_close(geometry.warp(images, map_of(**values)), images)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_warp_by_a_quarter_turn(k: int) -> None:
    """The resampled turn agrees with the exact one, about the picture's true centre."""
    image = smooth()
    turned = geometry.warp(image, map_of(before=k * math.pi / 2))
    torch.testing.assert_close(turned, image.rot90(k, (2, 3)), atol=0.02, rtol=0)


def test_warp_moves_whole_pixels() -> None:
    image = smooth()
    moved = geometry.warp(image, map_of(dx=3, dy=-2))
    torch.testing.assert_close(moved[..., :-2, 3:], image[..., 2:, :-3], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("values", "axes"), [({"scale": 1.4}, (1.4, 1.4)), ({"aniso": 1.3}, (1.3, 1 / 1.3))]
)
def test_warp_scales_moments(values: dict[str, float], axes: tuple[float, float]) -> None:
    """Centre and spread of a blob scale about the picture's centre."""
    size = 64
    y, x = np.mgrid[:size, :size] - (size - 1) / 2

    def moments(image: Tensor) -> tuple[float, float, float, float]:
        mass = image[0, 0].numpy()
        mass = mass / mass.sum()
        mx, my = (mass * x).sum(), (mass * y).sum()
        return mx, my, (mass * (x - mx) ** 2).sum(), (mass * (y - my) ** 2).sum()

    blob = torch.from_numpy(np.exp(-((x - 5) ** 2 / 32 + (y + 4) ** 2 / 60)))[None, None]
    before = moments(blob.expand(1, 3, -1, -1))
    after = moments(geometry.warp(blob.expand(1, 3, -1, -1), map_of(**values)))
    for i in (0, 1):
        assert after[i] == pytest.approx(before[i] * axes[i], abs=0.15)
        assert after[2 + i] == pytest.approx(before[2 + i] * axes[i] ** 2, rel=0.05)


def test_reflection_goes_on_for_ever() -> None:
    """Moved by a whole period, 2 (W - 1) pixels, the picture is itself again."""
    image = smooth(16)
    moved = geometry.warp(image, map_of(dx=30.0))
    inner = (..., slice(3, -3), slice(3, -3))
    torch.testing.assert_close(
        moved[inner], geometry.warp(image, map_of())[inner], atol=1e-6, rtol=0
    )


def colour(**values: float) -> Tensor:
    get = {"brightness": 0.0, "contrast": 1.0, "flip": 0.0, "hue": 0.0, "saturation": 1.0} | values
    one = {n: torch.tensor([v], dtype=torch.float32) for n, v in get.items()}
    flip = one["flip"].bool()
    return augment.colour_map(
        one["brightness"], one["contrast"], flip, one["hue"], one["saturation"]
    )


def test_colour_maps_have_their_closed_forms() -> None:
    eye, grey = torch.eye(3), torch.full([3, 3], 1 / 3)

    def check(found: Tensor, linear: Tensor, constant: float = 0.0) -> None:
        torch.testing.assert_close(found[0, :, :3], linear, atol=1e-6, rtol=0)
        wanted = torch.full([3], constant)
        torch.testing.assert_close(found[0, :, 3], wanted, atol=1e-6, rtol=0)

    check(colour(), eye)
    check(colour(brightness=0.3), eye, 0.3)
    check(colour(contrast=1.7), eye * 1.7)
    check(colour(brightness=0.3, contrast=2.0), eye * 2, 0.6)  # brightness comes first
    check(colour(flip=1), eye - 2 * grey)
    check(colour(saturation=0), grey)
    check(colour(saturation=3), grey + 3 * (eye - grey))
    check(colour(hue=2 * math.pi / 3), eye.roll(1, 0))  # red becomes green becomes blue
    turn = colour(hue=0.8)[0, :, :3]
    torch.testing.assert_close(turn @ turn.t(), eye, atol=1e-6, rtol=0)
    assert torch.linalg.det(turn).item() == pytest.approx(1.0, abs=1e-6)


def test_colour_is_applied_per_sample() -> None:
    images, drawn = pictures(2), none(2)
    drawn.colour = torch.cat([colour(brightness=0.25), colour(contrast=0.5)])
    found = augment.apply(images, drawn)
    torch.testing.assert_close(found[0], images[0] + 0.25)
    torch.testing.assert_close(found[1], images[1] * 0.5)


def test_only_moved_samples_are_resampled() -> None:
    images, drawn = pictures(3), none(3)
    drawn.moved = torch.tensor([False, True, False])
    drawn.inverse = torch.cat([map_of(), map_of(before=0.5), map_of()]).float()
    found = augment.apply(images, drawn)
    assert torch.equal(found[0], images[0])
    assert torch.equal(found[2], images[2])
    torch.testing.assert_close(found[1:2], geometry.warp(images[1:2], drawn.inverse[1:2]))


def test_distribution_of_strengths() -> None:
    """Standard deviations and probabilities of B.1-B.2, at p = 0.5."""
    n = 20_000
    drawn = augment.draw(n, torch.tensor(0.5), (64, 64), torch.Generator().manual_seed(5))
    # none of scale, aniso, offset (p each) and rotation (p over two draws)
    assert 1 - drawn.moved.float().mean().item() == pytest.approx(0.5**4, abs=0.01)
    assert drawn.flip.float().mean().item() == pytest.approx(0.25, abs=0.02)
    # |det| = 1 / scale^2: half are 1, log2 of the others has deviation 2 * 0.2
    log = torch.linalg.det(drawn.inverse[:, :, :2]).log2()
    scaled = log[log.abs() > 1e-4]
    assert len(scaled) / n == pytest.approx(0.5, abs=0.02)
    assert scaled.std().item() == pytest.approx(0.4, rel=0.05)
    # grey stays on the grey axis: contrast alone changes its length (and the flip its sign)
    grey = (drawn.colour[:, :, :3].sum(dim=(1, 2)) / 3).abs().log2()
    contrast = grey[grey.abs() > 1e-4]
    assert len(contrast) / n == pytest.approx(0.5, abs=0.02)
    assert contrast.std().item() == pytest.approx(0.5, rel=0.05)


def test_draws_are_nested_in_p() -> None:
    """The same numbers decide at every p, so a transformation drawn at p stays drawn above it."""
    low = augment.draw(500, torch.tensor(0.2), (64, 64), torch.Generator().manual_seed(9))
    high = augment.draw(500, torch.tensor(0.6), (64, 64), torch.Generator().manual_seed(9))
    assert not (low.moved & ~high.moved).any()
    assert not (low.flip & ~high.flip).any()
    both = (low.turns > 0) & (high.turns > 0)
    assert torch.equal(low.turns[both], high.turns[both])


def test_gradients_flow_twice() -> None:
    """R1 through the augmentation: first and second derivatives agree with finite differences."""
    drawn = augment.draw(2, torch.tensor(1.0), (8, 8), torch.Generator().manual_seed(2))
    drawn.inverse, drawn.colour = drawn.inverse.double(), drawn.colour.double()
    images = pictures(2, 8, torch.float64).requires_grad_()

    def logits(x: Tensor) -> Tensor:
        return augment.apply(x, drawn).square().mean(dim=(1, 2, 3))

    assert torch.autograd.gradcheck(logits, images, fast_mode=True)
    assert torch.autograd.gradgradcheck(logits, images, fast_mode=True)


def test_sampling_is_transposed_by_its_backward() -> None:
    """<S x, y> = <x, S^T y> to rounding, and S^T's own derivative is S again."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(1, 2, 9, 9, generator=generator, dtype=torch.float64, requires_grad=True)
    grid = torch.rand(1, 7, 7, 2, generator=generator, dtype=torch.float64) * 3 - 1.5
    y = torch.randn(1, 2, 7, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    sampled = geometry._Sample.apply(x, grid)
    (back,) = torch.autograd.grad((sampled * y).sum(), x, create_graph=True)
    assert (sampled * y).sum().item() == pytest.approx((x * back).sum().item(), rel=1e-12)
    v = torch.randn(back.shape, generator=generator, dtype=torch.float64)
    (again,) = torch.autograd.grad((back * v).sum(), y)
    torch.testing.assert_close(again, geometry._Sample.apply(v, grid))


# ---------------------------------------------------------------------------- not square


@pytest.mark.parametrize("size", [(8, 12), (12, 8), (16, 6)])
def test_blits_of_pictures_that_are_not_square(size: tuple[int, int]) -> None:
    """The frame stays, the picture is turned about its centre and continued by reflection."""
    h, w = size
    image = torch.arange(h * w, dtype=torch.float64).reshape(1, 1, h, w)
    pad = h + w
    around = np.pad(image[0, 0].numpy(), pad, mode="reflect")
    no, still = torch.tensor([False]), torch.zeros(1, 2).long()
    for k in range(4):
        turned = np.rot90(around, k)
        middle = [(n - m) // 2 for n, m in zip(turned.shape, size, strict=True)]
        wanted = turned[middle[0] : middle[0] + h, middle[1] : middle[1] + w]
        found = geometry.blit(image, no, torch.tensor([k]), still)[0, 0]
        assert (found.numpy() == wanted).all(), k
        moved = geometry.blit(image, no, torch.tensor([k]), torch.tensor([[2, -3]]))[0, 0]
        wanted = turned[middle[0] + 3 : middle[0] + h + 3, middle[1] - 2 : middle[1] + w - 2]
        assert (moved.numpy() == wanted).all(), k
    flipped = geometry.blit(image, ~no, torch.tensor([0]), still)
    assert torch.equal(flipped, image.flip(3))


def test_warps_of_pictures_that_are_not_square() -> None:
    """A turn is a turn of pixels, not of shares of the sides, about the true centre."""
    y, x = torch.meshgrid(
        torch.arange(32, dtype=torch.float64) - 15.5,
        torch.arange(48, dtype=torch.float64) - 23.5,
        indexing="ij",
    )
    blob = torch.exp(-((x - 5) ** 2 + (y - 2) ** 2) / 20)[None, None]
    for k in (1, 2, 3):
        exact = geometry.blit(
            blob, torch.tensor([False]), torch.tensor([k]), torch.zeros(1, 2).long()
        )
        found = geometry.warp(blob, map_of(before=k * math.pi / 2))
        torch.testing.assert_close(found, exact, atol=0.02, rtol=0)
    moved = geometry.warp(blob, map_of(dx=3, dy=-2))
    torch.testing.assert_close(moved[..., :-2, 3:], blob[..., 2:, :-3], atol=1e-3, rtol=0)


def test_moves_are_shares_of_the_side_they_are_along() -> None:
    def drawn(size: tuple[int, int]) -> Draw:
        return augment.draw(500, torch.tensor(1.0), size, torch.Generator().manual_seed(0))

    square, wide = drawn((64, 64)), drawn((64, 128))
    assert torch.equal(wide.shift[:, 1], square.shift[:, 1])
    assert (wide.shift[:, 0] - 2 * square.shift[:, 0]).abs().max() <= 1
    assert wide.shift[:, 0].abs().max() == 16
    for name in ("flip", "turns", "colour"):
        assert torch.equal(getattr(wide, name), getattr(square, name))
    torch.testing.assert_close(wide.inverse[:, :, :2], square.inverse[:, :, :2])
