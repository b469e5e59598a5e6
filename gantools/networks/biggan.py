"""BigGAN's generator and BigGAN-deep's (Brock et al. 2019; formats.md 2d; papers.md S4.1, S4.10).

What the two have in common is here, with what every block is conditioned on; the residual blocks
are in `biggan_blocks`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks.attention import SelfAttention
from gantools.networks.biggan_blocks import Block, DeepBlock, Layers, Norm
from gantools.networks.biggan_statistics import Rows, rows_at
from gantools.networks.config import Scaled
from gantools.networks.sizes import SQUARE
from gantools.networks.spectral_norm import Dense, multiply_out
from gantools.ops.styled import rendering
from gantools.report import Usage

# Resolution: G's channels at the bottom and behind every doubling, in multiples of `ch`.
_SHAPES = {
    32: (4, 4, 4, 4),
    64: (16, 16, 8, 4, 2),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}


@dataclass(frozen=True)
class GeneratorConfig(Scaled):
    """Everything that rebuilds a generator; it stands in the network file.

    doubles: the blocks, from 0, that double the picture. attention: attention stands behind so many
    blocks. embed_dim: of the class embedding that all blocks share; 0: they read the label itself,
    through weights without spectral normalisation. hier: the blocks read z too, in BigGAN a chunk
    each, the first layer the first; in BigGAN-deep all of it. n_stats: rows of batch statistics,
    for truncations from 0 to 1; 1: one for all. peer_rows: interpolate between the rows as
    huggingface's code does (`biggan_statistics`). last: channels of the last convolution, of which
    the first are shown.
    """

    resolution: int
    widths: tuple[int, ...]  # channels at the bottom and behind every block
    doubles: tuple[int, ...]
    attention: tuple[int, ...] = ()
    deep: bool = False
    z_dim: int = 120
    c_dim: int = 0
    embed_dim: int = 128
    hier: bool = True
    bn_eps: float = 1e-5
    out_eps: float = 1e-5
    n_stats: int = 1
    peer_rows: bool = False
    spectral_norm: bool = True
    last: int = 3
    img_channels: int = 3
    first_block: tuple[int, int] = SQUARE

    def __post_init__(self) -> None:
        if not self.condition or (self.deep and not self.hier):
            raise ValueError("BigGAN's blocks read a class, a chunk of z, or both; deep ones both")
        if self.resolution != 4 << len(self.doubles) or not 1 <= self.img_channels <= self.last:
            raise ValueError("its blocks do not make pictures of its resolution and channels")
        if self.hier and not self.deep and self.z_dim % (self.blocks + 1):
            raise ValueError(f"z has {self.z_dim} numbers for {self.blocks + 1} equal chunks")

    @property
    def blocks(self) -> int:
        """How many residual blocks there are."""
        return len(self.widths) - 1

    @property
    def chunk(self) -> int:
        """Numbers of z that the first layer reads."""
        return self.z_dim // (self.blocks + 1) if self.hier and not self.deep else self.z_dim

    @property
    def embedded(self) -> int:
        """Numbers that stand for the class in every block; 0 without classes."""
        return (self.embed_dim or self.c_dim) if self.c_dim else 0

    @property
    def condition(self) -> int:
        """Numbers that a block's batch norms read."""
        return self.embedded + (self.chunk if self.hier else 0)


def generator_config(
    resolution: int,
    *,
    ch: int = 96,
    deep: bool = False,
    z_dim: int | None = None,
    c_dim: int = 0,
    embed_dim: int = 128,
    attention: int = 64,
    n_stats: int = 1,
) -> GeneratorConfig:
    """The paper's for 32 to 512 pixels; Usage for any other resolution.

    ch: the unit of the channels. attention: behind the stage of so many pixels; 0 for none. z_dim:
    by default 20 for each chunk, or 128 where it is deep; what is left of equal chunks is not used.
    """
    if resolution not in _SHAPES:
        sizes = ", ".join(map(str, _SHAPES))
        raise Usage(f"BigGAN has no architecture for {resolution} pixels, but for {sizes}")
    stages = [ch * times for times in _SHAPES[resolution]]
    depth = 2 if deep else 1
    # A deep stage keeps its channels in the first block and doubles in the second.
    widths = (stages[0], *(w for pair in _pairs(stages) for w in pair[2 - depth :]))
    doubles = tuple(range(depth - 1, depth * (len(stages) - 1), depth))
    looking = tuple(depth * (i + 1) for i in range(len(doubles)) if 8 << i == attention)
    slots = len(stages)
    dim = z_dim or (128 if deep else 20 * slots)
    return GeneratorConfig(
        resolution, widths, doubles, looking, deep, dim if deep else dim // slots * slots, c_dim,
        embed_dim, last=max(stages[-1], 3) if deep else 3, n_stats=n_stats,
    )  # fmt: skip


def _pairs(stages: Sequence[int]) -> list[tuple[int, int]]:
    return list(pairwise(stages))


class Generator(nn.Module):
    """z [N, z_dim] and a class -> image [N, C, H, W] in (-1, 1)."""

    def __init__(self, cfg: GeneratorConfig) -> None:
        super().__init__()
        self.cfg = cfg
        sn = cfg.spectral_norm
        own = Layers(cfg.condition, cfg.bn_eps, cfg.n_stats, sn, sn and _smooth(cfg))
        if cfg.c_dim and cfg.embed_dim:
            self.shared = nn.Linear(cfg.c_dim, cfg.embed_dim, bias=False)
        inputs = cfg.condition if cfg.deep else cfg.chunk
        cells = math.prod(cfg.first_block)
        self.fc = Dense(inputs, cells * cfg.widths[0], columns=True, normalised=sn)
        kind = DeepBlock if cfg.deep else Block
        self.blocks = nn.ModuleList(
            kind(cfg.widths[i], cfg.widths[i + 1], own, doubles=i in cfg.doubles)
            for i in range(cfg.blocks)
        )
        self.attention = nn.ModuleDict(
            {str(i): SelfAttention(cfg.widths[i], normalised=sn) for i in cfg.attention}
        )
        self.norm = Norm(cfg.widths[-1], cfg.out_eps, cfg.n_stats)
        self.torgb = own.conv(cfg.widths[-1], cfg.last, 3)

    @property
    def num_ws(self) -> int:
        """No style vectors: this family has z and a class alone."""
        return 0

    @property
    def noise_shapes(self) -> list[tuple[int, int]]:
        """No noise."""
        return []

    def for_pictures(self) -> Generator:
        """Itself with spectral normalisation multiplied out: the same pictures to the bit, sooner.

        In evaluation mode without gradients; not to be trained.
        """
        multiply_out(self.eval().requires_grad_(False))
        self.cfg = replace(self.cfg, spectral_norm=False)
        return self

    def embedded(self, label: Tensor) -> Tensor:
        """What blocks read of a class: [N, embed_dim] of one-hot labels or shares [N, c_dim].

        What is an embedding already stays so.
        """
        if not self.cfg.embed_dim or label.shape[1] != self.cfg.c_dim:
            return label
        return self.shared(label)  # type: ignore[no-any-return]

    def forward(
        self,
        z: Tensor,
        label: Tensor | None = None,
        *,
        psi: float | Sequence[float] = 1.0,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """label [N, c_dim] or [N, embed_dim], where the network has classes.

        psi: the truncation, one or one for each: z is multiplied by it, and the batch statistics
        are those for it. dtype: of the convolutions.

        On the CPU, in evaluation mode and without gradients, samples are rendered one after
        another: a picture then does not depend on its batch, to the bit.
        """
        if self.cfg.c_dim and label is None:
            raise ValueError("a conditional generator needs a label")
        if not self.cfg.c_dim:
            label = None
        psis = [psi] * len(z) if isinstance(psi, float | int) else list(psi)
        if len(z) == 1 or self.training or not rendering(z):
            return self._batch(z, label, psis, dtype)
        labels = [None] * len(z) if label is None else list(label.split(1))
        rows = zip(z.split(1), labels, psis, strict=True)
        return torch.cat([self._batch(row, own, [t], dtype) for row, own, t in rows])

    def _batch(
        self, z: Tensor, label: Tensor | None, psis: Sequence[float], dtype: torch.dtype | None
    ) -> Tensor:
        cfg = self.cfg
        rows = rows_at(psis, cfg.n_stats, z.device, peer=cfg.peer_rows)
        if any(psi != 1 for psi in psis):
            z = z * torch.tensor(psis, dtype=z.dtype, device=z.device)[:, None]
        first, conditions = self._conditions(z, None if label is None else self.embedded(label))
        x = self.fc(first).reshape(-1, cfg.widths[0], *cfg.first_block)
        x = x.to(dtype or z.dtype, memory_format=torch.channels_last)
        for i, (block, condition) in enumerate(zip(self.blocks, conditions, strict=True)):
            if str(i) in self.attention:
                x = self.attention[str(i)](x)
            x = block(x, condition, rows)
        return self._shown(x, rows).to(z.dtype)

    def _conditions(self, z: Tensor, y: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """What the first layer reads, and what each block does."""
        cfg = self.cfg
        own = [] if y is None else [y]
        if cfg.deep:
            whole = torch.cat([z, *own], 1)
            return whole, [whole] * cfg.blocks
        if not cfg.hier:
            return z, own * cfg.blocks
        first, *chunks = z.split(cfg.chunk, 1)
        return first, [torch.cat([*own, chunk], 1) for chunk in chunks]

    def _shown(self, x: Tensor, rows: Rows) -> Tensor:
        last = str(self.cfg.blocks)
        if last in self.attention:
            x = self.attention[last](x)
        x = F.relu(self.norm(x, rows))
        shown = self.cfg.img_channels
        assert self.torgb.bias is not None
        weight, bias = self.torgb.kernel(x.dtype)[:shown], self.torgb.bias[:shown].to(x.dtype)
        return torch.tanh(F.conv2d(x, weight, bias, padding=1))


def _smooth(cfg: GeneratorConfig) -> bool:
    """Whether spectral normalisation reaches the batch norms' weights: not those of bare labels."""
    return not cfg.c_dim or bool(cfg.embed_dim)
