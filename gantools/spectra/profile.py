"""The spectrum of a set of pictures: mean and band, log of means or mean of logs (S3.3, S3.27)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gantools.ops.spectrum import bins, frequencies
from gantools.report import Usage

Average = Literal["mean", "logmean"]


@dataclass(frozen=True)
class Spectrum:
    """What a set's spectrum is, each array [bins] from DC on.

    values: E[S], or exp(E[log S]). low, high: one standard deviation (of S, or of log S) below and
    above. size: (height, width) of the pictures.
    """

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    size: tuple[int, int]
    count: int
    average: Average

    @property
    def frequencies(self) -> np.ndarray:
        """f / f_nyq at which each bin begins."""
        return frequencies(*self.size)

    def results(self) -> dict[str, Any]:
        """As it is written to JSON; `restored` reads it back."""
        arrays = {"frequency": self.frequencies, "spectrum": self.values}
        arrays |= {"low": self.low, "high": self.high}
        return {name: array.tolist() for name, array in arrays.items()}


def restored(told: Mapping[str, Any], name: str) -> Spectrum:
    """The spectrum in the JSON of `spectrum profile`; Usage where it is none."""
    try:
        protocol = told["protocol"]
        height, width = (int(side) for side in reversed(str(protocol["size"]).split("x")))
        arrays = [np.array(told[key], float) for key in ("spectrum", "low", "high")]
        average = protocol["average"]
        if average not in ("mean", "logmean") or not 0 < height * width < 1 << 30:
            raise ValueError
        if {array.shape for array in arrays} != {(bins(height, width),)}:
            raise ValueError
        values, low, high = arrays
        return Spectrum(values, low, high, (height, width), int(protocol["count"]), average)
    except (KeyError, TypeError, ValueError):
        raise Usage(f"{name}: no result of spectrum profile") from None


class Profile:
    """Mean and deviation of S and of log S, picture by picture (Welford): no order of batches."""

    def __init__(self) -> None:
        self.count = 0
        self.size: tuple[int, int] | None = None

    def add(self, spectra: np.ndarray, size: tuple[int, int]) -> None:
        """Spectra [n, bins] of pictures, all of one size (height, width)."""
        if self.size is None:
            self.size = size
            self._mean = np.zeros((2, spectra.shape[1]))
            self._squares = np.zeros_like(self._mean)
        assert size == self.size
        with np.errstate(divide="ignore", invalid="ignore"):
            for one in np.stack([spectra, np.log(spectra)], axis=1).astype(np.float64):
                self.count += 1
                away = one - self._mean
                self._mean += away / self.count
                self._squares += away * (one - self._mean)

    def spectrum(self, average: Average) -> Spectrum:
        """The set's spectrum; Usage where there was no picture."""
        if self.size is None:
            raise Usage("no picture could be measured")
        which = {"mean": 0, "logmean": 1}[average]
        mean = self._mean[which]
        with np.errstate(invalid="ignore", over="ignore"):
            std = np.sqrt(self._squares[which] / max(self.count - 1, 1))
            values, low, high = mean, mean - std, mean + std
            if average == "logmean":
                values, low, high = np.exp(values), np.exp(low), np.exp(high)
        return Spectrum(values, low, high, self.size, self.count, average)


def comparable(other: Spectrum, reference: Spectrum, name: str) -> None:
    """Usage, of the set that is called `name`, where the two do not compare."""
    if other.size != reference.size:
        theirs, ours = ("x".join(map(str, reversed(s.size))) for s in (other, reference))
        raise Usage(
            f"{name}: {theirs} pixels, the reference's pictures {ours}: prefilter --size brings "
            "all to one size"
        )
    if other.average != reference.average:
        raise Usage(
            f"{name}: a spectrum by --average {other.average}, the reference's by "
            f"{reference.average}: both need the same"
        )


def relative_error(other: Spectrum, reference: Spectrum) -> np.ndarray:
    """other / reference - 1 of every bin, [bins], of two that are `comparable`.

    The paper's evolution plots show it clipped to [-1, 1], without DC (S3.3).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(other.values == reference.values, 0, other.values / reference.values - 1)


def summary(error: np.ndarray, at: np.ndarray) -> dict[str, float]:
    """Of relative errors [bins] at frequencies [bins], without DC: means, and where it is largest.

    error_high: the mean of the upper quarter, f / f_nyq >= 0.75, where the corners are.
    """
    size, at = np.abs(error[1:]), at[1:]
    if not len(size):
        return {}
    worst = int(np.nanargmax(size)) if not np.isnan(size).all() else 0
    found = {"error": float(size.mean()), "worst": float(error[1 + worst])}
    found["worst_frequency"] = float(at[worst])
    if (at >= 0.75).any():
        found["error_high"] = float(size[at >= 0.75].mean())
    return found
