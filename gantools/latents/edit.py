"""Edits along attribute directions (papers.md S2.8, S2.9, S4.21). numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gantools.io.attribute_model import AttributeModel
from gantools.io.latent import Latent
from gantools.io.spatial_latent import last_block
from gantools.latents import attribute_model
from gantools.latents.compositing import Composition, compose, features_taken
from gantools.latents.mixing import broadcast
from gantools.report import SampleError

LEAST = 0.02  # share of a direction that has to be left by a projection, or it is noise


@dataclass(frozen=True)
class Step:
    """One direction to be added: vector [dim] or [L, dim], how far, and in which 0-based layers.

    space is that of the direction's file: z, w, w+, or None where the file does not say. model:
    what moves features; without it they stay. over: where the step shows, by a mask over what was
    there before.
    """

    name: str
    vector: np.ndarray
    strength: float
    layers: tuple[int, ...] | None = None
    space: str | None = None
    model: AttributeModel | None = None
    over: Composition | None = None

    @property
    def layered(self) -> bool:
        """Whether it moves the layers by different amounts, so that w has to become w+."""
        return self.layers is not None or len(np.atleast_2d(self.vector)) > 1


def length(vector: np.ndarray, norm: str) -> float:
    """|v| of a direction [dim] or [L, dim]: of all its rows (fro), or of the longest (row) (S2.7).

    They differ where a direction stands with a row for each layer: by the root of L for equal ones.
    """
    lengths = np.linalg.norm(np.atleast_2d(vector).astype(np.float64), axis=1)
    return float(lengths.max() if norm == "row" else np.linalg.norm(lengths))


def edit(
    latent: Latent, steps: Sequence[Step], *, num_ws: int | None = None, absolute: bool = False
) -> Latent:
    """The latent moved by strength · vector along every step, in the layers of that step.

    Steps follow each other. Of a latent with features, styles move and, by a step's model, f and
    r. absolute: strength is the signed distance, in units of the vector, at which the latent ends,
    instead of how far it moves (InterFaceGAN's rule for z and w). num_ws: L, for a w that has to
    become w+. Rows that no step names stay as they are, to the bit. SampleError where a direction
    does not fit the latent.
    """
    if latent.spatial and "z" in latent.tensors:
        raise SampleError(f"a {latent.space} latent has no styles before its z is mapped")
    if latent.space in {"w", "nw"} and any(step.layered for step in steps):
        counts = {len(s.vector) for s in steps if np.ndim(s.vector) == 2 and len(s.vector) > 1}
        count = counts.pop() if len(counts) == 1 else num_ws
        if count is None:
            raise SampleError("nothing says how many layers w stands for: name its network (--net)")
        latent = broadcast(latent, count)
    for step in steps:
        _check(latent, step)
        moved = replace(latent, tensors=_moved(latent, step, absolute=absolute))
        latent = moved if step.over is None else _over(latent, moved, step.over)
    return latent


# S2.4 of a latent and its edit: 0 leaves it and 1 edits it, to the bit.
def _over(latent: Latent, moved: Latent, how: Composition) -> Latent:
    if not latent.spatial or "w" in latent.tensors:
        raise SampleError(f"a mask needs style maps, and {latent.space} has vectors")
    return replace(latent, tensors=compose([latent, moved], how))


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
    name = "z" if in_z else "w" if "w" in latent.tensors else f"s.{latent.first}"
    have = latent.tensors[name]
    dim = have.shape[0] if name.startswith("s.") else have.shape[-1]
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
    if latent.spatial:
        return last_block(latent.space, latent.tensors) or 0
    return len(np.atleast_2d(latent.tensors["z" if "z" in latent.tensors else "w"]))


def _moved(latent: Latent, step: Step, *, absolute: bool) -> dict[str, np.ndarray]:
    """The tensors after a step."""
    tensors = dict(latent.tensors)
    if "z" in tensors:
        rows = np.atleast_2d(step.vector)
        tensors["z"] = _along(tensors["z"][None], rows, step.strength, absolute)[0]
        return tensors
    if step.model is not None and "f" in tensors and features_taken(latent.first, step.layers):
        if absolute:
            raise SampleError(
                f"--absolute: features have no distance along a direction; leave it out, or move "
                f"the styles alone with --layers {latent.first - 1}-{_layers(latent) - 1}"
            )
        tensors |= attribute_model.moved(latent, step.model, step.strength)
    layers = range(_layers(latent)) if step.layers is None else step.layers
    own = [layer for layer in layers if layer >= latent.first - 1]
    if not own and step.model is None:
        raise SampleError(
            f"the layers of direction {step.name} are in the features of block {latent.first}, "
            "which only an attribute model moves (gantools train attribute)"
        )
    return tensors | _moved_styles(latent, step, own, absolute=absolute)


# w_j + c v_j; a style map s_j [w_dim,h,w] moves by the same vector at every location (S2.8).
def _moved_styles(
    latent: Latent, step: Step, layers: list[int], *, absolute: bool
) -> dict[str, np.ndarray]:
    rows = np.atleast_2d(step.vector).astype(np.float64)
    rows = rows[layers] if len(rows) > 1 else rows
    if "w" not in latent.tensors:
        own = np.broadcast_to(rows, (len(layers), rows.shape[1]))
        names = [f"s.{layer + 1}" for layer in layers]
        return {
            name: _moved_map(latent.tensors[name], row, step.strength, absolute)
            for name, row in zip(names, own, strict=True)
        }
    value = latent.tensors["w"]
    if step.layers is None:
        return {"w": _along(value, rows, step.strength, absolute)}
    moved, at = value.copy(), [layer - (latent.first - 1) for layer in layers]
    moved[at] = _along(value[at], rows, step.strength, absolute)
    return {"w": moved}


# Channel by channel: in double precision a style map of a large picture would be gigabytes.
def _moved_map(value: np.ndarray, row: np.ndarray, strength: float, absolute: bool) -> np.ndarray:
    amount: float | np.ndarray = strength
    if absolute:
        amount = strength - np.einsum("c,chw->hw", row, value) / (row @ row or 1)
    if not np.any(amount):
        return value
    moved = np.empty(value.shape, value.dtype)
    for channel, by in enumerate(row):
        moved[channel] = value[channel] + amount * by
    return moved


# InterFaceGAN: c - <x, n> instead of c, where x is a single code and n has length 1.
def _along(x: np.ndarray, v: np.ndarray, strength: float, absolute: bool) -> np.ndarray:
    amount = np.full((len(x), 1), strength, np.float64)
    if absolute:
        square = np.sum(v * v, axis=1, keepdims=True)
        square[square == 0] = 1  # of a layer that it does not move
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
