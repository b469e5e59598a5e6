"""VGG16's last hidden layer (4096, after its relu), whose manifolds precision and recall compare.

Kynkäänniemi et al. 2019 and NVIDIA's metrics take this layer; weights are torchvision's, pictures
are resized and normalised as torch-fidelity does it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from gantools.report import Usage

SIDE = 224
DIM = 4096
MEAN = (0.485, 0.456, 0.406)  # of ImageNet, of values in 0..1
STD = (0.229, 0.224, 0.225)


class Vgg16(nn.Module):
    """Pictures [N, 3, H, W] in 0..255 of any size -> features [N, 4096], not negative."""

    mean: Tensor
    std: Tensor

    def __init__(self, state: dict[str, Tensor]) -> None:
        """state: all tensors of torchvision's VGG16, used as they are. RuntimeError for others."""
        from torchvision import models

        super().__init__()
        with torch.device("meta"):  # no memory and no random numbers
            whole = models.vgg16(weights=None)
        whole.load_state_dict(state, assign=True)
        self.trunk = whole.features
        self.first, self.second = whole.classifier[0], whole.classifier[3]
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(STD).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """The features of fc2, after its relu."""
        from torch_fidelity.interpolate_compat_tensorflow import (
            interpolate_bilinear_2d_like_tensorflow1x as resize,
        )

        x = resize(images.float(), (SIDE, SIDE), align_corners=False)
        x = self.trunk((x - self.mean) / self.std).flatten(1)  # [N, 512 7 7]
        return functional.relu(self.second(functional.relu(self.first(x))))


def load(path: Path) -> Vgg16:
    """The network of torchvision's file; Usage where tensors are missing or of other shapes."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    try:
        return Vgg16(state)
    except (RuntimeError, AttributeError, TypeError):
        raise Usage(f"{path.name}: not the tensors of torchvision's VGG16") from None
