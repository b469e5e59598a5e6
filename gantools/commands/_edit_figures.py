"""The sheets of edit: strengths side by side, styles alone against models (002's Fig 6.8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gantools import options
from gantools.commands._edit_plan import Plan
from gantools.report import Usage

if TYPE_CHECKING:
    from gantools.io.latent import Latent
    from gantools.io.sink import Sink
    from gantools.latents.pictures import Picture

COLUMNS = 5
Rows = list[list["Latent"]]


def put(
    name: str, plan: Plan, latents: Iterator[Latent], sink: Sink, dtype: str, batch: int
) -> None:
    """Write the sheet: a row for each latent, from --strength -S to S, or as FROM:TO says.

    models: two rows for each, the styles alone and with the attribute model. Usage where there is
    nothing to show.
    """
    from gantools.latents.pictures import rendered
    from gantools.networks.network import open_network

    if not sink.wanted(name):
        return
    columns = plan.frames or COLUMNS
    both = replace(plan, frames=columns, both_ways=True)
    plans = [both] if name == "strengths" else [replace(both, styles_only=True, steps={}), both]
    rows = [row for latent in latents for row in _rows(plans, latent, columns)]
    if not rows:
        raise Usage(f"--figure {name}: there is no latent to show")
    options.set_threads(plan.opened.threads)
    network = open_network(plan.net, device=options.pick_device(plan.opened.device), dtype=dtype)
    picture = _sheet(name, both, rows, network.story())
    for done in rendered(network, [picture], batch):
        pixels = done.pixels()
        if pixels is None:
            raise Usage(f"--figure {name}: no picture could be made")
        sink.put_frame(name, pixels, done.story)


def _rows(plans: list[Plan], latent: Latent, columns: int) -> Rows:
    """One row for each plan; none where one of them fails, which has its line."""
    rows = [list(plan.run(iter([latent]))) for plan in plans]
    return rows if all(len(row) == columns for row in rows) else []


def _sheet(name: str, plan: Plan, rows: Rows, network: dict[str, Any]) -> Picture:
    from gantools.latents import figures
    from gantools.latents.pictures import Cell, Look, Picture

    cells = [Cell(latent, Look()) for row in rows for latent in row]
    args = {"figure": name, **rows[-1][0].header["history"][-1]["args"]}
    columns = plan.frames or COLUMNS
    names = [cell.latent.key for cell in cells]
    return Picture(name, cells, columns, figures.story("edit", name, columns, names, args, network))
