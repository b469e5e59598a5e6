"""Adaptive discriminator augmentation, pipe `bgc`: blits, geometry, colour (arXiv 2006.06676)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gantools.training.geometry import blit, warp

SHIFT = 0.125  # whole-pixel translation, fraction of the picture, uniform
SCALE_STD = 0.2  # log2
ANISO_STD = 0.2  # log2
FRACTION_STD = 0.125  # sub-pixel translation, fraction of the picture
BRIGHTNESS_STD = 0.2
CONTRAST_STD = 0.5  # log2
SATURATION_STD = 1.0  # log2


@dataclass(slots=True)
class Draw:
    """One batch of transformations, in the order in which they are applied.

    flip [N] bool, turns [N] quarter turns, shift [N,2] whole pixels; moved [N] bool and inverse
    [N,2,3], output to input position in pixels from the centre; colour [N,3,4], y = A x + b.
    """

    flip: Tensor
    turns: Tensor
    shift: Tensor
    moved: Tensor
    inverse: Tensor
    colour: Tensor

    def of(self, some: Callable[[Tensor], Tensor]) -> Draw:
        """The transformations of some of the samples: `some` chooses them from each [N, …]."""
        return Draw(*(some(getattr(self, f.name)) for f in fields(self)))


def draw(n: int, p: Tensor, size: tuple[int, int], generator: torch.Generator) -> Draw:
    """Draw every transformation independently with probability p (a scalar tensor).

    size: (height, width) of the pictures; fractions of the picture are each along its own side.

    Rotation is drawn twice, before and after the anisotropic scaling, each with 1 - sqrt(1 - p),
    so that p is the chance of any rotation. The numbers that are drawn do not depend on p.
    """
    device = generator.device
    height, width = size
    sides = torch.tensor([width, height], device=device)
    u = torch.rand([n, 21], generator=generator, device=device)
    g = torch.randn([n, 7], generator=generator, device=device)

    def off(i: int) -> Tensor:
        return u[:, i] >= p

    zero, one = torch.zeros([n], device=device), torch.ones([n], device=device)
    flip = ~off(0) & (u[:, 1] < 0.5)
    turns = torch.where(off(2), zero, torch.floor(u[:, 3] * 4)).long()
    shift = (u[:, 4:6] * 2 - 1) * (SHIFT * sides)
    shift = torch.where(off(6)[:, None], 0.0, shift.round()).long()

    scale = torch.where(off(7), one, torch.exp2(g[:, 0] * SCALE_STD))
    p_turn = 1 - (1 - p).clamp_min(0).sqrt()
    before = torch.where(u[:, 8] < p_turn, (u[:, 9] * 2 - 1) * math.pi, zero)
    aniso = torch.where(off(10), one, torch.exp2(g[:, 1] * ANISO_STD))
    after = torch.where(u[:, 11] < p_turn, (u[:, 12] * 2 - 1) * math.pi, zero)
    offset = torch.where(off(13)[:, None], 0.0, g[:, 2:4] * (FRACTION_STD * sides))
    inverse = inverse_map(scale, before, aniso, after, offset)
    identity = torch.eye(2, 3, device=device)
    moved = (inverse != identity).any(dim=2).any(dim=1)

    brightness = torch.where(off(14), zero, g[:, 4] * BRIGHTNESS_STD)
    contrast = torch.where(off(15), one, torch.exp2(g[:, 5] * CONTRAST_STD))
    luma_flip = ~off(16) & (u[:, 20] < 0.5)
    hue = torch.where(off(17), zero, (u[:, 18] * 2 - 1) * math.pi)
    saturation = torch.where(off(19), one, torch.exp2(g[:, 6] * SATURATION_STD))
    colour = colour_map(brightness, contrast, luma_flip, hue, saturation)
    return Draw(flip, turns, shift, moved, inverse, colour)


def inverse_map(
    scale: Tensor, before: Tensor, aniso: Tensor, after: Tensor, offset: Tensor
) -> Tensor:
    """[N,2,3] from output to input of: scale, rotate, stretch x and shrink y, rotate, translate.

    scale, aniso [N] factors; before, after [N] angles counter-clockwise on the screen; offset [N,2]
    pixels to the right and down. All 1 or 0 give exactly the identity.
    """
    turn_back = _rotation(-before)
    squeeze = torch.diag_embed(torch.stack([1 / (scale * aniso), aniso / scale], dim=1))
    # (translate · rotate(after) · stretch · rotate(before) · scale)^-1
    linear = turn_back @ squeeze @ _rotation(-after)
    return torch.cat([linear, -(linear @ offset[:, :, None])], dim=2)


def _rotation(angle: Tensor) -> Tensor:
    """[N,2,2]; counter-clockwise on a screen, where y points down."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)


def colour_map(
    brightness: Tensor, contrast: Tensor, luma_flip: Tensor, hue: Tensor, saturation: Tensor
) -> Tensor:
    """[N,3,4] on RGB in [-1,1], in this order: brightness, contrast, luma flip, hue, saturation.

    Luma is the grey axis v = (1,1,1)/√3: mirrored through the plane orthogonal to it, hue turned
    around it, saturation scaling what is orthogonal to it.
    """
    n, device = brightness.shape[0], brightness.device
    eye = torch.eye(3, device=device)
    v = torch.full([3], 3**-0.5, device=device)
    grey = torch.outer(v, v)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=device) * 3**-0.5
    mirror = eye - 2 * grey * luma_flip.float()[:, None, None]
    cos, sin = torch.cos(hue)[:, None, None], torch.sin(hue)[:, None, None]
    turn = grey + cos * (eye - grey) + sin * cross  # Rodrigues
    saturate = grey + (eye - grey) * saturation[:, None, None]
    linear = saturate @ turn @ mirror * contrast[:, None, None]
    constant = linear @ brightness[:, None].expand(n, 3)[:, :, None]
    return torch.cat([linear, constant], dim=2)


def apply(images: Tensor, drawn: Draw) -> Tensor:
    """Transform images [N,1|3|4,H,W] in [-1,1]; differentiable twice by them.

    Samples whose geometry is the identity are not resampled. Of colour, one channel sees what grey
    pixels would: brightness, contrast and luma flip keep grey grey, hue and saturation leave it.
    Alpha has the geometry alone; premultiplied colour changes by what is seen of it.
    """
    images = blit(images, drawn.flip, drawn.turns, drawn.shift)
    if images.is_cuda:  # no look at the values: the device would have to wait
        images = torch.where(drawn.moved[:, None, None, None], warp(images, drawn.inverse), images)
    elif drawn.moved.any():
        some = drawn.moved.nonzero()[:, 0]
        images = images.index_copy(0, some, warp(images[some], drawn.inverse[some]))
    n, c, h, w = images.shape
    linear, constant = drawn.colour[:, :, :3], drawn.colour[:, :, 3:]
    if c == 4:
        return _beside_alpha(images, linear, constant)
    if c == 1:
        linear = linear.sum(dim=2, keepdim=True).mean(dim=1, keepdim=True)
        constant = constant.mean(dim=1, keepdim=True)
    return (linear @ images.reshape(n, c, h * w) + constant).reshape(n, c, h, w)


def _beside_alpha(images: Tensor, linear: Tensor, constant: Tensor) -> Tensor:
    """y = A x + b of the straight colour x, for premultiplied images [N,4,H,W]; alpha stays.

    With P + 1 = (x + 1) (a + 1) / 2, all in [-1,1], this is linear in P and a: no division.
    """
    colour, alpha = images[:, :3].flatten(2) + 1, images[:, 3:].flatten(2) + 1
    share = (constant + 1 - linear.sum(dim=2, keepdim=True)) / 2
    return torch.cat(
        [(linear @ colour + share * alpha - 1).view_as(images[:, :3]), images[:, 3:]], 1
    )
