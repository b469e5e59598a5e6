"""The families that are trained: their configurations and trainers, by what a run says it is."""

from __future__ import annotations

from typing import Any

from gantools.report import Usage
from gantools.training import loop, presets
from gantools.training.alae import AlaeTrainer
from gantools.training.distributed import Ranks
from gantools.training.growing import GrowingTrainer
from gantools.training.growing_config import GrowingConfig
from gantools.training.networks import Networks
from gantools.training.presets import TrainConfig
from gantools.training.reader import Reader

Config = TrainConfig | GrowingConfig
Trainer = loop.Trainer | GrowingTrainer


def config_of(values: dict[str, Any]) -> Config:
    """What `to_dict` of either wrote; Usage where another version did."""
    return (GrowingConfig if "family" in values else TrainConfig).from_dict(values)  # type: ignore[attr-defined]


def trainer(
    config: Config,
    networks: Networks,
    reader: Reader,
    *,
    compile: bool = False,
    ranks: Ranks | None = None,
    batch_gpu: int | None = None,
) -> Trainer:
    """The trainer of the configuration's family; batch_gpu: pictures at once in each process."""
    shared: dict[str, Any] = {"ranks": ranks, "batch_gpu": batch_gpu}
    if isinstance(config, GrowingConfig):
        kind = AlaeTrainer if config.family == "alae" else GrowingTrainer
        return kind(config, networks, reader, **shared)
    return loop.Trainer(config, networks, reader, compile=compile, **shared)


def changed(before: Config, now: Config) -> list[str]:
    """The flags that differ from those a run was started with, by name; --net never counts."""
    if before.family != now.family:
        raise Usage(f"the run in this folder trains {before.family}, not {now.family}: another -o")
    if isinstance(before, TrainConfig) and isinstance(now, TrainConfig):
        return presets.changed(before, now)
    old, new = before.to_dict(), now.to_dict()
    if old["preset"] != new["preset"]:
        return ["--preset"]
    own = {"growing": "grow", "stable_kimg": "stable", "fade_kimg": "fade", "decay_kimg": "decay"}
    own |= dict.fromkeys(("course", "batch_norm", "tanh", "init", "single_rgb"), "preset")
    own["ema_start_kimg"] = "ema-start"
    return presets.flags([n for n in old if n != "net" and old[n] != new[n]], own)
