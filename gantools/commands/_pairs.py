"""Pictures of two operands, paired by key, as they arrive (`metrics recon`); some of a set."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from gantools import report
from gantools.commands import _sources
from gantools.io.seeds import derive
from gantools.report import SampleError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gantools.evaluation.features import Picture
    from gantools.io.sample import Sample

Match = tuple[str, "Sample", "Sample"]
Pair = tuple[str, "np.ndarray", "np.ndarray"]
Fit = Callable[["np.ndarray"], "np.ndarray"]


def open_pairs(
    target: str, result: str, asked: _sources.Drawn, fit: Fit | None = None
) -> Iterator[Pair]:
    """(key, target, result), uint8 [H, W, 3] of equal size, as `fit` leaves them.

    fit: what a command's --size does; None where it has no such flag.
    What is in one operand alone, cannot be read, or has two sizes, is reported. Usage for two
    streams on standard input, and for an operand that is not there. In memory are one batch, and
    the files whose partner has not come yet.
    """
    _sources.check_operands(target, result)
    return _pictures(_matched(target, result), asked, fit)


def _matched(target: str, result: str) -> Iterator[Match]:
    """Samples of one key, as soon as both are there; then what has no partner is reported.

    Two files of one picture are a pair whatever they are called.
    """
    from gantools.io.source import known_keys, samples

    broken: set[str] = set()
    texts = (target, result)
    # What can be read only once, such as a named pipe, is not looked into beforehand.
    files = all(Path(text).is_file() for text in texts)
    keys = [known_keys([text]) for text in texts] if files else []
    if files and all(k is not None and len(k) == 1 for k in keys):
        both = [next(samples([text]), None) for text in texts]
        if both[0] is not None and both[1] is not None:
            yield both[0].key, both[0], both[1]
        return
    reading = [samples([t], on_failure=lambda key, _name, _why: broken.add(key)) for t in texts]
    waiting: list[dict[str, Sample]] = [{}, {}]
    for arrived in zip_longest(*reading):
        for side, sample in enumerate(arrived):
            if sample is None:
                continue
            partner = waiting[1 - side].pop(sample.key, None)
            if partner is None:
                waiting[side][sample.key] = sample
            else:
                pair = (sample, partner) if side == 0 else (partner, sample)
                yield sample.key, *pair
    for alone, other in zip(waiting, reversed(texts), strict=True):
        for key, sample in alone.items():
            if key not in broken:
                report.failed(sample.name, f"{_called(other)} has no {key}")


def _called(text: str) -> str:
    return "standard input" if text == "-" else Path(text).name or text


def _pictures(matches: Iterator[Match], asked: _sources.Drawn, fit: Fit | None) -> Iterator[Pair]:
    while group := list(islice(matches, asked.batch)):
        targets = _decoded([target for _, target, _ in group], asked)
        results = _decoded([result for _, _, result in group], asked)
        for key, _, result in group:  # the key is the target's; a single result may have another
            a, b = targets.get(key), results.get(result.key)
            if a is None or b is None:
                continue
            try:
                yield key, *_fitted(a, b, fit)
            except SampleError as e:
                report.failed(key, e)


def _decoded(samples: Sequence[Sample], asked: _sources.Drawn) -> dict[str, np.ndarray]:
    return dict(_sources.pictures_of(samples, asked, keyed=True))


def _fitted(
    target: np.ndarray, result: np.ndarray, fit: Fit | None
) -> tuple[np.ndarray, np.ndarray]:
    a, b = in_colour(target), in_colour(result)
    if fit is not None:
        a, b = fit(a), fit(b)
    if a.shape != b.shape:
        sizes = " and ".join(f"{x.shape[1]}x{x.shape[0]}" for x in (a, b))
        flag = "--size" if fit else "prefilter --size"
        raise SampleError(f"its pictures have {sizes} pixels; {flag} brings both to one size")
    return a, b


def shuffled(samples: Iterable[Sample], most: int, seed: int, purpose: str) -> Iterator[Sample]:
    """At most so many, those with the smallest hashes of seed and key, in the hashes' order.

    So the order in which they come does not matter, and of a long stream only `most` files are held
    in memory.
    """
    heap: list[tuple[int, str, Sample]] = []
    for sample in samples:
        entry = -derive(seed, sample.key, purpose), sample.key, sample
        if len(heap) < most:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)
    for _, _, sample in sorted(heap, key=lambda entry: entry[:2], reverse=True):
        yield sample


def in_colour(pixels: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] of [H, W, 1, 3 or 4], alpha laid on white."""
    from gantools.io.alpha import on_white

    if pixels.shape[2] == 4:
        return on_white(pixels)
    return pixels if pixels.shape[2] == 3 else pixels.repeat(3, axis=2)


def grouped(pairs: Iterable[Pair], batch: int) -> Iterator[list[Pair]]:
    """Neighbours of one size, at most `batch` and a quarter of a megapixel (what caches hold)."""
    group: list[Pair] = []
    for pair in pairs:
        if group and not _fits(group[0][1], pair[1], len(group), batch):
            yield group
            group = []
        group.append(pair)
    if group:
        yield group


def of_one_size(pictures: Iterable[Picture], batch: int) -> Iterator[list[Picture]]:
    """The same of single pictures."""
    for group in grouped(((name, pixels, pixels) for name, pixels in pictures), batch):
        yield [(name, pixels) for name, pixels, _ in group]


def _fits(first: np.ndarray, pixels: np.ndarray, count: int, batch: int) -> bool:
    most = max(1, min(batch, (1 << 18) // (first.shape[0] * first.shape[1])))
    return count < most and first.shape == pixels.shape


def stacked(pictures: Sequence[np.ndarray], device: str) -> Tensor:
    """uint8 [H, W, C] of one size as uint8 [N, C, H, W] on the device."""
    import numpy as np
    import torch

    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(device)
