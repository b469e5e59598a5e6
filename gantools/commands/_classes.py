"""--class: a class of a conditional network, by its name or its number."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from gantools.report import Usage

if TYPE_CHECKING:
    from gantools.networks.network import Network

SHOWN = 8


def number_of(text: str, network: Network) -> int:
    """The number of the class `text`, a name that the network's file has, else a number from 0.

    Names come first: of classes called 1, 4 and 9 the last is 9 and, as no name, also 2. Usage
    where there is no such class.
    """
    count, names = network.g.cfg.c_dim, names_of(network)
    if not count:
        raise Usage(f"--class {text}: the network has no classes: it is unconditional")
    if text in names:
        return names.index(text)
    if text.isascii() and text.isdigit() and int(text) < count:
        return int(text)
    raise Usage(f"--class {text}: the network has classes {there_are(network, near=text)}")


def there_are(network: Network, near: str = "") -> str:
    """`0-9 (cat, dog, …)`: some of the names where the file has them, near ones first."""
    count, names = network.g.cfg.c_dim, names_of(network)
    if names == [str(i) for i in range(count)]:
        names = []
    close = difflib.get_close_matches(near, names, SHOWN, 0.5) if near else []
    shown = list(dict.fromkeys([*close, *names]))[:SHOWN]
    more = ", …" if len(names) > len(shown) else ""
    return f"0-{count - 1}" + f" ({', '.join(shown)}{more})" * bool(shown)


def names_of(network: Network) -> list[str]:
    """The names of its classes in their order; [] where the file has none."""
    names = network.meta.get("classes")
    if isinstance(names, list) and len(names) == network.g.cfg.c_dim:
        return [str(name) for name in names]
    return []
