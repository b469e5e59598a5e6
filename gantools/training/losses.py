"""GAN losses and regularisers of StyleGAN2 (arXiv 1912.04958) and its ADA code; S0.9, S3.1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating logistic loss, mean of softplus(-D(G(z))) (S0.9); logits [N,1] -> scalar."""
    return F.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Logistic loss, softplus(D(G(z))) + softplus(-D(x)), means over the batch (S0.9)."""
    return F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()


def r1_penalty(logits: Tensor, images: Tensor, gamma: float) -> Tensor:
    """gamma/2 * mean over the batch of ||grad_x D(x)||^2 (S0.9).

    The StyleGAN convention. Schwarz et al. (S3.1) and GAN_stability write lambda without the half,
    so their lambda is gamma = 2 lambda here. logits [N,1] were computed from images [N,C,H,W],
    which require a gradient. The result can be differentiated again.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean() * (gamma / 2)


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """||J_w^T y|| with y ~ N(0,1)/sqrt(H W), one number per image, differentiable again.

    images [N,C,H,W] come from ws [N,L,w_dim]; noise [N,C,H,W] is standard normal. The squared norm
    is summed over w_dim and averaged over the L layers, as NVIDIA's code does.
    """
    scaled = noise / (images.shape[2] * images.shape[3]) ** 0.5
    (gradient,) = torch.autograd.grad((images * scaled).sum(), ws, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def path_length_penalty(
    lengths: Tensor, running_mean: Tensor, decay: float = 0.01
) -> tuple[Tensor, Tensor]:
    """(penalty, new running mean): mean of (lengths - a)^2 with a moved towards their mean first.

    The moved mean stays inside the gradient, as in both of NVIDIA's codes; the one that is
    returned for the next step is detached.
    """
    mean = running_mean.lerp(lengths.mean(), decay)
    return (lengths - mean).square().mean(), mean.detach()


def mix_styles(ws: Tensor, other: Tensor, cutoffs: Tensor) -> Tensor:
    """ws [N,L,w_dim] with layers >= cutoff taken from `other`; cutoffs [N], L keeps all (S0.11)."""
    layer = torch.arange(ws.shape[1], device=ws.device)
    return torch.where((layer[None, :] >= cutoffs[:, None])[:, :, None], other, ws)


def draw_cutoffs(n: int, layers: int, probability: float, generator: torch.Generator) -> Tensor:
    """[n] cutoffs: uniform on 1..layers-1 with the given probability, else `layers` (S0.11)."""
    device = generator.device
    cutoffs = torch.randint(1, layers, [n], generator=generator, device=device)
    mixed = torch.rand([n], generator=generator, device=device) < probability
    return torch.where(mixed, cutoffs, layers)


def finite_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Replace nan by 0 and +-inf by +-1e5 in the gradients, in place."""
    for parameter in parameters:
        if parameter.grad is not None:
            torch.nan_to_num(parameter.grad, nan=0.0, posinf=1e5, neginf=-1e5, out=parameter.grad)
