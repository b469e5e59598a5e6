"""A run of `train encoder` in its folder: starting, resuming, logging, what it leaves behind."""

from __future__ import annotations

import json
import os
import time
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from gantools import report
from gantools.inversion import encoder_files
from gantools.inversion.perceptual import Embed
from gantools.io import atomic
from gantools.io import encoder as files
from gantools.networks.network import Network
from gantools.report import Usage
from gantools.training import data, distributed, encoder_report, encoder_sheet, folders, reader
from gantools.training import encoder_state as state
from gantools.training.data import Pictures
from gantools.training.distributed import Ranks
from gantools.training.encoder_state import Saved
from gantools.training.encoder_trainer import Trainer, Training, check_shares
from gantools.training.folders import Interruption
from gantools.training.memory import keep_memory
from gantools.training.reader import Reader
from gantools.training.rounds import STATE_SECONDS, TOGETHER, write_json

TICK = 100  # steps between two lines of log.jsonl
HELD = 64  # pictures held out that are looked at
MAY_CHANGE = "only --steps, --snapshot and --workers may change"


@dataclass
class EncoderJob:
    """What is asked for, besides the configuration: none of it changes the trajectory."""

    folder: Path
    steps: int
    snapshot: int
    operands: list[str] = field(default_factory=list)
    workers: int = 4


def train(job: EncoderJob, config: Training, network: Network) -> None:
    """Start or resume the run in job.folder and end with it trained for job.steps.

    Usage where flags differ from those that it was started with, where another process trains
    there, where the disk is full and where it diverges; the last good state stays.
    """
    # What is refused for good is refused before there is a folder.
    config.check(network)
    embed = config.embed(network)
    with distributed.joined(config.device) as ranks:
        check_shares(config, ranks)
        _train(job, config, network, embed, ranks)


def _train(job: EncoderJob, config: Training, network: Network, embed: Embed, ranks: Ranks) -> None:
    with folders.opened(job.folder, ranks) as log:
        saved = state.read(job.folder)
        pictures = _pictures(job, config, network, ranks)
        if pictures is not None:
            config = replace(config, pictures=pictures.digest)
        if saved is not None:
            _refuse_changes(saved.config, config)
            if saved.iteration >= job.steps:
                report.note(f"{job.folder}: {saved.iteration:,} steps are done; raise --steps")
                return
        keep_memory()
        with (
            nullcontext() if pictures is None else closing(_reader(job, config, pictures)) as shown
        ):
            trainer = _trainer(config, network, saved, shown, embed, ranks)
            if ranks.first:
                os.truncate(log.fileno(), saved.log_bytes if saved else 0)
            ranks.wait()  # until each has read the state that the first will write anew
            seconds = saved.seconds if saved else 0.0
            with Interruption() as interruption:
                _Run(job, trainer, seconds, log, interruption, pictures).go()


def _pictures(job: EncoderJob, config: Training, network: Network, ranks: Ranks) -> Pictures | None:
    if not job.operands:
        return None
    return data.load(
        job.operands,
        network.size,
        job.folder,
        hold_out=config.hold_out,
        keep_held=ranks.first,
        workers=job.workers,
        channels=network.channels,
    )


def _reader(job: EncoderJob, config: Training, pictures: Pictures) -> Reader:
    return reader.opened(
        pictures,
        job.folder,
        seed=config.seed,
        mirror=config.mirror,
        device=config.device,
        workers=job.workers,
    )


def _scaled(pixels: Tensor) -> Tensor:
    return pixels.float() / 127.5 - 1


def _trainer(
    config: Training,
    network: Network,
    saved: Saved | None,
    shown: Reader | None,
    embed: Embed,
    ranks: Ranks,
) -> Trainer[Any, Any]:

    def photographs(position: int, count: int) -> Tensor:
        assert shown is not None
        return _scaled(shown.batch(position, count, ranks.take)[0])

    given = None if shown is None else photographs
    trainer = config.trainer(network, embed, given, fresh=saved is None)
    trainer.divide(ranks)
    if saved is not None:
        state.restore(trainer, saved)
        trainer.sums.keep(ranks)
        report.note(f"goes on from {saved.iteration:,} steps")
    return trainer


def _refuse_changes(before: Training, now: Training) -> None:
    if before.arch != now.arch:
        raise Usage(f"a run of --arch {before.arch} is in this folder: name another -o")
    old, new = before.to_dict(), now.to_dict()
    old["network"], new["network"] = before.network.get("id"), now.network.get("id")
    named = {"network": "--net", "pictures": "DATA"}
    flags = [named.get(n, "--" + n.replace("_", "-")) for n in old if old[n] != new[n]]
    if flags:
        raise Usage(
            f"{', '.join(flags)} differ{'s' if len(flags) == 1 else ''} from the run in this "
            f"folder: give the same flags to go on, or another -o ({MAY_CHANGE})"
        )


class _Run:
    """The loop around EncoderTrainer.step: when to log and to write."""

    def __init__(
        self,
        job: EncoderJob,
        trainer: Trainer[Any, Any],
        seconds: float,
        log: IO[bytes],
        interruption: Interruption,
        pictures: Pictures | None,
    ) -> None:
        self.ranks = trainer.ranks
        self.held: Tensor | None = None
        if pictures is not None and self.ranks.first:
            self.held = _scaled(torch.from_numpy(pictures.held[:HELD]))
        self.shown = None if pictures is None else f"{pictures.names[0]}: {pictures.told()}"
        self.job, self.trainer, self.log, self.interruption = job, trainer, log, interruption
        self.seconds = self.logged = seconds
        self.saved_at = self.looked_at = time.monotonic()

    def go(self) -> None:
        """Train until job.steps; an interruption writes the state and raises."""
        trainer, job = self.trainer, self.job
        if self.ranks.first:
            write_json(job.folder / "config.json", trainer.config.to_dict())
        bar = report.progress_bar(total=job.steps, unit="step", desc="train encoder")
        try:
            bar.update(trainer.iteration)
            while trainer.iteration < job.steps:
                trainer.step()
                bar.update(1)
                self._after()
        finally:
            bar.close()

    def _after(self) -> None:
        step = self.trainer.iteration
        if step >= self.job.steps or step % self.job.snapshot == 0:
            self._snapshot()
        elif step % TICK == 0:
            self._line({})
        if self.ranks.world > 1 and step % TOGETHER:
            return
        due, wanted = self.ranks.any(
            time.monotonic() - self.saved_at > STATE_SECONDS,
            self.interruption.wanted is not None,
            device=self.trainer.network.device,
        )
        if due or wanted:
            self._save_state()
        if wanted:
            raise self.interruption.wanted or report.Terminated

    def _time(self) -> float:
        now = time.monotonic()
        self.seconds += now - self.looked_at
        self.looked_at = now
        return self.seconds

    def _line(self, more: dict[str, Any]) -> None:
        """One line of means since the last one; Usage once a weight is not finite."""
        trainer = self.trainer
        means = trainer.sums.means(self.ranks)
        if not trainer.is_finite():
            raise Usage(
                f"the training has diverged before step {trainer.iteration:,}; the last good state "
                f"is kept in {self.job.folder}: start again with a lower --lr"
            )
        if not self.ranks.first:
            return
        line = {
            "step": trainer.iteration,
            "images": trainer.images,
            "seconds": round(self._time(), 1),
            **{name: float(f"{value:.6g}") for name, value in means.items()},
            **more,
        }
        try:
            self.log.write(json.dumps(line).encode() + b"\n")
        except OSError as e:
            raise atomic.failure(self.job.folder / "log.jsonl", e) from None

    def _snapshot(self) -> None:
        """Encoder, sheet, log line, report and state, in this order.

        A kill anywhere between leaves files that the resumed run writes again, the same.
        """
        step = self.trainer.iteration
        if not self.trainer.is_finite():
            self._line({})  # raises
        scores = self._written() if self.ranks.first else {}
        self._line(scores and {**scores, "samples": self._sheet()})
        if self.ranks.first:
            encoder_report.write(self.job.folder, self.trainer.config)
        self._save_state()
        if not self.ranks.first:
            return
        told = f"PSNR {scores['psnr']:.2f} dB of samples that it has not seen"
        if "psnr_held" in scores:
            told += f", {scores['psnr_held']:.2f} dB of pictures held out"
        report.note(f"{step:,} steps, {self.seconds / 60:.0f} minutes: {told}")

    def _sheet(self) -> str:
        return f"{self.trainer.iteration:06d}.png"

    def _written(self) -> dict[str, float]:
        """Write encoder and sheet; the scores of that."""
        trainer, folder = self.trainer, self.job.folder
        training = {**trainer.config.to_dict(), "steps": trainer.iteration}
        training["pictures"] = self.shown
        del training["network"], training["device"]
        files.write(folder / files.NAME, encoder_files.to_file(trainer.ema, training))
        return encoder_sheet.write(folder / "samples" / self._sheet(), trainer, self.held)

    def _save_state(self) -> None:
        self.trainer.sums.gather(self.ranks)
        if self.ranks.first and self.trainer.is_finite():
            log_bytes = os.fstat(self.log.fileno()).st_size
            state.save(self.job.folder, self.trainer, self._time(), log_bytes)
        self.saved_at = time.monotonic()
