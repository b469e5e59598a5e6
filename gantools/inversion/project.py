"""Pictures to latents: batches through the optimiser, with the story of each result.

The network, the perceptual space and the method are fixed for a run; every picture has its own
random numbers, derived from (seed, key), and its own loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantools.inversion import coded, finetune, perceptual, quality, start, z_space
from gantools.inversion.canvas import Canvas, unit
from gantools.inversion.coded import AnyEncoder
from gantools.inversion.dse import DseEncoder
from gantools.inversion.dse_loss import SMALLEST
from gantools.inversion.methods import Method
from gantools.inversion.optimise import (
    Beside,
    Jitter,
    Projection,
    Tensors,
    Watch,
    objective,
    optimise,
)
from gantools.inversion.perceptual import Embed
from gantools.inversion.prior import Prior
from gantools.inversion.tune import Tuning, tune
from gantools.inversion.usual import Usual
from gantools.inversion.z_space import ZCanvas, ZStarts
from gantools.io import alpha
from gantools.io.latent import Latent
from gantools.io.seeds import derive
from gantools.io.space import Size, split
from gantools.latents import targets
from gantools.networks.network import Network
from gantools.networks.stylegan2_latents import need_blocks
from gantools.ops.pixels import to_uint8
from gantools.ops.quantiles import Distribution
from gantools.report import SampleError, Usage

PERCEPTUAL = (
    "lpips-vgg", "lpips-alex", "lpips-squeeze", "vgg16", "vgg19", "discriminator", "pyramid",
)  # fmt: skip


EXTRA = ("cos", "ssim", "echo", "latent", "norm")
"""Settings of a method that headers name where they are not 0."""


def default_perceptual(has_discriminator: bool) -> str:
    """LPIPS where its weights are (first VGG, last SqueezeNet), else the network's own."""
    from gantools.io import weights

    for name in ("vgg", "alex", "squeeze"):
        if weights.present(perceptual.TRUNKS[name]) and weights.present(f"lpips-{name}"):
            return f"lpips-{name}"
    return "discriminator" if has_discriminator else "pyramid"


def embedding(
    name: str,
    network: Network,
    *,
    resolution: int | None = None,
    smallest: int = perceptual.SMALLEST,
) -> Embed:
    """The perceptual space of that name; Usage where its weights are missing.

    Networks of photographs see pictures of `resolution`, by default the network's own, as
    `perceptual.at_photograph_size` says; what is below `smallest` px is enlarged for them.
    """
    module: torch.nn.Module
    if name == "pyramid":
        return perceptual.pyramid
    if name == "discriminator":
        if network.d is None:
            raise Usage(f"--perceptual discriminator: {network.name} holds no discriminator")
        return perceptual.of_discriminator(network.d.features)
    if name in {"vgg16", "vgg19"}:
        module = perceptual.vgg16() if name == "vgg16" else perceptual.vgg19()
    else:
        module = perceptual.lpips(_backbone(name))
    side = resolution or min(network.size)
    embed = perceptual.at_photograph_size(module.to(network.device), side, smallest)
    return perceptual.on_black_and_white(embed, premultiplied=network.premultiplied)


def _backbone(name: str) -> perceptual.Backbone:
    backbones: dict[str, perceptual.Backbone] = {
        "lpips-vgg": "vgg",
        "lpips-alex": "alex",
        "lpips-squeeze": "squeeze",
    }
    return backbones[name]


def to_tensor(pixels: Sequence[np.ndarray], network: Network) -> Tensor:
    """uint8 pictures [H,W,3 or 4] -> [N,C,H,W] in [-1,1] on the network's device.

    4: straight alpha, which a network whose pictures have alpha takes.
    """
    stacked = np.stack(pixels)
    if network.premultiplied:
        stacked = alpha.premultiplied(stacked)
    x = torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 127.5 - 1
    if network.channels == 1:
        x = x.mean(1, keepdim=True)
    return x.to(network.device)


@dataclass
class Projector:
    """Everything that a run's projections share. Usage where the network has no such space.

    encoder: of methods that have one in their loop. label: the pictures' class, for an encoder that
    is told it, else the one of all latents in (z, y).
    """

    network: Network
    space: str
    name: str  # of the method
    method: Method
    perceptual: str
    init: start.Init = "mean"
    seed: int = 0
    encoder: AnyEncoder | None = None
    label: int | None = None

    def __post_init__(self) -> None:
        self._check_space()
        self._check_areas()
        self.embed = embedding(self.perceptual, self.network)
        self.condition = None
        if self.encoder:
            self.condition = coded.told(self.network, self.encoder, self.label)
        if "z" in self.space:
            self._start_from_z()
        else:
            self._start_from_w()

    def _start_from_z(self) -> None:
        told = isinstance(self.encoder, DseEncoder) and self.network.truncates_z
        self.psi = self.encoder.config.psi if told else 1.0  # type: ignore[union-attr]
        label = None if self.encoder else self.label
        self.z_starts = ZStarts(self.network, self.init, self.seed, label, self.psi)
        self.w_std, self.usual = z_space.deviation(self.network), Usual(self.method)

    def _start_from_w(self) -> None:
        g = self.network.g
        own = start.own_w(g.mapping, g.cfg.z_dim, c_dim=g.cfg.c_dim, device=self.network.device)
        self.mean, self.w_std = start.statistics(own)
        self.starts = start.Starts(self.network, self.init, self.mean, self.seed)
        prior = Prior.of(own) if self.method.prior else None
        self.usual = Usual(self.method, prior, self._targets(own) if self.method.dist else None)

    def _check_space(self) -> None:
        kind, index = split(self.space)
        if self.encoder and (self.method.echo or self.method.latent):
            self._check_encoders_space()
        if "z" in kind or not self.network.has_w:
            z_space.check_space(self.network, self.space)
            return
        if "n" in kind and not self.network.g.noise_shapes:
            raise Usage(f"--space {self.space}: {self.network.name} has no noise maps")
        if "s" in kind or index:
            try:
                need_blocks(self.network.g.cfg, f"--space {self.space}", self.network.family)
            except SampleError as e:
                raise Usage(str(e)) from None
        unit(self.network, self.space)
        if self.network.starts_from_features and (index or 0) < self.network.g.cfg.fnz:
            raise Usage(
                f"--space {self.space}: {self.network.name} starts from sampled features, so its "
                f"pictures are projected to fnw+{self.network.g.cfg.fnz} and the like"
            )

    def _check_encoders_space(self) -> None:
        assert self.encoder is not None
        if self.space != self.encoder.space:
            raise Usage(
                f"--space {self.space}: --method {self.name} stays in the encoder's space, "
                f"{self.encoder.space}"
            )

    def _check_areas(self) -> None:
        """Usage where a method looks at areas and nothing can see them (S4.6)."""
        if not any(self.method.areas):
            return
        if self.perceptual == "discriminator" and self.method.perceptual:
            raise Usage(
                f"--method {self.name} looks at areas too, and --perceptual discriminator sees "
                "whole pictures alone: take another (model fetch lpips-vgg has the paper's)"
            )
        if min(self.network.size) < SMALLEST:
            raise Usage(f"--method {self.name}: pictures below {SMALLEST} pixels have no areas")

    def _targets(self, own: Tensor) -> dict[str, Distribution]:
        styles = {"w": Distribution.of(own.cpu().numpy())}
        index = split(self.space)[1]
        return styles if index is None else styles | targets.of_features(self.network, index)

    def canvas(self, size: Size) -> Canvas | ZCanvas:
        """The space at a picture size; SampleError where it has no such pictures."""
        if "z" in self.space:
            return ZCanvas(self.network, self.space, size, self.psi)
        return Canvas(self.network, self.space, size, self.method.style_cells)

    def start(self, canvas: Canvas | ZCanvas, key: str, pixels: np.ndarray) -> Latent:
        """Where a picture's projection starts; SampleError where what is given does not fit."""
        picture = to_tensor([pixels], self.network)
        if isinstance(canvas, ZCanvas):
            return self.z_starts(canvas, key, picture)
        return self.starts(canvas, key, picture)

    def run(
        self,
        keys: Sequence[str],
        pixels: Sequence[np.ndarray],
        watch: Watch | None = None,
        starts: Sequence[Latent] | None = None,
    ) -> list[Latent]:
        """Project pictures uint8 [H,W,3 or 4] of one size, all at once; starts as from `start`."""
        target = to_tensor(pixels, self.network)
        canvas = self.canvas((target.shape[2], target.shape[3]))
        if starts is None:
            starts = [self.start(canvas, k, x) for k, x in zip(keys, pixels, strict=True)]
        if self.method.latent:
            result = self._finetuned(canvas, target, watch)
        else:
            free = canvas.reduced(self._stacked(starts))
            result = optimise(
                free,
                canvas,
                objective(self.embed, target, self.method),
                self.method,
                usual=self.usual,
                beside=self._echo(),
                hold=self.z_starts.hold if "z" in self.space else None,
                jitter=self._jitter(keys),
                rates=self._rates(free),
                watch=watch,
            )
        tensors = canvas.full(result.tensors)
        latents = []
        for i, key in enumerate(keys):
            header = {"network": self.network.story(), "seed": self.seed}
            header |= self.z_starts.story() if "z" in self.space else {}
            header["projection"] = self._settings() | {"loss": rounded(result.loss[i].item())}
            own = {name: t[i].float().cpu().numpy() for name, t in tensors.items()}
            latents.append(Latent(key, self.space, own, header))
        self.judge(latents, pixels)
        return latents

    def _finetuned(
        self, canvas: Canvas | ZCanvas, target: Tensor, watch: Watch | None
    ) -> Projection:
        """Each picture by an encoder of its own (S4.14)."""
        assert self.encoder is not None
        found = [
            finetune.finetune(
                self.encoder,
                one,
                canvas,
                objective(self.embed, one, self.method),
                self.method,
                condition=self.condition,
                watch=watch,
            )
            for one in target.split(1)
        ]
        names = found[0].tensors
        tensors = {name: torch.cat([one.tensors[name] for one in found]) for name in names}
        return Projection(tensors, torch.cat([one.loss for one in found]))

    def _echo(self) -> Beside | None:
        if not self.method.echo:
            return None
        assert self.encoder is not None
        return coded.echo(self.encoder, self.method.echo, self.condition)

    @torch.no_grad()
    def judge(self, latents: Sequence[Latent], pixels: Sequence[np.ndarray]) -> None:
        """Render latents and write psnr, ssim and distance of the 8-bit pictures into them."""
        target = to_tensor(pixels, self.network)
        wanted = to_uint8(target)
        shown = to_uint8(self.render(latents, (target.shape[2], target.shape[3])))
        again = torch.from_numpy(shown).permute(0, 3, 1, 2).to(target) / 127.5 - 1
        distances = perceptual.distance(self.embed(again), self.embed(target))
        for i, latent in enumerate(latents):
            latent.header["projection"] |= {
                "psnr": finite(quality.psnr(shown[i], wanted[i])),
                "ssim": rounded(quality.ssim(shown[i], wanted[i])),
                "distance": rounded(distances[i].item()),
            }

    def render(self, latents: Sequence[Latent], size: Size) -> Tensor:
        """Pictures [N,C,H,W] of latents of this projector's space, of that size."""
        return self.canvas(size)(self._stacked(latents))

    def tuned(
        self,
        latents: Sequence[Latent],
        pixels: Sequence[np.ndarray],
        tuning: Tuning,
        batch: int,
        watch: Callable[[int], object] | None = None,
    ) -> Any:
        """A copy of the generator, tuned to render these latents as these pictures (PTI).

        For spaces of w alone.
        """
        tensors = self._stacked(latents)
        ws = tensors.pop("w").expand(-1, self.network.g.num_ws, -1)
        target = to_tensor(pixels, self.network)
        seed = derive(self.seed, "", "tune")
        return tune(
            self.network.g, ws, list(tensors.values()), target, self.embed, tuning,
            w_std=self.w_std, seed=seed, batch=batch, watch=watch,
        )  # fmt: skip

    def _stacked(self, latents: Sequence[Latent]) -> Tensors:
        """Tensors [N, ...] by name, noise maps in the order of their blocks."""
        names = sorted(latents[0].tensors, key=lambda name: (name[0], int(name[2:] or 0)))
        return {
            name: torch.stack([torch.from_numpy(np.array(x.tensors[name])) for x in latents]).to(
                self.network.device
            )
            for name in names
        }

    def _settings(self) -> dict[str, Any]:
        method = self.method
        kind, _ = split(self.space)
        story: dict[str, Any] = {
            "method": self.name,
            "steps": method.steps,
            "lr": method.lr,
            "perceptual": self.perceptual,
            "perceptual_weight": method.perceptual,
            "mse_weight": method.mse,
            "prior_weight": method.prior,
            "dist_weight": method.dist,
            "init": self.init if isinstance(self.init, str) else self.init.name,
        }
        story |= {f"{name}_weight": value for name in EXTRA if (value := getattr(method, name))}
        if any(method.areas):
            story["area_weights"] = list(method.areas)
        if method.optimiser != "adam":
            story["optimiser"] = method.optimiser
        if "z" in kind:
            story["prior"] = z_space.prior_of(self.network)
        if "n" in kind:
            story |= {"noise_reg": method.noise_reg, "noise_rule": method.noise_rule}
        if "s" in kind:
            story |= {"style_smooth": method.style_smooth, "style_radius": method.style_radius}
            story |= {"style_cells": method.style_cells, "style_falloff": method.style_falloff}
        return story

    def _rates(self, tensors: Tensors) -> Mapping[str, float]:
        """Style maps learn the slower the later their block (S2.26); a given class does not."""
        if "z" in self.space:
            return self.z_starts.rates()
        blocks = {name: int(name[2:]) for name in tensors if name.startswith("s.")}
        return {
            n: self.method.style_falloff ** (j - min(blocks.values())) for n, j in blocks.items()
        }

    def _jitter(self, keys: Sequence[str]) -> Jitter:
        """Noise on styles, the same in all cells of a map, from a stream of each sample's own."""
        streams = [torch.Generator().manual_seed(derive(self.seed, k, "w-noise")) for k in keys]
        in_z = "z" in self.space
        dim = self.network.g.cfg.z_dim if in_z else self.network.g.cfg.w_dim

        def jittered(step: int, tensors: Tensors, strength: float) -> Tensors:
            if in_z:
                rows = 1
            else:
                styles = sum(n[0] == "s" for n in tensors)
                rows = tensors["w"].shape[1] if "w" in tensors else styles
            drawn = torch.stack([torch.randn(rows, dim, generator=s) for s in streams])
            noise = drawn.to(self.network.device) * (self.w_std * strength)
            each = iter(noise.unbind(1))
            moved = {n: t + next(each)[..., None, None] for n, t in tensors.items() if n[0] == "s"}
            if in_z:
                moved["z"] = tensors["z"] + noise[:, 0]
            if "w" in tensors:
                moved["w"] = tensors["w"] + noise
            return tensors | moved

        return jittered


def rounded(value: float) -> float:
    """Six digits, as headers have them."""
    return float(f"{value:.6g}")


def finite(db: float) -> float | None:
    """JSON knows no infinity: null is a picture without any error."""
    return rounded(db) if np.isfinite(db) else None
