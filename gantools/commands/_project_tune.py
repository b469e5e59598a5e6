"""`project --tune`: a personal network from all pictures of a run, and its file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gantools import report
from gantools.commands._project_items import Item
from gantools.commands._project_setup import Setup
from gantools.report import Usage

if TYPE_CHECKING:
    from torch import nn

    from gantools.inversion.tune import Tuning
    from gantools.io.latent import Latent
    from gantools.networks.network import Network

Pivot = tuple[Item, "Latent"]


def check(path: Path) -> None:
    """Usage, before the work, where --tune could not be written after it."""
    from gantools.io.atomic import real_target

    if path.suffix != ".safetensors":
        raise Usage(f"--tune {path}: a name that ends in .safetensors")
    real_target(path)


def tuned(setup: Setup, pivots: list[Pivot]) -> Iterator[Pivot]:
    """The pictures' latents, which name the network that is written first."""
    from gantools.inversion.tune import Tuning

    assert setup.wishes.tune is not None
    file, steps, lr = setup.wishes.tune
    tuning = Tuning(steps=steps, lr=lr)
    items, latents = zip(*pivots, strict=True)
    pixels = [item.pixels for item in items]
    bar = report.progress_bar(total=steps, unit="step", desc="tuning")
    try:
        made = setup.projector.tuned(
            latents, pixels, tuning, setup.wishes.batch, lambda step: bar.update(1)
        )
    finally:
        bar.close()
    setup.network = _saved(setup, made, Path(file), tuning, len(pivots))
    setup.projector.network = setup.network
    for item, latent in zip(items, latents, strict=True):
        setup.projector.judge([latent], [item.pixels])
        latent.header["network"] = setup.network.story()
        latent.header["projection"]["tuned"] = {"steps": steps, "lr": lr}
        yield item, latent


def _saved(setup: Setup, made: nn.Module, path: Path, tuning: Tuning, pictures: int) -> Network:
    from gantools.io import network as files
    from gantools.networks.network import numbers

    ckpt = setup.ckpt
    tensors = {f"g_ema.{n}": t for n, t in numbers(made).items()}
    tensors |= {n: t for n, t in ckpt.tensors.items() if n.startswith("d.")}
    meta = {n: v for n, v in ckpt.meta.items() if n not in {"id", "w_avg"}}
    meta["derived_from"] = [setup.network.id, *meta.get("derived_from", [])]
    meta["tuned"] = {"pictures": pictures, "steps": tuning.steps, "lr": tuning.lr}
    ckpt = replace(ckpt, tensors=tensors, meta=meta)
    identity = files.save(path, ckpt)
    report.note(f"the tuned network is {path}: give it with --net where these latents go")
    return replace(setup.network, name=path.stem, id=identity, g=made, meta=meta)
