"""Which directions there are: beside the network's file, in the user's folder, in the package.

And which attribute models (S2.9), each with a direction of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gantools.io import attribute_model
from gantools.io import network as networks
from gantools.io.attribute_model import AttributeModel
from gantools.io.direction import Direction
from gantools.io.direction import read as read_directions
from gantools.report import SampleError, Usage

SUFFIX = ".directions.safetensors"
MODELS = ".attributes.safetensors"


def files(net: str | None, suffix: str = SUFFIX) -> list[Path]:
    """Files of directions, nearest first: beside the network of --net, then of known networks.

    suffix: MODELS for those of attribute models.
    """
    places = [networks.networks_folder(), networks.assets_folder()]
    found = [path for folder in places for path in sorted(folder.glob("*" + suffix))]
    try:
        path = networks.find(net)
        found.insert(0, path.with_name(path.stem + suffix))
    except Usage:
        if net is not None:
            raise
    return [path for path in dict.fromkeys(found) if path.is_file()]


def known(net: str | None) -> Iterator[Direction]:
    """All directions that are kept for networks, nearest first; then those of attribute models."""
    for path in files(net):
        yield from read_directions(path).values()
    for model in known_models(net):
        yield model.direction


def known_models(net: str | None) -> Iterator[AttributeModel]:
    """All attribute models that are kept for networks, nearest first."""
    for path in files(net, MODELS):
        yield from attribute_model.read(path).values()


def read(path: Path) -> dict[str, Direction]:
    """The directions of a file by name, those of its attribute models included; else Usage."""
    if attribute_model.is_one(path):
        return {n: model.direction for n, model in attribute_model.read(path).items()}
    return read_directions(path)


def belongs(direction: Direction, named: Mapping[str, Any], header: Mapping[str, Any]) -> bool:
    """Whether a direction is for the network that a latent names.

    `header` is that of the --net file: both may name it by its id, its sources or its ancestors.
    """
    own, wanted = direction.network, named.get("id")
    if not own.get("id") or not wanted or own["id"] == wanted:
        return True
    return networks.fits(own, header) and networks.fits(named, header)


def check(text: str, net: str | None, flag: str = "--dir") -> None:
    """Usage where `--dir TEXT` (or another flag's text) names nothing, whatever the latents are.

    For before any work.
    """
    if _split(text) is None:
        there = list(known(net))
        if text not in {d.name for d in there}:
            raise Usage(unknown(text, there, flag))
    else:
        _in_file(text)


def pick(
    text: str,
    net: str | None,
    named: Mapping[str, Any],
    header: Mapping[str, Any],
    flag: str = "--dir",
) -> Direction:
    """The direction of `--dir NAME`, `--dir FILE` or `--dir FILE:NAME` for a latent's network.

    named: the latent's header entry `network`. SampleError where what there is belongs to other
    networks, Usage where there is nothing of the name.
    """
    if _split(text) is None:
        there = list(known(net))
        fitting = [d for d in there if belongs(d, named, header)]
        found = next((d for d in fitting if d.name == text), None)
        if found is None and text in {d.name for d in there}:
            raise SampleError(
                f"no direction {text} is known for its network {_shown(named)} "
                "(--net FILE looks beside the network's file)"
            )
        if found is None:
            raise Usage(unknown(text, there, flag))
        return found
    direction = _in_file(text)
    if not belongs(direction, named, header):
        raise SampleError(
            f"a latent of network {_shown(named)}; direction {direction.name} was made for "
            f"{_shown(direction.network)}"
        )
    return direction


def pick_model(
    text: str,
    net: str | None,
    named: Mapping[str, Any],
    header: Mapping[str, Any],
    first: int,
) -> AttributeModel | None:
    """The attribute model of `--dir` for features of block `first`; None where there is none.

    A file of models is taken at its word, whatever block it is for. Other arguments and errors as
    in `pick`.
    """
    split = _split(text)
    if split is None:
        fitting = (m for m in known_models(net) if belongs(m.direction, named, header))
        return next((m for m in fitting if m.direction.name == text and m.first == first), None)
    if not attribute_model.is_one(split[0]):
        return None
    name = pick(text, net, named, header).name
    return attribute_model.read(split[0])[name]


def _shown(network: Mapping[str, Any]) -> str:
    return f"{network.get('name')} ({str(network.get('id'))[:12]})"


def _in_file(text: str) -> Direction:
    path, name = _split(text) or (Path(text), None)
    found = read(path)
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name is None:
        raise Usage(f"{path.name} holds several directions: {path.name}:NAME with {_list(found)}")
    if name not in found:
        raise Usage(f"{path.name} has no direction {name}; it has {_list(found)}")
    return found[name]


def _split(text: str) -> tuple[Path, str | None] | None:
    """FILE or FILE:NAME; None where there is no such file."""
    if Path(text).is_file():
        return Path(text), None
    file, colon, name = text.rpartition(":")
    return (Path(file), name) if colon and Path(file).is_file() else None


def unknown(text: str, there: list[Direction], flag: str = "--dir") -> str:
    """The line for a name that no file and no direction has."""
    names = _list(dict.fromkeys(d.name for d in there))
    what = f"there is {names}" if names else "no direction is known for this network"
    return f"{flag} {text}: no such direction or file; {what} (gantools edit --list)"


def _list(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more" if len(shown) > 12 else "")
