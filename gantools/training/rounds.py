"""The loop around a trainer's steps: when a run logs, measures, writes, and how it ends."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import IO, Any

import torch

from gantools import report
from gantools.io import atomic
from gantools.report import Usage
from gantools.training import alae_snapshots, control, report_html, snapshots, state
from gantools.training.alae import AlaeTrainer
from gantools.training.crops import Crops
from gantools.training.data import Pictures
from gantools.training.families import Trainer
from gantools.training.folders import Interruption
from gantools.training.job import Job, meta
from gantools.training.measure import measure
from gantools.training.state import Progress

TICK = 4000  # images between two lines of log.jsonl
STATE_SECONDS = 600.0  # at most so much work is lost at a kill -9
TOGETHER = 8  # iterations between two moments at which several processes may stop or save
PATIENCE = 3  # lines of log.jsonl with a loss that is not finite before the run gives up


class Rounds:
    """The loop around Trainer.step: when to log, to measure and to write."""

    def __init__(
        self,
        job: Job,
        trainer: Trainer,
        progress: Progress,
        pictures: Pictures | Crops,
        log: IO[bytes],
        interruption: Interruption,
    ) -> None:
        self.job, self.trainer, self.progress = job, trainer, progress
        self.log, self.interruption = log, interruption
        self.folder, self.ranks = job.folder, trainer.ranks
        self.meta = meta(job, trainer.config, pictures, progress)
        first = trainer.ranks.first
        self.reconstructed = (
            alae_snapshots.pictures(trainer, pictures.held)
            if first and isinstance(trainer, AlaeTrainer)
            else None
        )
        self.measure = (
            measure(trainer.config, pictures.held, trainer.dtype, pictures.held_labels.tolist())
            if first
            else None
        )
        self.not_finite = 0
        self.saved_at = self.looked_at = time.monotonic()
        self.logged_images, self.logged_seconds = trainer.images, progress.seconds
        self.logged_waiting = trainer.reader.waited

    def go(self) -> None:
        """Train until job.images; an interruption writes the state and raises."""
        trainer, job = self.trainer, self.job
        if self.ranks.first:
            write_json(self.folder / "config.json", trainer.config.to_dict())
        bar = report.progress_bar(total=job.images, unit="img", desc="train")
        try:
            bar.update(trainer.images)
            while trainer.images < job.images:
                before = trainer.images
                trainer.step()
                bar.update(trainer.images - before)
                self._after(before)
        finally:
            bar.close()

    def _after(self, before: int) -> None:
        images, last = self.trainer.images, self.trainer.images >= self.job.images
        if last or images // self.job.snapshot > before // self.job.snapshot:
            self._snapshot()
        elif images // TICK > before // TICK:
            self._log({})
        if self.ranks.world > 1 and self.trainer.iteration % TOGETHER:
            return
        due, wanted = self.ranks.any(
            time.monotonic() - self.saved_at > STATE_SECONDS,
            self.interruption.wanted is not None,
            device=self.trainer.device,
        )
        if due or wanted:
            self._save_state()
        if wanted:
            raise self.interruption.wanted or report.Terminated

    def _seconds(self) -> float:
        """Seconds of training so far, this process's share included."""
        now = time.monotonic()
        self.progress.seconds += now - self.looked_at
        self.looked_at = now
        return self.progress.seconds

    def _since_the_last_line(self) -> tuple[int, float, float]:
        """Images shown, seconds, and those that the processes waited for pictures, on average."""
        trainer, ranks = self.trainer, self.ranks
        now = trainer.images, self._seconds(), trainer.reader.waited
        shown = now[0] - self.logged_images
        seconds = max(now[1] - self.logged_seconds, 1e-9)
        waited = torch.tensor(now[2] - self.logged_waiting, device=trainer.device)
        self.logged_images, self.logged_seconds, self.logged_waiting = now
        return shown, seconds, float(ranks.total(waited)) / ranks.world

    def _log(self, more: dict[str, Any]) -> None:
        """One line of means since the last one; notices a run that diverges."""
        trainer = self.trainer
        shown, seconds, waited = self._since_the_last_line()
        line = {
            "images": trainer.images,
            "iteration": trainer.iteration,
            "seconds": round(self.progress.seconds, 1),
            "images_per_second": round(shown / seconds, 2),
            "waiting": round(min(waited / seconds, 1.0), 4),
            **trainer.sums.means(self.ranks),
            **trainer.told(),
            **more,
        }
        self._check(line)
        if not self.ranks.first:
            return
        try:
            self.log.write(json.dumps(_finite(line)).encode() + b"\n")
        except OSError as e:
            raise atomic.failure(self.folder / "log.jsonl", e) from None
        self.progress.log_bytes = os.fstat(self.log.fileno()).st_size

    def _check(self, line: dict[str, Any]) -> None:
        finite = all(math.isfinite(line.get(name, 0.0)) for name in ("loss_g", "loss_d"))
        self.not_finite = 0 if finite else self.not_finite + 1
        if self.not_finite >= PATIENCE or not self.trainer.is_finite():
            raise Usage(
                f"the training has diverged before {self.trainer.images:,} images (numbers that "
                f"are not finite); the last good state is kept in {self.folder}: start again "
                "with a lower --lr or a higher --gamma"
            )

    def _snapshot(self) -> None:
        """Network file, samples, score, log line, state and report, in this order.

        A kill anywhere between leaves files that the resumed run writes again, the same.
        """
        trainer, images = self.trainer, self.trainer.images
        if not trainer.is_finite():
            self._log({})  # raises
        name = snapshots.network_name(images)
        self._log(self._written(name) if self.ranks.first else {})
        self._save_state()
        if self.ranks.first:
            report_html.write(self.folder, trainer.config)
            report.note(f"{name}: {images:,} images, {self.progress.seconds / 3600:.1f} h")

    def _written(self, name: str) -> dict[str, Any]:
        """Write network file and samples, measure; what the log says of it."""
        trainer, images = self.trainer, self.trainer.images
        identity = snapshots.save_network(self.folder / name, trainer, self.meta)
        sample = snapshots.sample_name(images)
        snapshots.save_samples(self.folder / "samples" / sample, trainer)
        more: dict[str, Any] = {"network": name, "samples": sample}
        if self.reconstructed is not None and isinstance(trainer, AlaeTrainer):
            told, shown = self.meta["trained_on"], self.reconstructed
            more |= alae_snapshots.write(self.folder / name, trainer, identity, told, shown)
        if self.measure is not None:
            score = self.measure(trainer.g_ema, trainer.lod)
            self.progress.scores.append((images, score))
            more[str(trainer.config.metric)] = score
            if control.best_of(self.progress.scores) == images:
                _copy(self.folder / name, self.folder / "best.safetensors")
        return more

    def _save_state(self) -> None:
        self._seconds()
        self.trainer.gather()
        if self.ranks.first and self.trainer.is_finite():
            state.save(self.folder, self.trainer, self.progress)
        self.saved_at = time.monotonic()


def _finite(line: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no nan: null."""
    return {
        n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in line.items()
    }


def write_json(path: Path, value: Any) -> None:
    """A JSON file, atomically."""
    atomic.write_bytes(path, json.dumps(value, indent=1).encode() + b"\n")


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as whole, atomic.AtomicFile(target) as copy:
        shutil.copyfileobj(whole, copy)
        copy.sync()
