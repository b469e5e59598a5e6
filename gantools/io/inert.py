"""What other projects' files are read as: inert values that name things and do nothing.

A global is a pair of strings, a call is a `Record` of that pair and its arguments. Whoever reads
them compares whole (module, name) pairs with the few that it knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Pair = tuple[str, str]


class Malformed(ValueError):
    """The bytes are not what they say they are; the text is one line for the user."""


@dataclass(slots=True, eq=False, repr=False)
class Global:
    """A name in the stream. It is never looked up."""

    pair: Pair


@dataclass(slots=True, eq=False, repr=False)
class Record:
    """What a stream wanted to call or to make: its name, arguments and state, all inert."""

    pair: Pair
    args: Any = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)
    pairs: dict[Any, Any] = field(default_factory=dict)


@dataclass(slots=True, eq=False, repr=False)
class Persistent:
    """A persistent id: torch.save's way to name a storage."""

    pid: Any


@dataclass(slots=True, eq=False, repr=False)
class OddKey:
    """A dictionary key that is not text, a number or bytes."""

    key: Any


@dataclass(slots=True)
class Budget:
    """Operations that one file may still cost, shared with the pickles inside it."""

    left: int
    copies: int  # bytes that may still be copied out of text

    @classmethod
    def of(cls, size: int) -> Budget:
        # An operation can cost some 80 bytes: 32 MB for a small file, else four times its size.
        return cls(min(400_000 + size // 20, 4_000_000), 2 * size)

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise Malformed("the pickle holds more objects than a network of its size can need")

    def copy(self, size: int) -> None:
        self.copies -= size
        if self.copies < 0:
            raise Malformed("the pickle holds the same bytes again and again")


MAPPINGS: frozenset[Pair] = frozenset(
    {
        ("collections", "OrderedDict"),
        ("collections", "defaultdict"),
        ("builtins", "dict"),
        ("__builtin__", "dict"),
        ("dnnlib.util", "EasyDict"),
        ("dnnlib", "EasyDict"),
        ("config", "EasyDict"),
    }
)


def short(value: Any) -> str:
    """A value for a message. Containers are not walked: small ones unfold to terabytes."""
    if value is None or isinstance(value, (str, int, float)):
        return repr(value)[:60]
    return f"of type {type(value).__name__}"
