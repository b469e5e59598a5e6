"""Plots of spectra, as files' bytes that repeat: profiles, errors, evolutions (S3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gantools.io.figures import encoded, figure
from gantools.spectra.profile import Spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

    from gantools.spectra.classifier import Classifier

ERROR = "relative error (cut at ±1)"
AXIS = 1 / np.sqrt(2)  # f / f_nyq where an axis ends and only the corners go on


def of_profiles(sets: Mapping[str, Spectrum], kind: str, errors: Mapping[str, np.ndarray]) -> bytes:
    """Spectra over f / f_nyq with their bands, DC left out; below them their relative errors.

    The first set is the reference where there are several: dashed, as the paper draws real
    pictures. errors: [bins] of the others; without any there is no second panel.
    """
    drawn = figure(7, 6.5 if errors else 4.2)
    panels = drawn.subplots(1 + bool(errors), 1, sharex=True, squeeze=False)[:, 0]
    counted = {f"{name}, n = {found.count}": found for name, found in sets.items()}
    logarithmic([panels[0]], [draw_profiles(panels[0], counted, dashed=bool(errors))])
    panels[0].set_ylabel(density_label(next(iter(sets.values()))))
    legend(panels[0], 8)
    for i, (name, error) in enumerate(errors.items(), 1):
        at = sets[name].frequencies[1:]
        panels[1].plot(at, np.clip(error[1:], -1, 1), _style(i), color=f"C{i}")
    if errors:
        panels[1].axhline(0, color="C0", linestyle="--", linewidth=0.8)
        panels[1].set_ylim(-1.05, 1.05)
        panels[1].set_ylabel(ERROR)
        _mark_axis(panels[1])
    panels[-1].set_xlabel("f / f_nyq")
    return encoded(drawn, kind)


def draw_profiles(axes: Axes, sets: Mapping[str, Spectrum], *, dashed: bool) -> tuple[float, float]:
    """Spectra and bands by name; dashed: the first one, above all others, which may hide it.

    What `logarithmic` takes for its ends.
    """
    low, high = np.inf, 0.0
    for i, (name, found) in enumerate(sets.items()):
        at, colour = found.frequencies[1:], f"C{i}"
        values, floor = found.values[1:], _positive(found.values[1:]) / 10
        style, above = ("--", 2.5) if dashed and not i else (_style(i), 2)
        axes.plot(at, values, style, color=colour, label=plain(name), zorder=above)
        band = np.maximum(found.low[1:], floor), found.high[1:]
        axes.fill_between(at, *band, color=colour, alpha=0.2, linewidth=0)
        low, high = min(low, floor), max(high, np.nanmax(np.append(found.high[1:], values)))
    _mark_axis(axes)
    axes.set_xlim(0, 1)
    return low, high


def logarithmic(panels: Sequence[Axes], ends: Sequence[tuple[float, float]]) -> None:
    """One logarithmic scale for panels of spectra, from the lowest to the highest end."""
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if not 0 < low < high < np.inf:  # of pictures without any power beyond DC
        return
    for axes in panels:
        axes.set_yscale("log")
        axes.set_ylim(low, high * 1.5)


def legend(axes: Axes, size: int, inside: int = 5) -> None:
    """Names of the lines: among them where they are few, else right of the axes.

    There they hide no line, and the axes' figure is made wider for them.
    """
    names = [str(line.get_label()) for line in axes.get_legend_handles_labels()[0]]
    if len(names) <= inside:
        axes.legend(fontsize=size)
        return
    drawn = axes.get_figure(root=True)
    assert drawn is not None
    width, height = drawn.get_size_inches()
    line = size / 72 * 1.6  # inches from one name to the next
    columns = -(-len(names) // max(int((height - 0.3) / line), 1))
    drawn.set_size_inches(width + columns * (0.65 + 0.6 * size / 72 * max(map(len, names))), height)
    drawn.legend(fontsize=size, loc="outside right upper", ncols=columns)


def density_label(found: Spectrum) -> str:
    """What is drawn upwards."""
    label = {"mean": "E[S]", "logmean": "exp E[log S]"}[found.average]
    return f"spectral density, {label}"


def plain(name: str) -> str:
    """A name that matplotlib neither takes for mathematics nor leaves out of a legend."""
    return (" " + name if name.startswith("_") else name).replace("$", "\\$")


def _style(i: int) -> str:
    """Of the i-th line: colours come again after ten."""
    return ("-", ":", "-.")[i // 10 % 3]


def _positive(values: np.ndarray) -> float:
    """The smallest value above 0; 1 where there is none."""
    above = values[values > 0]
    return float(above.min()) if len(above) else 1.0


def _mark_axis(axes: Axes) -> None:
    axes.axvline(float(AXIS), color="grey", linestyle=":", linewidth=0.8)


def of_shares(mse: float, shares: np.ndarray, at: np.ndarray, kind: str) -> bytes:
    """Which part of an MSE each frequency has, and the sum up to it (S3.29)."""
    drawn = figure(7, 4)
    axes = drawn.subplots()
    axes.bar(at, shares, width=at[1] - at[0] if len(at) > 1 else 1, align="edge", alpha=0.5)
    if shares.any():
        axes.set_yscale("log")
    axes.set_ylabel("share of the MSE")
    axes.set_xlabel("f / f_nyq")
    _mark_axis(axes)
    sums = axes.twinx()
    sums.plot(at, np.cumsum(shares), color="C1")
    sums.set_ylim(0, 1.02)
    sums.set_ylabel("sum up to here", color="C1")
    axes.set_title(f"MSE {mse:.4g} of 8-bit levels²", fontsize=9)
    return encoded(drawn, kind)


def of_evolution(
    times: Sequence[float], errors: np.ndarray, at: np.ndarray, label: str, kind: str
) -> bytes:
    """Relative errors [times, bins] over frequency and time, cut at ±1, DC left out.

    Each row reaches half-way to its neighbours; a bin goes from where it begins to where it ends.
    """
    drawn = figure(6.5, 5)
    axes = drawn.subplots()
    mesh = draw_evolution(axes, times, errors, at)
    drawn.colorbar(mesh, ax=axes, ticks=[-1, 0, 1], label=ERROR)
    axes.set_xlabel("f / f_nyq")
    axes.set_ylabel(label)
    return encoded(drawn, kind)


def of_courses(
    courses: Mapping[str, tuple[Sequence[float], Sequence[float]]], label: str, kind: str
) -> bytes:
    """Lines over iterations: (iterations, values) each."""
    drawn = figure(7, 4.5)
    axes = drawn.subplots()
    for i, (name, (steps, values)) in enumerate(courses.items()):
        mark = "o" if len(steps) == 1 else ""
        axes.plot(steps, values, _style(i), marker=mark, color=f"C{i}", label=plain(name))
    axes.set_xlabel("iterations")
    axes.locator_params(axis="x", integer=True)
    axes.set_ylabel(label)
    legend(axes, 8)
    return encoded(drawn, kind)


def draw_evolution(
    axes: Axes, times: Sequence[float], errors: np.ndarray, at: np.ndarray
) -> QuadMesh:
    """Relative errors [times, bins] at frequencies [bins], as `of_evolution`."""
    mesh = axes.pcolormesh(
        np.append(at[1:], 2 * at[-1] - at[-2]),
        _borders(np.asarray(times, float)),
        np.clip(np.nan_to_num(errors[:, 1:]), -1, 1),
        cmap="bwr",
        vmin=-1,
        vmax=1,
        rasterized=True,
    )
    _mark_axis(axes)
    return mesh


def _borders(times: np.ndarray) -> np.ndarray:
    """Half-way between neighbours, and as far beyond the ends: [n + 1] of [n]."""
    if len(times) == 1:
        return times[0] + np.array([-0.5, 0.5])
    middles = (times[1:] + times[:-1]) / 2
    ends = 2 * times[[0, -1]] - middles[[0, -1]]
    return np.concatenate([ends[:1], middles, ends[1:]])


def of_features(
    features: np.ndarray,
    generated: np.ndarray,
    classifier: Classifier,
    accuracy: float,
    kind: str,
) -> bytes:
    """Both sets' first two features, and where the classifier's mind changes (S3.26).

    Of three features the third is kept at its mean for that line.
    """
    drawn = figure(6.5, 5)
    axes = drawn.subplots()
    for is_fake, name in ((False, "real"), (True, "generated")):
        x, y = features[generated == is_fake].T[:2]
        axes.scatter(x, y, s=8, alpha=0.5, linewidth=0, color=f"C{int(is_fake)}", label=name)
    ends = [np.quantile(column, (0.002, 0.998)) for column in features.T[:2]]
    across, down = (np.linspace(1.2 * a - 0.2 * b, 1.2 * b - 0.2 * a, 120) for a, b in ends)
    grid = np.repeat(classifier.mean[None], 120 * 120, axis=0)
    grid[:, 0], grid[:, 1] = (axis.ravel() for axis in np.meshgrid(across, down))
    scores = classifier.scores(grid)
    if scores.min() < 0 < scores.max():
        axes.contour(across, down, scores.reshape(120, 120), [0.0], colors="black", linewidths=0.8)
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(down[0], down[-1])
    names = ("log b1", "b2") if features.shape[1] == 2 else ("b1", "y_i")
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.legend(fontsize=8)
    how = f"{100 * accuracy:.1f} % right in cross-validation ({classifier.method})"
    axes.set_title(f"{how}; line: where its verdict changes", fontsize=9)
    return encoded(drawn, kind)
