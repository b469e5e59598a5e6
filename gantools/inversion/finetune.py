"""DSE (E): the weights of an encoder are tuned for one picture (papers.md S4.14)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from gantools.inversion import dse_blocks
from gantools.inversion.alae import AlaeEncoder
from gantools.inversion.coded import AnyEncoder, Said, coded
from gantools.inversion.dse import DseEncoder
from gantools.inversion.dse_loss import Weights, latent_terms, weighted
from gantools.inversion.lreq_adam import LREQAdam
from gantools.inversion.methods import Method
from gantools.inversion.optimise import Loss, Projection, Render, Tensors, Watch

LATENT = Weights()
KEPT_FROM = 1000  # the best is looked for from this iteration on; in short runs from half of them


def finetune(
    encoder: AnyEncoder,
    target: Tensor,
    render: Render,
    loss: Loss,
    method: Method,
    *,
    condition: Tensor | None = None,
    watch: Watch | None = None,
) -> Projection:
    """The latent of a picture [1, C, H, W] by a copy of the encoder; the encoder stays as it is.

    Every iteration takes two steps of LREQAdam with gradients at one point: of the image loss, and
    of method.latent · L_LV between w and E(G(w)) with method.norm · ‖w‖. The latent is that of the
    lowest image loss from iteration 1000 on.
    """
    own = copy.deepcopy(encoder).eval().requires_grad_(True)
    parameters = list(own.parameters())
    adam = LREQAdam(_groups(own), method.lr)
    first = KEPT_FROM if method.steps > KEPT_FROM else method.steps // 2
    best: Projection | None = None
    for step in range(method.steps):
        said = coded(own, target, condition)
        images = render(said.tensors)
        losses = loss(images)
        now = Projection({n: t.detach() for n, t in said.tensors.items()}, losses.detach())
        # A loss that is not a number is never the lowest: the first one is kept and reported.
        if step >= first and (best is None or bool(now.loss < best.loss)):
            best = now
        beside = _latent_loss(said, coded(own, images, condition), method)
        found = [
            torch.autograd.grad(part, parameters, retain_graph=part is losses, allow_unused=True)
            for part in (losses, beside)
        ]
        for gradients in found:
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            adam.step()
        if watch is not None:
            watch(step, now.tensors, images.detach(), now.loss)
    if best is not None:
        return best
    with torch.no_grad():
        tensors = coded(own, target, condition).tensors
        return Projection(tensors, loss(render(tensors)))


def _latent_loss(said: Said, again: Said, method: Method) -> Tensor:
    """0.01 · (L_LV(w, E(x')) + L_LV(z_c, z_c(E(x')))) + 3e-4 · ‖w‖, a scalar of shape [1]."""
    pairs = [(t, again.tensors[name]) for name, t in said.tensors.items()]
    if said.features is not None and again.features is not None:
        pairs.append((said.features, again.features))
    terms = [weighted(latent_terms(a, b, LATENT), LATENT) for a, b in pairs]
    size = torch.linalg.vector_norm(_style(said.tensors))
    return (method.latent * torch.stack(terms).sum() + method.norm * size)[None]


def _style(tensors: Tensors) -> Tensor:
    return tensors["w"] if "w" in tensors else tensors["z"]


def _groups(encoder: AnyEncoder) -> list[dict[str, object]]:
    """Parameters with LREQAdam's rates: those of an encoder of paper 004, else 1/√fan_in.

    ALAE's layers scale their weights where they use them.
    """
    if isinstance(encoder, AlaeEncoder):
        return [{"params": [p], "rate": 1.0} for p in encoder.parameters()]
    own = dse_blocks.rates(encoder) if isinstance(encoder, DseEncoder) else _plain_rates(encoder)
    return [{"params": [p], "rate": own.get(n, 1.0)} for n, p in encoder.named_parameters()]


def _plain_rates(encoder: nn.Module) -> dict[str, float]:
    return {n: p[0].numel() ** -0.5 for n, p in encoder.named_parameters() if p.ndim > 1}
