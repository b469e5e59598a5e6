"""StyleGAN1's generator (Karras et al. 2019; papers.md S0.6, S0.7, S0.12), growing.

Its discriminator is PGGAN's with a blur (`discriminator_defaults`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantools.networks import growing
from gantools.networks.config import Doubling
from gantools.networks.growing import dtype_at, fade, steps_down
from gantools.networks.layers import SQRT2, Dense
from gantools.networks.mapping import Mapping
from gantools.networks.sizes import SQUARE
from gantools.networks.stylegan2 import Noise
from gantools.ops.resample import fir, fir_kernel, nearest_up, nearest_up_conv
from gantools.ops.styled import rendering


@dataclass(frozen=True)
class GeneratorConfig(Doubling):
    """Everything that rebuilds a generator; it stands in the network file."""

    resolution: int
    widths: tuple[int, ...]  # channels at 4, 8, 16, …, resolution
    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0  # classes; their embedding stands behind z
    img_channels: int = 3
    mapping_layers: int = 8
    mapping_lr_mult: float = 0.01
    resample_filter: tuple[float, ...] = (1, 2, 1)  # the blur behind every enlarging convolution
    lod: float = 0.0  # the level of detail it was saved at: not 0 while it was growing
    first_block: tuple[int, int] = SQUARE  # its height and width; doubled from block to block

    @property
    def num_ws(self) -> int:
        """L, the number of style vectors: 2 log2(resolution) - 2."""
        return 2 * len(self.widths)

    @property
    def label_mode(self) -> Literal["embed", "concat"]:
        """z and the label's embedding are normalised together."""
        return "concat"


def discriminator_defaults() -> dict[str, Any]:
    """What its discriminator's configuration has beside PGGAN's (S0.8)."""
    return {"fused_scale": True, "resample_filter": (1, 2, 1), "label_mode": "logits"}


# S0.7: y = s_scale + 1, instance norm with eps 1e-8 and the biased variance.
def adain(x: Tensor, styles: Tensor) -> Tensor:
    """Every channel to mean s1, deviation |s0 + 1|: x [N, C, H, W], styles [N, 2C] = (s0, s1)."""
    n, c, h, w = x.shape
    scale, shift = styles.chunk(2, dim=1)
    # The samples' channels side by side: one pass for norm, scale and shift.
    y = F.instance_norm(
        x.reshape(1, n * c, h, w),
        weight=(scale + 1).flatten(),
        bias=shift.flatten(),
        eps=1e-8,
    )
    if y.requires_grad:  # on the CPU torch's backward of it misreads a gradient in channels_last
        y.register_hook(Tensor.contiguous)
    return y.reshape(n, c, h, w)


class Epilogue(nn.Module):
    """Noise, bias, lrelu, instance norm, style (S0.7): all of a layer but its convolution."""

    noise_const: Tensor

    def __init__(self, channels: int, cfg: GeneratorConfig, size: tuple[int, int]) -> None:
        super().__init__()
        self.noise_strength = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.affine = Dense(cfg.w_dim, 2 * channels)
        self.register_buffer("noise_const", torch.randn(size))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """x [N, C, H, W], w [N, w_dim], noise [1 or N, 1, H, W] or None -> [N, C, H, W]."""
        shift = self.bias[:, None, None]
        if noise is not None:
            shift = shift + noise * self.noise_strength[:, None, None]
        x = F.leaky_relu(x + shift.to(x.dtype), 0.2)
        return adain(x, self.affine(w))


class Layer(Epilogue):
    """3x3 convolution, enlarging and blurring where `up`, then the epilogue."""

    def __init__(
        self, inputs: int, outputs: int, cfg: GeneratorConfig, size: tuple[int, int], *, up: bool
    ) -> None:
        super().__init__(outputs, cfg, size)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.up = up

    def convolved(self, x: Tensor, blur: Tensor) -> Tensor:
        """The convolution alone: [N, I, H, W] -> [N, O, H, W], or twice the size."""
        weight = (self.weight * (SQRT2 / math.sqrt(self.weight[0].numel()))).to(x.dtype)
        if not self.up:
            return F.conv2d(x, weight, padding=1)
        return fir(nearest_up_conv(x, weight), blur, (blur.shape[0] // 2,) * 2)


class Block(nn.Module):
    """One resolution: the constant or an enlarging layer, a second layer, and ToRGB.

    b4.conv0 has no convolution: it is the epilogue of the constant.
    """

    def __init__(self, index: int, cfg: GeneratorConfig) -> None:
        super().__init__()
        size, out = cfg.sizes[index], cfg.widths[index]
        self.index = index
        self.conv0: Epilogue
        if not index:
            self.const = nn.Parameter(torch.ones(out, *size))
            self.conv0 = Epilogue(out, cfg, size)
        else:
            self.conv0 = Layer(cfg.widths[index - 1], out, cfg, size, up=True)
        self.conv1 = Layer(out, out, cfg, size, up=False)
        self.torgb = growing.Conv(out, cfg.img_channels, 1, gain=1)

    def forward(
        self, x: Tensor, ws: Tensor, noise: Sequence[Tensor | None], blur: Tensor
    ) -> Tensor:
        """x [N, I, H, W] (b4: the constant), ws [N, L, w_dim], noise by layer."""
        i = 2 * self.index
        x = self.conv0.convolved(x, blur) if isinstance(self.conv0, Layer) else x
        x = self.conv0(x, ws[:, i], noise[i])
        return self.conv1(self.conv1.convolved(x, blur), ws[:, i + 1], noise[i + 1])  # type: ignore[no-any-return]


class Synthesis(nn.Module):
    """ws [N, L, w_dim] -> image [N, C, H, W], float32, about [-1, 1], not clamped."""

    blur: Tensor

    def __init__(self, cfg: GeneratorConfig) -> None:
        super().__init__()
        self.cfg = cfg
        for i, resolution in enumerate(cfg.resolutions):
            setattr(self, f"b{resolution}", Block(i, cfg))
        self.register_buffer("blur", fir_kernel(cfg.resample_filter), persistent=False)

    def blocks(self) -> list[Block]:
        """The blocks from 4x4 up."""
        return [getattr(self, f"b{resolution}") for resolution in self.cfg.resolutions]

    def layers(self) -> list[Epilogue]:
        """The L layers, all of which take noise, in order."""
        return [layer for block in self.blocks() for layer in (block.conv0, block.conv1)]

    def forward(
        self,
        ws: Tensor,
        noise: Noise = "const",
        dtype: torch.dtype | None = None,
        lod: float | None = None,
    ) -> Tensor:
        """Render pictures of `resolution >> floor(lod)` pixels; lod None: the file's own.

        noise: "const" (stored maps), "none", or maps [1 or N, 1, H, W] (None: none there) of the L
        layers, or of those that are used at lod.
        dtype: arithmetic of the upper resolutions (float16, bfloat16); None is float32 throughout.

        On the CPU without gradients samples are rendered one after another: a picture then does
        not depend on its batch, to the bit.
        """
        lod = self.cfg.lod if lod is None else lod
        maps = self._noise(noise, lod)
        if len(ws) == 1 or not rendering(ws):
            return self._batch(ws, maps, dtype, lod)
        own = [
            [m if m is None or len(m) == 1 else m[i : i + 1] for m in maps] for i in range(len(ws))
        ]
        rows = zip(ws.split(1), own, strict=True)
        return torch.cat([self._batch(row, noise, dtype, lod) for row, noise in rows])

    def _batch(
        self, ws: Tensor, maps: Sequence[Tensor | None], dtype: torch.dtype | None, lod: float
    ) -> Tensor:
        down, share = steps_down(lod, len(self.cfg.widths))
        blocks = self.blocks()[: len(self.cfg.widths) - down]
        x = before = blocks[0].const.to(ws.dtype).expand(len(ws), -1, -1, -1)
        for block in blocks:
            size = self.cfg.resolutions[block.index]
            before = x.to(dtype_at(size, self.cfg.resolution, dtype, ws.dtype))
            x = block(before, ws, maps, self.blur)
        rgb = blocks[-1].torgb(x).to(ws.dtype)
        if share:  # what was the input of the last block is the picture that fades out
            coarse = blocks[-2].torgb(before).to(ws.dtype)
            rgb = fade(rgb, nearest_up(coarse), share)
        return rgb  # type: ignore[no-any-return]

    def _noise(self, noise: Noise, lod: float) -> Sequence[Tensor | None]:
        count = self.cfg.num_ws
        if not isinstance(noise, str):
            if len(noise) not in (count, count - 2 * int(lod)):
                raise ValueError(f"{len(noise)} noise maps for {count} layers")
            return noise
        if noise == "none":
            return [None] * count
        return [layer.noise_const[None, None] for layer in self.layers()]


class Generator(nn.Module):
    """Mapping and synthesis."""

    def __init__(self, cfg: GeneratorConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.mapping = Mapping(cfg, gain="weight")
        self.synthesis = Synthesis(cfg)

    @property
    def num_ws(self) -> int:
        """L, the number of style vectors."""
        return self.cfg.num_ws

    @property
    def noise_shapes(self) -> list[tuple[int, int]]:
        """(H, W) of the L noise maps: two of each block."""
        return [size for size in self.cfg.sizes for _ in range(2)]

    def forward(
        self,
        z: Tensor,
        label: Tensor | None = None,
        *,
        psi: float = 1.0,
        cutoff: int | None = None,
        noise: Noise = "const",
        dtype: torch.dtype | None = None,
        lod: float | None = None,
    ) -> Tensor:
        """z [N, z_dim] -> image [N, C, H, W]."""
        return self.synthesis(self.mapping(z, label, psi, cutoff), noise, dtype, lod)  # type: ignore[no-any-return]
