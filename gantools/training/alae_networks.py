"""What ALAE plays against its generator: the encoder and a discriminator of w (S4.17)."""

from __future__ import annotations

from torch import Tensor, nn

from gantools.inversion.alae import AlaeConfig, AlaeEncoder
from gantools.networks.layers import Dense

LAYERS = 3
LR_MULT = 0.1  # of the layers of D and of the mapping network F


class LatentDiscriminator(nn.Module):
    """w [N, w_dim] -> logits [N, 1]: D, an MLP of three layers.

    With lrelu between them; the published code has none there, so its D is linear in w.
    """

    def __init__(self, w_dim: int) -> None:
        super().__init__()
        hidden = [
            Dense(w_dim, w_dim, lr_mult=LR_MULT, lrelu=True, gain="weight")
            for _ in range(LAYERS - 1)
        ]
        self.layers = nn.Sequential(*hidden, Dense(w_dim, 1, lr_mult=LR_MULT))

    def forward(self, w: Tensor) -> Tensor:
        return self.layers(w)  # type: ignore[no-any-return]


class Critic(nn.Module):
    """D of E: images [N, C, H, W] -> logits [N, 1]; in the place of a discriminator."""

    def __init__(self, cfg: AlaeConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.encoder = AlaeEncoder(cfg, {})
        self.latent = LatentDiscriminator(cfg.w_dim)

    def forward(self, images: Tensor, lod: float | None = None) -> Tensor:
        """Logits of pictures of `resolution >> floor(lod)` pixels; None: the file's own."""
        return self.latent(self.encoder(images, lod))  # type: ignore[no-any-return]
