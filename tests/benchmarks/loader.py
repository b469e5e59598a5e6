"""Pictures that --stream decodes per second, against those that a training step takes.

    python tests/benchmarks/loader.py PICTURES... [--workers 2] [--threads N] [--seconds 10]

PICTURES: as `gantools train` takes them, of 64x64 or more. Three figures: the reader alone, the
steps of `--preset faces64` alone (pictures in memory, R1, path length and ADA as they come), and
both together, with the share of the time that the step waited. The goal is a ratio of 5 on two
cores.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch

from gantools.training import data, families, networks, presets, reader
from gantools.training.presets import TrainConfig
from gantools.training.reader import Reader


def opened(pictures: data.Pictures, config: TrainConfig, workers: int, *, stream: bool) -> Reader:
    with tempfile.TemporaryDirectory() as folder:
        return reader.opened(
            pictures,
            Path(folder),
            seed=config.seed,
            mirror=config.mirror,
            workers=workers,
            stream=stream,
        )


def per_second(step: Callable[[], None], count: int, seconds: float) -> float:
    """Pictures per second of a step of `count`, after two for the first kernels."""
    step(), step()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        done += count
    return done / (time.perf_counter() - start)


def read(given: Reader, batch: int, seconds: float) -> float:
    """Pictures per second of the reader alone."""
    position = 0

    def step() -> None:
        nonlocal position
        given.batch(position, batch, lambda whole: whole)
        position += batch

    return per_second(step, batch, seconds)


def train(given: Reader, config: TrainConfig, seconds: float) -> tuple[float, float]:
    """Images per second of training, and the share of the time that it waited."""
    trainer = families.trainer(config, networks.new_networks(config), given)
    before, start = given.waited, time.perf_counter()
    speed = per_second(trainer.step, config.batch, seconds)
    return speed, (given.waited - before) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    config = presets.resolve("faces64", None, {"device": "cpu"})
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        pictures = data.load(
            args.pictures,
            config.size,
            Path(folder),
            hold_out=config.hold_out,
            workers=args.workers,
        )
        took = time.perf_counter() - start
        print(f"looked at {len(pictures.train):,} pictures in {took:.1f} s")
        with closing(opened(pictures, config, args.workers, stream=True)) as given:
            loader = read(given, config.batch, args.seconds)
        print(f"reader alone: {loader:,.0f} pictures/s with {args.workers} threads", flush=True)
        with closing(opened(pictures, config, args.workers, stream=False)) as given:
            alone, _ = train(given, config, args.seconds)
        print(f"steps alone: {alone:,.1f} images/s; ratio {loader / alone:.1f}", flush=True)
        with closing(opened(pictures, config, args.workers, stream=True)) as given:
            both, waiting = train(given, config, args.seconds)
        print(f"together: {both:,.1f} images/s, waiting {100 * waiting:.2f} % of the time")


if __name__ == "__main__":
    main()
