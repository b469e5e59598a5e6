"""One run on several processes, as torchrun starts them: who draws what, and what is averaged.

Every process draws the random numbers of the whole batch and keeps those of its share, so a run is
the same on any number of processes, up to rounding, and may go on with another number. A share
holds whole groups of the minibatch standard deviation, or equally many samples of every group.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from gantools.networks.layers import groups_of
from gantools.report import Usage

PATIENCE = datetime.timedelta(hours=2)  # how long the others wait while the first one measures


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run; alone by default, and then everything is as it was."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def take(self, whole: Tensor, group: int = 1) -> Tensor:
        """This process's samples of a batch [N, …]; group as minibatch_stddev has it.

        There, samples i, i + groups, … stand together: a share has all of some groups, in order, or
        where there are too few as many samples of each group as the others have. Usage where
        neither can be.
        """
        if self.world == 1:
            return whole
        return whole[self.share(len(whole), group).to(whole.device)]

    def share(self, n: int, group: int = 1) -> Tensor:
        """The indices of `take`."""
        groups = groups_of(n, group)
        size = n // groups
        if n % groups or (groups % self.world and size % self.world):
            raise Usage(
                f"a batch of {n} in groups of {min(group or n, n)} does not divide over "
                f"{self.world} processes: choose another --batch"
            )
        rows = torch.arange(n).view(size, groups)
        if groups % self.world:
            return rows.chunk(self.world)[self.rank].flatten()
        return rows.chunk(self.world, dim=1)[self.rank].flatten()

    def total(self, value: Tensor) -> Tensor:
        """The sum over the processes; `value` is not changed and gets no gradient."""
        if self.world == 1:
            return value
        summed = value.detach().clone()
        dist.all_reduce(summed)
        return summed

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the processes, with gradients of every order."""
        return value if self.world == 1 else _Mean.apply(value, self.world)  # type: ignore[no-any-return,no-untyped-call]

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Every gradient becomes its mean over the processes, in one message."""
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= self.world
        at = 0
        for gradient in gradients:
            gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient))
            at += gradient.numel()

    def any(self, *flags: bool, device: str = "cpu") -> list[bool]:
        """Each flag, whether it is set in any process."""
        if self.world == 1:
            return list(flags)
        told = torch.tensor(flags, dtype=torch.float32, device=device)
        dist.all_reduce(told, op=dist.ReduceOp.MAX)
        return [bool(x) for x in told.tolist()]

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()


def parts_of(n: int, group: int, at_once: int | None) -> int:
    """In how many parts n samples are computed: the fewest that have at most `at_once` each.

    Whole groups of the minibatch stddev stand in each (group as in `Ranks.take`). Usage where that
    cannot be.
    """
    if at_once is None or n <= at_once:
        return 1
    size = min(group or n, n)
    groups = n // size if n % size == 0 else 1
    for parts in range(2, groups + 1):
        if groups % parts == 0 and n // parts <= at_once:
            return parts
    raise Usage(
        f"--batch-gpu {at_once}: {n} pictures in groups of {size} for the minibatch stddev do not "
        f"divide into such parts: give {size} or more, or another --batch"
    )


class _Mean(torch.autograd.Function):
    """The mean over processes; its gradient is the mean of their gradients.

    So what the processes together compute is differentiated as one program, whose loss is the mean
    of theirs, once or twice.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, world: int) -> Tensor:
        ctx.world = world
        summed = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed)
        return summed / world

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _Mean.apply(gradient, ctx.world), None  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """The processes that torchrun started ($WORLD_SIZE, $RANK, $LOCAL_RANK); else this one alone.

    gloo on CPUs, NCCL on GPUs, one GPU for each process.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()
