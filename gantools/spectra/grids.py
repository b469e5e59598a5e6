"""Panels of spectra, of their evolutions and of pictures side by side, as the paper's (S3.31)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from gantools.io.figures import DPI, encoded, figure
from gantools.spectra import plots
from gantools.spectra.profile import Spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

T = TypeVar("T")
Row = tuple[str, Sequence[T | None]]
"""A label at the left ("" for none), and the row's panels; None is left empty."""

SIZE = 9  # of the type in a grid
LINE = 0.15  # inches from one name of a legend to the next
INSIDE = 3  # lines that leave room for their names among them


@dataclass(frozen=True)
class Evolution:
    """Relative errors [times, bins] over frequency and time, under a title."""

    title: str
    times: Sequence[float]
    errors: np.ndarray
    at: np.ndarray


@dataclass(frozen=True)
class Profiles:
    """Spectra under a title, by name; the first one is the real pictures'."""

    title: str
    sets: Mapping[str, Spectrum]


@dataclass(frozen=True)
class Case:
    """What one network made of one picture: both as uint8 [H, W, C], their spectra, its course."""

    label: str
    real: np.ndarray
    made: np.ndarray
    profiles: Profiles
    evolution: Evolution


def wrapped(panels: Sequence[T], columns: int) -> list[Row[T]]:
    """Rows without labels, so many panels in each."""
    return [("", panels[i : i + columns]) for i in range(0, len(panels), columns)]


def of_evolutions(rows: Sequence[Row[Evolution]], kind: str, *, label: str = "iterations") -> bytes:
    """Evolutions of errors side by side (Fig 2); a row has one axis of time."""
    drawn, cells = _grid(rows, sharey="row")
    mesh = None
    for axes, panel in _panels(cells, rows):
        mesh = plots.draw_evolution(axes, panel.times, panel.errors, panel.at)
        axes.set_title(plots.plain(panel.title), fontsize=SIZE)
    if mesh is not None:  # a bar of one row's height, whatever their number
        drawn.colorbar(
            mesh, ax=cells, ticks=[-1, 0, 1], label=plots.ERROR, shrink=1 / len(rows),
            fraction=0.15 / cells.shape[1], pad=0.05 / cells.shape[1], aspect=20,
        )  # fmt: skip
    drawn.supylabel(label, fontsize=SIZE + 1)
    return encoded(drawn, kind)


def of_profiles(rows: Sequence[Row[Profiles]], kind: str) -> bytes:
    """Spectra side by side on one scale, the real pictures' dashed in each (Figs 5 and 7)."""
    drawn, cells = _grid(rows, sharey="all")
    shown = list(_panels(cells, rows))
    ends = [plots.draw_profiles(axes, panel.sets, dashed=True) for axes, panel in shown]
    plots.logarithmic([axes for axes, _ in shown], ends)
    for axes, panel in shown:
        axes.set_title(plots.plain(panel.title), fontsize=SIZE)
        _name_lines(axes, panel.sets)
    most = max(len(panel.sets) for _, panel in shown)
    if most > INSIDE:
        width, height = drawn.get_size_inches()
        drawn.set_size_inches(width, height + len(rows) * most * LINE)
    labels = {plots.density_label(own) for _, panel in shown for own in panel.sets.values()}
    drawn.supylabel(labels.pop() if len(labels) == 1 else "spectral density", fontsize=SIZE + 1)
    return encoded(drawn, kind)


def _name_lines(axes: Axes, names: Sized) -> None:
    """Among few lines, else below the panel, where the names hide none."""
    if len(names) <= INSIDE:
        axes.legend(fontsize=SIZE - 2)
    else:
        axes.legend(fontsize=SIZE - 2, loc="upper center", bbox_to_anchor=(0.5, -0.1))


def of_pictures(rows: Sequence[tuple[str, Sequence[np.ndarray]]], kind: str) -> bytes:
    """Rows of pictures, uint8 [H, W, 3] each, with a label at the left of each (Fig 6)."""
    most = max(len(pictures) for _, pictures in rows)
    labels = [plots.plain(label) for label, _ in rows]
    cell = min(max(0.75, max(p.shape[1] for _, own in rows for p in own) / DPI), 2.0)
    words = max(map(_width, labels))
    drawn = figure(cell * most + words + 0.15, cell * len(rows) + 0.1)
    cells = drawn.subplots(len(rows), 1 + most, squeeze=False, width_ratios=[words, *[cell] * most])
    for axes in cells.flat:
        axes.set_axis_off()
    for label, (_, pictures), own in zip(labels, rows, cells, strict=True):
        own[0].text(1, 0.5, label, fontsize=SIZE, ha="right", va="center")
        for axes, pixels in zip(own[1:], pictures, strict=False):
            _draw_picture(axes, pixels)
    return encoded(drawn, kind)


def _width(words: str) -> float:
    """Of a label in a grid, inches; without its backslashes before signs of mathematics."""
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), words or " ", size=SIZE).get_extents().width) / 72 + 0.1


def of_cases(cases: Sequence[Case], kind: str) -> bytes:
    """A row for each: the picture, what was made of it, spectra and evolution (Figs 1b, 1c)."""
    drawn = figure(11, 2.7 * len(cases))
    widths = (1, 1, 1.35, 1.6)
    cells = drawn.subplots(len(cases), 4, squeeze=False, width_ratios=widths)
    for case, (real, made, spectra, course) in zip(cases, cells, strict=True):
        for axes, pixels in ((real, case.real), (made, case.made)):
            _draw_picture(axes, pixels)
        real.set_title("real", fontsize=SIZE)
        made.set_title(plots.plain(case.label), fontsize=SIZE)
        ends = plots.draw_profiles(spectra, case.profiles.sets, dashed=True)
        plots.logarithmic([spectra], [ends])
        spectra.legend(fontsize=SIZE - 2)
        spectra.set_title(plots.plain(case.profiles.title), fontsize=SIZE)
        own = case.evolution
        mesh = plots.draw_evolution(course, own.times, own.errors, own.at)
        course.set_title(plots.plain(own.title), fontsize=SIZE)
        course.set_ylabel("iterations", fontsize=SIZE)
        bar = drawn.colorbar(mesh, ax=course, ticks=[-1, 0, 1], label=plots.ERROR)
        bar.ax.tick_params(labelsize=SIZE - 2)
        for axes in (spectra, course):
            axes.set_xlabel("f / f_nyq", fontsize=SIZE)
            axes.tick_params(labelsize=SIZE - 2)
    return encoded(drawn, kind)


def _draw_picture(axes: Axes, pixels: np.ndarray) -> None:
    """A picture without axes."""
    axes.imshow(pixels)  # smoothed where a pixel is no whole number of the figure's
    axes.set_axis_off()


def _grid(rows: Sequence[Row[T]], *, sharey: Literal["row", "all"]) -> tuple[Figure, np.ndarray]:
    columns = max(len(panels) for _, panels in rows)
    drawn = figure(2.6 * columns + 0.9, 2.5 * len(rows) + 0.4)
    cells = drawn.subplots(len(rows), columns, sharex=True, sharey=sharey, squeeze=False)
    for (label, panels), own in zip(rows, cells, strict=True):
        if label:
            own[0].set_ylabel(plots.plain(label), fontsize=SIZE)
        for axes in own:
            axes.tick_params(labelsize=SIZE - 2)
        for axes in own[len(panels) :]:
            axes.set_axis_off()
    drawn.supxlabel("f / f_nyq", fontsize=SIZE + 1)
    return drawn, cells


def _panels(cells: np.ndarray, rows: Sequence[Row[T]]) -> Iterator[tuple[Axes, T]]:
    """Those that are there, with their axes; what is missing stays empty."""
    for own, (_, panels) in zip(cells, rows, strict=True):
        for axes, panel in zip(own, panels, strict=False):
            if panel is not None:
                yield axes, panel
                continue
            axes.set_frame_on(False)  # its row's label stays
            hidden = dict.fromkeys(("left", "bottom", "labelleft", "labelbottom"), False)
            axes.tick_params(which="both", **hidden)
    for column, own in enumerate(cells.T):  # the lowest that is there has the frequencies
        last = [i for i, (_, panels) in enumerate(rows) if _is_there(panels, column)]
        if last:
            own[last[-1]].tick_params(labelbottom=True)


def _is_there(panels: Sequence[T | None], column: int) -> bool:
    return column < len(panels) and panels[column] is not None
