"""L_IMG between a picture and its target, of the whole and of centred areas (S4.3, S4.6, S4.14)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gantools.inversion.dse_loss import Weights, centre, image_terms, weighted
from gantools.inversion.methods import Method
from gantools.inversion.perceptual import Embed


def asked(method: Method) -> bool:
    """Whether a method has terms beside the perceptual distance and the mean square."""
    return bool(method.cos or method.ssim or any(method.areas))


def image_loss(embed: Embed, target: Tensor, method: Method) -> Callable[[Tensor], Tensor]:
    """Pictures like the target [N, C, H, W] -> L_IMG + μ1 L_IMG(AT1) + μ2 L_IMG(AT2), [N].

    Each sample by itself: its neighbours in the batch change nothing. embed shrinks what is large
    by itself.
    """
    weights = Weights(method.mse, method.cos, 0.0, method.perceptual, method.ssim)

    def one(true: Tensor, said: Tensor) -> Tensor:
        total = weighted(image_terms(true, said, weights, embed, halved=False), weights)
        for share, (_, area, made) in zip(method.areas, centre(true, said), strict=True):
            if share:
                terms = image_terms(area, made, weights, embed, halved=False)
                total = total + share * weighted(terms, weights)
        return total

    def loss(images: Tensor) -> Tensor:
        pairs = zip(target.split(1), images.split(1), strict=True)
        return torch.stack([one(true, said) for true, said in pairs])

    return loss
