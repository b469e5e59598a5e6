"""Plots of statistics, as files' bytes that repeat (S1.18-S1.24, S2.16, S2.17, S2.25, S4.19)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gantools.evaluation import path_length
from gantools.evaluation.latents import BINS, FIRST, Statistics
from gantools.evaluation.manifolds import MEASURES, Manifolds
from gantools.evaluation.positions import Layouts
from gantools.io.figures import encoded as _encoded
from gantools.io.figures import figure as _figure
from gantools.ops.quantiles import Distribution

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from gantools.evaluation.modes import Modes
    from gantools.evaluation.neighbours import Neighbour


def _stairs(
    axes: Axes,
    edges: np.ndarray,
    heights: np.ndarray,
    label: str | None = None,
    *,
    filled: bool = False,
) -> None:
    axes.stairs(heights, edges, fill=filled, alpha=0.35 if filled else 1, label=label)


def of_statistics(found: Statistics, kind: str) -> bytes:
    """Histograms of the first features, the correlation matrix, the histogram of all scalars."""
    figure = _figure(12, 6.5)
    left, right = figure.subfigures(1, 2, width_ratios=(1.1, 1), squeeze=False)[0]
    density = 1 / (np.diff(found.edges) * found.count)
    cells = left.subplots(4, FIRST // 4, sharex=True, sharey=True).ravel()
    for i, axes in enumerate(cells):
        if i >= len(found.features):
            axes.set_axis_off()
            continue
        _stairs(axes, found.edges, found.features[i] * density, filled=True)
        axes.set_title(f"feature {i}", fontsize=9)
    top, bottom = right.subplots(2, 1, height_ratios=(1.4, 1))
    drawn = top.imshow(found.correlation, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    figure.colorbar(drawn, ax=top)
    top.set_title(f"correlation of {len(found.correlation)} features", fontsize=9)
    every = found.counts * density / len(found.correlation)
    _stairs(bottom, found.edges, every, filled=True)
    bottom.set_title(f"all scalars of {found.count} w, density", fontsize=9)
    return _encoded(figure, kind)


def of_distances(
    w: Distribution, latents: Distribution, distances: Sequence[float], kind: str
) -> bytes:
    """Densities of the scalars of W and of the latents, and a histogram of their distances."""
    figure = _figure(10, 4)
    left, right = figure.subplots(1, 2)
    ends = np.array([[x.values[0], x.values[-1]] for x in (w, latents)])
    edges = np.linspace(ends[:, 0].min(), ends[:, 1].max(), BINS + 1)
    _stairs(left, edges, w.density(edges), "W", filled=True)
    _stairs(left, edges, latents.density(edges), "latents")
    left.legend()
    left.set_title("scalars, density", fontsize=9)
    heights, edges = np.histogram(distances, bins=min(50, 2 + len(distances) // 4))
    _stairs(right, edges, heights, filled=True)
    right.set_title(f"W1 of {len(distances)} latents: mean {np.mean(distances):.4g}", fontsize=9)
    right.set_xlim(left=0)
    return _encoded(figure, kind)


def of_layouts(found: Layouts, kind: str) -> bytes:
    """The mean layout, and how alike pairs are, beside what random shifts give."""
    figure = _figure(10, 4)
    left, right = figure.subplots(1, 2)
    drawn = left.imshow(found.common, cmap="magma", vmin=0, interpolation="nearest")
    figure.colorbar(drawn, ax=left)
    left.set_title("mean of the edge maps, each of mean 0 and std 1", fontsize=9)
    edges = np.linspace(-1, 1, BINS + 1)
    for pairs, label, filled in ((found.shifted, "shifted", True), (found.pairs, "pairs", False)):
        _stairs(right, edges, np.histogram(pairs, edges, density=True)[0], label, filled=filled)
    right.axvline(found.alike, color="C1", linestyle=":")
    right.legend()
    right.set_title(f"correlation of layouts: mean {found.alike:.3f}", fontsize=9)
    return _encoded(figure, kind)


def of_pairs(
    columns: Mapping[str, Sequence[float]],
    shown: Sequence[tuple[str, np.ndarray, np.ndarray]],
    title: str,
    kind: str,
) -> bytes:
    """A histogram of every measure, and some pairs, one picture above the other."""
    rows, across = -(-len(columns) // 4), min(4, len(columns))
    figure = _figure(12, 2.2 * rows + 3.6)
    parts = figure.subfigures(2, 1, height_ratios=(2.2 * rows, 3.6), squeeze=False)
    top, bottom = parts[:, 0]
    cells = top.subplots(rows, across, squeeze=False).ravel()
    for axes in cells[len(columns) :]:
        axes.set_axis_off()
    for (name, values), axes in zip(columns.items(), cells, strict=False):
        known = np.asarray(values)[np.isfinite(values)]
        mean = np.mean(known if len(known) else values)
        axes.set_title(f"{name}: mean {mean:.4g}", fontsize=9)
        if len(known):
            heights, edges = np.histogram(known, bins=min(50, 2 + len(known) // 4))
            _stairs(axes, edges, heights, filled=True)
    below = bottom.subplots(2, len(shown), squeeze=False)
    for column, (key, *pair) in enumerate(shown):
        for row, pixels in enumerate(pair):
            below[row, column].imshow(pixels, interpolation="nearest")
            below[row, column].set_axis_off()
        below[0, column].set_title(key[-16:], fontsize=8, parse_math=False)
    bottom.suptitle(title, fontsize=9)
    return _encoded(figure, kind)


def of_levels(found: Mapping[str, float], kind: str) -> bytes:
    """Bars of the sliced Wasserstein distance of every level, and their mean as a line."""
    figure = _figure(6, 4)
    axes = figure.subplots()
    levels = {name.removeprefix("swd_"): x for name, x in found.items() if name != "swd"}
    bars = axes.bar(list(levels), list(levels.values()), alpha=0.5)
    axes.bar_label(bars, fmt="%.4g", fontsize=9)
    axes.axhline(found["swd"], linestyle=":", label=f"mean {found['swd']:.4g}")
    axes.margins(y=0.12)
    axes.legend()
    axes.set_xlabel("resolution of the level")
    axes.set_ylabel("SWD x 1000")
    return _encoded(figure, kind)


def of_manifolds(found: Manifolds, kind: str) -> bytes:
    """How wide the balls of both sets are, how near fakes are to reals, and the four measures."""
    figure = _figure(10, 4)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    sets = {"balls of real": found.real, "balls of fake": found.fake}
    sets["fake to nearest real"] = found.nearest
    top = max(float(np.quantile(x, 0.999)) for x in sets.values())
    edges = np.linspace(0, max(top, 1e-12), BINS + 1)
    for (label, values), filled in zip(sets.items(), (True, False, False), strict=True):
        heights = np.histogram(values, edges)[0] / (len(values) * np.diff(edges))
        _stairs(left, edges, heights, label, filled=filled)
    left.legend()
    left.set_title("distances of features, density", fontsize=9)
    shares = [found.results()[name] for name in MEASURES]
    bars = right.bar(MEASURES, shares, color="C0", alpha=0.6)
    right.bar_label(bars, [f"{share:.3f}" for share in shares], fontsize=9)
    right.set_ylim(0, 1.1 * max(1.0, *shares))
    return _encoded(figure, kind)


def of_modes(found: Modes, kind: str) -> bytes:
    """How often each combination of digits was there: blue's rows, of green's and red's columns."""
    figure = _figure(13, 3.6)
    top, bottom = figure.subplots(2, 1, height_ratios=(2, 1))
    drawn = top.imshow(found.counts.reshape(10, 100), cmap="magma", vmin=0, aspect="auto")
    figure.colorbar(drawn, ax=top)
    top.set_xlabel("10 x green + red")
    top.set_ylabel("blue")
    shown = found.results()
    top.set_title(
        f"{shown['modes']} of {len(found.counts)} modes, KL {shown['kl']:.4g}", fontsize=9
    )
    digits = found.counts.reshape(10, 10, 10)
    for axes, (name, colour) in enumerate((("B", "C0"), ("G", "C2"), ("R", "C3"))):
        sums = digits.sum(tuple({0, 1, 2} - {axes}))
        bottom.bar(np.arange(10) + 0.27 * (1 - axes), sums, 0.25, color=colour, label=name)
    bottom.set_xticks(range(10))
    bottom.set_xlim(-0.6, 10.2)
    bottom.set_xlabel("digit")
    bottom.legend(fontsize=8)
    return _encoded(figure, kind)


def of_neighbours(
    found: Mapping[str, Sequence[Neighbour]],
    queries: Mapping[str, np.ndarray],
    pictures: Mapping[str, np.ndarray],
    kind: str,
) -> bytes:
    """A sheet: each query on the left, its neighbours beside it with their distances."""
    across = 1 + max(map(len, found.values()))
    figure = _figure(1.3 * across, 1.5 * len(found))
    cells = figure.subplots(len(found), across, squeeze=False)
    for axes in cells.ravel():
        axes.set_axis_off()
    for row, (query, neighbours) in zip(cells, found.items(), strict=True):
        row[0].imshow(queries[query], interpolation="nearest")
        row[0].set_title(query[-14:], fontsize=7, parse_math=False, fontweight="bold")
        for axes, neighbour in zip(row[1:], neighbours, strict=False):
            axes.imshow(pictures[neighbour.key], interpolation="nearest")
            title = f"{neighbour.key[-14:]}\n{neighbour.distance:.4g}"
            axes.set_title(title, fontsize=7, parse_math=False)
    return _encoded(figure, kind)


def of_paths(columns: Mapping[str, np.ndarray], kind: str) -> bytes:
    """Histograms of the distances of each path, logarithmic, and the percentiles that cut them."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    across = min(2, len(columns))
    figure = _figure(5.5 * across, 3.2 * -(-len(columns) // across))
    cells = figure.subplots(-(-len(columns) // across), across, squeeze=False).ravel()
    for axes in cells[len(columns) :]:
        axes.set_axis_off()
    for (name, distances), axes in zip(columns.items(), cells, strict=False):
        low, high = path_length.cuts(distances)
        found = path_length.path_length(distances)
        floor = max(low / 100, np.finfo(np.float64).tiny)
        shown = np.log10(np.maximum(distances, floor))
        heights, edges = np.histogram(shown, bins=min(80, 4 + len(distances) // 8))
        _stairs(axes, 10.0**edges, heights, filled=True)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        for cut, label in ((low, "1 %"), (high, "99 %")):
            if cut > 0:
                axes.axvline(cut, color="C3", linestyle=":", label=f"{label}: {cut:.4g}")
        axes.axvline(max(found, floor), color="C1", label=f"ppl_{name}: {found:.5g}")
        axes.legend(fontsize=8)
        axes.set_title(f"{name}: distances / epsilon² of {len(distances)} pairs", fontsize=9)
    return _encoded(figure, kind)


def of_entropies(found: Mapping[str, Mapping[str, float]], kind: str) -> bytes:
    """Bars of each attribute's H(Y|X) in bits, of every space, and what they make together."""
    names = [*next(iter(found.values()))]
    figure = _figure(7, 1.6 + 0.28 * len(names))
    axes = figure.subplots()
    places = np.arange(len(names))
    height = 0.8 / len(found)
    for i, (space, entropies) in enumerate(found.items()):
        label = f"{space}: 2^{sum(entropies.values()):.4g} = {2 ** sum(entropies.values()):.4g}"
        at = places + (i - (len(found) - 1) / 2) * height
        axes.barh(at, [entropies[name] for name in names], height, label=label, alpha=0.7)
    axes.set_yticks(places, [name[:24] for name in names], fontsize=8, parse_math=False)
    axes.invert_yaxis()
    largest = max(max(entropies.values()) for entropies in found.values())
    axes.set_xlim(0, max(1.1 * largest, 0.01))
    axes.set_xlabel("H(Y|X) in bits")
    axes.set_title("0: a hyperplane tells the attribute", fontsize=9)
    axes.legend(fontsize=8)
    return _encoded(figure, kind)


def of_snapshots(each: Sequence[Mapping[str, Any]], key: str, best: int, kind: str) -> bytes:
    """The measure `key` of each snapshot over the images it had seen, the best one marked."""
    figure = _figure(7, 4)
    axes = figure.subplots()
    images = [row["images"] / 1000 for row in each]
    values = [row[key] for row in each]
    if all(f"{key}_ci" in row for row in each):
        low, high = zip(*(row[f"{key}_ci"] for row in each), strict=True)
        axes.fill_between(images, low, high, alpha=0.2, label="95 %")
    axes.plot(images, values, marker=".")
    found = next(row for row in each if row["images"] == best)
    label = f"best: {found['snapshot']}, {found[key]:.4g}"
    axes.plot([best / 1000], [found[key]], "o", color="C1", label=label)
    axes.legend()
    axes.set_xlabel("thousands of images shown")
    axes.set_ylabel(key.upper())
    return _encoded(figure, kind)
