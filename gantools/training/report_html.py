"""report.html of a run: grids over time, curves, configuration; one file without any other."""

from __future__ import annotations

import base64
import html
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gantools.io import atomic
from gantools.training.families import Config

CURVES = (
    ("Losses", ("loss_g", "loss_d")),
    ("Logits", ("score_real", "score_fake")),
    ("Logits of the spectra", ("spectral_real", "spectral_fake")),
    ("Loss of the spectra's scores", ("loss_spectral",)),
    ("Divergence of the spectra", ("spec_reg",)),
    ("Cross-entropy of the classes", ("loss_g_classes", "loss_d_classes")),
    ("Reciprocity: mean square of F(z) - E(G(F(z)))", ("loss_reciprocity",)),
    ("PSNR of the reconstructions", ("psnr",)),
    ("R1 and path length", ("r1", "path_length")),
    ("Gradient penalty", ("gradient_penalty",)),
    ("Level of detail", ("lod",)),
    ("Learning rate", ("lr",)),
    ("ADA p and E[sign D(real)]", ("p", "sign_real")),
    ("Images per second", ("images_per_second",)),
    ("Share of the time that the trainer waited for pictures", ("waiting",)),
)
COLOURS = ("#1b6ca8", "#c0392b")
GRIDS = 8  # at most so many over the run's time, the last one among them
WIDE = 256  # CSS pixels: narrower grids are shown a whole number of times their size
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 74em; padding: 0 1em;
  color: #222; background: #fff }
h1, h2 { font-weight: 600 } h2 { margin-top: 2em; font-size: 1.15em }
.row { display: flex; flex-wrap: wrap; gap: 1.5em } figure { margin: 0 }
figcaption { font-size: .85em; color: #555 } svg { max-width: 100%; height: auto }
img { max-width: 100%; image-rendering: pixelated;
  background: repeating-conic-gradient(#ddd 0 25%, #fff 0 50%) 0 0 / 16px 16px }
table { border-collapse: collapse; font-size: .9em } td { padding: .15em 1em .15em 0 }
"""


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of log.jsonl."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(folder: Path, config: Config) -> None:
    """Make report.html from log.jsonl and samples/."""
    lines = read_log(folder / "log.jsonl")
    curves = list(CURVES)
    if config.metric:
        curves.insert(0, (config.metric.upper() + " against held-out pictures", (config.metric,)))
    # The squares behind the pictures are seen where these are transparent.
    body = [
        f"<p>{_summary(lines[-1])}</p>",
        '<h2>Samples</h2><p>Uncurated: the same latents and noise each time.</p><div class="row">',
        *grids(folder / "samples", lines, "samples"),
        "</div>",
        *_reconstructions(folder, lines),
        '<h2>Curves</h2><div class="row">',
        *(curve(title, lines, names) for title, names in curves),
        "</div>",
        *_throughput(lines, config),
        "<h2>Configuration</h2>",
        table(config.to_dict()),
    ]
    write_page(folder, body)


def write_page(folder: Path, body: Sequence[str]) -> None:
    """Make report.html of its parts, under the folder's name."""
    name = html.escape(folder.resolve().name)
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{name}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{name}</h1>{''.join(body)}</body></html>\n"
    )
    atomic.write_bytes(folder / "report.html", page.encode())


def taken(seconds: float) -> str:
    """A time as a sentence has it."""
    minutes = seconds / 60
    return f"{minutes:.1f} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"


def _summary(last: dict[str, Any]) -> str:
    spent, speed = taken(last["seconds"]), last["images_per_second"]
    return f"{last['images']:,} images in {spent}, {speed:g} per second at last"


def _reconstructions(folder: Path, lines: Sequence[dict[str, Any]]) -> list[str]:
    """Of networks that are trained with an encoder (S4.17)."""
    figures = grids(folder / "samples", lines, "reconstructions")
    if not figures:
        return []
    return [
        "<h2>Reconstructions</h2><p>Rows of pictures, held out where some are, and below each what "
        'the averaged encoder and generator make of it.</p><div class="row">',
        *figures,
        "</div>",
    ]


def grids(folder: Path, lines: Sequence[dict[str, Any]], kind: str) -> list[str]:
    """Figures of pictures over the run's time; kind: the entry of the log that names them."""
    shown = [x for x in lines if x.get(kind) and (folder / x[kind]).is_file()]
    count = min(GRIDS, len(shown))
    picked = (
        [shown[len(shown) - 1 - i * len(shown) // count] for i in range(count)] if count else []
    )
    figures = []
    for line in reversed(picked):
        png = (folder / line[kind]).read_bytes()
        width = struct.unpack_from(">I", png, 16)[0]  # of its header, which comes first
        width *= max(1, WIDE // width)
        data = base64.b64encode(png).decode()
        figures.append(
            f'<figure><img alt="{kind} at {line["images"]:,} images" width="{width}" '
            f'src="data:image/png;base64,{data}"><figcaption>{line["images"]:,} images'
            "</figcaption></figure>"
        )
    return figures


def _throughput(lines: Sequence[dict[str, Any]], config: Config) -> list[str]:
    """Images per second at each resolution of a growing run (S1.27)."""
    speeds: dict[int, list[float]] = {}
    for line in lines:
        if "resolution" in line:
            speeds.setdefault(line["resolution"], []).append(line["images_per_second"])
    if not speeds:
        return []
    height, width = config.size
    full = config.resolution
    means = {
        f"{height * size // full}x{width * size // full}": round(sum(v) / len(v), 1)
        for size, v in speeds.items()
    }
    return ["<h2>Images per second by resolution</h2>", table(means)]


def table(values: dict[str, Any]) -> str:
    """Names and values, a row for each."""
    rows = (
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(json.dumps(value))}</td></tr>"
        for name, value in values.items()
    )
    return f"<table>{''.join(rows)}</table>"


def _tick(value: float) -> str:
    """A number that fits beside the axis."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def curve(title: str, lines: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """An inline SVG of some entries of the log against images; lines without them are left out."""
    width, height, left, bottom = 420, 200, 62, 22
    series = {
        n: [(x["images"], x[n]) for x in lines if isinstance(x.get(n), int | float)] for n in names
    }
    points = [point for values in series.values() for point in values]
    if not points:
        return ""
    low, end = min(v for _, v in points), max(i for i, _ in points)
    top = max([low + 1e-9, *(v for _, v in points)])

    def place(images: float, value: float) -> str:
        x = left + (width - left - 8) * images / end
        y = 8 + (height - bottom - 8) * (top - value) / (top - low)
        return f"{x:.1f},{y:.1f}"

    drawn, legend = [], []
    for colour, (name, values) in zip(COLOURS, series.items(), strict=False):
        if not values:
            continue
        path = " ".join(place(*point) for point in values)
        drawn.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>'
        )
        legend.append(f'<span style="color:{colour}">{html.escape(name)}</span>')
    axis = f"M{left},8 V{height - bottom} H{width - 8}"
    return (
        f'<figure><svg width="{width}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{html.escape(title)}"><path d="{axis}" fill="none" stroke="#999"/>'
        f'<g font-size="11" fill="#555">'
        f'<text x="{left - 4}" y="16" text-anchor="end">{_tick(top)}</text>'
        f'<text x="{left - 4}" y="{height - bottom}" text-anchor="end">{_tick(low)}</text>'
        f'<text x="{width - 8}" y="{height - 6}" text-anchor="end">{end:,} images</text></g>'
        f"{''.join(drawn)}</svg><figcaption>{html.escape(title)}: {', '.join(legend)}"
        "</figcaption></figure>"
    )
