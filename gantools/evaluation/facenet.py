"""FaceNet's embedding of faces, whose cosine says how alike two people are (`identity`).

InceptionResnetV1 of facenet-pytorch, trained on VGGFace2 (Schroff et al. 2015; Szegedy et al.
2016). It sees the box that MTCNN finds, without a margin, stretched to 160x160.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from gantools.report import Usage

SIDE = 160
DIM = 512
CLASSES = 8631  # people of VGGFace2, known by a last layer that embeddings do without


class FaceNet(nn.Module):
    """Faces [N, 3, 160, 160] in 0..255 -> embeddings [N, 512] of length 1."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        """state: all tensors of 20180402-114759-vggface2.pt. RuntimeError for others."""
        from facenet_pytorch import InceptionResnetV1

        super().__init__()
        with torch.device("meta"):  # no memory and no random numbers
            self.net = InceptionResnetV1(classify=True, num_classes=CLASSES)
        self.net.load_state_dict(state, assign=True)
        self.net.classify = False
        self.requires_grad_(False).eval()

    def forward(self, faces: Tensor) -> Tensor:
        """The embeddings; (x - 127.5) / 128 is how it was trained."""
        embedded: Tensor = self.net((faces.float() - 127.5) / 128)
        return embedded


def load(path: Path) -> FaceNet:
    """The network of facenet-pytorch's file; Usage where tensors are missing or of other shapes."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    try:
        return FaceNet(state)
    except (RuntimeError, AttributeError, TypeError):
        raise Usage(f"{path.name}: not the tensors of facenet-pytorch's VGGFace2 network") from None


def identity(net: FaceNet, target: Tensor, result: Tensor) -> Tensor:
    """Cosine [N] of the embeddings of faces [N, 3, 160, 160] in 0..255: 1 for the same picture."""
    return functional.cosine_similarity(net(target), net(result))
