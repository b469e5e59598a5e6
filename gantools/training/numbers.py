"""The numbers of a run as a state file has them: modules, Adam's moments, running sums."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from gantools.report import Usage
from gantools.training.draws import Sums


def of_module(part: str, module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters and buffers as `part.name`."""
    return {f"{part}.{name}": tensor for name, tensor in module.state_dict().items()}


def of_adam(part: str, module: nn.Module, adam: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The moments of a module's parameters as `part.name.moment`."""
    found = {}
    for key, parameter in module.named_parameters():
        moments = adam.state.get(parameter, {})
        found.update({f"{part}.{key}.{name}": moments[name] for name in sorted(moments)})
    return found


def of_sums(sums: Sums) -> dict[str, Tensor]:
    """What log.jsonl will average."""
    return {f"sums.{name}": value for name, value in sums.values.items()}


def arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Tensors for a file."""
    return {name: t.detach().cpu().contiguous().numpy() for name, t in tensors.items()}


class Stored:
    """A state file's arrays, each taken once; Usage for one that is missing, or does not fit."""

    def __init__(self, tensors: Mapping[str, np.ndarray], file: str) -> None:
        self.left, self.file = dict(tensors), file

    def take(self, name: str, like: Tensor) -> Tensor:
        """One of them as a tensor of the shape, device and memory format of `like`."""
        value = self.left.pop(name, None)
        if value is None or value.shape != tuple(like.shape):
            raise Usage(f"{self.file}: {name} is missing or of another shape")
        target = torch.empty_like(like)  # keeps the memory format
        return target.copy_(torch.from_numpy(np.array(value)))

    def into_module(self, part: str, module: nn.Module) -> None:
        """Fill a module in place."""
        with torch.no_grad():
            for name, tensor in module.state_dict().items():
                tensor.copy_(self.take(f"{part}.{name}", tensor))

    def into_adam(
        self, part: str, module: nn.Module, adam: torch.optim.Optimizer, device: str
    ) -> None:
        """Give an optimiser its moments, of the parameters that have any."""
        for key, parameter in module.named_parameters():
            name = f"{part}.{key}"
            # LREQAdam has the second alone, Ranger the weights that it goes back to.
            there = [n for n in ("exp_avg", "exp_avg_sq", "slow") if f"{name}.{n}" in self.left]
            if not there:
                continue
            step = torch.from_numpy(np.array(self.left.pop(f"{name}.step")))
            adam.state[parameter] = {
                "step": step.to(device),
                **{n: self.take(f"{name}.{n}", parameter.detach()) for n in there},
            }

    def into_sums(self, sums: Sums) -> None:
        """Go on with the running sums."""
        for name in [n for n in self.left if n.startswith("sums.")]:
            like = torch.empty(2, dtype=torch.float64, device=sums.device)
            sums.values[name.removeprefix("sums.")] = self.take(name, like)

    def finish(self) -> None:
        """Usage where something is left over."""
        if self.left:
            raise Usage(f"{self.file}: {sorted(self.left)[0]} belongs to another network")
