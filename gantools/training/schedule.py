"""What a run does when, by thousands of images shown (papers.md S0.10, S1.7, S1.12, S3.25).

A level of detail (lod) of 0 is the full resolution, 1 half of it, 0.25 a picture that is to a
quarter still the one of half the resolution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gantools.report import Usage

MINIBATCH_REPEATS = 4  # minibatches of G and D between two looks at the schedule


@dataclass(frozen=True, slots=True)
class Moment:
    """The settings of one moment; lr is G's and D's, tick_kimg the way to the next report."""

    kimg: float
    lod: float
    resolution: int
    batch: int
    lr: float
    tick_kimg: float

    @property
    def fade(self) -> float:
        """frac(lod): the share that the next lower resolution still has, in G, D and reals."""
        return self.lod - math.floor(self.lod)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A run's course. Tables go by resolution; where one has no entry, the plain value holds.

    From initial_resolution on every resolution is trained for stable_kimg, and the next is faded
    in over fade_kimg. batch is that of all GPUs together, batch_per_gpu an upper limit for each.
    The learning rate rises over rampup_kimg, see `rampup`; with `decays` it falls to 0 over the
    run, see `linear_decay`. repeats: iterations from one look at the schedule to the next.
    """

    resolution: int
    total_kimg: float
    initial_resolution: int = 4
    stable_kimg: float = 600.0
    fade_kimg: float = 600.0
    gpus: int = 1
    batch: int = 16
    batches: Mapping[int, int] = field(default_factory=dict)
    batch_per_gpu: Mapping[int, int] = field(default_factory=dict)
    lr: float = 0.001
    lrs: Mapping[int, float] = field(default_factory=dict)
    rampup_kimg: float = 0.0
    rampup: Literal["linear", "smooth"] = "linear"
    decays: bool = False
    repeats: int = MINIBATCH_REPEATS
    tick: float = 160.0
    ticks: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        levels = math.log2(self.resolution / self.initial_resolution)
        if levels < 0 or not levels.is_integer():
            raise Usage(
                f"growing from {self.initial_resolution} to {self.resolution} pixels: "
                "the resolution has to be the first one doubled some times"
            )
        if levels and self.stable_kimg + self.fade_kimg <= 0:
            raise Usage("growing needs some thousand images for each resolution")

    def at(self, images: int) -> Moment:
        """The settings after so many images."""
        kimg = images / 1000
        levels = round(math.log2(self.resolution / self.initial_resolution))
        detail = lod(kimg, levels, self.stable_kimg, self.fade_kimg)
        now = self.resolution >> math.floor(detail)
        batch = self._batch(now)
        lr = self.lrs.get(now, self.lr) * rampup(kimg, self.rampup_kimg, self.rampup)
        if self.decays:
            lr *= linear_decay(kimg, self.total_kimg)
        return Moment(kimg, detail, now, batch, lr, self.ticks.get(now, self.tick))

    def _batch(self, resolution: int) -> int:
        batch = self.batches.get(resolution, self.batch)
        batch -= batch % self.gpus
        if resolution in self.batch_per_gpu:
            batch = min(batch, self.batch_per_gpu[resolution] * self.gpus)
        return batch

    def all_batches(self) -> list[int]:
        """The minibatch of every resolution, from the first on."""
        levels = round(math.log2(self.resolution / self.initial_resolution))
        return [self._batch(self.initial_resolution << level) for level in range(levels + 1)]


def lod(kimg: float, levels: int, stable_kimg: float, fade_kimg: float) -> float:
    """levels - phase - max(kimg in the phase - stable, 0) / fade, not below 0 (S0.10).

    levels is log2(resolution / initial resolution); a phase is one stable and one fading stretch.
    """
    length = stable_kimg + fade_kimg
    if not length:
        return float(levels)
    phase = math.floor(kimg / length)
    faded = max(kimg - phase * length - stable_kimg, 0.0) / fade_kimg if fade_kimg else 0.0
    return max(levels - phase - faded, 0.0)


def rampup(kimg: float, length: float, kind: Literal["linear", "smooth"] = "linear") -> float:
    """The learning rate's factor over the first `length` kimg, then 1.

    linear: t, as StyleGAN. smooth: exp(-5 (1 - t)^2), as PGGAN's own code, from 0.0067 on (S1.12).
    """
    if kimg >= length:
        return 1.0
    t = kimg / length
    return t if kind == "linear" else math.exp(-5 * (1 - t) ** 2)


def linear_decay(kimg: float, total_kimg: float) -> float:
    """The learning rate's factor 1 - kimg/total, not below 0 (SNGAN, S3.25)."""
    return max(1.0 - kimg / total_kimg, 0.0)


def resets_optimisers(before: float, now: float) -> bool:
    """Whether Adam's moments are forgotten: a resolution starts or ends fading in (S0.9, S1.12).

    before and now are lods.
    """
    return math.floor(before) != math.floor(now) or math.ceil(before) != math.ceil(now)


def mixable_layers(num_ws: int, detail: float) -> int:
    """L - 2 floor(lod): cutoffs of style mixing are drawn below it (S0.11)."""
    return num_ws - 2 * math.floor(detail)


def half_life_kimg(beta: float, images: float) -> float:
    """The EMA's half-life that an averaging with beta once in so many images has.

    The inverse of beta = 0.5^(images / half-life) (S0.9): 11.1 kimg for PGGAN's 0.999 per 16.
    """
    return images * math.log(0.5) / math.log(beta) / 1000


_TICKS = {4: 160.0, 8: 140.0, 16: 120.0, 32: 100.0, 64: 80.0, 128: 60.0, 256: 40.0}
PGGAN_TICKS = {**_TICKS, 512: 20.0, 1024: 10.0}
STYLEGAN_TICKS = {**_TICKS, 512: 30.0, 1024: 20.0}

# By number of GPUs: the minibatch of the high resolutions, and of the low ones (S0.10, S1.12).
MINIBATCHES: dict[int, tuple[int, dict[int, int]]] = {
    1: (4, {4: 128, 8: 128, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8, 512: 4}),
    2: (8, {4: 256, 8: 256, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8}),
    4: (16, {4: 512, 8: 256, 16: 128, 32: 64, 64: 32, 128: 16}),
    8: (32, {4: 512, 8: 256, 16: 128, 32: 64, 64: 32}),
}
STYLEGAN_LRS = {128: 0.0015, 256: 0.002, 512: 0.003, 1024: 0.003}
PGGAN_LRS: dict[int, dict[int, float]] = {
    1: {1024: 0.0015},
    2: {512: 0.0015, 1024: 0.002},
    4: {256: 0.0015, 512: 0.002, 1024: 0.003},
    8: STYLEGAN_LRS,
}


def _minibatches(gpus: int) -> tuple[int, dict[int, int]]:
    if gpus not in MINIBATCHES:
        raise Usage(f"this preset knows minibatches for 1, 2, 4 or 8 GPUs, not for {gpus}")
    return MINIBATCHES[gpus]


def stylegan(resolution: int, gpus: int = 1) -> Schedule:
    """StyleGAN's: from 8x8, 600 + 600 kimg, 25,000 in all (S0.10)."""
    batch, batches = _minibatches(gpus)
    return Schedule(
        resolution, 25_000, initial_resolution=8, gpus=gpus, batch=batch, batches=batches,
        lrs=STYLEGAN_LRS, ticks=STYLEGAN_TICKS,
    )  # fmt: skip


def alae(resolution: int) -> Schedule:
    """ALAE's for FFHQ on one GPU: from 4x4, 16 times 60,000 pictures for each size (S4.17).

    They fade in over one half of them, along a sine in the published code, and first; here they
    come last, and evenly, as in the other schedules.
    """
    return Schedule(
        resolution, 18_000, stable_kimg=480, fade_kimg=480, batch=8,
        batches={4: 128, 8: 128, 16: 128, 32: 64, 64: 32, 128: 16}, lr=0.0015,
        lrs={256: 0.002, 512: 0.003, 1024: 0.003}, ticks=STYLEGAN_TICKS,
    )  # fmt: skip


def pggan(resolution: int, gpus: int = 1) -> Schedule:
    """PGGAN's faster one (TensorFlow code): from 4x4, 600 + 600 kimg, 12,000 in all (S1.12)."""
    batch, batches = _minibatches(gpus)
    return Schedule(
        resolution, 12_000, gpus=gpus, batch=batch, batches=batches,
        batch_per_gpu={256: 16, 512: 8, 1024: 4}, lrs=PGGAN_LRS[gpus], ticks=PGGAN_TICKS,
    )  # fmt: skip


def pggan_paper(resolution: int) -> Schedule:
    """The paper's for CelebA-HQ, one GPU: 800 + 800 kimg, 19,000 in all, batch 16 (S1.7, S1.12)."""
    return Schedule(
        resolution, 19_000, stable_kimg=800, fade_kimg=800, batch=16,
        batches={256: 14, 512: 6, 1024: 3}, rampup_kimg=40, rampup="smooth", ticks=PGGAN_TICKS,
    )  # fmt: skip


def sngan(resolution: int, step: int, batch: int = 64) -> Schedule:
    """SNGAN's: 100,000 steps of G, each of `step` images, Adam's 2e-4 falling to 0 (S3.25)."""
    return Schedule(
        resolution, 100 * step, initial_resolution=resolution, batch=batch, lr=2e-4, decays=True,
        repeats=1,
    )  # fmt: skip
