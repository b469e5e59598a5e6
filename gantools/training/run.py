"""A whole training run in its folder: starting and resuming; `rounds` goes on from there."""

from __future__ import annotations

import os
from contextlib import closing

import numpy as np

from gantools import report
from gantools.io import classes as class_labels
from gantools.io import rasters
from gantools.report import Usage
from gantools.training import crops, data, distributed, families, folders, reader, refusals, state
from gantools.training.crops import Crops
from gantools.training.data import Pictures
from gantools.training.distributed import Ranks
from gantools.training.families import Config
from gantools.training.folders import Interruption
from gantools.training.job import Job
from gantools.training.memory import keep_memory
from gantools.training.networks import Networks, from_checkpoint, new_networks, start
from gantools.training.rounds import Rounds
from gantools.training.state import Progress

SHOWN = 12  # classes that are told by name


def train(job: Job, config: Config) -> None:
    """Start or resume the run in job.folder and end with it trained to job.images.

    Usage where flags or pictures differ from those that it was started with, where another process
    trains there, where the disk is full and where it diverges; the last good state stays.
    """
    with distributed.joined(config.device) as ranks, folders.opened(job.folder, ranks) as log:
        saved = state.read(job.folder)
        if saved is not None:
            _refuse_changes(saved.config, config)
            config = saved.config
            if saved.images >= job.images:
                report.note(f"{job.folder}: {saved.images:,} images are done; raise --images")
                return
        keep_memory()
        origin = start(job.net, config) if saved is None else None
        refusals.check(
            config,
            origin,
            saved,
            ranks,
            batch_gpu=job.batch_gpu,
            labelled=job.labels is not None,
        )
        made = None if origin is None else from_checkpoint(origin, config)
        pictures = _pictures(job, config, ranks)
        networks, parents = made or _networks(config, saved, len(pictures.classes))
        if origin is not None:
            refusals.check_classes(networks, len(pictures.classes))
        progress = saved.progress if saved else Progress(pictures.digest, derived_from=parents)
        if not progress.digest.startswith(data.DIGEST):
            report.note("begun by an earlier version: that these are its pictures is not checked")
            progress.digest = pictures.digest
        if progress.digest != pictures.digest:
            raise Usage(
                f"{job.folder}: these are not the pictures that the run was started with"
                f"{', or not their classes' * bool(pictures.classes)}; give the same ones, or "
                "another -o"
            )
        given = reader.opened(
            pictures,
            job.folder,
            seed=config.seed,
            mirror=config.mirror,
            device=config.device,
            workers=job.workers,
            stream=job.stream,
        )
        with closing(given):
            trainer = families.trainer(
                config,
                networks,
                given,
                compile=job.compile,
                ranks=ranks,
                batch_gpu=job.batch_gpu,
            )
            if saved is not None:
                state.restore(trainer, saved)
                trainer.keep()
                report.note(f"{job.folder}: goes on from {saved.images:,} images")
            if ranks.first:
                os.truncate(log.fileno(), progress.log_bytes)
            ranks.wait()  # until each has read the state that the first will write anew
            with Interruption() as interruption:
                Rounds(job, trainer, progress, pictures, log, interruption).go()


def _refuse_changes(before: Config, now: Config) -> None:
    flags = families.changed(before, now)
    if flags:
        raise Usage(
            f"{', '.join(flags)} differ{'s' if len(flags) == 1 else ''} from the run in this "
            "folder: give the same flags to go on, or another -o (only --images, --snapshot, "
            "--batch-gpu, --workers and --stream may change)"
        )


def _networks(
    config: Config, saved: state.Saved | None, classes: int
) -> tuple[Networks, list[str]]:
    """Networks of the run's shape, which are derived from no others."""
    shapes = None if saved is None else saved.networks
    return new_networks(config, shapes, classes=classes), []


def _pictures(job: Job, config: Config, ranks: Ranks) -> Pictures | Crops:
    """The pictures; a note says which number is which class: `generate --class` takes it."""
    wanted = config.metric is not None or config.family == "alae"  # to reconstruct them
    keep_held = wanted and ranks.first
    stores = [rasters.is_store(operand) for operand in job.operands]
    if any(stores):
        if not all(stores) or job.labels is not None:
            what = "--labels" if job.labels is not None else job.operands[stores.index(False)]
            raise Usage(f"{what}: a run on crops of Zarr rasters has no other pictures, no labels")
        return crops.load(
            job.operands,
            config.size,
            job.folder,
            hold_out=config.hold_out,
            keep_held=keep_held,
            channels=config.channels,
        )
    classes = None
    if job.labels is not None:
        classes = class_labels.read(job.labels, job.label_column, job.operands)
    pictures = data.load(
        job.operands,
        config.size,
        job.folder,
        hold_out=config.hold_out,
        keep_held=keep_held,
        workers=job.workers,
        channels=config.channels,
        classes=classes,
    )
    if pictures.classes:
        counts = np.bincount(pictures.labels, minlength=len(pictures.classes)).tolist()
        each = [
            f"{i}: {n:,} {'' if name == str(i) else name}".rstrip()
            for i, (name, n) in enumerate(zip(pictures.classes, counts, strict=True))
        ]
        more = f", … {len(each) - SHOWN} more" if len(each) > SHOWN else ""
        report.note(f"{len(each)} classes: {', '.join(each[:SHOWN])}{more}")
    return pictures
