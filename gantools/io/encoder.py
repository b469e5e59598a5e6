"""Encoder files: a network that writes latents of one generator, and what it was trained for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gantools.io import network as networks
from gantools.io import tensorfile
from gantools.io.network import header
from gantools.report import Usage

FORMAT = 1
KIND = "encoder"
NAME = "encoder.safetensors"
"""The newest encoder of a run folder."""
SUFFIX = ".encoder.safetensors"
"""Of an encoder that stands beside its network, in the user's folder or in the package."""


@dataclass
class EncoderFile:
    """An encoder's numbers without its code.

    arch: the kind of encoder, "fw" (papers.md S2.10), "dse" (S4.8-S4.10), "psp" (S4.18) or "alae"
    (S4.17). config: the dataclass of that kind.
    network: {name, id} of the generator whose latents it gives. training: how it was trained.
    """

    arch: str
    config: dict[str, Any]
    tensors: dict[str, np.ndarray]
    network: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)


def is_one(path: Path) -> bool:
    """Whether an encoder stands there: a file of that kind, or a run folder with one."""
    return header(find(path)).get("kind") == KIND


def arch(path: Path) -> str:
    """Of which kind an encoder is, by its header alone."""
    return str(header(find(path)).get("arch"))


def find(path: Path) -> Path:
    """The file itself, or encoder.safetensors of a run folder."""
    return path / NAME if path.is_dir() else path


def kept_for(
    net: Path | None, network: Mapping[str, Any], first: int, arch: str = "fw"
) -> Path | None:
    """The encoder that is kept for a network and reaches block `first`, or None; headers only.

    NAME.encoder.safetensors beside its file `net`, in the user's folder or in the package: there
    the one of the latest block, for what it gives is run on from there. network: its meta, with
    its id. Encoders of other kinds than fw have no block: they count as those of the first.
    """
    places = [networks.networks_folder(), networks.assets_folder()]
    for folder in [*([net.parent] if net else []), *places]:
        blocks = {path: _block(path, network, arch) for path in sorted(folder.glob("*" + SUFFIX))}
        fit = {path: block for path, block in blocks.items() if 1 <= block <= first}
        if fit:
            return max(fit, key=lambda path: fit[path])
    return None


def _block(path: Path, network: Mapping[str, Any], arch: str) -> int:
    """The block that the encoder in a file is for; 0 where it is none of this network's."""
    story = header(path)
    config, named = story.get("config"), story.get("network")
    if story.get("kind") != KIND or story.get("arch") != arch or not isinstance(named, Mapping):
        return 0
    if not isinstance(config, Mapping) or not networks.fits(named, network):
        return 0
    first = config.get("first", 1)
    return first if isinstance(first, int) else 0


def write(path: Path, encoder: EncoderFile) -> None:
    """Write an encoder file atomically; equal encoders give equal bytes."""
    story = {
        "format": FORMAT,
        "kind": KIND,
        "arch": encoder.arch,
        "config": encoder.config,
        "network": encoder.network,
        "training": encoder.training,
    }
    tensorfile.write(path, encoder.tensors, story)


def read(path: Path) -> EncoderFile:
    """Read an encoder file or that of a run folder; Usage where it is none, or damaged."""
    file = find(path)
    if path.is_dir() and not file.is_file():
        raise Usage(f"{path}: a folder without {NAME}")
    if not tensorfile.looks_like(file):
        raise Usage(f"{file.name}: not an encoder file")
    story, tensors = tensorfile.read(file)
    if story.get("kind") != KIND:
        raise Usage(f"{file.name}: {tensorfile.called(story)}, not an encoder")
    if story.get("format") != FORMAT:
        raise Usage(f"{file.name}: encoder format {story.get('format')} is unknown here")
    config, network = story.get("config"), story.get("network")
    if not isinstance(config, Mapping) or not isinstance(network, Mapping):
        raise Usage(f"{file.name}: an encoder file without its configuration")
    training = story.get("training")
    return EncoderFile(
        str(story.get("arch")),
        dict(config),
        tensors,
        dict(network),
        dict(training) if isinstance(training, Mapping) else {},
    )
