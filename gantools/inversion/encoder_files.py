"""Encoders of every kind and their files (papers.md S2.10, S4.8-S4.10, S4.17, S4.18)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gantools.inversion import alae, dse, encoder, psp
from gantools.inversion.alae import AlaeConfig, AlaeEncoder
from gantools.inversion.coded import AnyEncoder
from gantools.inversion.dse import DseConfig, DseEncoder
from gantools.inversion.encoder import Encoder, EncoderConfig
from gantools.inversion.psp import PspConfig, PspEncoder
from gantools.io import encoder as files
from gantools.io.encoder import EncoderFile
from gantools.networks.network import fill, numbers
from gantools.report import Usage

KINDS: dict[str, tuple[Any, type[AnyEncoder]]] = {
    encoder.ARCH: (EncoderConfig, Encoder),
    dse.ARCH: (DseConfig, DseEncoder),
    psp.ARCH: (PspConfig, PspEncoder),
    alae.ARCH: (AlaeConfig, AlaeEncoder),
}
"""Of each kind its configuration and its module."""


def to_file(found: AnyEncoder, training: Mapping[str, Any], dtype: str = "float32") -> EncoderFile:
    """An encoder as it is written; dtype of its numbers: float32 or float16."""
    config = found.config.to_dict()
    return EncoderFile(arch(found), config, numbers(found, dtype), found.network, dict(training))


def arch(found: AnyEncoder) -> str:
    """Which kind of encoder it is, as --arch names it."""
    return next(name for name, (_, kind) in KINDS.items() if type(found) is kind)


def load(path: Path, device: str = "cpu") -> AnyEncoder:
    """The encoder of a file or run folder, in evaluation mode, without gradients; Usage."""
    return of(files.read(path), files.find(path).name, device)


def of(file: EncoderFile, name: str, device: str = "cpu") -> AnyEncoder:
    """The encoder of a file's numbers, as `load` gives it; Usage, with the file's name."""
    if file.arch not in KINDS:
        raise Usage(f"{name}: an encoder of --arch {file.arch}, which this version does not read")
    try:
        # What is filled next must draw no number from anybody's random stream.
        with torch.random.fork_rng(devices=[]):
            found = _made(file)
        fill(found, file.tensors)
    except (ValueError, TypeError, KeyError, RuntimeError, ZeroDivisionError) as e:
        raise Usage(f"{name}: not an encoder this version can build ({e})") from None
    return found.eval().requires_grad_(False).to(device)


def _made(file: EncoderFile) -> AnyEncoder:
    """As it is drawn, once its numbers are known to fit; ValueError where they do not."""
    config, kind = KINDS[file.arch]
    shape = config.from_dict(file.config)
    with torch.device("meta"):
        _check(kind(shape, {}), file.tensors)
    return kind(shape, file.network)


def _check(shape: torch.nn.Module, tensors: Mapping[str, np.ndarray]) -> None:
    """ValueError where the numbers are not an encoder's of this shape; takes no memory."""
    for name, tensor in shape.state_dict().items():
        found = tensors.get(name)
        if found is None or found.shape != tuple(tensor.shape):
            raise ValueError(f"{name} is missing or of another shape")
        if not np.isfinite(found).all():
            raise ValueError(f"{name} holds values that are not finite")
