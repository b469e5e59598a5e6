"""What the configurations in network and encoder files share: to JSON and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any, Self, cast

from gantools.networks.sizes import first_block, scaled

MOST = 1 << 16


class Config:
    """A frozen dataclass that rebuilds a network."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The configuration of a file, its lists as tuples.

        ValueError for an entry that the dataclass has not, and for what cannot be.
        """
        kind = cast(Any, cls)
        unknown = sorted(set(values) - {f.name for f in fields(kind)})
        if unknown:
            raise ValueError(f"unknown configuration entry {unknown[0]!r}")
        if "first_block" in values:
            first_block(values["first_block"])
        config = cls(**{n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})
        config.check()
        return config

    def to_dict(self) -> dict[str, Any]:
        """As it is stored: JSON types only."""
        return asdict(cast(Any, self))

    def check(self) -> None:
        """ValueError where a file says what cannot be."""


class Doubling(Config):
    """Of networks that double a first block, 4x4, 8x8, … or, say, 4x6, 8x12, … (S2.0).

    Blocks are named by the square network's sizes, b4, b8, …, whatever the first block is.
    """

    widths: tuple[int, ...]
    first_block: tuple[int, int]

    @property
    def wavelet(self) -> bool:
        """Whether the last block makes or takes wavelet coefficients, of twice its size (S3.19)."""
        return False

    @property
    def resolutions(self) -> list[int]:
        """4, 8, …, resolution: the blocks' names, and their sizes where the first is 4x4.

        With `wavelet` the last one is half the resolution.
        """
        return [4 << i for i in range(len(self.widths))]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every block."""
        height, width = self.first_block
        return [(height << i, width << i) for i in range(len(self.widths))]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the pictures."""
        height, width = self.sizes[-1]
        return (2 * height, 2 * width) if self.wavelet else (height, width)


class Scaled(Config):
    """Of networks whose resolution is that of their square kind."""

    resolution: int
    first_block: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the pictures."""
        return scaled(self.resolution, self.first_block)


def plausible(numbers: Iterable[Any], least: int = 1) -> None:
    """ValueError unless all are whole numbers from `least` to 65536."""
    if any(type(n) is not int or not least <= n <= MOST for n in numbers):
        raise ValueError("an impossible configuration")
