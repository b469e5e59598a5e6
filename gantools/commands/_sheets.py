"""The sheets of generate: grids, and the figures of the StyleGAN paper (S0.12-S0.14, S0.20)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from gantools import options
from gantools.commands._origins import Maker, Origin
from gantools.io.latent import Latent
from gantools.latents import figures
from gantools.latents.pictures import Cell, Look, Picture, truncated
from gantools.report import Usage


@dataclass
class Sheets:
    """Sheets of an origin's latents with one look; args are for their story."""

    origin: Origin
    look: Look
    args: dict[str, Any]

    def grid(self, text: str) -> Iterator[tuple[str, partial[Picture]]]:
        """Sheets of rows x columns, one after another; of walks, one for each frame."""
        screen = text in figures.SCREENS
        size = self.origin.network.open.size if screen else (1, 1)
        rows, columns = figures.parse_grid(text, size)
        if self.origin.walk is not None:
            walk = self.origin.walk
            walks = [self.origin.of_walk(walk, n) for n in range(rows * columns)]
            for frame in zip(*walks, strict=True):
                # Keys that stay over the frames: random noise stands still.
                still = [partial(_named, f"walk/{n}", make) for n, (_, make) in enumerate(frame)]
                yield frame[0][0], partial(self._sheet, frame[0][0], still, columns)
            return
        sources = iter(self.origin)
        number = 0
        while cells := tuple(islice(sources, rows * columns)):
            key = f"grid/{number:04d}"
            yield key, partial(self._sheet, key, [make for _, make in cells], columns)
            number += 1

    def _sheet(self, key: str, makers: Sequence[Maker], columns: int) -> Picture:
        return self._picture(key, [Cell(make(), self.look) for make in makers], columns)

    def _picture(self, key: str, cells: Sequence[Cell | None], columns: int) -> Picture:
        """With a story: which latents stand where."""
        names = [cell.latent.key if cell else None for cell in cells]
        network = self.origin.network.open.story()
        story = figures.story("generate", key, columns, names, self.args, network)
        return Picture(key, cells, columns, story)

    def _rows(self) -> list[Latent]:
        rows = [make() for _, make in self.origin]
        if not rows:
            raise Usage("--figure: there is no latent to show")
        return rows

    def truncation(self, psis: Sequence[float] | None) -> Picture:
        """S0.12: a row for each latent, a column for each psi."""
        network = self.origin.network.open
        wanted = psis or [p for p in figures.PSIS if p >= 0 or not network.truncates_z]
        for psi in wanted:
            network.check_psi(psi, "--psi")
        looks = [replace(self.look, psi=psi) for psi in wanted]
        cells = [Cell(row, look) for row in self._rows() for look in looks]
        return self._picture("truncation", cells, len(looks))

    def noise(self) -> Picture:
        """S0.13: noise in all layers, in none, in the fine ones, in the coarse ones."""
        shapes = self.origin.network.open.g.noise_shapes
        if not shapes:
            raise Usage("--figure noise: this network has no noise")
        columns = figures.noise_columns(shapes, self.look.noise_layers)
        looks = [replace(self.look, noise_layers=layers) for layers in columns]
        return self._picture("noise", [Cell(r, look) for r in self._rows() for look in looks], 4)

    def mixing(self, seeds: Sequence[int], layers: str | None) -> Picture:
        """S0.20: the seeds on top, rows on the left, the seeds' styles in the rows between."""
        network = self.origin.network.open
        sources = [make() for _, make in self.origin.of_seeds(seeds)]
        tops = [truncated(network, latent, self.look) for latent in sources]
        sides = [truncated(network, latent, self.look) for latent in self._rows()]
        if any(side.spatial for side in sides):
            raise Usage("--figure mixing: style mixing takes latents in z and w")
        own = options.parse_layers(layers, network.g.num_ws)
        ranges = figures.rows_styles(len(sides), network.g.num_ws)
        taken: list[Sequence[int]] = [r if own is None else own for r in ranges]
        look = replace(self.look, psi=1.0)  # they are truncated by now
        cells: list[Cell | None] = [None, *(Cell(top, look) for top in tops)]
        for side, ours in zip(sides, taken, strict=True):
            row = [side, *(figures.mixed(side, top, ours) for top in tops)]
            cells += [Cell(latent, look) for latent in row]
        return self._picture("mixing", cells, len(tops) + 1)


def _named(key: str, make: Maker) -> Latent:
    return replace(make(), key=key)
