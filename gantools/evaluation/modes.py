"""Modes of stacked MNIST: three digits in R, G and B, a thousand combinations (S1.22)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gantools.evaluation.bootstrap import RESAMPLES
from gantools.evaluation.features import resized
from gantools.io.seeds import derive
from gantools.report import SampleError, Usage

COUNT = 1000
SIDE = 32  # what LeNet sees
PROTOCOL = {
    "resize": f"bilinear, antialiased, stretched to {SIDE}x{SIDE}",
    "code": "digits of R + 10 G + 100 B",
    "interval": f"95 %; modes: Chao's, with those not drawn; kl: basic bootstrap, {RESAMPLES} "
    "resamples of the pictures",
}
"""How pictures are read, for a protocol."""


def lenet() -> nn.Sequential:
    """LeNet-5 with tanh and max pooling: [N, 1, 32, 32] in 0..1 -> logits [N, 10]."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 120, 5),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, 10),
    )


NAMES = {"convnet.c1": 0, "convnet.c3": 3, "convnet.c5": 6, "fc.f6": 9, "fc.f7": 11}


def load(path: Path) -> nn.Sequential:
    """LeNet with the weights of a file of abdulfatir/gan-metrics-pytorch's names.

    Usage where tensors are missing or of other shapes.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    net = lenet()
    own = {f"{at}.{part}": f"{name}.{part}" for name, at in NAMES.items()
           for part in ("weight", "bias")}  # fmt: skip
    try:
        net.load_state_dict({mine: state[theirs] for mine, theirs in own.items()})
    except (KeyError, RuntimeError, TypeError) as e:
        raise Usage(f"{path.name}: no LeNet of digits ({e})") from None
    return net.eval().requires_grad_(False)


def codes(images: Tensor, digits: Callable[[Tensor], Tensor]) -> np.ndarray:
    """d_R + 10 d_G + 100 d_B [N] of uint8 pictures [N, 3, H, W], each channel its own digit.

    SampleError for pictures of another number of channels.
    """
    if images.shape[1] != 3:
        raise SampleError(f"{images.shape[1]} channels, where stacked digits have 3")
    single = resized(images, (SIDE, SIDE)).flatten(0, 1)[:, None] / 255
    found = digits(single).argmax(1).view(-1, 3).cpu().numpy()
    return found @ np.array([1, 10, 100])


@dataclass(frozen=True)
class Modes:
    """How often each of the 1000 codes was there: counts [1000]."""

    counts: np.ndarray

    @classmethod
    def of_codes(cls, found: np.ndarray) -> Modes:
        """Of the codes [N] of pictures."""
        return cls(np.bincount(found.astype(np.int64), minlength=COUNT))

    def results(self) -> dict[str, float | int]:
        """modes: codes that were there at all. kl: Σ p ln(1000 p), of the codes from uniform."""
        p = self.counts[self.counts > 0] / self.counts.sum()
        return {"modes": len(p), "kl": float((p * np.log(COUNT * p)).sum())}

    def intervals(self, seed: int = 0) -> dict[str, list[float]]:
        """modes_ci: how many modes there are, those that nobody drew included; kl_ci. 95 %."""
        return {"modes_ci": self._modes_interval(), "kl_ci": self._kl_interval(seed)}

    # Chao (1987): who was there once and twice says how many were not there. A bootstrap cannot:
    # its resamples lose modes that are in the source for certain.
    def _modes_interval(self) -> list[float]:
        seen, once, twice = (int(np.sum(found)) for found in (
            self.counts > 0, self.counts == 1, self.counts == 2
        ))  # fmt: skip
        unseen = once * (once - 1) / (2 * (twice + 1))
        if not unseen:
            return [seen, seen]
        variance = unseen + once * (2 * once - 1) ** 2 / (4 * (twice + 1) ** 2)
        variance += once**2 * twice * (once - 1) ** 2 / (4 * (twice + 1) ** 4)
        factor = np.exp(1.96 * np.sqrt(np.log1p(variance / unseen**2)))
        return [float(min(seen + unseen * k, COUNT)) for k in (1 / factor, factor)]

    # Resamples have a larger KL than the set, as the set has beside its source: the basic
    # bootstrap takes off what they are above.
    def _kl_interval(self, seed: int) -> list[float]:
        count, own = int(self.counts.sum()), self.results()["kl"]
        generator = np.random.default_rng(derive(seed, "bootstrap"))
        drawn = generator.multinomial(count, self.counts / count, RESAMPLES)
        found = np.sort([Modes(counts).results()["kl"] for counts in drawn])
        cut = RESAMPLES // 40
        ends = np.clip(2 * own - found[[-cut, cut - 1]], 0, np.log(COUNT))
        return [float(end) for end in ends]
