"""A run of a testbed: all its configurations step by step, measured, saved, gone on with (S3.7)."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from gantools import report
from gantools.io import atomic, tensorfile
from gantools.ops.spectrum import reduced
from gantools.report import Usage
from gantools.spectra.testbed import Bed, Together, quality
from gantools.training import folders, numbers
from gantools.training.distributed import Ranks
from gantools.training.folders import Interruption
from gantools.training.memory import keep_memory

FORMAT, KIND, NAME = 1, "testbed state", "state.safetensors"
STATE_SECONDS = 10.0  # at most so much is lost at a kill -9


@dataclass
class Course:
    """What a configuration was at each of `steps`: its scores, and its mean spectrum [bins]."""

    steps: list[int] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=dict)
    spectra: list[np.ndarray] = field(default_factory=list)

    def add(self, step: int, scores: Mapping[str, float], spectrum: np.ndarray) -> None:
        """One more measurement."""
        self.steps.append(step)
        for name, value in scores.items():
            self.scores.setdefault(name, []).append(value)
        self.spectra.append(spectrum)

    def last(self) -> dict[str, float]:
        """The scores at the end."""
        return {name: values[-1] for name, values in self.scores.items()}

    def cut(self, every: int) -> None:
        """Forget what was measured at an end that is none any more."""
        if self.steps and self.steps[-1] % every:
            self.steps.pop()
            self.spectra.pop()
            for values in self.scores.values():
                values.pop()


@dataclass(frozen=True)
class Job:
    """What is asked for. config: all that the course depends on, by the names of flags.

    folder: where the state is kept; None: nowhere. every: steps between measurements.
    """

    folder: Path | None
    steps: int
    every: int
    config: dict[str, Any]


def train(beds: Sequence[Bed], job: Job) -> list[Course]:
    """Train every bed for job.steps, or go on from the folder's state; their courses.

    Usage where flags differ from those that the run was started with, where another process is at
    work in the folder, where the disk is full, and where a configuration diverges.
    """
    keep_memory()
    opened = nullcontext() if job.folder is None else folders.opened(job.folder, Ranks())
    with opened as log, Interruption() as interruption:
        run = _Run(beds, job, log, interruption)
        run.go()
        return run.courses


class _Run:
    def __init__(
        self, beds: Sequence[Bed], job: Job, log: IO[bytes] | None, interruption: Interruption
    ) -> None:
        self.beds, self.job, self.log, self.interruption = beds, job, log, interruption
        self.courses = [Course() for _ in beds]
        self.step, log_bytes = 0, 0
        self.saved_at = time.monotonic()
        if job.folder is not None and (job.folder / NAME).is_file():
            log_bytes = self._restore(job.folder / NAME)
        if log is not None:
            os.truncate(log.fileno(), log_bytes)

    def go(self) -> None:
        job, together = self.job, Together(self.beds)
        bar = report.progress_bar(total=job.steps, unit="step", desc="testbed")
        try:
            bar.update(self.step)
            while self.step < job.steps:
                together()
                self.step += 1
                bar.update(1)
                if self.step % job.every == 0 or self.step == job.steps:
                    self._measure()
                self._pause()
        finally:
            bar.close()
        self._save()

    def _pause(self) -> None:
        if self.interruption.wanted or time.monotonic() - self.saved_at > STATE_SECONDS:
            self._save()
        if self.interruption.wanted:
            raise self.interruption.wanted

    def _measure(self) -> None:
        for bed, course in zip(self.beds, self.courses, strict=True):
            made = bed.pictures()
            scores = {"psnr": quality(made, bed.targets), **bed.measure()}
            if not all(map(math.isfinite, scores.values())):
                raise Usage(f"{bed.name} has diverged before step {self.step:,}: lower --lr")
            with torch.inference_mode():
                spectrum = reduced(made.double()).mean(0).cpu().numpy()
            course.add(self.step, scores, spectrum)
            self._line({"step": self.step, "name": bed.name, **scores})

    def _line(self, line: Mapping[str, Any]) -> None:
        if self.log is None or self.job.folder is None:
            return
        rounded = {n: float(f"{v:.6g}") if isinstance(v, float) else v for n, v in line.items()}
        try:
            self.log.write(json.dumps(rounded).encode() + b"\n")
        except OSError as e:
            raise atomic.failure(self.job.folder / "log.jsonl", e) from None

    def _save(self) -> None:
        """All numbers of all configurations, in one file that replaces the one before."""
        self.saved_at = time.monotonic()
        if self.job.folder is None or self.log is None:
            return
        story: dict[str, Any] = {"format": FORMAT, "kind": KIND, "config": self.job.config}
        story |= {"step": self.step, "log_bytes": os.fstat(self.log.fileno()).st_size}
        story["courses"] = {
            bed.name: {"steps": course.steps, "scores": course.scores}
            for bed, course in zip(self.beds, self.courses, strict=True)
        }
        tensors: dict[str, np.ndarray] = {}
        for bed, course in zip(self.beds, self.courses, strict=True):
            for part, module in bed.modules.items():
                tensors |= numbers.arrays(numbers.of_module(f"{bed.name}.{part}", module))
            for part, (module, adam) in bed.optimisers.items():
                tensors |= numbers.arrays(numbers.of_adam(f"{bed.name}.{part}", module, adam))
            if course.spectra:
                tensors[f"{bed.name}.spectra"] = np.stack(course.spectra)
        tensorfile.write(self.job.folder / NAME, tensors, story)

    def _restore(self, path: Path) -> int:
        """The state into the beds; how long the log was."""
        story, tensors = tensorfile.read(path)
        if story.get("kind") != KIND or story.get("format") != FORMAT:
            raise Usage(f"{path}: not a state of a testbed of this version; name another -o")
        try:
            _refuse_changes(story["config"], self.job.config)
            self.step, log_bytes = int(story["step"]), int(story["log_bytes"])
            told = story["courses"]
            self.courses = [Course(**told[bed.name]) for bed in self.beds]
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise Usage(f"{path}: damaged state ({e})") from None
        if self.step > self.job.steps:
            raise Usage(f"{path}: {self.step:,} steps are done; --steps is {self.job.steps:,}")
        stored = numbers.Stored(tensors, NAME)
        for bed, course in zip(self.beds, self.courses, strict=True):
            self._fill(bed, course, stored)
            if self.step < self.job.steps:
                course.cut(self.job.every)
        stored.finish()
        if self.step < self.job.steps:
            report.note(f"goes on from {self.step:,} steps")
        return log_bytes

    @staticmethod
    def _fill(bed: Bed, course: Course, stored: numbers.Stored) -> None:
        for part, module in bed.modules.items():
            stored.into_module(f"{bed.name}.{part}", module)
        for part, (module, adam) in bed.optimisers.items():
            device = str(bed.targets.device)
            stored.into_adam(f"{bed.name}.{part}", module, adam, device)
        if course.steps:
            bins = reduced(bed.targets[:1]).shape[1]
            like = torch.empty(len(course.steps), bins, dtype=torch.float64)
            course.spectra = list(stored.take(f"{bed.name}.spectra", like).numpy())


def _refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    flags = [name for name in now if before.get(name) != now[name]]
    if flags:
        one = len(flags) == 1 and flags[0].startswith("--")
        raise Usage(
            f"{', '.join(flags)} differ{'s' if one else ''} from the run in this folder: give the "
            "same flags to go on, or another -o (only --steps may change)"
        )
