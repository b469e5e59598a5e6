"""The growing discriminator of PGGAN and StyleGAN1 (S0.8, S1.2, S1.6, S1.7, S1.11, S1.14).

StyleGAN1's blurs before it halves; otherwise they are one. Paper 003 compares ways to halve (S3.13,
S3.14).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks.batch_norm import BatchNorm
from gantools.networks.config import Doubling
from gantools.networks.growing import Conv, Dense, dtype_at, fade, shrunk, steps_down
from gantools.networks.layers import MinibatchStddev
from gantools.networks.sizes import SQUARE
from gantools.ops.haar import bands_down, dwt
from gantools.ops.resample import BILINEAR, Downsampling, box_down, fir, fir_kernel
from gantools.ops.resample import down as down_by

Perturb = Callable[[Tensor], Tensor]
"""What is done to the input of every convolution, [N, C, H, W]: LSGAN's noise (S1.10)."""


@dataclass(frozen=True)
class DiscriminatorConfig(Doubling):
    """Everything that rebuilds a discriminator; it stands in the network file."""

    resolution: int
    widths: tuple[int, ...]  # channels at 4, 8, 16, …, resolution
    img_channels: int = 3
    c_dim: int = 0  # classes
    # acgan: c_dim logits beside the score (S1.11); projection: the class's embedding times the
    # features is added to the score; logits: a score for each class, as in StyleGAN1
    label_mode: Literal["acgan", "projection", "logits"] = "acgan"
    fused_scale: bool = False  # the halving stands inside conv1, before bias and activation
    resample_filter: tuple[float, ...] = ()  # the blur before conv1, (1, 2, 1) in StyleGAN1
    mbstd_group: int = 4  # 1: no minibatch stddev; 0: the whole batch
    mbstd_features: int = 1
    mbdisc_kernels: int = 0  # minibatch discrimination in its place (S1.14, e*)
    norm: Literal["none", "layer", "batch"] = "none"
    equalized: bool = True
    lod: float = 0.0  # the level of detail it was saved at
    first_block: tuple[int, int] = SQUARE  # its height and width; twice that from block to block
    growing: bool = True  # False: only the full resolution has a FromRGB
    downsample: Downsampling = "avg"
    wavelet: bool = False  # every block reads coefficients (S3.19); does not grow

    def check(self) -> None:
        """ValueError where a file says what cannot be."""
        if self.wavelet and self.growing:
            raise ValueError("a wavelet network does not grow")

    @property
    def read_channels(self) -> int:
        """What a FromRGB takes."""
        return self.img_channels * (4 if self.wavelet else 1)

    @property
    def outputs(self) -> int:
        """What the last layer gives for a picture."""
        kinds = {"acgan": 1 + self.c_dim, "projection": 1, "logits": self.c_dim}
        return kinds[self.label_mode] if self.c_dim else 1


class LayerNorm(nn.Module):
    """Over all of a sample; one gain, a bias per channel (S1.14; not torch's, which has both)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones([]))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x, x.shape[1:], eps=1e-4) * self.gain.to(x.dtype)
        return y + self.bias.to(x.dtype)[:, None, None]


def _norm(cfg: DiscriminatorConfig, channels: int) -> LayerNorm | BatchNorm | None:
    """The baselines': of S1.14 over each sample, of S1.22 over the batch."""
    if cfg.norm == "layer":
        return LayerNorm(channels)
    return BatchNorm(channels, eps=1e-4) if cfg.norm == "batch" else None


class Layer(Conv):
    """Convolution, (norm), lrelu: [N, I, H, W] -> [N, O, H, W] or half the size."""

    def __init__(
        self,
        cfg: DiscriminatorConfig,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        down: bool = False,
    ) -> None:
        norm = _norm(cfg, outputs) if kernel > 1 else None
        fused = down and cfg.fused_scale
        super().__init__(
            inputs,
            outputs,
            kernel,
            bias=norm is None,
            equalized=cfg.equalized,
            scale="down" if fused else "",
        )
        self.norm = norm
        self.pooled = cfg.downsample if down and not fused else None

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        x = F.leaky_relu(x if self.norm is None else self.norm(x), 0.2)
        return x if self.pooled is None else down_by(x, self.pooled)


class Block(nn.Module):
    """One resolution, halving it: x [N, C(r), H, W] -> [N, C(r/2), H/2, W/2]."""

    kernel: Tensor | None

    def __init__(self, index: int, cfg: DiscriminatorConfig) -> None:
        super().__init__()
        width, out = cfg.widths[index], cfg.widths[index - 1]
        if cfg.growing or cfg.wavelet or index == len(cfg.widths) - 1:
            self.fromrgb = Layer(cfg, cfg.read_channels, width, 1)
        self.conv0 = Layer(cfg, width, width, 3)
        self.conv1 = Layer(cfg, width, out, 3, down=True)
        taps = cfg.resample_filter
        self.register_buffer("kernel", fir_kernel(taps) if taps else None, persistent=False)

    def forward(self, x: Tensor, perturb: Perturb) -> Tensor:
        x = self.conv0(perturb(x))
        if self.kernel is not None:
            x = fir(x, self.kernel, (self.kernel.shape[0] // 2,) * 2)
        return self.conv1(perturb(x))


class MinibatchDiscrimination(nn.Module):
    """How near each sample's features are to the others' (Salimans et al. 2016; S1.14, e*).

    x [N, I] -> [N, I + kernels]: the sum over the others of exp(-distance), a kernel each of
    `DIMENSIONS` numbers.
    """

    DIMENSIONS = 5

    def __init__(self, cfg: DiscriminatorConfig) -> None:
        super().__init__()
        outputs = cfg.mbdisc_kernels * self.DIMENSIONS
        self.dense = Dense(cfg.widths[0], outputs, gain=1, equalized=cfg.equalized)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.dense(x).unflatten(1, (-1, self.DIMENSIONS))  # [N, K, 5]
        distance = (rows[:, None] - rows).abs().sum(dim=3)  # [N, N, K]
        near = (-distance).exp().sum(dim=1) - 1  # without itself
        return torch.cat([x, near], dim=1)


class Epilogue(nn.Module):
    """4x4: minibatch stddev, convolution, two fully connected layers: [N, C, 4, 4] -> [N, out]."""

    def __init__(self, cfg: DiscriminatorConfig) -> None:
        super().__init__()
        width = cfg.widths[0]
        self.mbstd = MinibatchStddev(cfg.mbstd_group, cfg.mbstd_features)
        if cfg.growing or cfg.wavelet or len(cfg.widths) == 1:
            self.fromrgb = Layer(cfg, cfg.read_channels, width, 1)
        self.conv = Layer(cfg, width + self.mbstd.features, width, 3)
        self.norm = _norm(cfg, width)
        cells = width * math.prod(cfg.first_block)
        self.fc = Dense(cells, width, bias=self.norm is None, equalized=cfg.equalized)
        self.mbdisc = MinibatchDiscrimination(cfg) if cfg.mbdisc_kernels else None
        inputs = width + cfg.mbdisc_kernels
        self.out = Dense(inputs, cfg.outputs, gain=1, equalized=cfg.equalized)
        projected = cfg.c_dim and cfg.label_mode == "projection"
        self.embed = nn.Parameter(torch.randn(inputs, cfg.c_dim)) if projected else None

    def forward(self, x: Tensor, label: Tensor | None, perturb: Perturb) -> Tensor:
        """All outputs [N, K]; a projected class is in its score."""
        x = self.mbstd(x)
        x = self.fc(perturb(self.conv(perturb(x))).flatten(1))
        if self.norm is not None:
            x = self.norm(x[:, :, None, None]).flatten(1)
        x = F.leaky_relu(x, 0.2)
        x = x if self.mbdisc is None else self.mbdisc(x)
        scores: Tensor = self.out(x)
        if self.embed is None or label is None:
            return scores
        share = (F.linear(label, self.embed) * x).sum(dim=1, keepdim=True)
        return scores + share / math.sqrt(x.shape[1])


class Discriminator(nn.Module):
    """images [N, C, H, W] (and label [N, c_dim]) -> logits [N, 1]."""

    kernel: Tensor

    def __init__(self, cfg: DiscriminatorConfig) -> None:
        super().__init__()
        self.cfg = cfg
        for i in range(len(cfg.widths) - 1, 0, -1):
            setattr(self, f"b{cfg.resolutions[i]}", Block(i, cfg))
        self.b4 = Epilogue(cfg)
        self.register_buffer("kernel", fir_kernel(BILINEAR), persistent=False)

    def forward(
        self,
        images: Tensor,
        label: Tensor | None = None,
        dtype: torch.dtype | None = None,
        lod: float | None = None,
        perturb: Perturb | None = None,
    ) -> Tensor:
        """Logits of pictures of `resolution >> floor(lod)` pixels, or larger: they are averaged.

        lod None: the file's own. dtype: arithmetic of the upper resolutions. perturb: applied
        before every 3x3 and 4x4 convolution. AC-GAN's needs no label.
        """
        cfg = self.cfg
        scores = self._scores(images, label, dtype, lod, perturb)
        if not cfg.c_dim or cfg.label_mode == "acgan":
            return scores[:, :1]
        if label is None:
            raise ValueError("a conditional discriminator needs a label")
        return (scores * label).sum(dim=1, keepdim=True) if cfg.label_mode == "logits" else scores

    def score_and_classes(
        self,
        images: Tensor,
        dtype: torch.dtype | None = None,
        lod: float | None = None,
        perturb: Perturb | None = None,
    ) -> tuple[Tensor, Tensor]:
        """AC-GAN's two heads: scores [N, 1] and the logits of the classes [N, c_dim] (S1.11)."""
        if self.cfg.label_mode != "acgan":
            raise ValueError(f"label_mode {self.cfg.label_mode} has no logits of the classes")
        scores = self._scores(images, None, dtype, lod, perturb)
        return scores[:, :1], scores[:, 1:]

    def all_scores(self, images: Tensor) -> Tensor:
        """Every output of the last layer, [N, K]: with label_mode logits a score for each class."""
        return self._scores(images, None, None, None, None)

    def features(self, images: Tensor, dtype: torch.dtype | None = None) -> list[Tensor]:
        """The input of every block, from full resolution down to 4x4: a perceptual space."""
        return self._trunk(images, dtype, None, _unchanged)

    def _scores(
        self,
        images: Tensor,
        label: Tensor | None,
        dtype: torch.dtype | None,
        lod: float | None,
        perturb: Perturb | None,
    ) -> Tensor:
        perturb = perturb or _unchanged
        x = self._trunk(images, dtype, lod, perturb)[-1]
        return self.b4(x.to(images.dtype), label, perturb)  # type: ignore[no-any-return]

    def _trunk(
        self, images: Tensor, dtype: torch.dtype | None, lod: float | None, perturb: Perturb
    ) -> list[Tensor]:
        cfg = self.cfg
        levels = len(cfg.widths) if cfg.growing else 1
        down, share = steps_down(cfg.lod if lod is None else lod, levels)
        sizes = cfg.resolutions[: len(cfg.widths) - down]
        whole = cfg.size if cfg.wavelet else cfg.sizes[len(sizes) - 1]
        images = shrunk(images, whole).contiguous(memory_format=torch.channels_last)
        images = dwt(images) if cfg.wavelet else images
        x = self._read(images, sizes[-1], dtype)
        taken = [x]
        for size in reversed(sizes[1:]):
            x = self.get_submodule(f"b{size}")(x, perturb)
            x = x.to(dtype_at(size // 2, cfg.resolution, dtype, images.dtype))
            if cfg.wavelet:
                images = bands_down(images, self.kernel)
                x = x + self._read(images, size // 2, dtype).to(x.dtype)
            if share and size == sizes[-1]:
                x = fade(x, self._read(box_down(images), size // 2, dtype), share)
            taken.append(x)
        return taken

    def _read(self, images: Tensor, size: int, dtype: torch.dtype | None) -> Tensor:
        images = images.to(dtype_at(size, self.cfg.resolution, dtype, images.dtype))
        return self.get_submodule(f"b{size}.fromrgb")(images)  # type: ignore[no-any-return]


def _unchanged(x: Tensor) -> Tensor:
    return x
