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

from gantools.inversion import distribution, perceptual, quality, start
from gantools.inversion.methods import Method
from gantools.inversion.optimise import Watch, objective, optimise
from gantools.inversion.perceptual import Embed
from gantools.inversion.prior import Prior
from gantools.inversion.tune import Tuning, tune
from gantools.io import alpha
from gantools.io.latent import Latent
from gantools.io.seeds import derive
from gantools.networks.network import Network
from gantools.ops.pixels import to_uint8
from gantools.report import SampleError, Usage

PERCEPTUAL = ("lpips-vgg", "lpips-alex", "lpips-squeeze", "vgg19", "discriminator", "pyramid")
SPACES = ("w", "w+", "nw", "nw+")


def default_perceptual(has_discriminator: bool) -> str:
    """LPIPS where its weights are (first VGG, last SqueezeNet), else the network's own."""
    from gantools.io import weights

    for name in ("vgg", "alex", "squeeze"):
        if weights.present(perceptual.TRUNKS[name]) and weights.present(f"lpips-{name}"):
            return f"lpips-{name}"
    return "discriminator" if has_discriminator else "pyramid"


def embedding(name: str, network: Network) -> Embed:
    """The perceptual space of that name; Usage where its weights are missing."""
    module: torch.nn.Module
    if name == "pyramid":
        return perceptual.pyramid
    if name == "discriminator":
        if network.d is None:
            raise Usage(f"--perceptual discriminator: {network.name} holds no discriminator")
        return perceptual.of_discriminator(network.d.features)
    module = perceptual.vgg19() if name == "vgg19" else perceptual.lpips(_backbone(name))
    embed = perceptual.at_photograph_size(module.to(network.device))
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
    """Everything that a run's projections share."""

    network: Network
    space: str
    name: str  # of the method
    method: Method
    perceptual: str
    init: str | Callable[[str], Latent] = "mean"  # mean, random, or a start for each key
    seed: int = 0

    def __post_init__(self) -> None:
        g = self.network.g
        if self.space.startswith("n") and not g.noise_shapes:
            raise Usage(f"--space {self.space}: {self.network.name} has no noise maps")
        self.embed = embedding(self.perceptual, self.network)
        own = start.own_w(g.mapping, g.cfg.z_dim, c_dim=g.cfg.c_dim, device=self.network.device)
        self.mean, self.w_std = start.statistics(own)
        self.prior = Prior.of(own) if self.method.prior else None
        self.targets = distribution.targets(own, self.rows) if self.method.dist else None

    @property
    def rows(self) -> int:
        """Rows of w that are optimised: one, or one per layer."""
        return int(self.network.g.num_ws) if self.space.endswith("+") else 1

    def synthesis(self, w: Tensor, maps: list[Tensor]) -> Tensor:
        """w [N,1 or L,w_dim] and optimised noise maps (none: the stored ones) -> pictures."""
        g = self.network.g
        ws = w.expand(-1, g.num_ws, -1)
        if not g.noise_shapes:
            return g.synthesis(ws, dtype=self.network.dtype)
        return g.synthesis(ws, maps or "const", dtype=self.network.dtype)

    def _unlike(self, w: Tensor) -> Tensor:
        assert self.targets is not None
        return distribution.distribution_loss(w, self.targets)

    def run(
        self, keys: Sequence[str], pixels: Sequence[np.ndarray], watch: Watch | None = None
    ) -> list[Latent]:
        """Project pictures uint8 [H,W,3 or 4] of the network's size, all at once."""
        target = to_tensor(pixels, self.network)
        result = optimise(
            torch.stack([self._start(key) for key in keys]),
            self._noise(keys),
            self.synthesis,
            objective(self.embed, target, self.method),
            self.method,
            w_std=self.w_std,
            prior=self.prior,
            dist=self._unlike if self.method.dist else None,
            draw=self._draws(keys),
            watch=watch,
        )
        latents = []
        for i, key in enumerate(keys):
            tensors = {"w": result.w[i].cpu().numpy()}
            tensors |= {f"n.{j}": n[i].cpu().numpy() for j, n in enumerate(result.noise, 1)}
            header = {"network": self.network.story(), "seed": self.seed}
            header["projection"] = self._settings() | {"loss": _round(result.loss[i].item())}
            latents.append(Latent(key, self.space, tensors, header))
        self.judge(latents, pixels)
        return latents

    @torch.no_grad()
    def judge(self, latents: Sequence[Latent], pixels: Sequence[np.ndarray]) -> None:
        """Render latents and write psnr, ssim and distance of the 8-bit pictures into them."""
        target = to_tensor(pixels, self.network)
        wanted = to_uint8(target)
        shown = to_uint8(self.render(latents))
        again = torch.from_numpy(shown).permute(0, 3, 1, 2).to(target) / 127.5 - 1
        distances = perceptual.distance(self.embed(again), self.embed(target))
        for i, latent in enumerate(latents):
            latent.header["projection"] |= {
                "psnr": _finite(quality.psnr(shown[i], wanted[i])),
                "ssim": _round(quality.ssim(shown[i], wanted[i])),
                "distance": _round(distances[i].item()),
            }

    def render(self, latents: Sequence[Latent]) -> Tensor:
        """Pictures [N,C,H,W] of latents of this projector's space."""
        return self.synthesis(*self._stacked(latents))

    def tuned(
        self,
        latents: Sequence[Latent],
        pixels: Sequence[np.ndarray],
        tuning: Tuning,
        batch: int,
        watch: Callable[[int], object] | None = None,
    ) -> Any:
        """A copy of the generator, tuned to render these latents as these pictures (PTI)."""
        w, maps = self._stacked(latents)
        ws = w.expand(-1, self.network.g.num_ws, -1)
        target = to_tensor(pixels, self.network)
        seed = derive(self.seed, "", "tune")
        return tune(
            self.network.g, ws, maps, target, self.embed, tuning,
            w_std=self.w_std, seed=seed, batch=batch, watch=watch,
        )  # fmt: skip

    def _stacked(self, latents: Sequence[Latent]) -> tuple[Tensor, list[Tensor]]:
        device = self.network.device

        def stacked(name: str) -> Tensor:
            arrays = [torch.from_numpy(latent.tensors[name]) for latent in latents]
            return torch.stack(arrays).to(device)

        return stacked("w"), [stacked(f"n.{j}") for j in sorted(latents[0].noise)]

    def _settings(self) -> dict[str, Any]:
        method = self.method
        story: dict[str, Any] = {
            "method": self.name,
            "steps": method.steps,
            "lr": method.lr,
            "perceptual": self.perceptual,
            "perceptual_weight": method.perceptual,
            "mse_weight": method.mse,
            "prior_weight": method.prior,
            "dist_weight": method.dist,
            "init": self.init if isinstance(self.init, str) else "latent",
        }
        if self.space.startswith("n"):
            story |= {"noise_reg": method.noise_reg, "noise_rule": method.noise_rule}
        return story

    def _start(self, key: str) -> Tensor:
        if self.init == "mean":
            return self.mean.expand(self.rows, -1)
        if self.init == "random":
            return self._random_w(key).expand(self.rows, -1)
        assert not isinstance(self.init, str)
        w = torch.from_numpy(self.init(key).tensors["w"]).to(self.network.device)
        if self.rows == 1 and len(w) > 1:
            raise SampleError(f"--init: a w+ latent is no start for {self.space}")
        return w.expand(self.rows, -1)

    def _random_w(self, key: str) -> Tensor:
        g, device = self.network.g, self.network.device
        seed = derive(self.seed, key, "init")
        z = start.normal(seed, (1, g.cfg.z_dim), device)
        label = None
        if g.cfg.c_dim:
            label = torch.eye(g.cfg.c_dim, device=device)[[seed % g.cfg.c_dim]]
        with torch.no_grad():
            return g.mapping(z, label)[0, :1]

    def _noise(self, keys: Sequence[str]) -> list[Tensor]:
        if not self.space.startswith("n"):
            return []
        given = [{} if isinstance(self.init, str) else self.init(key).noise for key in keys]
        return [
            torch.stack(
                [self._noise_map(key, j, own) for key, own in zip(keys, given, strict=True)]
            )
            for j in range(1, len(self.network.g.noise_shapes) + 1)
        ]

    def _noise_map(self, key: str, j: int, own: Mapping[int, np.ndarray]) -> Tensor:
        if j in own:
            return torch.from_numpy(own[j]).to(self.network.device)
        shape = (1, *self.network.g.noise_shapes[j - 1])
        return start.normal(derive(self.seed, key, f"n.{j}"), shape, self.network.device)

    def _draws(self, keys: Sequence[str]) -> Callable[[int], Tensor]:
        streams = [torch.Generator().manual_seed(derive(self.seed, k, "w-noise")) for k in keys]
        shape = (self.rows, self.network.g.cfg.w_dim)

        def draw(step: int) -> Tensor:
            drawn = torch.stack([torch.randn(shape, generator=s) for s in streams])
            return drawn.to(self.network.device)

        return draw


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def _finite(db: float) -> float | None:
    """JSON knows no infinity: null is a picture without any error."""
    return _round(db) if np.isfinite(db) else None
