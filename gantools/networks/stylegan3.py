"""StyleGAN3 generators T and R (Karras et al. 2021): alias-free synthesis, Fourier features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks.config import Config
from gantools.networks.layers import SQRT2, Dense
from gantools.networks.mapping import truncate
from gantools.ops.filtered_lrelu import design_lowpass, filtered_lrelu
from gantools.ops.pixel_norm import pixel_norm

EPS = 1e-8


@dataclass(frozen=True, slots=True)
class GeneratorConfig(Config):
    """What a StyleGAN3 file says about its generator; defaults are configuration T.

    Configuration R: conv_kernel 1, use_radial_filters, channel_base 65536, channel_max 1024.
    """

    resolution: int
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0  # classes; 0 = unconditional
    img_channels: int = 3
    mapping_layers: int = 2
    mapping_lr_mult: float = 0.01
    channel_base: int = 32768  # channels = channel_base / (2 cutoff), at most channel_max
    channel_max: int = 512
    num_layers: int = 14  # without the Fourier features and ToRGB
    num_critical: int = 2  # last layers, sampled critically
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband_rel: float = 2**0.3  # of the last cutoff
    margin_size: int = 10  # pixels kept around the picture until the last layers
    output_scale: float = 0.25
    num_fp16_res: int = 4  # upper octaves that may run in half precision
    conv_kernel: int = 3
    use_radial_filters: bool = False
    filter_size: int = 6  # taps per sample of the lower rate
    lrelu_upsampling: int = 2
    conv_clamp: float | None = 256.0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the pictures."""
        return self.resolution, self.resolution

    @property
    def num_ws(self) -> int:
        """L, the number of style vectors: one for the Fourier features, one per layer."""
        return self.num_layers + 2


# ----------------------------------------------------------------------------
# The layer plan: cutoffs and stopbands in cycles per picture width (Section 3.2, Appendix C.1).


@dataclass(frozen=True, slots=True)
class Spec:
    """The signal after one layer, and the layer's flags."""

    name: str
    channels: int
    size: int
    rate: float
    cutoff: float
    half_width: float  # of the transition band
    critical: bool
    rgb: bool


def plan(cfg: GeneratorConfig) -> list[Spec]:
    """num_layers + 1 specs; the last one is ToRGB."""
    count = cfg.num_layers + 1
    last_cutoff = cfg.resolution / 2
    last_stopband = last_cutoff * cfg.last_stopband_rel
    # Geometric progression up to the critically sampled layers, constant from there.
    e = np.minimum(np.arange(count) / (cfg.num_layers - cfg.num_critical), 1)
    cutoff = cfg.first_cutoff * (last_cutoff / cfg.first_cutoff) ** e
    stopband = cfg.first_stopband * (last_stopband / cfg.first_stopband) ** e
    rate = np.exp2(np.ceil(np.log2(np.minimum(stopband * 2, cfg.resolution))))
    half_width = np.maximum(stopband, rate / 2) - cutoff
    size = (rate + cfg.margin_size * 2).astype(int)
    size[-2:] = cfg.resolution
    channels = np.rint(np.minimum(cfg.channel_base / 2 / cutoff, cfg.channel_max)).astype(int)
    channels[-1] = cfg.img_channels
    return [
        Spec(
            name=f"L{i}_{size[i]}_{channels[i]}",
            channels=int(channels[i]),
            size=int(size[i]),
            rate=float(rate[i]),
            cutoff=float(cutoff[i]),
            half_width=float(half_width[i]),
            critical=i >= cfg.num_layers - cfg.num_critical,
            rgb=i == cfg.num_layers,
        )
        for i in range(count)
    ]


# ----------------------------------------------------------------------------
# Mapping.


class Mapping(nn.Module):
    """z (and the class) to w: fully connected layers with lrelu, and the running mean w_avg."""

    w_avg: Tensor

    def __init__(self, cfg: GeneratorConfig) -> None:
        super().__init__()
        self.cfg = cfg
        if cfg.c_dim:
            self.embed = Dense(cfg.c_dim, cfg.w_dim)
        in_dim = cfg.z_dim + (cfg.w_dim if cfg.c_dim else 0)
        for i in range(cfg.mapping_layers):
            layer = Dense(in_dim, cfg.w_dim, lr_mult=cfg.mapping_lr_mult, lrelu=True)
            self.add_module(f"fc{i}", layer)
            in_dim = cfg.w_dim
        self.register_buffer("w_avg", torch.zeros(cfg.w_dim))

    def forward(
        self, z: Tensor, label: Tensor | None = None, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """z [N, z_dim], label [N, c_dim] -> ws [N, L, w_dim], truncated below layer `cutoff`."""
        ws = self.styles(z, label).unsqueeze(1).repeat(1, self.cfg.num_ws, 1)
        return truncate(ws, self.w_avg, psi, cutoff)

    def styles(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """w [N, w_dim], one per sample, not truncated."""
        x = pixel_norm(z)
        if self.cfg.c_dim:
            if label is None:
                raise ValueError("a conditional network needs a label")
            x = torch.cat([x, pixel_norm(self.embed(label))], dim=1)
        for i in range(self.cfg.mapping_layers):
            x = self.get_submodule(f"fc{i}")(x)
        return x


# ----------------------------------------------------------------------------
# Synthesis.


class FourierInput(nn.Module):
    """Fourier features, rotated and translated by w and by `transform` (Section 3.2)."""

    def __init__(self, channels: int, size: int, rate: float, bandwidth: float, w_dim: int) -> None:
        super().__init__()
        self.size, self.rate, self.bandwidth = size, rate, bandwidth
        self.affine = Dense(w_dim, 4)
        nn.init.zeros_(self.affine.weight)
        self.affine.bias = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.weight = nn.Parameter(torch.randn(channels, channels))
        # Frequencies uniform in a disc of radius `bandwidth`: a 2-D Gaussian's radius r has
        # the distribution 1 - exp(-r^2/2), and the disc needs the square root of a uniform one.
        direction = torch.randn(channels, 2)
        radius = direction.norm(dim=1, keepdim=True)
        uniform = 1 - (-radius.square() / 2).exp()
        self.transform: Tensor
        self.freqs: Tensor
        self.phases: Tensor
        self.register_buffer("transform", torch.eye(3))  # of the user, inverse of picture motion
        self.register_buffer("freqs", direction / radius * uniform.sqrt() * bandwidth)
        self.register_buffer("phases", torch.rand(channels) - 0.5)

    def forward(self, w: Tensor) -> Tensor:  # [N, w_dim] -> [N, C, size, size]
        t = self.affine(w)
        t = t / t[:, :2].norm(dim=1, keepdim=True)  # (cos, sin, x, y)
        cos, sin, x, y = t.unbind(1)
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        rotation = _matrix([[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]])
        translation = _matrix([[one, zero, -x], [zero, one, -y], [zero, zero, one]])
        motion = rotation @ translation @ self.transform  # [N,3,3]
        phases = self.phases + (self.freqs @ motion[:, :2, 2:]).squeeze(2)  # [N,C]
        freqs = self.freqs @ motion[:, :2, :2]  # [N,C,2]
        # Frequencies that the motion carried beyond the band fade out before they alias.
        excess = freqs.norm(dim=2) - self.bandwidth
        amplitude = (1 - excess / (self.rate / 2 - self.bandwidth)).clamp(0, 1)
        # Pixel centres; one unit is the width of the picture (of `rate` pixels, without margin).
        grid = (torch.arange(self.size, device=w.device) + 0.5 - self.size / 2) / self.rate
        fx, fy = freqs[:, :, 0, None, None], freqs[:, :, 1, None, None]
        angle = fx * grid[None, :] + fy * grid[:, None] + phases[:, :, None, None]
        waves = torch.sin(2 * math.pi * angle) * amplitude[:, :, None, None]
        weight = self.weight / math.sqrt(self.weight.shape[1])
        return F.conv2d(waves, weight[:, :, None, None])


def _matrix(rows: list[list[Tensor]]) -> Tensor:
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


class Layer(nn.Module):
    """Modulated convolution, then filtered leaky ReLU; ToRGB is 1x1 without demodulation."""

    def __init__(self, cfg: GeneratorConfig, before: Spec, spec: Spec) -> None:
        super().__init__()
        self.rgb, self.clamp = spec.rgb, cfg.conv_clamp
        self.low_precision = spec.rate * 2**cfg.num_fp16_res > cfg.resolution
        kernel = 1 if spec.rgb else cfg.conv_kernel
        self.affine = Dense(cfg.w_dim, before.channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(spec.channels, before.channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(spec.channels))
        self.magnitude_ema: Tensor
        self.up_filter: Tensor | None
        self.down_filter: Tensor | None
        self.register_buffer("magnitude_ema", torch.ones(()))
        # The nonlinearity works at a raised rate; the resampling up and down is part of it.
        raised = max(before.rate, spec.rate) * (1 if spec.rgb else cfg.lrelu_upsampling)
        self.up, self.down = round(raised / before.rate), round(raised / spec.rate)
        up_taps = 1 if self.up == 1 or spec.rgb else cfg.filter_size * self.up
        down_taps = 1 if self.down == 1 or spec.rgb else cfg.filter_size * self.down
        width = 2 * before.half_width
        self.register_buffer("up_filter", design_lowpass(up_taps, before.cutoff, width, raised))
        radial = cfg.use_radial_filters and not spec.critical
        width = 2 * spec.half_width
        down_filter = design_lowpass(down_taps, spec.cutoff, width, raised, radial=radial)
        self.register_buffer("down_filter", down_filter)
        total = (spec.size - 1) * self.down + 1 - (before.size + kernel - 1) * self.up
        total += up_taps + down_taps - 2
        low = (total + self.up) // 2
        self.pad = (low, total - low)

    def forward(self, x: Tensor, w: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """x [N,I,h,h], w [N,w_dim] -> [N,O,H,H]; in `dtype` where the plan allows it, else w's."""
        low = dtype is not None and self.low_precision
        x = x.to(dtype if low else w.dtype, memory_format=torch.channels_last)
        styles = self.affine(w)  # [N,I]
        weight: Tensor = self.weight
        demod: Tensor | None = None
        if self.rgb:
            styles = styles / math.sqrt(weight.shape[1])
        else:
            weight = weight * weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
            # Per sample, not over the batch: demodulation cancels it, so a picture does not
            # depend on its neighbours.
            styles = styles * styles.square().mean(dim=1, keepdim=True).rsqrt()
            demod = (styles.square() @ weight.square().sum(dim=(2, 3)).T + EPS).rsqrt()  # [N,O]
        styles = styles * self.magnitude_ema.rsqrt()
        x = x * styles.to(x.dtype)[:, :, None, None]
        x = F.conv2d(x, weight.to(x.dtype), padding=weight.shape[-1] - 1)
        if demod is not None:
            x = x * demod.to(x.dtype)[:, :, None, None]
        x = x + self.bias.to(x.dtype)[:, None, None]
        slope, gain = (1.0, 1.0) if self.rgb else (0.2, SQRT2)
        return filtered_lrelu(
            x,
            self.up_filter,
            self.down_filter,
            up=self.up,
            down=self.down,
            pad=self.pad,
            slope=slope,
            gain=gain,
            clamp=self.clamp,
        )


class Synthesis(nn.Module):
    """ws to a picture: Fourier features with ws[0], then a layer per row of ws."""

    def __init__(self, cfg: GeneratorConfig) -> None:
        super().__init__()
        specs = plan(cfg)
        first = specs[0]
        self.input = FourierInput(first.channels, first.size, first.rate, first.cutoff, cfg.w_dim)
        self.names = [spec.name for spec in specs]
        for before, spec in zip([first, *specs], specs, strict=False):
            self.add_module(spec.name, Layer(cfg, before, spec))
        self.output_scale = cfg.output_scale

    def forward(self, ws: Tensor, noise: object = None, dtype: torch.dtype | None = None) -> Tensor:
        """ws [N, L, w_dim] -> [N, img_channels, R, R], about [-1, 1], not clamped.

        `noise` is ignored: StyleGAN3 has none. dtype: arithmetic of the upper rates (float16,
        bfloat16); None is that of ws throughout. On the CPU without gradients samples are rendered
        one after another: a picture then does not depend on its batch, to the bit.
        """
        if len(ws) > 1 and ws.device.type == "cpu" and not torch.is_grad_enabled():
            return torch.cat([self(row, dtype=dtype) for row in ws.split(1)])
        rows = ws.unbind(dim=1)
        x = self.input(rows[0])
        for name, w in zip(self.names, rows[1:], strict=True):
            x = self.get_submodule(name)(x, w, dtype)
        return x.to(ws.dtype) * self.output_scale

    def layers(self) -> list[nn.Module]:
        """The layers that take noise: none."""
        return []


class Generator(nn.Module):
    """Mapping and synthesis, with the tensor names of NVIDIA's PyTorch files."""

    def __init__(self, cfg: GeneratorConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.mapping = Mapping(cfg)
        self.synthesis = Synthesis(cfg)

    @property
    def num_ws(self) -> int:
        """L, the number of style vectors."""
        return self.cfg.num_ws

    @property
    def noise_shapes(self) -> list[tuple[int, int]]:
        """StyleGAN3 takes no noise."""
        return []

    def forward(
        self,
        z: Tensor,
        label: Tensor | None = None,
        *,
        psi: float = 1.0,
        cutoff: int | None = None,
        noise: object = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """z [N, z_dim] -> image [N, C, H, W]; `noise` is ignored."""
        return self.synthesis(self.mapping(z, label, psi, cutoff), dtype=dtype)
