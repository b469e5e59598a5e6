"""matplotlib's figures, made without a display, as files' bytes that repeat."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def encoded(drawn: Figure, kind: str) -> bytes:
    """The bytes of a png, svg or pdf: without a date or a random name, so that they repeat."""
    import matplotlib as mpl

    dates = {"png": {"Software": "gantools"}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    out = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "gantools"}):
        drawn.savefig(out, format=kind, dpi=DPI, metadata=dates[kind])
    return out.getvalue()
