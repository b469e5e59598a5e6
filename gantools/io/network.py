"""Network files: ours (safetensors) and, through io.foreign, everybody's; where they are found."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gantools.io.weights import data_folder
from gantools.report import Usage

FORMAT = 1
PACKAGED = "faces64"
FOLDERS = ("G_ema.pth", "pytorch_model.bin", "model.safetensors", "G.pth")
"""The networks that a folder may hold: of BigGAN's runs (ajbrock), and of huggingface."""
BESIDE = (".directions", ".attributes", ".encoder")  # stems of files that stand beside a network


@dataclass
class Checkpoint:
    """A network's numbers without its code.

    tensors: `g_ema.<name>`, `g.<name>`, `d.<name>`; names are NVIDIA's PyTorch names
    (formats.md 2a); `spectral.<name>` of a spectral discriminator. config: {"g": {...},
    "d": {...} | None}, the dataclass of the family; "spectral": {"kind"} where there is one.
    meta: images_shown, trained_on, licence, crop, sources, derived_from, …
    """

    family: str
    config: dict[str, Any]
    tensors: dict[str, np.ndarray]
    meta: dict[str, Any] = field(default_factory=dict)

    def part(self, prefix: str) -> dict[str, np.ndarray]:
        """The tensors of one part, `g_ema`, `g`, `d` or `spectral`, without the prefix."""
        head = prefix + "."
        return {n[len(head) :]: t for n, t in self.tensors.items() if n.startswith(head)}


def identity(g_ema: Mapping[str, np.ndarray]) -> str:
    """sha256 over the sorted (name, dtype, shape, bytes) of g_ema: what a network is."""
    digest = hashlib.sha256()
    for name, value in sorted(g_ema.items()):
        digest.update(f"{name}\0{value.dtype.name}\0{list(value.shape)}\0".encode())
        digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()


def find(net: str | None) -> Path:
    """The file of --net FILE|NAME, $GANTOOLS_NET, or the network inside the package.

    A file or folder beats a name, but nothing that lies about takes the place of a name that
    nobody gave, nor does a folder that holds no network.
    """
    wanted = net or os.environ.get("GANTOOLS_NET")
    if not wanted:
        return assets_folder() / f"{PACKAGED}.safetensors"
    path = Path(wanted)
    if path.is_file():
        return path
    if path.is_dir():
        if (path / "best.safetensors").is_file():  # a run folder
            return path / "best.safetensors"
        if any((path / name).is_file() for name in FOLDERS):
            return path
    for name, file in known():
        if name == wanted:
            return file
    if path.is_dir():
        raise Usage(f"{wanted}: a folder without best.safetensors; name a network file in it")
    raise Usage(f"{wanted}: no such network file, nor a name that `gantools model list` shows")


def known() -> Iterator[tuple[str, Path]]:
    """(name, file) of every network in the user's folder and inside the package."""
    seen: set[str] = set()
    for folder in (networks_folder(), assets_folder()):
        for file in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
            if file.stem not in seen and not file.stem.endswith(BESIDE):
                seen.add(file.stem)
                yield file.stem, file


def networks_folder() -> Path:
    """$XDG_DATA_HOME/gantools/networks."""
    return data_folder() / "networks"


def assets_folder() -> Path:
    """The folder inside the package that holds its own network."""
    return Path(__file__).parent.parent / "assets"


def header(path: Path) -> dict[str, Any]:
    """The JSON header of a network file of ours; {} for a foreign one. Reads no tensor."""
    if not path.is_file():  # a named pipe would be waited for
        return {}
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(path.stat().st_size - 8, 100_000_000):
                return {}
            head = json.loads(file.read(length))
            story = json.loads(head["__metadata__"]["gantools"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return story if isinstance(story, dict) else {}


def load(path: Path) -> Checkpoint:
    """Read a network file of ours or of another project; Usage where it is none, or damaged."""
    from gantools.io import tensorfile

    if path.is_dir() or not tensorfile.looks_like(path):
        from gantools.io import foreign

        return foreign.read(path)
    story, tensors = tensorfile.read(path)
    if not story:
        from gantools.io import foreign

        return foreign.read(path)
    if story.get("kind") != "network":
        raise Usage(f"{path.name}: {tensorfile.called(story)}, not a network")
    if story.get("format") != FORMAT:
        raise Usage(f"{path.name}: network format {story.get('format')} is unknown here")
    try:
        family, config = str(story["family"]), dict(story["config"])
    except (KeyError, TypeError, ValueError):
        raise Usage(f"{path.name}: a network file without its configuration") from None
    own = {"format", "kind", "family", "config"}
    meta = {name: value for name, value in story.items() if name not in own}
    meta["id"] = identity(Checkpoint(family, config, tensors).part("g_ema"))
    return Checkpoint(family, config, tensors, meta)


def save(path: Path, ckpt: Checkpoint) -> str:
    """Write a network file atomically and return its identity."""
    from gantools.io import tensorfile

    story = {**ckpt.meta, "format": FORMAT, "kind": "network", "family": ckpt.family}
    story["config"] = ckpt.config
    story["id"] = identity(ckpt.part("g_ema"))
    tensorfile.write(path, ckpt.tensors, story)
    return str(story["id"])


def fits(story: Mapping[str, Any], network: Mapping[str, Any]) -> bool:
    """Whether a latent's or direction's `network` entry names this network (its meta).

    By id, by the foreign files it came from, or by what it is derived from.
    """
    wanted = story.get("id")
    if not wanted:
        return True
    ids = {network.get("id"), *network.get("derived_from", [])}
    ids.update(source.get("sha256") for source in network.get("sources", []))
    return wanted in ids
