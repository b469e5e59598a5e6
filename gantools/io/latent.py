"""Latent files: one sample, safetensors, its story in the header (papers.md S2.1)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from gantools import __version__
from gantools.io import spatial_latent, tensorfile
from gantools.io.space import spatial, split
from gantools.report import SampleError

FORMAT = 1


@dataclass
class Latent:
    """A latent: its tensors (float32, no batch dimension) and its header.

    tensors: z [z_dim]; y [classes]; w [n, w_dim] (n = 1 in w, one row per block in w+);
    n.j [1, H, W], j the paper's 1-based block. With an index i in the space's name, from block i
    on: f [C, h, w], r [3, h/2, w/2] (i >= 3), one row of w per block from there; s.j [w_dim, h, w].
    header: network {name, id}, seed, psi, crop, projection, history, first, …
    """

    key: str
    space: str
    tensors: dict[str, np.ndarray]
    header: dict[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The file's bytes; equal latents give equal bytes."""
        story = json.dumps(self.story(), sort_keys=True, separators=(",", ":"))
        tensors = {
            name: np.ascontiguousarray(value, dtype=np.float32)
            for name, value in sorted(self.tensors.items())
        }
        return safetensors.numpy.save(tensors, metadata={"gantools": story})

    def story(self) -> dict[str, Any]:
        """The header as it stands in the file, and in an image's iTXt chunk."""
        own = {"format": FORMAT, "kind": "latent", "key": self.key, "space": self.space}
        header = {name: value for name, value in self.header.items() if name != "first"}
        first = {} if split(self.space)[1] is None else {"first": self.first}
        return {**header, **own, **first}

    @property
    def first(self) -> int:
        """The block that its features are for, 1-based; 1 where it has none."""
        return split(self.space)[1] or 1

    @property
    def spatial(self) -> bool:
        """Whether it holds features or style maps."""
        return spatial(self.space)

    @staticmethod
    def from_bytes(data: bytes, key: str) -> Latent:
        """Read a latent; SampleError where it is none, or damaged."""
        try:
            story = read_story(data)
            tensors = safetensors.numpy.load(data)
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as e:
            raise SampleError(f"not a latent file ({e})") from None
        if story.get("kind") != "latent":
            raise SampleError(f"{tensorfile.called(story)}, not a latent")
        if story.get("format") != FORMAT:
            raise SampleError(f"latent format {story.get('format')} is newer than this gantools")
        space = story.get("space")
        latent = Latent(key, _known(space), tensors, story)
        latent.check()
        return latent

    def check(self) -> None:
        """SampleError where the tensors do not fit the space, or are not finite."""
        needed = {"z": ["z"], "zy": ["z", "y"]}.get(self.space, ["w"])
        for name in [] if self.spatial else needed:
            if name not in self.tensors:
                raise SampleError(f"a {self.space} latent without its tensor {name}")
        for name, value in self.tensors.items():
            if value.dtype.kind != "f":
                raise SampleError(f"tensor {name} is {value.dtype}, not floating point")
            if not np.isfinite(value).all():
                raise SampleError(f"tensor {name} holds values that are not finite")
        self._check_shapes()
        for name, kinds in (("psi", int | float), ("cutoff", int)):
            said = self.header.get(name)
            if said is not None and not (isinstance(said, kinds) and math.isfinite(said)):
                raise SampleError(f"its header's {name} is {said!r}, not a number")

    def _check_shapes(self) -> None:
        ranks = {"z": 1, "y": 1, "w": 2}
        for name, value in self.tensors.items():
            rank = ranks.get(name, 3)
            if name.startswith("n.") and not name[2:].isdecimal():
                raise SampleError(f"tensor {name}: noise maps are n.1, n.2, …")
            if value.ndim != rank or 0 in value.shape:
                raise SampleError(f"tensor {name} has shape {list(value.shape)}, not {rank}-D")
        if self.spatial:
            spatial_latent.check(self.space, self.tensors)
        if self.space in {"w", "nw"} and self.tensors["w"].shape[0] != 1:
            raise SampleError(f"a {self.space} latent has one row, not {len(self.tensors['w'])}")

    @property
    def noise(self) -> dict[int, np.ndarray]:
        """Its noise maps by block: j -> [1, H, W]."""
        return {int(n[2:]): value for n, value in self.tensors.items() if n.startswith("n.")}

    @property
    def truncation(self) -> tuple[float, int | None]:
        """(psi, cutoff) of its header, at which its z is rendered; (1, None) where it has no z.

        A w has been truncated before: w_avg + psi (w - w_avg) in layers below the cutoff (S0.12).
        """
        if "z" not in self.tensors:
            return 1.0, None
        psi, cutoff = self.header.get("psi"), self.header.get("cutoff")
        return 1.0 if psi is None else float(psi), None if cutoff is None else int(cutoff)

    def with_history(self, command: str, args: dict[str, Any]) -> Latent:
        """The same latent with one more entry in its history; args without folders."""
        entry = {"command": command, "args": args, "version": __version__}
        history = [*self.header.get("history", []), entry]
        return replace(self, header={**self.header, "history": history})


def _known(space: Any) -> str:
    try:
        split(space if isinstance(space, str) else "")
    except ValueError:
        raise SampleError(f"unknown latent space {space!r}") from None
    return str(space)


def read_story(data: bytes) -> dict[str, Any]:
    """The JSON under `__metadata__["gantools"]` of safetensors bytes; {} where there is none."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise ValueError("the header is longer than the file")
    header = json.loads(data[8 : 8 + length])
    story = json.loads(header.get("__metadata__", {}).get("gantools", "{}"))
    if not isinstance(story, dict):
        raise ValueError("its story is no JSON object")
    return story
