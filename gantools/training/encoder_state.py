"""The state of an encoder's training as one file, with which a killed run goes on bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gantools.io import tensorfile
from gantools.report import Usage
from gantools.training import numbers
from gantools.training.dse import DseTraining
from gantools.training.encoder import EncoderTraining
from gantools.training.encoder_trainer import Trainer, Training
from gantools.training.psp import PspTraining

FORMAT = 1
KIND = "encoder training state"
NAME = "state.safetensors"


@dataclass
class Saved:
    """A state file that was read; seconds spent so far, log_bytes of log.jsonl at its moment."""

    config: Training
    iteration: int
    seconds: float
    log_bytes: int
    tensors: dict[str, np.ndarray]


def save(folder: Path, trainer: Trainer[Any, Any], seconds: float, log_bytes: int) -> None:
    """Write the state atomically; Usage where the disk does not take it (the old one stays)."""
    story = {
        "format": FORMAT,
        "kind": KIND,
        "config": trainer.config.to_dict(),
        "iteration": trainer.iteration,
        "seconds": round(seconds, 1),
        "log_bytes": log_bytes,
    }
    tensors = numbers.of_module("encoder", trainer.encoder)
    tensors |= numbers.of_module("ema", trainer.ema)
    tensors |= numbers.of_adam("adam", trainer.encoder, trainer.adam)
    if (critic := trainer.critic) is not None:
        tensors |= numbers.of_module("critic", critic.d)
        tensors |= numbers.of_adam("critic_adam", critic.d, critic.adam)
    tensors |= numbers.of_sums(trainer.sums)
    tensorfile.write(folder / NAME, numbers.arrays(tensors), story)


def read(folder: Path) -> Saved | None:
    """The state in a run folder, None where there is none; Usage for what is not one."""
    path = folder / NAME
    if not path.is_file():
        return None
    story, tensors = tensorfile.read(path)
    if story.get("kind") == "training state":
        raise Usage(f"{folder}: the run of another train command; name another -o")
    if story.get("kind") != KIND or story.get("format") != FORMAT:
        raise Usage(f"{path}: not a state of an encoder's training of this version")
    try:
        return Saved(
            _config(story["config"]),
            int(story["iteration"]),
            float(story["seconds"]),
            int(story["log_bytes"]),
            tensors,
        )
    except (KeyError, TypeError, ValueError) as e:
        raise Usage(f"{path}: damaged training state ({e})") from None


def _config(values: dict[str, Any]) -> Training:
    kinds: dict[str, type[Training]] = {
        "fw": EncoderTraining, "dse": DseTraining, "psp": PspTraining
    }  # fmt: skip
    return kinds[values["arch"]].from_dict(values)


def restore(trainer: Trainer[Any, Any], saved: Saved) -> None:
    """Put a saved state into a fresh trainer of its configuration; Usage where it does not fit."""
    stored = numbers.Stored(saved.tensors, NAME)
    stored.into_module("encoder", trainer.encoder)
    stored.into_module("ema", trainer.ema)
    stored.into_adam("adam", trainer.encoder, trainer.adam, trainer.network.device)
    if (critic := trainer.critic) is not None:
        stored.into_module("critic", critic.d)
        stored.into_adam("critic_adam", critic.d, critic.adam, trainer.network.device)
    stored.into_sums(trainer.sums)
    stored.finish()
    trainer.iteration = saved.iteration
