"""What an attribute model does to features (papers.md S2.9). numpy only."""

from __future__ import annotations

import numpy as np

from gantools.io.attribute_model import AttributeModel
from gantools.io.latent import Latent
from gantools.report import SampleError


# Algorithm 2: (f, r) + c M(f, r). f has twice as many cells a side as r, so r is repeated to f's
# size and dr averaged back: of M = 1 the edit would be (f, r) itself.
def moved(latent: Latent, model: AttributeModel, strength: float) -> dict[str, np.ndarray]:
    """f [C,h,w] and, from block 3 on, r [3,h/2,w/2] moved by strength · M(f, r); any h and w.

    SampleError where the model is for another block, or for other channels.
    """
    check(latent, model)
    before = {name: value for name, value in latent.tensors.items() if name in {"f", "r"}}
    if not strength:
        return before
    change = displacement(model, before)
    return {
        name: (value + strength * change[name]).astype(value.dtype)
        for name, value in before.items()
    }


def displacement(model: AttributeModel, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """M(f, r), float64: what a strength of 1 adds to f and r."""
    f, r = features["f"].astype(np.float64), features.get("r")
    stacked = f if r is None else np.concatenate([f, r.repeat(2, axis=1).repeat(2, axis=2)])
    change = np.tensordot(model.weight.astype(np.float64), stacked, axes=1)
    df, dr = np.split(change, [len(f)])
    if r is None:
        return {"f": df}
    return {"f": df, "r": dr.reshape(len(r), r.shape[1], 2, r.shape[2], 2).mean(axis=(2, 4))}


def check(latent: Latent, model: AttributeModel) -> None:
    """SampleError unless the latent's features are those that the model was trained on."""
    name, first = model.direction.name, model.first
    if latent.first != first:
        further = f" (gantools project --space {_at(latent, first)})" * (latent.first < first)
        raise SampleError(
            f"attribute model {name} moves the features of block {first}, and the latent's are "
            f"those of block {latent.first}{further}"
        )
    have = tuple(len(latent.tensors[n]) if n in latent.tensors else 0 for n in ("f", "r"))
    if have != model.channels:
        raise SampleError(
            f"attribute model {name} is for {model.channels[0]} and {model.channels[1]} channels "
            f"of f and r, the latent has {have[0]} and {have[1]}"
        )


def _at(latent: Latent, first: int) -> str:
    return latent.space.rstrip("0123456789") + str(first)
