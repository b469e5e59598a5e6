"""PGGAN's generator (Karras et al. 2018; papers.md S1.1, S1.4, S1.5, S1.7, S1.14): z to a picture.

It has no w. Upsampling is by nearest neighbour, or as paper 003 compares it (S3.8, S3.9); every
resolution keeps its ToRGB where it grows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks.batch_norm import BatchNorm
from gantools.networks.config import Doubling
from gantools.networks.growing import Conv, Weight, dtype_at, fade, feature_norm, steps_down
from gantools.networks.layers import SQRT2
from gantools.networks.sizes import SQUARE
from gantools.ops.haar import bands_up, iwt
from gantools.ops.resample import BILINEAR, Upsampling, fir_kernel, nearest_up
from gantools.ops.styled import rendering


@dataclass(frozen=True)
class GeneratorConfig(Doubling):
    """Everything that rebuilds a generator; it stands in the network file.

    The defaults are the paper's network; latent_norm to tanh are what its ablation changes (S1.14).
    """

    resolution: int
    widths: tuple[int, ...]  # channels at 4, 8, 16, …, resolution
    z_dim: int = 512
    c_dim: int = 0  # classes; their one-hot label stands behind z
    img_channels: int = 3
    latent_norm: bool = True
    equalized: bool = True
    norm: Literal["pixel", "batch", "none"] = "pixel"
    activation: Literal["lrelu", "relu"] = "lrelu"
    tanh: bool = False
    lod: float = 0.0  # the level of detail it was saved at: not 0 while it was growing
    first_block: tuple[int, int] = SQUARE  # its height and width; doubled from block to block
    growing: bool = True  # False: only the last resolution has a ToRGB
    upsample: Upsampling = "nearest"  # reshape: from 4 times the channels of the layer before
    padding: Literal["zeros", "reflect"] = "zeros"
    wavelet: bool = False  # every block's ToRGB adds coefficients (S3.19); does not grow

    def check(self) -> None:
        """ValueError where a file says what cannot be."""
        if self.wavelet and self.growing:
            raise ValueError("a wavelet network does not grow")


def _norm(cfg: GeneratorConfig, channels: int) -> BatchNorm | None:
    return BatchNorm(channels, eps=1e-4) if cfg.norm == "batch" else None


def _finished(x: Tensor, cfg: GeneratorConfig, norm: BatchNorm | None) -> Tensor:
    """What follows a convolution: (BatchNorm), activation, (PixelNorm)."""
    x = x if norm is None else norm(x)
    x = F.relu(x) if cfg.activation == "relu" else F.leaky_relu(x, 0.2)
    return feature_norm(x) if cfg.norm == "pixel" else x


class Start(Weight):
    """z [N, z_dim + c_dim] -> [N, C, 4, 4]: a full 4x4 convolution, written as a matrix (S1.1).

    Another first block is one of its size.
    """

    def __init__(self, cfg: GeneratorConfig) -> None:
        # The gain of the TensorFlow networks.
        cells = math.prod(cfg.first_block)
        gain, shape = SQRT2 / 4, (cfg.widths[0] * cells, cfg.z_dim + cfg.c_dim)
        super().__init__(*shape, gain=gain, equalized=cfg.equalized)
        self.cfg, self.norm = cfg, _norm(cfg, cfg.widths[0])
        self.bias = nn.Parameter(torch.zeros(cfg.widths[0])) if self.norm is None else None

    def forward(self, z: Tensor) -> Tensor:
        x = F.linear(z, self.scaled(z.dtype)).reshape(len(z), -1, *self.cfg.first_block)
        x = x if self.bias is None else x + self.bias[:, None, None]
        return _finished(x.contiguous(memory_format=torch.channels_last), self.cfg, self.norm)


class Layer(Conv):
    """A 3x3 convolution and what follows it: [N, I, H, W] -> [N, O, H, W] or twice the size."""

    def __init__(
        self, cfg: GeneratorConfig, inputs: int, outputs: int, *, up: bool = False
    ) -> None:
        norm = _norm(cfg, outputs)
        super().__init__(
            inputs,
            outputs,
            3,
            bias=norm is None,
            equalized=cfg.equalized,
            scale=cfg.upsample if up else "",
            padding=cfg.padding,
        )
        self.cfg, self.norm = cfg, norm

    def forward(self, x: Tensor) -> Tensor:
        return _finished(super().forward(x), self.cfg, self.norm)


class Block(nn.Module):
    """One resolution: the dense start or an enlarging layer, a second layer, and ToRGB."""

    def __init__(self, index: int, cfg: GeneratorConfig) -> None:
        super().__init__()
        width = cfg.widths[index]
        self.first = not index
        if self.first:
            self.dense = Start(cfg)
        else:
            self.conv0 = Layer(cfg, cfg.widths[index - 1], width, up=True)
        last = index == len(cfg.widths) - 1
        outputs = width if last or cfg.upsample != "reshape" else 4 * width
        self.conv1 = Layer(cfg, width, outputs)
        if last or cfg.growing or cfg.wavelet:
            channels = cfg.img_channels * (4 if cfg.wavelet else 1)
            self.torgb = Conv(outputs, channels, 1, gain=1, equalized=cfg.equalized)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dense(x) if self.first else self.conv0(x)
        return self.conv1(x)


class Generator(nn.Module):
    """z [N, z_dim] (and label [N, c_dim]) -> image [N, C, H, W], about [-1, 1], not clamped."""

    kernel: Tensor

    def __init__(self, cfg: GeneratorConfig) -> None:
        super().__init__()
        self.cfg = cfg
        for i, resolution in enumerate(cfg.resolutions):
            setattr(self, f"b{resolution}", Block(i, cfg))
        self.register_buffer("kernel", fir_kernel(BILINEAR), persistent=False)

    @property
    def num_ws(self) -> int:
        """No style vectors: this family has z alone."""
        return 0

    @property
    def noise_shapes(self) -> list[tuple[int, int]]:
        """No noise."""
        return []

    def forward(
        self,
        z: Tensor,
        label: Tensor | None = None,
        *,
        dtype: torch.dtype | None = None,
        lod: float | None = None,
    ) -> Tensor:
        """The pictures of `resolution >> floor(lod)` pixels, float32; lod None: the file's own.

        dtype: arithmetic of the upper resolutions (float16, bfloat16). On the CPU, in evaluation
        mode and without gradients, samples are rendered one after another: a picture then does
        not depend on its batch, to the bit.
        """
        lod = self.cfg.lod if lod is None else lod
        if self.cfg.c_dim:
            if label is None:
                raise ValueError("a conditional network needs a label")
            z = torch.cat([z, label], dim=1)
        if len(z) > 1 and rendering(z) and not self.training:
            return torch.cat([self._batch(row, dtype, lod) for row in z.split(1)])
        return self._batch(z, dtype, lod)

    def _batch(self, z: Tensor, dtype: torch.dtype | None, lod: float) -> Tensor:
        z = feature_norm(z) if self.cfg.latent_norm else z
        down, share = steps_down(lod, len(self.cfg.widths) if self.cfg.growing else 1)
        sizes = self.cfg.resolutions[: len(self.cfg.widths) - down]
        x, before = z, z
        bands: Tensor | None = None
        for size in sizes:
            before = x.to(dtype_at(size, self.cfg.resolution, dtype, z.dtype))
            x = self.get_submodule(f"b{size}")(before)
            if self.cfg.wavelet:
                own = self._rgb(size, x, z.dtype)
                bands = own if bands is None else bands_up(bands, self.kernel) + own
        rgb = self._rgb(sizes[-1], x, z.dtype) if bands is None else iwt(bands)
        if share:  # what was the input of the last block is the picture that fades out
            rgb = fade(rgb, nearest_up(self._rgb(sizes[-2], before, z.dtype)), share)
        return rgb.tanh() if self.cfg.tanh else rgb

    def _rgb(self, size: int, x: Tensor, full: torch.dtype) -> Tensor:
        torgb = self.get_submodule(f"b{size}.torgb")
        return torgb(x).to(full)  # type: ignore[no-any-return]
