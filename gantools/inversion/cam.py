"""Where a classifier looks: Grad-CAM and its kin as areas of a loss (papers.md S4.7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Kind = Literal["gradcam", "gradcam++", "dse"]
LARGEST, SMALLEST = 256, 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, of values in 0..1


@dataclass(frozen=True)
class Classifier:
    """trunk: pictures [N, 3, H, W] -> maps [N, C, h, w]; head: maps -> logits [N, classes]."""

    trunk: Callable[[Tensor], Tensor]
    head: nn.Module


def heat(classifier: Classifier, images: Tensor, kind: Kind = "gradcam") -> Tensor:
    """Maps [N, h, w] of what speaks for the class that the classifier sees; not yet in [0, 1].

    Channels are weighted without a gradient; their maps keep theirs. gradcam: by the mean of the
    gradient of each picture's own class, no sum below 0. gradcam++: Chattopadhay et al. 2018. dse:
    as paper 004's code has it: 1 where any gradient is positive, of the class that most pictures of
    the batch have, and without any gradient.
    """
    maps = classifier.trunk(images)
    with torch.enable_grad():
        leaf = maps.detach().requires_grad_()
        logits = classifier.head(leaf)
        own = logits.argmax(1)
        if kind == "dse":
            own = torch.mode(own).values.expand(len(own))
        gradient = torch.autograd.grad(logits.gather(1, own[:, None]).sum(), leaf)[0]
    if kind == "dse":
        weight = (gradient > 0).flatten(2).any(2).to(maps)
        return (weight[:, :, None, None] * maps.detach()).sum(1)
    if kind == "gradcam++":
        weight = _plus_plus(gradient, leaf.detach())
    else:
        weight = gradient.mean((2, 3))
    return functional.relu((weight[:, :, None, None] * maps).sum(1))


def _plus_plus(gradient: Tensor, maps: Tensor) -> Tensor:
    """Σ α ReLU(g), α = g² / (2 g² + Σ A g³), 0 where that is 0 / 0."""
    square = gradient.square()
    below = 2 * square + (maps * gradient * square).sum((2, 3), keepdim=True)
    alpha = torch.where(below != 0, square / torch.where(below != 0, below, 1), 0)
    return (alpha * functional.relu(gradient)).sum((2, 3))


def masks(found: Tensor, size: tuple[int, int]) -> Tensor:
    """[N, h, w] to [N, 1, H, W] in [0, 1]: each from its least to its most, 0 where it is flat."""
    low = found.amin((1, 2), keepdim=True)
    spread = found.amax((1, 2), keepdim=True) - low
    flat = spread <= 0
    scaled = torch.where(flat, 0, (found - low) / torch.where(flat, 1, spread))
    return functional.interpolate(scaled[:, None], size, mode="bilinear")


def jet(mask: Tensor) -> Tensor:
    """The colours of heat [N, 1, H, W] in [0, 1] -> [N, 3, H, W] in [0, 1], blue to red."""
    centres = mask.new_tensor([3.0, 2.0, 1.0]).view(1, 3, 1, 1)
    return (1.5 - (4 * mask - centres).abs()).clamp(0, 1)


def labelled(images: Tensor, mask: Tensor, kind: Kind = "gradcam") -> Tensor:
    """Pictures [N, 3, H, W] with the colours of their heat, in [0, 1].

    dse: less the least number of the whole batch, as released; the others less the picture's own.
    """
    both = images + jet(mask)
    least = both.min() if kind == "dse" else both.amin((1, 2, 3), keepdim=True)
    both = both - least
    return both / both.amax((1, 2, 3), keepdim=True).clamp_min(1e-8)


@dataclass(frozen=True)
class Cam:
    """Areas of pictures by a classifier; kind dse sees [-1, 1] as it is, and guided gradients."""

    classifier: Classifier
    kind: Kind = "gradcam"

    def areas(self, true: Tensor, said: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """`at1` and the masks [N, 1, H, W] of both, `at2` and the labelled pictures."""
        size = (true.shape[2], true.shape[3])
        pairs = [x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x for x in (true, said)]
        heats = [masks(self._heat(x), size) for x in pairs]
        yield "at1", heats[0], heats[1]
        shown = [labelled(x, m, self.kind) for x, m in zip(pairs, heats, strict=True)]
        yield "at2", shown[0], shown[1]

    def _heat(self, images: Tensor) -> Tensor:
        x = images
        while min(x.shape[2:]) > LARGEST:
            x = functional.avg_pool2d(x, 2)
        side = min(x.shape[2:])
        if side < SMALLEST:
            x = functional.interpolate(x, scale_factor=SMALLEST / side, mode="bilinear")
        if self.kind == "dse":
            with _guided(self.classifier.head):
                return heat(self.classifier, x, self.kind)
        mean, std = (x.new_tensor(value).view(1, 3, 1, 1) for value in (MEAN, STD))
        return heat(self.classifier, ((x + 1) / 2 - mean) / std, self.kind)


@contextmanager
def _guided(head: nn.Module) -> Iterator[None]:
    """Guided backpropagation: no gradient below 0 leaves a ReLU."""

    def positive(module: nn.Module, given: object, _: object) -> tuple[Tensor, ...]:
        return tuple(g.clamp(min=0) for g in cast("tuple[Tensor, ...]", given))

    hooks = [
        m.register_full_backward_hook(positive) for m in head.modules() if isinstance(m, nn.ReLU)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def vgg16(device: str) -> Classifier:
    """ImageNet's VGG16 cut behind its last convolution; Usage where its weights are missing."""
    from torchvision import models

    from gantools.io import weights

    state = torch.load(weights.locate("vgg16"), map_location="cpu", weights_only=True)
    with torch.device("meta"):
        whole = models.vgg16(weights=None)
    whole.load_state_dict(state, assign=True)
    return cut(whole.eval().requires_grad_(False).to(device))


def cut(vgg: nn.Module) -> Classifier:
    """torchvision's VGG16 in two behind features.28, conv5_3: maps of 16x16 for 256x256 pixels."""
    for module in vgg.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # the maps in front of it are wanted too, and hooks see them
    features, behind = cast("nn.Sequential", vgg.features), 29
    head = nn.Sequential(
        features[behind:], cast("nn.Module", vgg.avgpool), nn.Flatten(),
        cast("nn.Module", vgg.classifier),
    )  # fmt: skip
    return Classifier(features[:behind], head)
