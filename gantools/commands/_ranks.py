"""One metric on several processes, as torchrun starts them: each makes its share of the samples.

Process r of N has every N-th of the samples that a network makes, from the r-th on. What it makes
of them goes to the first process, in the samples' order: there all is as if it were alone, so no
result depends on N. The others end when they have given all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import typer

from gantools import report
from gantools.report import Usage

if TYPE_CHECKING:
    import numpy as np
    import torch

    Item = tuple[int, np.ndarray]

DTYPES = ("uint8", "float32", "float64")
HEAD = 6  # numbers before the indices: count, failures, dtype, and at most three sizes
BLOCK = 64  # samples that a process hands on together

_run = {"divided": False}  # whether this process has divided its one set of samples


def world() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process among them."""
    return int(os.environ.get("RANK", "0")) if world() > 1 else 0


def share(numbers: range) -> range:
    """Those of the samples that this process makes."""
    return numbers[rank() :: world()]


def alone(what: str) -> None:
    """Usage under torchrun, for a metric of which `what` is not made by a network."""
    if world() > 1:
        raise Usage(f"torchrun divides what a network makes: leave {what} out, or start it alone")


def together(items: Iterable[Item], numbers: range) -> Iterator[Item]:
    """(number, array) of all processes' shares of `numbers`, in order; an array for each at most.

    items: this process's, in order. All arrays have one shape of three sizes at most, and one
    type. In every process but the first this computes and sends them at once, and ends it. Usage
    for a second set, and, while items are taken, where another process is gone.
    """
    if world() == 1:
        return iter(items)
    if _run["divided"]:  # the others have ended
        raise Usage("torchrun divides one set of samples: start one run for each, or shards")
    _run["divided"] = True
    blocks = _blocks(items, numbers)
    if rank():
        report.begin(report.command(), quiet=True)  # of remarks; failed samples are told here
        _send(blocks)
        raise typer.Exit(0)
    return _received(blocks)


def in_blocks(
    items: Iterable[Item], numbers: range, rows: Callable[[list[Item]], np.ndarray]
) -> Iterator[Item]:
    """Items of `together` that are computed of others in blocks: rows [n, …] of n items at most.

    Where rows leaves some out, its rows have the numbers of the first of the block.
    """
    for block in _blocks(items, numbers):
        made: Iterable[np.ndarray] = rows(block) if block else ()
        yield from ((number, row) for (number, _), row in zip(block, made, strict=False))


def _blocks(items: Iterable[Item], numbers: range) -> Iterator[list[Item]]:
    """The items of each round; a round has as many numbers in every process."""
    size = BLOCK * world()
    incoming = iter(items)
    waiting: list[Item] = []
    for start in range(0, len(numbers), size):
        within = numbers[start : start + size]
        block: list[Item] = []
        for item in chain(waiting, incoming):
            if item[0] not in within:
                waiting = [item]
                break
            block.append(item)
        else:
            waiting = []
        yield block


def _send(blocks: Iterator[list[Item]]) -> None:
    import torch
    import torch.distributed as dist

    with _joined():
        sending: list[Any] = []
        for block in blocks:
            head = torch.zeros(HEAD + BLOCK, dtype=torch.int64)
            head[0], head[1] = len(block), report.failures()
            tensors = [head]
            if block:
                first = block[0][1]
                sizes = [*first.shape, *[-1] * (3 - first.ndim)]
                head[2:HEAD] = torch.tensor([DTYPES.index(str(first.dtype)), *sizes])
                head[HEAD : HEAD + len(block)] = torch.tensor([number for number, _ in block])
                tensors.append(_stacked(block))
            _wait(sending)  # the block before, while this one was computed
            with _partner():
                sending = [(dist.isend(tensor, 0), tensor) for tensor in tensors]
        _wait(sending)


def _wait(sending: Iterable[Any]) -> None:
    with _partner():
        for work, _ in sending:  # the tensor lives until it has been sent
            work.wait()


def _stacked(block: list[Item]) -> torch.Tensor:
    import numpy as np
    import torch

    return torch.from_numpy(np.stack([array for _, array in block]))


def _received(blocks: Iterator[list[Item]]) -> Iterator[Item]:
    failed = 0
    with _joined():
        for block in blocks:
            whole, told = [*block], 0
            for other in range(1, world()):
                theirs, failures = _from(other)
                whole += theirs
                told += failures
            report.failed_elsewhere(told - failed)
            failed = told
            yield from sorted(whole, key=lambda item: item[0])


def _from(other: int) -> tuple[list[Item], int]:
    """What that process has made in this round, and how many of its samples failed so far."""
    import torch
    import torch.distributed as dist

    head = torch.zeros(HEAD + BLOCK, dtype=torch.int64)
    with _partner():
        dist.recv(head, other)
        count, failures, kind, *sizes = head[:HEAD].tolist()
        shape = [count, *(size for size in sizes if size >= 0)]
        data = torch.zeros(shape if count else [0], dtype=getattr(torch, DTYPES[kind]))
        if count:
            dist.recv(data, other)
    return [*zip(head[HEAD : HEAD + count].tolist(), data.numpy(), strict=True)], failures


@contextlib.contextmanager
def _joined() -> Iterator[None]:
    from gantools.training import distributed

    with _partner("the processes of this run did not find each other"):
        joined = contextlib.ExitStack()
        joined.enter_context(distributed.joined("cpu"))  # numbers are handed on by the CPUs
    with joined:
        yield


@contextlib.contextmanager
def _partner(why: str = "another process of this run ended early") -> Iterator[None]:
    try:
        yield
    except RuntimeError as e:
        raise Usage(why) from e
