"""--class, --labels: classes of a conditional network, by their names or their numbers."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING

from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    from gantools.io.classes import Classes
    from gantools.networks.network import Network

SHOWN = 8


def number_of(text: str, network: Network) -> int:
    """The number of the class `text`, a name that the network's file has, else a number from 0.

    Names come first: of classes called 1, 4 and 9 the last is 9 and, as no name, also 2. Usage
    where there is no such class.
    """
    _need_classes(f"--class {text}", network)
    number = _known(text, network)
    if number is None:
        raise Usage(f"--class {text}: the network has classes {there_are(network, near=text)}")
    return number


def label_of(
    network: Network, name: str | None, each: Classes | None
) -> Callable[[str], int] | None:
    """The number of a picture's class by its key: --class `name`, or its own of --labels, or None.

    For networks of z; Usage for others. What it gives raises SampleError for a picture without a
    class, or of one that the network has not.
    """
    if name is not None:
        number = number_of(name, network)
        _need_z("--class", network)
        return lambda key: number
    if each is not None:
        _need_classes("--labels", network)
        _need_z("--labels", network)
        return lambda key: _own(key, each, network)
    return None


def _own(key: str, each: Classes, network: Network) -> int:
    text = each.of(key)
    if text is None:
        raise SampleError(f"{each.origin}: no class for {key}")
    number = _known(text, network)
    if number is None:
        known = there_are(network, near=text)
        raise SampleError(f"{each.origin}: class {text}, and the network has classes {known}")
    return number


def _need_classes(flag: str, network: Network) -> None:
    if not network.g.cfg.c_dim:
        raise Usage(f"{flag}: the network has no classes: it is unconditional")


def _need_z(flag: str, network: Network) -> None:
    if network.has_w:
        raise Usage(f"{flag} is for networks of z, whose latents have a class beside it")


def _known(text: str, network: Network) -> int | None:
    """The number of a class by its name, or else by itself; None where there is no such class."""
    count, names = network.g.cfg.c_dim, names_of(network)
    if text in names:
        return names.index(text)
    return int(text) if text.isascii() and text.isdigit() and int(text) < count else None


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
