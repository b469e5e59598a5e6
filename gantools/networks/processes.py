"""A batch that stands in several processes, for the layers that look at all of it."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Processes(Protocol):
    """Those that compute a batch together, in equal shares (training.distributed.Ranks)."""

    @property
    def world(self) -> int: ...
    def mean(self, value: Tensor) -> Tensor:
        """The mean over the processes, with gradients of every order."""
        ...
