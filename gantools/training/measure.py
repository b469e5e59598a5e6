"""The score that picks a run's best snapshot (S0.15): FID or KID against held-out pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from gantools.evaluation import features, frechet, kernel
from gantools.io.alpha import straight
from gantools.report import Usage
from gantools.training import snapshots
from gantools.training.families import Config

FEWEST = 100  # held-out pictures

Score = Callable[[Any, float], float]
"""The EMA generator and the level of detail -> its score."""


def measure(
    config: Config, held: np.ndarray, dtype: torch.dtype | None, classes: Sequence[int] = ()
) -> Score | None:
    """A function from the EMA generator to its score; None without --metric.

    held: uint8 [N,C,H,W]; as many are generated, the same latents each time, psi 1. classes: those
    of held, where there are classes, and then those of the generated ones too. FID as in S0.16;
    KID is the unbiased MMD^2 of all pictures, which few pictures do not bias. Usage where the
    weights of the features are not there, or too few pictures are held out.
    """
    if config.metric is None:
        return None
    if len(held) < FEWEST:
        raise Usage(
            f"--metric {config.metric}: {len(held)} pictures are held out, {FEWEST} are needed "
            "(--hold-out N)"
        )
    extract = features.extractor(config.features, config.device)

    def of(batches: Iterable[torch.Tensor]) -> np.ndarray:
        return np.concatenate([extract(batch).cpu().numpy() for batch in batches])

    def score(g: Any, lod: float) -> float:
        pictures = snapshots.sample(
            g, len(held), config.seed, "metric", dtype, lod=lod, classes=classes
        )
        fake = of(map(_shown, pictures))
        if config.metric == "kid":
            return kernel.mmd2(real, fake)
        return frechet.fid_from_features(real, fake)

    parts = (held[i : i + 64].transpose(0, 2, 3, 1) for i in range(0, len(held), 64))
    real = of(map(_shown, parts))
    return score


def _shown(pictures: np.ndarray) -> torch.Tensor:
    """uint8 [n,H,W,C], premultiplied where C is 4, as features take them: [n,C,H,W], straight."""
    if pictures.shape[3] == 4:
        pictures = straight(pictures)
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)
