"""GAN losses and regularisers: PGGAN, StyleGAN, StyleGAN2, SNGAN (S0.9, S1.9, S1.10, S3.1, S3.25).

Logits are [N, 1], every loss is a mean over the batch. The names without a prefix are the logistic
ones. Both players' hinge and Wasserstein losses share one generator loss, `wgan_generator_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gantools.ops.convolve import inputs_only

GDROP_DECAY, GDROP_LIMIT, GDROP_COEF = 0.9, 0.5, 0.2


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating logistic loss, mean of softplus(-D(G(z))) (S0.9); logits [N,1] -> scalar."""
    return F.softplus(-fake_logits).mean()


def saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    """Minimax logistic loss, mean of -softplus(D(G(z))); the gradient dies where D is sure."""
    return -F.softplus(fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Logistic loss, softplus(D(G(z))) + softplus(-D(x)), means over the batch (S0.9)."""
    return F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()


def wgan_generator_loss(fake_logits: Tensor) -> Tensor:
    """Mean of -D(G(z)): WGAN's generator (S1.9), and the hinge loss's (S3.25)."""
    return -fake_logits.mean()


def wgan_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """D(G(z)) - D(x), means over the batch; penalty and drift come beside it (S1.9)."""
    return fake_logits.mean() - real_logits.mean()


def hinge_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))), means over the batch (S3.25)."""
    return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()


def lsgan_generator_loss(fake_logits: Tensor) -> Tensor:
    """Mean of D(G(z))^2: real is 0 in this variant (S1.10)."""
    return fake_logits.square().mean()


def lsgan_discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, fake_weight: float = 0.1
) -> Tensor:
    """D(x)^2 + fake_weight (D(G(z)) - 1)^2, means over the batch: real is 0, fake is 1 (S1.10)."""
    return real_logits.square().mean() + fake_weight * (fake_logits - 1).square().mean()


def gdrop_average(average: float, score: float) -> float:
    """The next d of LSGAN's stabiliser: 0.9 d + 0.1 clip(score, 0, 1), from d = 0 on (S1.10).

    `score` is D's mean logit of fakes, 1 where D knows them all. (The published code hands in D's
    loss there instead.)
    """
    return average * GDROP_DECAY + min(max(score, 0.0), 1.0) * (1 - GDROP_DECAY)


def gdrop_strength(average: float) -> float:
    """Strength of `ops.noise.multiplicative_noise` in D: 0.2 max(d - 0.5, 0)^2 (S1.10)."""
    return GDROP_COEF * max(average - GDROP_LIMIT, 0.0) ** 2


def r1_penalty(logits: Tensor, images: Tensor, gamma: float) -> Tensor:
    """gamma/2 * mean over the batch of ||grad_x D(x)||^2 (S0.9); R2 where the images are fakes.

    The StyleGAN convention. Schwarz et al. (S3.1) and GAN_stability write lambda without the half,
    so their lambda is gamma = 2 lambda here. logits [N,1] were computed from images [N,C,H,W],
    which require a gradient. The result can be differentiated again.
    """
    return _gradient(logits, images).square().sum(dim=(1, 2, 3)).mean() * (gamma / 2)


def mixed_images(reals: Tensor, fakes: Tensor, amount: Tensor) -> Tensor:
    """reals + amount (fakes - reals), a leaf that requires a gradient, for WGAN-GP (S1.9).

    reals, fakes [N,C,H,W]; amount [N,1,1,1], uniform on [0, 1].
    """
    return reals.detach().lerp(fakes.detach(), amount).requires_grad_()


def gradient_penalty(
    logits: Tensor, images: Tensor, weight: float = 10.0, target: float = 1.0
) -> Tensor:
    """weight/target^2 * mean over the batch of (||grad_x D(x)|| - target)^2 (WGAN-GP, S1.9).

    logits [N,1] were computed from images [N,C,H,W] of `mixed_images`. `target` is the paper's
    gamma, 750 for CIFAR-10; for a target of 0 take `r1_penalty` at those images. Differentiable
    again; where the gradient of D is exactly 0 its norm has the derivative 0.
    """
    norms = _gradient(logits, images).flatten(1).norm(dim=1)
    return (norms - target).square().mean() * (weight / target**2)


def drift_penalty(real_logits: Tensor, weight: float = 0.001) -> Tensor:
    """weight * mean of D(x)^2 on reals: keeps WGAN's scores from drifting off zero (S1.9)."""
    return real_logits.square().mean() * weight


def _gradient(logits: Tensor, images: Tensor) -> Tensor:
    """grad_x of the sum of D(x), [N,C,H,W]; every logit depends on its own picture alone."""
    with inputs_only():
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor, *, first: int = 1) -> Tensor:
    """||J_w^T y|| with y ~ N(0,1)/sqrt(H W), one number per image, differentiable again.

    images [N,C,H,W] come from ws [N,L,w_dim]; noise [N,C,H,W] is standard normal. The squared norm
    is summed over w_dim and averaged over the L layers, as NVIDIA's code does; over those from
    block `first` (1-based) on, where a network does not look at the styles before.
    """
    scaled = noise / (images.shape[2] * images.shape[3]) ** 0.5
    with inputs_only():
        (gradient,) = torch.autograd.grad((images * scaled).sum(), ws, create_graph=True)
    return gradient[:, first - 1 :].square().sum(2).mean(1).sqrt()


def path_length_penalty(
    lengths: Tensor, running_mean: Tensor, decay: float = 0.01, *, mean: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(penalty, new running mean): mean of (lengths - a)^2 with a moved towards their mean first.

    The moved mean stays inside the gradient, as in both of NVIDIA's codes; the one that is
    returned for the next step is detached. mean: that of the lengths of all processes, where
    there are several.
    """
    moved = running_mean.lerp(lengths.mean() if mean is None else mean, decay)
    return (lengths - moved).square().mean(), moved.detach()


def mix_styles(ws: Tensor, other: Tensor, cutoffs: Tensor) -> Tensor:
    """ws [N,L,w_dim] with layers >= cutoff taken from `other`; cutoffs [N], L keeps all (S0.11)."""
    layer = torch.arange(ws.shape[1], device=ws.device)
    return torch.where((layer[None, :] >= cutoffs[:, None])[:, :, None], other, ws)


def draw_cutoffs(
    n: int, layers: int, probability: float, generator: torch.Generator, *, first: int = 1
) -> Tensor:
    """[n] cutoffs: uniform on 1..layers-1 with the given probability, else `layers` (S0.11).

    first: of a network without the blocks before this one (1-based), the least cutoff; where that
    leaves none, nothing is mixed.
    """
    device = generator.device
    if first >= layers:
        return torch.full([n], layers, device=device)
    cutoffs = torch.randint(first, layers, [n], generator=generator, device=device)
    mixed = torch.rand([n], generator=generator, device=device) < probability
    return torch.where(mixed, cutoffs, layers)


def finite_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Replace nan by 0 and +-inf by +-1e5 in the gradients, in place."""
    for parameter in parameters:
        if parameter.grad is not None:
            torch.nan_to_num(parameter.grad, nan=0.0, posinf=1e5, neginf=-1e5, out=parameter.grad)
