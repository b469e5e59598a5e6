"""Network files of other projects, read without running anything in them (formats.md 2).

Pickles of NVIDIA's PyTorch and TensorFlow repositories and torch.save files, zip or older. The
parts: `pickles` parses, `arrays` and `torchfile` make tensors, and one module per project renames
them. No other module of gantools touches a pickle.
"""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path
from typing import Any

from gantools.io import nvidia, pickles, rosinality, tensorflow, torchfile
from gantools.io.arrays import Arrays
from gantools.io.network import Checkpoint, identity
from gantools.io.pickles import Budget, Malformed
from gantools.report import Usage

_BIGGAN = "a BigGAN network; this version reads PGGAN and StyleGAN 1 to 3"
_HEAD = 64


def kind(path: Path) -> str | None:
    """`torch-zip`, `torch`, `pickle`, or None where the bytes are none of these."""
    try:
        with path.open("rb") as file:
            return _kind(file.read(_HEAD))
    except OSError:
        return None


def read(path: Path) -> Checkpoint:
    """The checkpoint in a file of another project, under NVIDIA's PyTorch names.

    The arrays are views of the mapped file wherever possible: read-only in spirit, perhaps not
    aligned, not contiguous. Raises Usage, one line, for every file that is none.
    """
    if path.is_dir():
        raise Usage(f"{path.name}: {_folder(path)}")
    try:
        data = _mapped(path)
        checkpoint = _read(data)
    except Malformed as why:
        raise Usage(f"{path.name}: {why}") from None
    source = {"name": path.name, "sha256": hashlib.sha256(data).hexdigest()}
    checkpoint.meta["sources"] = [source]
    checkpoint.meta["id"] = identity(checkpoint.part("g_ema"))
    return checkpoint


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


def _read(data: memoryview) -> Checkpoint:
    budget = Budget.of(len(data))
    found = _kind(bytes(data[:_HEAD]))
    if found == "torch-zip":
        value, storages = torchfile.archive(data, budget)
    elif found == "torch":
        value, storages = torchfile.legacy(data, budget)
    elif found == "pickle":
        value, _ = pickles.load(data, budget)
        storages = torchfile.Storages(budget)
    else:
        raise Malformed("no network file: neither safetensors of gantools, nor .pkl, .pt or .pth")
    return _networks(value, Arrays(len(data), storages))


def _networks(value: Any, arrays: Arrays) -> Checkpoint:
    if isinstance(value, dict) and ("G_ema" in value or nvidia.is_module(value.get("G"))):
        return nvidia.read(value, arrays)
    if nvidia.is_module(value):  # one module alone, as torch.save(G) writes it
        return nvidia.read({"G_ema": value}, arrays)
    if isinstance(value, (tuple, list)) and len(value) == 3:
        if all(tensorflow.is_network(network) for network in value):
            return tensorflow.read(list(value), arrays)
    if rosinality.is_checkpoint(value):
        return rosinality.read(value, arrays)
    if isinstance(value, dict) and any(_of_biggan(name) for name in value):
        raise Malformed(_BIGGAN)
    raise Malformed("no network that gantools knows is in this file")


def _of_biggan(name: Any) -> bool:
    return name in ("generator.gen_z.weight_orig", "blocks.0.0.conv1.weight")


def _folder(path: Path) -> str:
    known = ("pytorch_model.bin", "G_ema.pth", "G.pth")
    return _BIGGAN if any((path / name).is_file() for name in known) else "a folder, not a network"
