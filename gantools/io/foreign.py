"""Network files of other projects, read without running anything in them (formats.md 2).

Pickles of NVIDIA's PyTorch and TensorFlow repositories and torch.save files, zip or older, and the
folders of BigGAN's. The parts: `pickles` parses, `arrays` and `torchfile` make tensors, and one
module per project renames them. No other module of gantools touches a pickle.
"""

from __future__ import annotations

import hashlib
import mmap
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gantools.io import (
    ajbrock,
    huggingface,
    nvidia,
    pickles,
    psp,
    rosinality,
    stylegan2,
    tensorfile,
    tensorflow,
    torchfile,
)
from gantools.io.arrays import Arrays
from gantools.io.encoder import EncoderFile
from gantools.io.inert import Budget, Malformed
from gantools.io.network import FOLDERS, Checkpoint, identity
from gantools.report import Usage

_HEAD = 64


def kind(path: Path) -> str | None:
    """`torch-zip`, `torch`, `pickle`, or None where the bytes are none of these."""
    try:
        with path.open("rb") as file:
            return _kind(file.read(_HEAD))
    except OSError:
        return None


def read(path: Path) -> Checkpoint:
    """The checkpoint in a file or folder of another project, under NVIDIA's PyTorch names.

    The arrays are views of the mapped file wherever possible: read-only in spirit, perhaps not
    aligned, not contiguous. Raises Usage, one line, for every file that is none.
    """
    file = _in_folder(path) if path.is_dir() else path
    sources: dict[str, str] = {}
    try:
        checkpoint = _networks(file, _value(file, sources), sources)
    except Malformed as why:
        raise Usage(f"{path.name}: {why}") from None
    checkpoint.meta["sources"] = [{"name": n, "sha256": s} for n, s in sources.items()]
    checkpoint.meta["id"] = identity(checkpoint.part("g_ema"))
    return checkpoint


def encoder(path: Path, checkpoint: Checkpoint, name: str) -> EncoderFile | None:
    """The encoder that a file has beside the network that `read` gave; None without any.

    name: that of the network's new file. Raises Usage, one line, for one that is damaged.
    """
    if path.is_dir() or tensorfile.looks_like(path):
        return None
    try:
        file = _Value(_mapped(path))
        if not psp.is_checkpoint(file.value):
            return None
        return psp.encoder(file.value, file.arrays, checkpoint, name)
    except Malformed as why:
        raise Usage(f"{path.name}: {why}") from None


def _in_folder(folder: Path) -> Path:
    for name in FOLDERS:
        if (folder / name).is_file():
            return folder / name
    raise Usage(f"{folder.name}: a folder, not a network")


def _kind(head: bytes) -> str | None:
    if head.startswith(torchfile.ZIP_START):
        return "torch-zip"
    if head.startswith(torchfile.LEGACY_START):
        return "torch"
    binary = len(head) > 2 and head[0] == 0x80 and head[1] <= 5
    return "pickle" if binary or head[:1] in (b"(", b"]", b"}", b"c") else None


def _mapped(path: Path) -> memoryview:
    """The file's bytes, mapped privately: what writes to them changes no file."""
    try:
        with path.open("rb") as file:
            if not path.is_file():
                raise Usage(f"{path.name}: not a regular file")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    except ValueError:
        raise Usage(f"{path.name}: an empty file") from None
    except OSError as e:
        raise Usage(f"{path}: {(e.strerror or str(e)).lower()}") from None


class _Value:
    """What a file holds, as inert records, and how arrays are made of them."""

    def __init__(self, data: memoryview) -> None:
        budget = Budget.of(len(data))
        found = _kind(bytes(data[:_HEAD]))
        if found == "torch-zip":
            self.value, storages = torchfile.archive(data, budget)
        elif found == "torch":
            self.value, storages = torchfile.legacy(data, budget)
        elif found == "pickle":
            self.value, _ = pickles.load(data, budget)
            storages = torchfile.Storages(budget)
        else:
            raise Malformed(
                "no network file: neither safetensors of gantools, nor .pkl, .pt or .pth"
            )
        self.arrays = Arrays(len(data), storages)

    def state(self) -> stylegan2.Tensors:
        """The arrays of a state dictionary."""
        return {
            name: self.arrays.array(value, name[:80])
            for name, value in self.value.items()
            if isinstance(name, str)
        }


def _value(path: Path, sources: dict[str, str]) -> _Value | stylegan2.Tensors:
    """What the file holds, the tensors of one in safetensors; its name and sha256 to `sources`."""
    data = _mapped(path)
    sources[path.name] = hashlib.sha256(data).hexdigest()
    return tensorfile.read(path)[1] if tensorfile.looks_like(path) else _Value(data)


def _networks(path: Path, file: _Value | stylegan2.Tensors, sources: dict[str, str]) -> Checkpoint:
    if isinstance(file, dict):
        if huggingface.is_state(file):
            return huggingface.read(file, huggingface.settings(path))
        raise Malformed("a safetensors file, but not a network that gantools knows")
    value, arrays = file.value, file.arrays
    if isinstance(value, dict) and ("G_ema" in value or nvidia.is_module(value.get("G"))):
        return nvidia.read(value, arrays)
    if nvidia.is_module(value):  # one module alone, as torch.save(G) writes it
        return nvidia.read({"G_ema": value}, arrays)
    if isinstance(value, (tuple, list)) and len(value) == 3:
        if all(tensorflow.is_network(network) for network in value):
            return tensorflow.read(list(value), arrays)
    if psp.is_checkpoint(value):
        return psp.read(value, arrays)
    if rosinality.is_checkpoint(value):
        return rosinality.read(value, arrays)
    if isinstance(value, dict) and huggingface.is_state(value):
        return huggingface.read(file.state(), huggingface.settings(path))
    if isinstance(value, dict) and ajbrock.is_state(value):
        return _ajbrock(path, file, sources)
    raise Malformed("no network that gantools knows is in this file")


def _ajbrock(path: Path, file: _Value, sources: dict[str, str]) -> Checkpoint:
    """A generator; beside G_ema*.pth the G, D and flags of the same run."""
    if "embed.weight" in file.value:
        raise Malformed("a discriminator alone: give the G_ema.pth or the folder of the run")
    parts = {"g_ema": file.state()}
    match = re.fullmatch(r"G(_ema)?(.*)\.pth", path.name)
    if match is None:
        return ajbrock.read(parts, {})
    for part, name in (("g", "G"), ("d", "D")):
        beside = path.with_name(f"{name}{match[2]}.pth")
        if match[1] and beside.is_file():
            found = _value(beside, sources)
            if not isinstance(found, _Value) or not isinstance(found.value, dict):
                raise Malformed(f"{beside.name} beside it holds no network")
            parts[part] = found.state()
    return ajbrock.read(parts, _flags(path.with_name(f"state_dict{match[2]}.pth")))


def _flags(path: Path) -> Mapping[str, Any]:
    """The configuration in a run's state_dict.pth, {} where there is none."""
    if not path.is_file():
        return {}
    value = _Value(_mapped(path)).value
    flags = value.get("config") if isinstance(value, dict) else None
    return flags if isinstance(flags, dict) else {}
