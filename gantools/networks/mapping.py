"""The mapping network of StyleGAN 1 and 2: z to w, and its truncation (S0.6, S0.12, S2.0)."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks.layers import Dense
from gantools.ops.pixel_norm import pixel_norm


class MappingConfig(Protocol):
    """What a mapping network takes from its generator's configuration."""

    @property
    def z_dim(self) -> int: ...
    @property
    def w_dim(self) -> int: ...
    @property
    def c_dim(self) -> int: ...
    @property
    def num_ws(self) -> int: ...
    @property
    def mapping_layers(self) -> int: ...
    @property
    def mapping_lr_mult(self) -> float: ...
    @property
    def label_mode(self) -> Literal["embed", "concat"]: ...


class Mapping(nn.Module):
    """z [N, z_dim] (and label [N, c_dim]) -> ws [N, L, w_dim]; gain as in Dense."""

    w_avg: Tensor

    def __init__(self, cfg: MappingConfig, gain: Literal["behind", "weight"] = "behind") -> None:
        super().__init__()
        self.cfg = cfg
        in_dim = cfg.z_dim
        if cfg.c_dim:
            embed_dim = cfg.w_dim if cfg.label_mode == "embed" else cfg.z_dim
            self.embed = Dense(cfg.c_dim, embed_dim, bias=cfg.label_mode == "embed")
            in_dim += embed_dim
        for i in range(cfg.mapping_layers):
            layer = Dense(in_dim, cfg.w_dim, lr_mult=cfg.mapping_lr_mult, lrelu=True, gain=gain)
            setattr(self, f"fc{i}", layer)
            in_dim = cfg.w_dim
        self.register_buffer("w_avg", torch.zeros(cfg.w_dim))

    def forward(
        self, z: Tensor, label: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """Truncated styles: w_avg + psi (w - w_avg) in the layers below `cutoff` (S0.12)."""
        w = self.styles(z, label)
        ws = w.unsqueeze(1).repeat(1, self.cfg.num_ws, 1)
        return truncate(ws, self.w_avg, psi, cutoff)

    def styles(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """w [N, w_dim], one per sample, not truncated."""
        x = self._input(z, label)
        for i in range(self.cfg.mapping_layers):
            x = getattr(self, f"fc{i}")(x)
        return x

    def _input(self, z: Tensor, label: Tensor | None) -> Tensor:
        if not self.cfg.c_dim:
            return pixel_norm(z)
        if label is None:
            raise ValueError("a conditional network needs a label")
        if self.cfg.label_mode == "concat":  # one joint normalisation, no runtime gain
            return pixel_norm(torch.cat([z, F.linear(label, self.embed.weight)], dim=1))
        return torch.cat([pixel_norm(z), pixel_norm(self.embed(label))], dim=1)


def truncate(ws: Tensor, w_avg: Tensor, psi: float, cutoff: int | None = None) -> Tensor:
    """w_avg + psi (w - w_avg) in the layers below cutoff, unchanged above (S0.12)."""
    if psi == 1.0:
        return ws
    count = ws.shape[1] if cutoff is None else min(cutoff, ws.shape[1])
    low = w_avg.lerp(ws[:, :count], psi)
    return torch.cat([low, ws[:, count:]], dim=1)
