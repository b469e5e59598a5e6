"""A run's state as one file: with it, a killed run goes on bit for bit (no pickle, design.md 3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gantools.io import tensorfile
from gantools.report import Usage
from gantools.training import numbers
from gantools.training.families import Config, Trainer, config_of

FORMAT = 1
NAME = "state.safetensors"


@dataclass
class Progress:
    """What a run knows besides its Trainer.

    seconds: spent so far. log_bytes: length of log.jsonl at this moment. scores: (images, score)
    of the snapshots measured so far. digest: of the training pictures. derived_from: ids of the
    networks it started from.
    """

    digest: str
    seconds: float = 0.0
    log_bytes: int = 0
    scores: list[tuple[int, float]] = field(default_factory=list)
    derived_from: list[str] = field(default_factory=list)


def _modules(trainer: Trainer) -> dict[str, nn.Module]:
    modules: dict[str, nn.Module] = {"g": trainer.g, "d": trainer.d, "g_ema": trainer.g_ema}
    modules |= trainer.averages
    return modules if trainer.critic.net is None else {**modules, "spectral": trainer.critic.net}


def _optimisers(trainer: Trainer) -> dict[str, tuple[nn.Module, torch.optim.Optimizer]]:
    found: dict[str, tuple[nn.Module, torch.optim.Optimizer]] = {
        "g_opt": (trainer.g, trainer.g_opt),
        "d_opt": (trainer.d, trainer.d_opt),
    }
    if trainer.critic.net is not None:  # of the same optimiser as D, or of its own
        found["spectral_opt"] = (trainer.critic.net, trainer.critic_opt)
    return found


def tensors_of(trainer: Trainer) -> dict[str, np.ndarray]:
    """Every number of the run: networks, EMA, Adam's moments, the family's scalars, sums."""
    tensors: dict[str, Tensor] = {}
    for part, module in _modules(trainer).items():
        tensors.update(numbers.of_module(part, module))
    for name, (module, optimiser) in _optimisers(trainer).items():
        tensors.update(numbers.of_adam(name, module, optimiser))
    tensors.update(trainer.scalars())
    tensors.update(numbers.of_sums(trainer.sums))
    return numbers.arrays(tensors)


def save(folder: Path, trainer: Trainer, progress: Progress) -> None:
    """Write the state atomically; Usage where the disk does not take it (the old one stays)."""
    story = {
        "format": FORMAT,
        "kind": "training state",
        "config": trainer.config.to_dict(),
        "networks": {"g": trainer.g.cfg.to_dict(), "d": trainer.d.cfg.to_dict()},
        "images": trainer.images,
        "iteration": trainer.iteration,
        "digest": progress.digest,
        "seconds": round(progress.seconds, 1),
        "log_bytes": progress.log_bytes,
        "scores": progress.scores,
        "derived_from": progress.derived_from,
    }
    tensorfile.write(folder / NAME, tensors_of(trainer), story)


@dataclass
class Saved:
    """A state file that was read: which run it is, and its numbers."""

    config: Config
    networks: dict[str, Any]
    progress: Progress
    images: int
    iteration: int
    tensors: dict[str, np.ndarray]


def read(folder: Path) -> Saved | None:
    """The state in a run folder, None where there is none; Usage for what is not one."""
    path = folder / NAME
    if not path.is_file():
        return None
    story, tensors = tensorfile.read(path)
    if story.get("kind") != "training state" or story.get("format") != FORMAT:
        raise Usage(f"{path}: not a training state of this version")
    try:
        config = config_of(story["config"])
        progress = Progress(
            story["digest"],
            story["seconds"],
            story["log_bytes"],
            [(int(images), float(score)) for images, score in story["scores"]],
            list(story["derived_from"]),
        )
        return Saved(
            config, story["networks"], progress, story["images"], story["iteration"], tensors
        )
    except (KeyError, TypeError, ValueError) as e:
        raise Usage(f"{path}: damaged training state ({e})") from None


def restore(trainer: Trainer, saved: Saved) -> None:
    """Put a saved state into a fresh Trainer of its configuration; Usage where it does not fit."""
    stored = numbers.Stored(saved.tensors, NAME)
    for part, module in _modules(trainer).items():
        stored.into_module(part, module)
    for name, (module, optimiser) in _optimisers(trainer).items():
        stored.into_adam(name, module, optimiser, trainer.device)
    for name, scalar in trainer.scalars().items():
        scalar.copy_(stored.take(name, scalar))
    stored.into_sums(trainer.sums)
    stored.finish()
    trainer.images, trainer.iteration = saved.images, saved.iteration
