"""Numbers of samples, by index, that shards of a metric make and that merge (S0.17, S0.18, S1.22).

A safetensors file: `index` int64 [n], `values` float64 [n, K], and a story with their kind, the K
columns, the shards, and the protocol, in which what merges has to agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gantools.io import tensorfile
from gantools.report import Usage

TENSORS = {"index", "values"}


@dataclass
class Rows:
    """index [n], values [n, K] of the samples, and how they were made; name is for messages."""

    index: np.ndarray
    values: np.ndarray
    columns: list[str]
    protocol: dict[str, Any]
    shards: list[str] = field(default_factory=list)
    name: str = ""

    def column(self, name: str) -> np.ndarray:
        """One column [n]."""
        return self.values[:, self.columns.index(name)]


def is_rows(path: Path) -> bool:
    """Whether it is a file of rows, by its bytes."""
    return (
        path.is_file() and tensorfile.looks_like(path) and set(tensorfile.read(path)[1]) == TENSORS
    )


def save(path: Path, rows: Rows, kind: str) -> None:
    """Write rows atomically; the same ones give the same bytes."""
    story = {"kind": kind, "columns": rows.columns, "shards": rows.shards}
    tensors = {"index": rows.index.astype(np.int64), "values": rows.values.astype(np.float64)}
    tensorfile.write(path, tensors, {**story, "protocol": rows.protocol})


def load(path: Path, kind: str) -> Rows:
    """Read what `save` wrote; Usage where it is damaged, or of another kind."""
    story, tensors = tensorfile.read(path)
    if set(tensors) != TENSORS or story.get("kind") != kind:
        raise Usage(f"{path.name}: no part of metrics {kind}")
    index, values = tensors["index"], tensors["values"]
    columns, shards, protocol = (story.get(name) for name in ("columns", "shards", "protocol"))
    whole = isinstance(columns, list) and isinstance(shards, list) and isinstance(protocol, dict)
    if not whole or values.shape != (len(index), len(columns or [])) or index.ndim != 1:
        raise Usage(f"{path.name}: damaged part of metrics {kind}")
    if values.dtype.kind != "f" or index.dtype.kind != "i" or np.isinf(values).any():
        raise Usage(f"{path.name}: its values are no numbers")
    return Rows(index, values, columns or [], protocol or {}, shards or [], path.name)


def merged(parts: Sequence[Rows]) -> Rows:
    """All parts, in the order of their samples: what one process finds, to the bit.

    Usage where they are of other columns or another protocol, or a sample is in two of them.
    """
    first = parts[0]
    for part in parts:
        if part.columns != first.columns:
            raise Usage(f"{part.name}: of {_listed(part.columns)}, {first.name} of others")
        for key in sorted(part.protocol.keys() | first.protocol.keys()):
            theirs, ours = part.protocol.get(key), first.protocol.get(key)
            if theirs != ours:
                raise Usage(f"{part.name}: {key} {theirs}, and {ours} in {first.name}")
    index = np.concatenate([part.index for part in parts])
    order = np.argsort(index, kind="stable")
    twice = np.flatnonzero(np.diff(index[order]) == 0)
    if len(twice):
        owners = np.repeat(np.arange(len(parts)), [len(part.index) for part in parts])
        one, two = (parts[owners[i]].name for i in order[twice[0] : twice[0] + 2])
        raise Usage(f"{two}: what it measured is in {one} already")
    values = np.concatenate([part.values for part in parts])[order]
    shards = [shard for part in parts for shard in part.shards]
    return Rows(index[order], values, first.columns, first.protocol, shards, first.name)


def missing(shards: Iterable[str]) -> list[str]:
    """The shards I/N that are not there, of every N that one of them names."""
    there = {shard for shard in shards if re.fullmatch(r"\d{1,6}/\d{1,6}", shard)}
    counts = sorted({int(shard.partition("/")[2]) for shard in there})
    every = [f"{i}/{n}" for n in counts for i in range(n)]
    return [shard for shard in every if shard not in there]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
