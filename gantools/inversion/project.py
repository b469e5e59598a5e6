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

from gantools.inversion import (
    checks,
    coded,
    finetune,
    methods,
    perceptual,
    quality,
    start,
    z_space,
)
from gantools.inversion.canvas import Canvas
from gantools.inversion.coded import AnyEncoder
from gantools.inversion.distances import embedding
from gantools.inversion.dse import DseEncoder
from gantools.inversion.frames import Frames
from gantools.inversion.jitter import jitter
from gantools.inversion.methods import Method
from gantools.inversion.optimise import (
    Beside,
    Projection,
    Tensors,
    Watch,
    descend,
    objective,
    optimise,
)
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
from gantools.ops.pixels import to_uint8
from gantools.ops.quantiles import Distribution


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

    encoder: of methods that have one in their loop. psi: BigGAN's truncation, with the batch
    statistics of which z is rendered (S4.10); None: the encoder's, else 1. Where labels, the
    pictures' classes, are given, an encoder is told them, and else latents in (z, y) keep them.
    """

    network: Network
    space: str
    name: str  # of the method
    method: Method
    perceptual: str
    init: start.Init = "mean"
    seed: int = 0
    encoder: AnyEncoder | None = None
    psi: float | None = None

    def __post_init__(self) -> None:
        checks.check_space(self.network, self.space, self.name, self.method, self.encoder)
        checks.check_areas(self.network, self.name, self.method, self.perceptual)
        self.embed = embedding(self.perceptual, self.network)
        if "z" in self.space:
            self._start_from_z()
        else:
            self._start_from_w()

    def _start_from_z(self) -> None:
        told = isinstance(self.encoder, DseEncoder) and self.network.truncates_z
        own = self.encoder.config.psi if told else 1.0  # type: ignore[union-attr]
        truncation = own if self.psi is None else self.psi
        coded_too = self.encoder is not None
        self.z_starts = ZStarts(self.network, self.init, self.seed, truncation, coded_too)
        self.w_std, self.usual = z_space.deviation(self.network), Usual(self.method)

    def _start_from_w(self) -> None:
        own = start.own_of(self.network)
        self.mean, self.w_std = start.statistics(own)
        self.starts = start.Starts(self.network, self.init, self.mean, self.seed)
        prior = Prior.of(own) if self.method.prior else None
        self.usual = Usual(self.method, prior, self._targets(own) if self.method.dist else None)
        self.frames = Frames(self.embed, self.method, own, prior, self.seed)

    def _targets(self, own: Tensor) -> dict[str, Distribution]:
        styles = {"w": Distribution.of(own.cpu().numpy())}
        index = split(self.space)[1]
        return styles if index is None else styles | targets.of_features(self.network, index)

    def canvas(self, size: Size) -> Canvas | ZCanvas:
        """The space at a picture size; SampleError where it has no such pictures."""
        if "z" in self.space:
            return ZCanvas(self.network, self.space, size, self.z_starts.psi)
        return Canvas(self.network, self.space, size, self.method.style_cells)

    def start(
        self, canvas: Canvas | ZCanvas, key: str, pixels: np.ndarray, label: int | None = None
    ) -> Latent:
        """Where a picture's projection starts; SampleError where what is given does not fit."""
        picture = to_tensor([pixels], self.network)
        if isinstance(canvas, ZCanvas):
            return self.z_starts(canvas, key, picture, label)
        return self.starts(canvas, key, picture)

    def run(
        self,
        keys: Sequence[str],
        pixels: Sequence[np.ndarray],
        watch: Watch | None = None,
        starts: Sequence[Latent] | None = None,
        labels: Sequence[int] | None = None,
    ) -> list[Latent]:
        """Project pictures uint8 [H,W,3 or 4] of one size, all at once; starts as from `start`.

        labels: the class of each. Usage where the encoder needs them, or is told none.
        """
        target = to_tensor(pixels, self.network)
        canvas = self.canvas((target.shape[2], target.shape[3]))
        if starts is None:
            known: Sequence[int | None] = labels or [None] * len(keys)
            each = zip(keys, pixels, known, strict=True)
            starts = [self.start(canvas, *one) for one in each]
        if self.method.latent:
            result = self._finetuned(canvas, target, labels, watch)
        else:
            result = self._optimised(keys, canvas, target, self._stacked(starts), labels, watch)
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

    def _optimised(
        self,
        keys: Sequence[str],
        canvas: Canvas | ZCanvas,
        target: Tensor,
        starts: Tensors,
        labels: Sequence[int] | None,
        watch: Watch | None,
    ) -> Projection:
        """The latents themselves, by the method's optimiser."""
        free, loss = canvas.reduced(starts), objective(self.embed, target, self.method)
        if self.method.optimiser == "lbfgs" and self.method.steps:
            assert isinstance(canvas, Canvas)
            frame = self.frames.at(canvas, free["w"])
            return descend(frame, canvas, loss, self.method, usual=self.usual, watch=watch)
        return optimise(
            free,
            canvas,
            loss,
            self.method,
            usual=self.usual,
            beside=self._echo(labels),
            hold=self.z_starts.hold if "z" in self.space else None,
            jitter=jitter(self.network, self.space, self.seed, keys, self.w_std),
            rates=self._rates(free, labelled=labels is not None),
            watch=watch,
        )

    def _finetuned(
        self,
        canvas: Canvas | ZCanvas,
        target: Tensor,
        labels: Sequence[int] | None,
        watch: Watch | None,
    ) -> Projection:
        """Each picture by an encoder of its own (S4.14)."""
        assert self.encoder is not None
        condition = coded.told(self.network, self.encoder, labels)
        rows = [None] * len(target) if condition is None else condition.split(1)
        found = [
            finetune.finetune(
                self.encoder,
                one,
                canvas,
                objective(self.embed, one, self.method),
                self.method,
                condition=row,
                watch=watch,
            )
            for one, row in zip(target.split(1), rows, strict=True)
        ]
        names = found[0].tensors
        tensors = {name: torch.cat([one.tensors[name] for one in found]) for name in names}
        return Projection(tensors, torch.cat([one.loss for one in found]))

    def _echo(self, labels: Sequence[int] | None) -> Beside | None:
        if not self.method.echo:
            return None
        assert self.encoder is not None
        condition = coded.told(self.network, self.encoder, labels)
        return coded.echo(self.encoder, self.method.echo, condition)

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
        """What headers say of the run; the method's own numbers as `methods.story` has them."""
        init = self.init if isinstance(self.init, str) else self.init.name
        story = methods.story(self.method, self.space)
        story |= {"method": self.name, "perceptual": self.perceptual, "init": init}
        return story | ({"prior": z_space.prior_of(self.network)} if "z" in self.space else {})

    def _rates(self, tensors: Tensors, *, labelled: bool) -> Mapping[str, float]:
        """Style maps learn the slower the later their block (S2.26); a given class does not."""
        if "z" in self.space:
            return self.z_starts.rates(labelled=labelled)
        blocks = {name: int(name[2:]) for name in tensors if name.startswith("s.")}
        return {
            n: self.method.style_falloff ** (j - min(blocks.values())) for n, j in blocks.items()
        }


def rounded(value: float) -> float:
    """Six digits, as headers have them."""
    return float(f"{value:.6g}")


def finite(db: float) -> float | None:
    """JSON knows no infinity: null is a picture without any error."""
    return rounded(db) if np.isfinite(db) else None
