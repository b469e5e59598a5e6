"""A run's state as one file: with it, a killed run goes on bit for bit (no pickle, design.md 3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gantools.io import tensorfile
from gantools.report import Usage
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
    return {"g": trainer.g, "d": trainer.d, "g_ema": trainer.g_ema}


def _moments(trainer: Trainer) -> Iterator[tuple[str, nn.Parameter, torch.optim.Optimizer]]:
    for name, module, optimiser in (
        ("g_opt", trainer.g, trainer.g_opt),
        ("d_opt", trainer.d, trainer.d_opt),
    ):
        for key, parameter in module.named_parameters():
            yield f"{name}.{key}", parameter, optimiser


def tensors_of(trainer: Trainer) -> dict[str, np.ndarray]:
    """Every number of the run: networks, EMA, Adam's moments, the family's scalars, sums."""
    tensors: dict[str, Tensor] = {}
    for part, module in _modules(trainer).items():
        tensors.update({f"{part}.{n}": t for n, t in module.state_dict().items()})
    for name, parameter, optimiser in _moments(trainer):
        moments = optimiser.state.get(parameter, {})
        tensors.update({f"{name}.{n}": moments[n] for n in sorted(moments)})
    tensors.update(trainer.scalars())
    tensors.update({f"sums.{n}": t for n, t in trainer.sums.values.items()})
    return {n: t.detach().cpu().contiguous().numpy() for n, t in tensors.items()}


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
    left = dict(saved.tensors)

    def take(name: str, like: Tensor) -> Tensor:
        value = left.pop(name, None)
        if value is None or value.shape != tuple(like.shape):
            raise Usage(f"{NAME}: {name} is missing or of another shape")
        target = torch.empty_like(like)  # keeps the memory format
        return target.copy_(torch.from_numpy(np.array(value)))

    with torch.no_grad():
        for part, module in _modules(trainer).items():
            for name, tensor in module.state_dict().items():
                tensor.copy_(take(f"{part}.{name}", tensor))
    for name, parameter, optimiser in _moments(trainer):
        if f"{name}.exp_avg" in left:
            step = torch.from_numpy(np.array(left.pop(f"{name}.step")))
            optimiser.state[parameter] = {
                "step": step.to(trainer.device),
                "exp_avg": take(f"{name}.exp_avg", parameter.detach()),
                "exp_avg_sq": take(f"{name}.exp_avg_sq", parameter.detach()),
            }
    for name, scalar in trainer.scalars().items():
        scalar.copy_(take(name, scalar))
    for name in [n for n in left if n.startswith("sums.")]:
        like = torch.empty(2, dtype=torch.float64, device=trainer.device)
        trainer.sums.values[name.removeprefix("sums.")] = take(name, like)
    if left:
        raise Usage(f"{NAME}: {sorted(left)[0]} belongs to another network")
    trainer.images, trainer.iteration = saved.images, saved.iteration
