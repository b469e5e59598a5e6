"""What the settings of every kind of run share: config.json there and back."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, Self, cast

from gantools.networks.sizes import SQUARE, first_block, scaled
from gantools.report import Usage


class Settings:
    """A frozen dataclass with all that the course of a run depends on, besides the pictures."""

    resolution: int
    first_block: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the pictures."""
        return scaled(self.resolution, self.first_block)

    def to_dict(self) -> dict[str, Any]:
        """As config.json and the state file hold it."""
        return asdict(cast(Any, self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read back; Usage for an entry that this version does not know, or what cannot be."""
        unknown = sorted(set(values) - {f.name for f in fields(cast(Any, cls))})
        if unknown:
            raise Usage(f"the run was made by another version: unknown setting {unknown[0]}")
        try:
            block = first_block(values.get("first_block", SQUARE))
        except ValueError as e:
            raise Usage(f"damaged training state: {e}") from None
        config = cls(**{**values, "first_block": block})
        config.check()
        return config

    def check(self) -> None:
        """Usage where a run's file says what cannot be."""
