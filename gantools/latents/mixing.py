"""Mixing of latents: lerp, slerp, style mixing by layers (papers.md S0.20, S2.4). numpy only."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np

from gantools.io.latent import Latent
from gantools.report import SampleError

SPACES = ("z", "zy", "w", "w+", "nw", "nw+")
Share = float | np.ndarray
PARALLEL = 1e-6  # sine of the angle below which slerp is lerp


def lerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """(1 - t) a + t b, any shape; t = 0 gives a and t = 1 gives b, to the bit."""
    return ((1 - t) * a + t * b).astype(a.dtype, copy=False)


def slerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """Along the great arc from a to b, over the last axis; lengths are interpolated with it.

    Shoemake 1985. Vectors that are parallel, or opposite (no arc is the shortest), are lerped.
    """
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a64, axis=-1) * np.linalg.norm(b64, axis=-1)
    cosine = np.sum(a64 * b64, axis=-1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    angle = np.arccos(np.clip(cosine, -1, 1))
    sine = np.sin(angle)
    straight = sine < PARALLEL
    safe = np.where(straight, 1, sine)
    left = np.where(straight, 1 - t, np.sin((1 - t) * angle) / safe)[..., None]
    right = np.where(straight, t, np.sin(t * angle) / safe)[..., None]
    return (left * a64 + right * b64).astype(a.dtype, copy=False)


def weighted(parts: Sequence[np.ndarray], shares: Sequence[Share]) -> np.ndarray:
    """sum of share · part, in float64; where a share is 1 its part comes back to the bit."""
    used = [(share, part) for share, part in zip(shares, parts, strict=True) if np.any(share)]
    if len(used) == 1 and np.all(used[0][0] == 1):
        return used[0][1]
    total = np.zeros(parts[0].shape)
    for share, part in used:
        total += np.multiply(share, part, dtype=np.float64)
    return total


def _of_maps(parts: Sequence[np.ndarray], shares: Sequence[Share]) -> np.ndarray:
    """`weighted` of [C,H,W] in their own type, channel by channel: a style map has hundreds."""
    used = [(share, part) for share, part in zip(shares, parts, strict=True) if np.any(share)]
    total = np.empty(parts[0].shape, parts[0].dtype)
    for channel in range(len(total)):
        terms = [np.multiply(share, part[channel], dtype=np.float64) for share, part in used]
        total[channel] = sum(terms[1:], terms[0])
    return total


def blend(parts: Sequence[np.ndarray], shares: Sequence[Share], *, arc: bool) -> np.ndarray:
    """The weighted sum of arrays of one shape, shares summing to 1; two of them on an arc if asked.

    A share is a number or, for maps [C,H,W], one for each cell [H,W]; on an arc a number.

    On an arc more than two have no single path: their sum is divided by sqrt(sum of shares²),
    which keeps the length of independent normal vectors (z).
    """
    if arc and len(parts) == 2:
        return slerp(parts[0], parts[1], float(shares[1]))
    if parts[0].ndim == 3 and not arc:
        return _of_maps(parts, shares)
    total = weighted(parts, shares)
    if arc:
        total = total / math.sqrt(sum(float(share) ** 2 for share in shares))
    return total.astype(parts[0].dtype, copy=False)


# S2.4: Var((1-m) x + m y) = (1-m)² + m² for independent noises, so the sum is divided by its root;
# of noises that are one, Var = ((1-m) + m)². Independent ones are never equal in a cell.
def blend_noise(maps: Sequence[np.ndarray], shares: Sequence[Share]) -> np.ndarray:
    """Noise maps [1,H,W] summed by shares and brought back to the variance of independent ones.

    A share is a number, or one for each cell [H,W]; they sum to 1. Where maps are equal they are
    one map, whose shares add up; a map alone stays as it is.
    """
    used = [(n, share) for n, share in zip(maps, shares, strict=True) if np.any(share)]
    if len(used) == 1:
        return used[0][0]
    variance = np.zeros(maps[0].shape)
    for i, (noise, share) in enumerate(used):
        variance += share * share
        for other, its in used[:i]:
            variance += 2 * share * its * (noise == other)
    return (weighted(maps, shares) / np.sqrt(variance)).astype(maps[0].dtype)


def broadcast(latent: Latent, count: int) -> Latent:
    """w as w+ (nw as nw+) of `count` equal rows; w+ and nw+ as they are."""
    if latent.space.endswith("+"):
        return latent
    w = np.repeat(latent.tensors["w"], count, axis=0)
    return Latent(latent.key, latent.space + "+", {**latent.tensors, "w": w}, latent.header)


def common_space(latents: Sequence[Latent], layers: Collection[int] | None) -> str:
    """The space in which they meet; SampleError where there is none.

    w becomes w+ beside w+ or under `layers`; noise must be in all of them or in none.
    """
    spaces = {latent.space for latent in latents}
    for space in sorted(spaces):
        if space not in SPACES:
            raise SampleError(f"latents of the space {space} cannot be mixed ({' '.join(SPACES)})")
    if spaces == {"z", "zy"}:
        raise SampleError("some of the latents have a class and some have none")
    if {"z", "zy"} & spaces and len(spaces) > 1:
        other = sorted(spaces - {"z", "zy"})[0]
        raise SampleError(
            f"z and {other} lie on two sides of the mapping network: convert the z latents first "
            f"(gantools project --space {other.removeprefix('n')})"
        )
    if {"z", "zy"} & spaces and layers is not None:
        raise SampleError("z has no layers: convert to w first (gantools project --space w)")
    if len({space.startswith("n") for space in spaces}) > 1:
        raise SampleError("some of the latents have noise maps and some have none")
    if layers is not None or any(space.endswith("+") for space in spaces):
        return "nw+" if any(space.startswith("n") for space in spaces) else "w+"
    return spaces.pop()


def mix(
    latents: Sequence[Latent],
    shares: Sequence[float],
    *,
    layers: Collection[int] | None = None,
    arc: bool | None = None,
    num_ws: int | None = None,
) -> dict[str, np.ndarray]:
    """The tensors of the mixture; its space is `common_space(latents, layers)`.

    shares: one per latent, summing to 1. layers: 0-based; the others come from the first latent
    (S0.20), and a noise map goes with its layer. arc: slerp (None: in z). num_ws: L, where no
    latent is w+. SampleError where spaces, sizes or labels do not meet.
    """
    space = common_space(latents, layers)
    if space.endswith("+"):
        latents = _in_layers(latents, num_ws)
        _check_layers(layers, len(latents[0].tensors["w"]))
    _same_shapes(latents)
    arc = space in {"z", "zy"} if arc is None else arc
    if space in {"z", "zy"}:
        return _mix_z(latents, shares, arc=arc)
    tensors = {"w": _mix_w(latents, shares, layers, arc=arc)}
    for j in sorted(latents[0].noise):
        taken = layers is None or j - 1 in layers
        maps = [latent.noise[j] for latent in latents]
        tensors[f"n.{j}"] = blend_noise(maps, shares) if taken else maps[0]
    return tensors


def _in_layers(latents: Sequence[Latent], num_ws: int | None) -> list[Latent]:
    rows = {len(x.tensors["w"]) for x in latents if x.space.endswith("+")}
    if len(rows) > 1:
        raise SampleError(f"the latents have {min(rows)} and {max(rows)} layers")
    count = rows.pop() if rows else num_ws
    if count is None:
        raise SampleError("nothing says how many layers w stands for: give its network with --net")
    return [broadcast(latent, count) for latent in latents]


def _check_layers(layers: Collection[int] | None, count: int) -> None:
    if layers is not None and max(layers) >= count:
        raise SampleError(f"--layers {max(layers)}: the latents have layers 0-{count - 1}")


def _same_shapes(latents: Sequence[Latent]) -> None:
    first = {name: value.shape for name, value in latents[0].tensors.items()}
    for latent in latents[1:]:
        if {name: value.shape for name, value in latent.tensors.items()} != first:
            raise SampleError(f"{latent.key} and {latents[0].key} hold tensors of different sizes")


def _mix_z(
    latents: Sequence[Latent], shares: Sequence[float], *, arc: bool
) -> dict[str, np.ndarray]:
    tensors = {"z": blend([x.tensors["z"] for x in latents], shares, arc=arc)}
    if "y" in latents[0].tensors:
        tensors["y"] = blend([x.tensors["y"] for x in latents], shares, arc=False)
    return tensors


def _mix_w(
    latents: Sequence[Latent],
    shares: Sequence[float],
    layers: Collection[int] | None,
    *,
    arc: bool,
) -> np.ndarray:
    mixed = blend([x.tensors["w"] for x in latents], shares, arc=arc)
    if layers is None:
        return mixed
    w = latents[0].tensors["w"].copy()
    rows = sorted(layers)
    w[rows] = mixed[rows]
    return w
