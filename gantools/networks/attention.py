"""Self-attention of a picture's cells (SAGAN, Zhang et al. 2019), as BigGAN has it (formats 2d)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks.spectral_norm import Conv


class SelfAttention(nn.Module):
    """x + gamma o(attention): every cell looks at all cells of a picture of half the size.

    x [N, C, H, W] with C a multiple of 8. theta and phi have C/8 channels, g has C/2; phi and g are
    the greatest of 2x2 cells. gamma is 0 at first. Without biases.
    """

    def __init__(self, channels: int, *, normalised: bool = True) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int) -> Conv:
            return Conv(inputs, outputs, 1, bias=False, columns=True, normalised=normalised)

        self.theta, self.phi = conv(channels, channels // 8), conv(channels, channels // 8)
        self.g, self.o = conv(channels, channels // 2), conv(channels // 2, channels)
        self.gamma = nn.Parameter(torch.zeros([]))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W], in the dtype of x."""
        height, width = x.shape[2:]
        theta = self.theta(x).flatten(2)  # [N, C/8, H W]
        phi = F.max_pool2d(self.phi(x), 2).flatten(2)  # [N, C/8, H W / 4]
        g = F.max_pool2d(self.g(x), 2).flatten(2)  # [N, C/2, H W / 4]
        share = torch.softmax(theta.transpose(1, 2) @ phi, dim=-1)  # [N, H W, H W / 4]
        seen = (g @ share.transpose(1, 2)).unflatten(2, (height, width))
        return x + self.gamma.to(x.dtype) * self.o(seen)
