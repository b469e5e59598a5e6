"""Fits of several labels at once: conditions taken out, and the scale that pictures show (S2.7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gantools import report
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

    A label that cannot be fitted, or is nothing but its conditions, is reported and left out.
    Usage where that is a condition of the others.
    """
    fits: dict[str, Fit] = {}
    for i, name in enumerate(names):
        known = ~np.isnan(rows[:, i])
        rng = np.random.default_rng(derive(how.seed, "", "split"))
        try:
            fits[name] = fit(x[known], rows[known, i], how.method, share=how.share, rng=rng)
        except SampleError as e:
            report.failed(f"--attribute {name}", e)
    for name in how.orthogonal_to:
        if name not in fits:
            raise Usage(f"--orthogonal-to {name}: it could not be fitted")
    conditions = [fits[name].normal for name in how.orthogonal_to]
    if not conditions:
        return fits
    made = {}
    for name, fitted in fits.items():
        try:
            free = name in how.orthogonal_to
            made[name] = fitted if free else _conditional(fitted, conditions, how)
        except ValueError as e:
            report.failed(f"--attribute {name} with --orthogonal-to", e)
    return made


def _conditional(fitted: Fit, conditions: Sequence[np.ndarray], how: How) -> Fit:
    normal = project_out(fitted.normal, conditions)
    slope = fitted.slope * float(normal @ fitted.normal)  # what is left of the effect
    quality = {**fitted.quality, "orthogonal_to": list(how.orthogonal_to)}
    return replace(fitted, normal=normal, slope=slope, quality=quality)


def measured(
    fits: dict[str, Fit], change: Callable[[np.ndarray], np.ndarray], names: Sequence[str]
) -> dict[str, Fit]:
    """The fits with the slope that pictures show.

    change(vector): the mean change of every label [K], in the order of `names`, per strength 1 of
    the vector. A direction that pictures do not follow is reported and left out.
    `quality["moves"]`: what else moves, in sd per sd.
    """
    made = {}
    for name, linear in fits.items():
        i, fitted = names.index(name), linear
        for _ in range(2):  # the effect is not linear: measure again at the scale that was found
            by = change(fitted.vector)
            if by[i] < WEAKEST * fitted.sd:
                report.failed(f"--attribute {name}", "pictures do not follow the fitted direction")
                break
            fitted = replace(fitted, slope=fitted.slope * float(by[i]) / fitted.sd)
        else:
            scale = fitted.sd / by[i]
            moves = {
                other: round(float(by[names.index(other)] * scale / fits[other].sd), 3)
                for other in fits
                if other != name
            }
            made[name] = replace(fitted, quality={**fitted.quality, "moves": moves})
    return made
