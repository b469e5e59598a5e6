"""Edits along attribute directions (papers.md S2.8, S4.21). numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gantools.io.latent import Latent
from gantools.latents.mixing import broadcast
from gantools.report import SampleError

SPACES = ("z", "zy", "w", "w+", "nw", "nw+", "sw+", "nsw+")
LEAST = 0.02  # share of a direction that has to be left by a projection, or it is noise


@dataclass(frozen=True)
class Step:
    """One direction to be added: vector [dim] or [L, dim], how far, and in which 0-based layers.

    space is that of the direction's file: z, w, w+, or None where the file does not say.
    """

    name: str
    vector: np.ndarray
    strength: float
    layers: tuple[int, ...] | None = None
    space: str | None = None

    @property
    def layered(self) -> bool:
        """Whether it moves the layers by different amounts, so that w has to become w+."""
        return self.layers is not None or len(np.atleast_2d(self.vector)) > 1


def edit(
    latent: Latent, steps: Sequence[Step], *, num_ws: int | None = None, absolute: bool = False
) -> Latent:
    """The latent moved by strength · vector along every step, in the layers of that step.

    absolute: strength is the signed distance, in units of the vector, at which the latent ends,
    instead of how far it moves (InterFaceGAN's rule for z and w). num_ws: L, for a w that has to
    become w+. Rows that no step names stay as they are, to the bit. SampleError where a direction
    does not fit the latent.
    """
    if latent.space not in SPACES:
        raise SampleError(
            f"latents of the space {latent.space} are not edited ({' '.join(SPACES)})"
        )
    if latent.space in {"w", "nw"} and any(step.layered for step in steps):
        counts = {len(s.vector) for s in steps if np.ndim(s.vector) == 2 and len(s.vector) > 1}
        count = counts.pop() if len(counts) == 1 else num_ws
        if count is None:
            raise SampleError("nothing says how many layers w stands for: name its network (--net)")
        latent = broadcast(latent, count)
    tensors = dict(latent.tensors)
    for step in steps:
        _check(latent, step)
        for name in _moved(latent, step):
            tensors[name] = _move(name, tensors[name], step, absolute=absolute)
    return replace(latent, tensors=tensors)


def frames(
    latent: Latent, steps: Sequence[Step], starts: Sequence[float], count: int, **how: object
) -> list[Latent]:
    """`count` latents from strengths `starts` to those of the steps, both ends included."""
    made = []
    for i in range(count):
        t = i / (count - 1)
        now = [
            replace(s, strength=a + t * (s.strength - a) if t < 1 else s.strength)
            for s, a in zip(steps, starts, strict=True)
        ]
        frame = edit(latent, now, **how)  # type: ignore[arg-type]
        made.append(replace(frame, key=f"{latent.key}/{i:04d}"))
    return made


def _check(latent: Latent, step: Step) -> None:
    in_z = "z" in latent.tensors
    if step.space is not None and (step.space == "z") != in_z:
        raise SampleError(
            f"direction {step.name} lives in {step.space}, the latent in {latent.space}"
            + (": convert it first (gantools project --space w)" if in_z else "")
        )
    rows = np.atleast_2d(step.vector)
    if in_z and step.layered:
        raise SampleError(f"direction {step.name} goes by layers, and z has none")
    name = "z" if in_z else "w" if "w" in latent.tensors else "s.1"
    have = latent.tensors[name]
    dim = have.shape[0] if name == "s.1" else have.shape[-1]
    if rows.shape[1] != dim:
        raise SampleError(
            f"direction {step.name} has {rows.shape[1]} numbers, {latent.space} here has {dim}"
        )
    count = _layers(latent)
    if len(rows) not in (1, count):
        raise SampleError(f"direction {step.name} has {len(rows)} rows, the latent {count} layers")
    if step.layers is not None and (not step.layers or max(step.layers) >= count):
        raise SampleError(f"--layers {max(step.layers)}: the latent has layers 0-{count - 1}")


def _layers(latent: Latent) -> int:
    if latent.space in {"sw+", "nsw+"}:
        return sum(name.startswith("s.") for name in latent.tensors)
    return len(np.atleast_2d(latent.tensors["z" if "z" in latent.tensors else "w"]))


def _moved(latent: Latent, step: Step) -> list[str]:
    if "z" in latent.tensors:
        return ["z"]
    if "w" in latent.tensors:
        return ["w"]
    layers = range(_layers(latent)) if step.layers is None else step.layers
    return [f"s.{layer + 1}" for layer in layers]


# w_j + c v_j; a style map s_j [w_dim,h,w] moves by the same vector at every location (S2.8).
def _move(name: str, value: np.ndarray, step: Step, *, absolute: bool) -> np.ndarray:
    rows = np.atleast_2d(step.vector).astype(np.float64)
    if name.startswith("s."):
        row = rows[int(name[2:]) - 1] if len(rows) > 1 else rows[0]
        columns = value.reshape(len(value), -1).T
        return _along(columns, row[None], step.strength, absolute).T.reshape(value.shape)
    if value.ndim == 1:
        return _along(value[None], rows, step.strength, absolute)[0]
    if step.layers is None:
        return _along(value, rows, step.strength, absolute)
    moved = value.copy()
    chosen = list(step.layers)
    part = rows[chosen] if len(rows) > 1 else rows
    moved[chosen] = _along(value[chosen], part, step.strength, absolute)
    return moved


# InterFaceGAN: c - <x, n> instead of c, where x is a single code and n has length 1.
def _along(x: np.ndarray, v: np.ndarray, strength: float, absolute: bool) -> np.ndarray:
    amount = np.full((len(x), 1), strength, np.float64)
    if absolute:
        square = np.sum(v * v, axis=1, keepdims=True)
        amount = strength - np.sum(x * v, axis=1, keepdims=True) / square
    if not amount.any():
        return x
    return (x + amount * v).astype(x.dtype)


def project_out(vector: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """The vector's part that is orthogonal to all `others`, at the length it had (S2.7).

    [dim] or [L, dim]; with a row per layer the hyperplane is that of all layers together.
    ValueError where nothing of it is left.
    """
    shape = np.broadcast_shapes(*(np.atleast_2d(v).shape for v in (vector, *others)))
    n, *conditions = (
        np.broadcast_to(np.atleast_2d(v).astype(np.float64), shape).ravel()
        for v in (vector, *others)
    )
    a = np.stack(conditions)
    weights = np.linalg.lstsq(a @ a.T, a @ n, rcond=None)[0]
    left = n - weights @ a
    left -= np.linalg.lstsq(a @ a.T, a @ left, rcond=None)[0] @ a  # once more for the rounding
    length = np.linalg.norm(left)
    if length < LEAST * np.linalg.norm(n):
        raise ValueError("it is a combination of the directions it should be orthogonal to")
    scaled = left * (np.linalg.norm(n) / length)
    projected = scaled.reshape(shape)
    return projected[0] if np.ndim(vector) == 1 and shape[0] == 1 else projected
