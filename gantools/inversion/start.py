"""Where a projection starts: the network's own w and their mean, and a latent for each picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gantools.inversion.canvas import Canvas
from gantools.io.latent import Latent
from gantools.io.seeds import derive
from gantools.io.space import level, scaled, with_noise, without_noise
from gantools.latents import spaces, spatial
from gantools.latents.sampled import completed
from gantools.latents.source import NetworkSource
from gantools.networks.network import Network
from gantools.report import SampleError

Mapping = Callable[[Tensor, Tensor | None], Tensor]  # z [N,z_dim], label -> ws [N,L,w_dim]


@dataclass(frozen=True)
class Given:
    """Starts from elsewhere: what they are, for the header, and the latent of a picture.

    Of its key, the picture [1,C,H,W] in [-1,1], and its class where that is known. SampleError
    where there is none for the key.
    """

    name: str
    of: Callable[[str, Tensor, int | None], Latent]


Init = str | Given  # mean, random, normal, or given


def own_of(network: Network) -> Tensor:
    """`own_w` of a network with w: [10000, w_dim] on its device."""
    g = network.g
    return own_w(g.mapping, g.cfg.z_dim, c_dim=g.cfg.c_dim, device=network.device)


@torch.no_grad()
def own_w(
    mapping: Mapping,
    z_dim: int,
    *,
    c_dim: int = 0,
    count: int = 10_000,
    seed: int = 123,
    device: str = "cpu",
) -> Tensor:
    """w [count, w_dim] of `count` z of RandomState(seed), psi 1 (S2.12).

    A conditional network (c_dim > 0) gets its classes in turn.
    """
    z = torch.from_numpy(np.random.RandomState(seed).randn(count, z_dim).astype(np.float32))
    parts = []
    for first in range(0, count, 1000):
        part = z[first : first + 1000].to(device)
        turn = torch.arange(first, first + len(part), device=device)
        label = torch.eye(c_dim, device=device)[turn % c_dim] if c_dim else None
        parts.append(mapping(part, label)[:, 0])
    return torch.cat(parts)


def statistics(w: Tensor) -> tuple[Tensor, float]:
    """(mean w [w_dim], deviation) of w [N, w_dim] (S2.12).

    The deviation is √(mean over samples of Σ over dimensions (w − mean)²).
    """
    exact = w.double()
    mean = exact.mean(0)
    deviation = math.sqrt(float((exact - mean).square().sum()) / len(w))
    return mean.float(), deviation


def normal(seed: int, shape: tuple[int, ...], device: str) -> Tensor:
    """N(0,1) numbers of their own seed, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(device)


@dataclass
class Starts:
    """A start for each picture, by its key: the mean w, a random one, or what `init` gives.

    normal: every number of w from N(0, 1), a row for every layer (S4.15).

    A given latent may be of any space that converts to the canvas's without loss, noise maps
    aside; those that are not there are N(0,1) from (seed, key, block).
    """

    network: Network
    init: Init
    mean: Tensor  # [w_dim]
    seed: int

    def __call__(self, canvas: Canvas, key: str, picture: Tensor) -> Latent:
        """The latent of the picture [1,C,H,W] to start from; SampleError where it does not fit."""
        if isinstance(self.init, Given):
            given = self.init.of(key, picture, None)
        elif self.network.starts_from_features:
            given = self._with_features(canvas, key)
        else:
            w = self._w(canvas, key)
            given = Latent(key, "w" if len(w) == 1 else "w+", {"w": w.cpu().numpy()})
        return self._with_noise(canvas, self._resized(canvas, self._converted(canvas, given)))

    def _with_features(self, canvas: Canvas, key: str) -> Latent:
        """For a network that starts from sampled features (S2.20): their mean, 0, or new ones."""
        cfg, fnz = self.network.g.cfg, self.network.g.cfg.fnz
        size = scaled(canvas.cells, canvas.first, fnz)
        if self.init != "mean":
            z = normal(derive(self.seed, key, "init"), (cfg.z_dim,), "cpu").numpy()
            return completed(self.network, Latent(key, "z", {"z": z}), seed=self.seed, size=size)
        w = self.mean.expand(cfg.num_ws + 1 - fnz, -1).cpu().numpy()
        tensors = {"f": np.zeros((cfg.widths[level(fnz)], *size), np.float32), "w": w}
        if fnz > 2:
            half = size[0] // 2, size[1] // 2
            tensors["r"] = np.zeros((self.network.channels, *half), np.float32)
        return Latent(key, f"fw+{fnz}", tensors)

    def _converted(self, canvas: Canvas, given: Latent) -> Latent:
        """In the canvas's space, or in that without noise maps where it has none of its own."""
        noisy = "n" in given.space
        wanted = with_noise(canvas.space) if noisy else without_noise(canvas.space)
        try:
            source = NetworkSource(self.network, seed=self.seed)
            spaces.check_kept(spaces.way(given.space, wanted, source))
            made = spaces.convert(given, wanted, source)
        except SampleError as e:
            raise SampleError(f"--init: no start for {canvas.space}: {e}") from e
        return made if "n" in canvas.kind else spatial.without_noise(made)

    def _resized(self, canvas: Canvas, start: Latent) -> Latent:
        """Features and style maps at the canvas's size, bilinear: what a w gives fits all of it."""
        if not canvas.spatial or spatial.size_of(start) == canvas.cells:
            return start
        factor = [n / m for n, m in zip(canvas.cells, spatial.size_of(start), strict=True)]
        tensors = dict(start.tensors)
        for name, value in tensors.items():
            if name in {"f", "r"} or name.startswith("s."):
                size = [round(n * k) for n, k in zip(value.shape[1:], factor, strict=True)]
                one = torch.from_numpy(np.array(value))[None]
                tensors[name] = functional.interpolate(one, size, mode="bilinear")[0].numpy()
        kept = {n: t for n, t in tensors.items() if not n.startswith("n.")}
        return replace(start, tensors=kept)

    def _with_noise(self, canvas: Canvas, start: Latent) -> Latent:
        if "n" not in canvas.kind:
            return start
        drawn = {
            f"n.{j}": normal(derive(self.seed, start.key, f"n.{j}"), (1, *size), "cpu").numpy()
            for j, size in canvas.noise_sizes.items()
            if f"n.{j}" not in start.tensors
        }
        return replace(start, space=canvas.space, tensors={**start.tensors, **drawn})

    def _w(self, canvas: Canvas, key: str) -> Tensor:
        """[1, w_dim], or [L, w_dim] where rows are drawn."""
        if self.init == "mean":
            return self.mean[None]
        if self.init == "random":
            return self._random_w(key)
        cfg = self.network.g.cfg
        rows = self.network.g.num_ws if canvas.spatial or "+" in canvas.kind else 1
        return normal(derive(self.seed, key, "init"), (rows, cfg.w_dim), "cpu")

    def _random_w(self, key: str) -> Tensor:
        g, device = self.network.g, self.network.device
        seed = derive(self.seed, key, "init")
        z = normal(seed, (1, g.cfg.z_dim), device)
        label = None
        if g.cfg.c_dim:
            label = torch.eye(g.cfg.c_dim, device=device)[[seed % g.cfg.c_dim]]
        with torch.no_grad():
            return g.mapping(z, label)[0, :1]  # type: ignore[no-any-return]
