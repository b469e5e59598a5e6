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
    shares = (1.0, *method.areas)

    def parts(images: Tensor) -> list[Tensor]:
        """The whole and the areas that count."""
        found = [images, *(area for _, area, _ in centre(images, images))]
        return [part for part, share in zip(found, shares, strict=True) if share]

    def against(true: Tensor) -> Callable[[Tensor], Tensor]:
        look = _seen_once(embed, true) if method.perceptual else embed
        return lambda said: weighted(image_terms(true, said, weights, look, halved=False), weights)

    counted = [share for share in shares if share]
    targets = [[against(part) for part in parts(true)] for true in target.split(1)]

    def loss(images: Tensor) -> Tensor:
        totals = []
        for looks, said in zip(targets, images.split(1), strict=True):
            terms = zip(counted, looks, parts(said), strict=True)
            totals.append(torch.stack([share * look(part) for share, look, part in terms]).sum())
        return torch.stack(totals)

    return loss


def _seen_once(embed: Embed, target: Tensor) -> Embed:
    """The same embedding, which looks at the target only now."""
    with torch.no_grad():
        kept = embed(target)
    return lambda images: kept if images is target else embed(images)
