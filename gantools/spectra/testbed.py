"""What the two testbeds of paper 003 share: a configuration as a bed that steps (S3.7, S3.12).

Nothing in a bed is drawn after its start, so that its course depends on its numbers alone: one that
goes on from a state goes on bit for bit (on a CPU with as many threads).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from gantools.ops.similarity import levels, psnr

BETAS = (0.0, 0.99)
CAPPED = 100.0  # dB of a picture that is exact (S3.6)
WARM = 3  # steps before a graph is recorded

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Shape:
    """The testbeds' networks: pixels along a side, and by what PGGAN's channels are divided."""

    resolution: int
    divisor: float
    padding: Literal["zeros", "reflect"] = "zeros"


class Bed(Protocol):
    """A configuration while it is trained."""

    targets: Tensor

    @property
    def name(self) -> str: ...
    @property
    def modules(self) -> dict[str, nn.Module]: ...
    @property
    def optimisers(self) -> dict[str, tuple[nn.Module, torch.optim.Optimizer]]: ...

    def step(self) -> None: ...
    def pictures(self) -> Tensor: ...
    def measure(self) -> dict[str, float]: ...


def seeded(seed: int, make: Callable[[], M]) -> M:
    """A network as it is drawn from a seed, whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        return make()


def adam(module: nn.Module, lr: float) -> torch.optim.Adam:
    """The paper's optimiser; on a GPU one that a graph may hold."""
    parameters = list(module.parameters())
    on_gpu = parameters[0].device.type == "cuda"
    return torch.optim.Adam(parameters, lr=lr, betas=BETAS, eps=1e-8, fused=True, capturable=on_gpu)


def step_by(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the loss's gradient."""
    parameters = optimiser.param_groups[0]["params"]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        # Fused Adam walks through memory: a gradient of other strides would reach other numbers.
        parameter.grad = torch.empty_like(parameter).copy_(gradient)
    optimiser.step()


def quality(made: Tensor, wanted: Tensor) -> float:
    """Mean PSNR of pictures [N, C, H, W] in [-1, 1] in dB, on truncated 8-bit levels (S3.6)."""
    a, b = (levels(x.detach().float(), "truncate") for x in (made, wanted))
    found = psnr(a, b)
    return float(found.clamp(max=CAPPED).mean())


class Together:
    """One step of every bed at a call: in turn, or on a GPU as one CUDA graph of all.

    The networks are so small that a GPU mostly waits for the next kernel's start. In a graph no
    kernel waits for the CPU, and each bed has a stream of its own.
    """

    def __init__(self, beds: Sequence[Bed]) -> None:
        self.beds = beds
        device = beds[0].targets.device
        self.on_gpu = device.type == "cuda"
        if self.on_gpu:
            torch.cuda.set_device(device)  # streams and graphs are the current device's
        self.streams = [torch.cuda.Stream() for _ in beds] if self.on_gpu else []
        self.graph: torch.cuda.CUDAGraph | None = None
        self.calls = 0

    def __call__(self) -> None:
        if not self.on_gpu:
            for bed in self.beds:
                bed.step()
        elif self.graph is not None:
            self.graph.replay()
        else:
            self._begin()

    def _begin(self) -> None:
        """The first steps one by one, so that all memory is there; then they are recorded."""
        if self.calls < WARM:
            self._side_by_side()
            self.calls += 1
            return
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self._side_by_side()
        self.graph.replay()  # recording computes nothing

    def _side_by_side(self) -> None:
        now = torch.cuda.current_stream()
        for bed, stream in zip(self.beds, self.streams, strict=True):
            stream.wait_stream(now)
            with torch.cuda.stream(stream):
                bed.step()
        for stream in self.streams:
            now.wait_stream(stream)
