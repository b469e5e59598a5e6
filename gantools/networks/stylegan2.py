"""StyleGAN2's generator (Karras et al. 2020; papers.md S2.0, formats.md 2a), any family member.

Resolutions are powers of two from 8 on; architectures skip, resnet, orig and wavelet, which is skip
with wavelet coefficients in the place of pictures (SWAGAN, S3.19); conditional or not. A
network may lack its first blocks and start from sampled features (FNZ_i, S2.20).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from gantools.io.space import level
from gantools.networks.mapping import Mapping
from gantools.networks.stylegan2_config import GeneratorConfig
from gantools.networks.stylegan2_layers import Skip, SynthesisLayer, ToRGB
from gantools.ops.blurred_noise import blurred_noise
from gantools.ops.haar import bands_up, iwt
from gantools.ops.resample import fir_kernel, nearest_up, upsample
from gantools.ops.styled import rendering
from gantools.report import Usage

Noise = Literal["const", "none"] | Sequence[Tensor | None]


class Block(nn.Module):
    """One resolution: (const or conv0 with upsampling), conv1, and ToRGB where there is one.

    Of the first resolution of FNZ_i only what belongs to the blocks from i on: conv0 is block
    2 index, conv1 2 index + 1, ToRGB 2 index + 2 (S2.0).
    """

    def __init__(self, index: int, cfg: GeneratorConfig) -> None:
        super().__init__()
        size, out = cfg.sizes[index], cfg.widths[index]
        self.has_conv0, self.has_conv1 = (
            index > 0 and 2 * index >= cfg.first,
            (2 * index + 1 >= cfg.first),
        )
        if index == 0 and not cfg.fnz:
            self.const = nn.Parameter(torch.randn(out, *size))
        if self.has_conv0:
            self.conv0 = SynthesisLayer(cfg.widths[index - 1], out, cfg, size, up=True)
        if self.has_conv1:
            self.conv1 = SynthesisLayer(out, out, cfg, size, up=False)
        last = index == len(cfg.widths) - 1
        self.has_rgb = cfg.architecture in ("skip", "wavelet") or last or cfg.torgb_all
        if self.has_rgb:
            self.torgb = ToRGB(out, cfg)
        if index and cfg.architecture == "resnet":
            self.skip = Skip(cfg.widths[index - 1], out)
        self.index = index
        self.resnet = bool(index) and cfg.architecture == "resnet"

    def features(
        self, x: Tensor, ws: Tensor, noise: Sequence[Tensor | None], kernel: Tensor
    ) -> Tensor:
        """Both convolutions; ws [N, L, w_dim], noise by 0-based layer."""
        i = 2 * self.index
        if not self.resnet:
            if self.has_conv0:
                x = self.conv0(x, ws[:, i - 1], noise[i - 1], kernel)
            return self.conv1(x, ws[:, i], noise[i], kernel) if self.has_conv1 else x
        half = math.sqrt(0.5)
        y = self.skip(x, kernel, half)
        x = self.conv0(x, ws[:, i - 1], noise[i - 1], kernel)
        return y + self.conv1(x, ws[:, i], noise[i], kernel, gain=half)

    def rgb(self, x: Tensor, ws: Tensor) -> Tensor:
        """ToRGB with its own w: the next block's conv0 shares it."""
        return self.torgb(x, ws[:, 2 * self.index + 1])


class Synthesis(nn.Module):
    """ws [N, L, w_dim] -> image [N, C, H, W], float32, about [-1, 1], not clamped.

    Styles and noise are counted from block 1 on also where the network starts at a later one
    (FNZ_i); there those before it are not looked at.
    """

    kernel: Tensor

    def __init__(self, cfg: GeneratorConfig) -> None:
        super().__init__()
        self.cfg = cfg
        for i in range(level(cfg.first), len(cfg.widths)):
            setattr(self, f"b{cfg.resolutions[i]}", Block(i, cfg))
        self.register_buffer("kernel", fir_kernel(cfg.resample_filter), persistent=False)

    def blocks(self) -> list[Block]:
        """Its resolutions, from 4x4 up or, in FNZ_i, from that of block i."""
        return [self.resolution_of(j) for j in range(self.cfg.first, self.cfg.num_ws + 1, 2)]

    def resolution_of(self, index: int) -> Block:
        """The resolution at which block `index`, 1-based, takes its features."""
        return getattr(self, f"b{self.cfg.resolutions[level(index)]}")  # type: ignore[no-any-return]

    def forward(
        self,
        ws: Tensor,
        noise: Noise = "const",
        dtype: torch.dtype | None = None,
        lod: float = 0.0,
        f: Tensor | None = None,
    ) -> Tensor:
        """Render.

        noise: "const" (stored maps), "none", or L-1 maps [1 or N, 1, H, W] (None: none there).
        dtype: arithmetic of the upper resolutions (float16, bfloat16); None is float32 throughout.
        lod: 0 is full resolution; only networks with `torgb_all` know others (S1.7).
        f: of FNZ_i, the features [N, C, h, w] in front of block i (S2.20); Usage without them.

        On the CPU without gradients samples are rendered one after another: that is faster, takes
        no more memory for a larger batch, and a picture does not depend on its batch, to the bit.
        """
        if lod and not self.cfg.torgb_all:
            raise ValueError("this network has no levels of detail")
        maps = self._noise(noise)
        x = self._start(f, len(ws))
        if len(ws) == 1 or not rendering(ws):
            return self._batch(x, ws, maps, dtype, lod)
        own = [
            [m if m is None or len(m) == 1 else m[i : i + 1] for m in maps] for i in range(len(ws))
        ]
        rows = zip(x.split(1), ws.split(1), own, strict=True)
        return torch.cat([self._batch(x, row, noise, dtype, lod) for x, row, noise in rows])

    def _start(self, f: Tensor | None, batch: int) -> Tensor:
        if f is not None:
            return f
        if self.cfg.fnz:
            raise Usage(
                f"the network makes its pictures from sampled features (train --fnz "
                f"{self.cfg.fnz}), and styles alone have none: it takes latents in "
                f"fnz{self.cfg.fnz} (generate --space fnz)"
            )
        return self.blocks()[0].const.unsqueeze(0).expand(batch, -1, -1, -1)

    def _batch(
        self,
        x: Tensor,
        ws: Tensor,
        maps: Sequence[Tensor | None],
        dtype: torch.dtype | None,
        lod: float,
    ) -> Tensor:
        image: Tensor | None = None  # so that of FNZ_i r is 0
        for block in self.blocks():
            resolution = self.cfg.resolutions[block.index]
            x = x.to(self.dtype_at(resolution, dtype, ws.dtype), memory_format=torch.channels_last)
            x = block.features(x, ws, maps, self.kernel)
            if self.cfg.architecture == "skip":
                rgb = block.rgb(x, ws)
                image = rgb if image is None else upsample(image, self.kernel) + rgb
            elif self.cfg.wavelet:
                rgb = block.rgb(x, ws)
                image = rgb if image is None else bands_up(image, self.kernel) + rgb
            elif block.has_rgb:
                image = self._grown(image, block, x, ws, lod)
        assert image is not None
        return iwt(image) if self.cfg.wavelet else image

    def _grown(
        self, image: Tensor | None, block: Block, x: Tensor, ws: Tensor, lod: float
    ) -> Tensor:
        rgb = block.rgb(x, ws)
        if image is None:
            return rgb
        weight = min(max(lod - (len(self.cfg.widths) - 1 - block.index), 0.0), 1.0)
        return rgb.lerp(nearest_up(image), weight)

    def dtype_at(
        self, resolution: int, dtype: torch.dtype | None, full: torch.dtype
    ) -> torch.dtype:
        """The arithmetic of a block, by its resolution: `dtype` in the upper ones, else `full`."""
        low = self.cfg.num_fp16_res or 4
        first = max(2 ** (int(math.log2(self.cfg.resolution)) + 1 - low), 8)
        return dtype if dtype is not None and resolution >= first else full

    def _noise(self, noise: Noise) -> Sequence[Tensor | None]:
        if not isinstance(noise, str):
            if len(noise) != self.cfg.num_ws - 1:
                raise ValueError(f"{len(noise)} noise maps for {self.cfg.num_ws - 1} layers")
            return noise
        if noise == "none":
            return [None] * (self.cfg.num_ws - 1)
        stored = [layer.noise_const[None, None] for layer in self.layers()]
        return [None] * (self.cfg.num_ws - 1 - len(stored)) + stored

    def layers(self) -> list[SynthesisLayer]:
        """The layers that take noise, in order: L-1, or those of blocks i to L-1 of FNZ_i."""
        return [
            layer
            for block in self.blocks()
            for there, name in ((block.has_conv0, "conv0"), (block.has_conv1, "conv1"))
            if there
            for layer in [getattr(block, name)]
        ]


class Generator(nn.Module):
    """Mapping and synthesis."""

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
        """(H, W) of the noise maps of blocks 1 to L-1, whichever the first block is."""
        first, *others = self.cfg.sizes
        return [first, *(size for size in others for _ in range(2))]

    def forward(
        self,
        z: Tensor,
        label: Tensor | None = None,
        *,
        psi: float = 1.0,
        cutoff: int | None = None,
        noise: Noise = "const",
        dtype: torch.dtype | None = None,
        f: Tensor | None = None,
    ) -> Tensor:
        """z [N, z_dim] -> image [N, C, H, W]; f as in Synthesis.forward."""
        return self.synthesis(self.mapping(z, label, psi, cutoff), noise, dtype, f=f)

    def sampled(self, count: int, generator: torch.Generator) -> Tensor:
        """f [count, C, h, w] for FNZ_i, as it was trained with, on the generator's device (S2.21).

        Those of pictures of another size are drawn by `latents.drawn`.
        """
        channels, height, width = self.cfg.features
        shape = (count, channels, height, width)
        return blurred_noise(shape, self.cfg.noise_blur, generator)
