"""StyleGAN2's discriminator (Karras et al. 2020; formats.md 2a): resnet, skip, orig, wavelet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gantools.networks.config import Doubling
from gantools.networks.layers import Conv, Dense, MinibatchStddev
from gantools.networks.sizes import SQUARE
from gantools.networks.stylegan2_config import Architecture
from gantools.ops.haar import bands_down, dwt
from gantools.ops.pixel_norm import pixel_norm
from gantools.ops.resample import box_down, downsample, fir_kernel


@dataclass(frozen=True)
class DiscriminatorConfig(Doubling):
    """Everything that rebuilds a discriminator; it stands in the network file."""

    resolution: int
    widths: tuple[int, ...]  # channels at 4, 8, 16, …, resolution
    c_dim: int = 0
    img_channels: int = 3
    architecture: Architecture = "resnet"
    conv_clamp: float | None = None
    num_fp16_res: int = 0
    resample_filter: tuple[float, ...] = (1, 3, 3, 1)
    mbstd_group: int = 4
    mbstd_features: int = 1
    mapping_layers: int = 8
    mapping_lr_mult: float = 0.01
    cmap_dim: int = 0  # 0: unconditional, or label_mode logits
    label_mode: Literal["projection", "logits"] = "projection"  # logits: TensorFlow, version 4
    fromrgb_all: bool = False  # orig: a FromRGB at every resolution (growing, configs A-D)
    first_block: tuple[int, int] = SQUARE  # its height and width; twice that from block to block

    @property
    def wavelet(self) -> bool:
        """Whether it reads wavelet coefficients (S3.19)."""
        return self.architecture == "wavelet"

    @property
    def reads_all(self) -> bool:
        """Whether every block has a FromRGB."""
        return self.architecture in ("skip", "wavelet") or self.fromrgb_all

    @property
    def read_channels(self) -> int:
        """What a FromRGB takes."""
        return self.img_channels * (4 if self.wavelet else 1)


class Block(nn.Module):
    """One resolution, halving it: x [N, C(r), H, W] -> [N, C(r/2), H/2, W/2]."""

    def __init__(self, index: int, cfg: DiscriminatorConfig) -> None:
        super().__init__()
        width, out = cfg.widths[index], cfg.widths[index - 1]
        top = index == len(cfg.widths) - 1
        if top or cfg.reads_all:
            self.fromrgb = Conv(cfg.read_channels, width, 1, clamp=cfg.conv_clamp)
        self.conv0 = Conv(width, width, 3, clamp=cfg.conv_clamp)
        self.conv1 = Conv(width, out, 3, down=True, clamp=cfg.conv_clamp)
        self.resnet = cfg.architecture == "resnet"
        if self.resnet:
            self.skip = Conv(width, out, 1, bias=False, lrelu=False, down=True)

    def forward(self, x: Tensor, kernel: Tensor) -> Tensor:
        if not self.resnet:
            return self.conv1(self.conv0(x, kernel), kernel)
        half = math.sqrt(0.5)
        y = self.skip(x, kernel, gain=half)
        return y + self.conv1(self.conv0(x, kernel), kernel, gain=half)


class Epilogue(nn.Module):
    """4x4: minibatch stddev, convolution, two fully connected layers: [N, C, 4, 4] -> [N, out]."""

    def __init__(self, cfg: DiscriminatorConfig) -> None:
        super().__init__()
        width = cfg.widths[0]
        if cfg.reads_all:
            self.fromrgb = Conv(cfg.read_channels, width, 1, clamp=cfg.conv_clamp)
        self.mbstd = MinibatchStddev(cfg.mbstd_group, cfg.mbstd_features)
        self.conv = Conv(width + self.mbstd.features, width, 3, clamp=cfg.conv_clamp)
        self.fc = Dense(width * math.prod(cfg.first_block), width, lrelu=True)
        outputs = cfg.cmap_dim or (cfg.c_dim if cfg.label_mode == "logits" else 0) or 1
        self.out = Dense(width, outputs)

    def forward(self, x: Tensor, kernel: Tensor) -> Tensor:
        x = self.conv(self.mbstd(x), kernel)
        return self.out(self.fc(x.flatten(1)))


class LabelMapping(nn.Module):
    """label [N, c_dim] -> cmap [N, cmap_dim], normalised embedding and fully connected layers."""

    def __init__(self, cfg: DiscriminatorConfig) -> None:
        super().__init__()
        self.embed = Dense(cfg.c_dim, cfg.cmap_dim)
        for i in range(cfg.mapping_layers):
            layer = Dense(cfg.cmap_dim, cfg.cmap_dim, lr_mult=cfg.mapping_lr_mult, lrelu=True)
            setattr(self, f"fc{i}", layer)
        self.layers = cfg.mapping_layers

    def forward(self, label: Tensor) -> Tensor:
        x = pixel_norm(self.embed(label))
        for i in range(self.layers):
            x = getattr(self, f"fc{i}")(x)
        return x


class Discriminator(nn.Module):
    """images [N, C, H, W] (and label [N, c_dim]) -> logits [N, 1]."""

    kernel: Tensor

    def __init__(self, cfg: DiscriminatorConfig) -> None:
        super().__init__()
        self.cfg = cfg
        for i in range(len(cfg.widths) - 1, 0, -1):
            setattr(self, f"b{cfg.resolutions[i]}", Block(i, cfg))
        self.b4 = Epilogue(cfg)
        if cfg.cmap_dim:
            self.mapping = LabelMapping(cfg)
        self.register_buffer("kernel", fir_kernel(cfg.resample_filter), persistent=False)

    def forward(
        self,
        images: Tensor,
        label: Tensor | None = None,
        dtype: torch.dtype | None = None,
        lod: float = 0.0,
    ) -> Tensor:
        """Logits; dtype is the arithmetic of the upper resolutions, lod as in the generator."""
        if lod and not self.cfg.fromrgb_all:
            raise ValueError("this network has no levels of detail")
        x = self._trunk(images, dtype, lod)[-1]
        x = self.b4(x.to(images.dtype), self.kernel)
        return self._conditioned(x, label)

    def features(self, images: Tensor, dtype: torch.dtype | None = None) -> list[Tensor]:
        """The input of every block, from full resolution down to 4x4: a perceptual space."""
        return self._trunk(images, dtype, 0.0)

    def _trunk(self, images: Tensor, dtype: torch.dtype | None, lod: float) -> list[Tensor]:
        cfg = self.cfg
        low = max(2 ** (int(math.log2(cfg.resolution)) + 1 - (cfg.num_fp16_res or 4)), 8)
        x: Tensor | None = None
        taken: list[Tensor] = []
        images = dwt(images) if cfg.wavelet else images
        for i in range(len(cfg.widths) - 1, 0, -1):
            resolution = cfg.resolutions[i]
            kind = dtype if dtype is not None and resolution >= low else images.dtype
            block = getattr(self, f"b{resolution}")
            images = images.to(memory_format=torch.channels_last)
            if x is None or cfg.architecture in ("skip", "wavelet"):
                y = block.fromrgb(images.to(kind), self.kernel)
                x = y if x is None else x.to(kind) + y
            taken.append(x)
            x = block(x.to(kind), self.kernel)
            images, x = self._shrink(images, x, i - 1, lod)
        assert x is not None
        return [*taken, x]

    def _shrink(self, images: Tensor, x: Tensor, index: int, lod: float) -> tuple[Tensor, Tensor]:
        """Carry the picture to the next resolution where the architecture reads it there."""
        cfg = self.cfg
        below = getattr(self, f"b{cfg.resolutions[index]}")
        if cfg.architecture in ("skip", "wavelet"):
            images = (bands_down if cfg.wavelet else downsample)(images, self.kernel)
            if index == 0:
                x = x + below.fromrgb(images.to(x.dtype), self.kernel)
        elif cfg.fromrgb_all and lod:
            images = box_down(images)
            weight = min(max(lod - (len(cfg.widths) - 2 - index), 0.0), 1.0)
            x = x.lerp(below.fromrgb(images.to(x.dtype), self.kernel), weight)
        return images, x

    def _conditioned(self, x: Tensor, label: Tensor | None) -> Tensor:
        cfg = self.cfg
        if not cfg.c_dim:
            return x
        if label is None:
            raise ValueError("a conditional discriminator needs a label")
        if cfg.label_mode == "logits":
            return (x * label).sum(dim=1, keepdim=True)
        cmap = self.mapping(label)
        return (x * cmap).sum(dim=1, keepdim=True) / math.sqrt(cfg.cmap_dim)
