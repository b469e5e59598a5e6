"""Fits of several labels at once: conditions taken out, and the scale that pictures show (S2.7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gantools.io.seeds import derive
from gantools.latents.directions import Fit, fit
from gantools.latents.edit import project_out
from gantools.report import SampleError, Usage

WEAKEST = 0.1  # of the effect that the linear fit predicts: below it, pictures do not follow


@dataclass(frozen=True)
class How:
    """method and share as in `directions.fit`; orthogonal_to: labels taken out of the others."""

    method: str
    share: float | None
    orthogonal_to: Sequence[str]
    seed: int


def fit_all(x: np.ndarray, rows: np.ndarray, names: Sequence[str], how: How) -> dict[str, Fit]:
    """One fit per label: x [N, dim] latents, rows [N, K] labels (NaN: not known).

    Usage where a label cannot be fitted, or is nothing but its conditions.
    """
    fits: dict[str, Fit] = {}
    for i, name in enumerate(names):
        known = ~np.isnan(rows[:, i])
        rng = np.random.default_rng(derive(how.seed, "", "split"))
        try:
            fits[name] = fit(x[known], rows[known, i], how.method, share=how.share, rng=rng)
        except SampleError as e:
            raise Usage(f"--attribute {name}: {e}") from None
    conditions = [fits[name].normal for name in how.orthogonal_to]
    for name in names:
        if conditions and name not in how.orthogonal_to:
            fits[name] = _conditional(name, fits[name], conditions, how)
    return fits


def _conditional(name: str, fitted: Fit, conditions: Sequence[np.ndarray], how: How) -> Fit:
    try:
        normal = project_out(fitted.normal, conditions)
    except ValueError as e:
        raise Usage(f"--attribute {name} with --orthogonal-to: {e}") from None
    slope = fitted.slope * float(normal @ fitted.normal)  # what is left of the effect
    quality = {**fitted.quality, "orthogonal_to": list(how.orthogonal_to)}
    return replace(fitted, normal=normal, slope=slope, quality=quality)


def measured(fits: dict[str, Fit], change: Callable[[np.ndarray], np.ndarray]) -> dict[str, Fit]:
    """The fits with the slope that pictures show.

    change(vector): the mean change of every label [K] per strength 1 of the vector. Usage where
    pictures do not follow a direction. `quality["moves"]`: what else moves, in sd per sd.
    """
    names = list(fits)
    made = {}
    for i, name in enumerate(names):
        fitted = fits[name]
        for _ in range(2):  # the effect is not linear: measure again at the scale that was found
            by = change(fitted.vector)
            if by[i] < WEAKEST * fitted.sd:
                raise Usage(f"--attribute {name}: pictures do not follow the fitted direction")
            fitted = replace(fitted, slope=fitted.slope * float(by[i]) / fitted.sd)
        scale = fitted.sd / by[i]
        moves = {
            other: round(float(by[k] * scale / fits[other].sd), 3)
            for k, other in enumerate(names)
            if other != name
        }
        made[name] = replace(fitted, quality={**fitted.quality, "moves": moves})
    return made
