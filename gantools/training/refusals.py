"""What rules a run out before any picture is read: thousands of them may take an hour."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gantools.evaluation import features
from gantools.io.network import Checkpoint
from gantools.report import Usage
from gantools.training.distributed import Ranks, parts_of
from gantools.training.families import Config
from gantools.training.growing_config import GrowingConfig
from gantools.training.measure import FEWEST
from gantools.training.networks import Networks
from gantools.training.state import Saved


def check(
    config: Config,
    origin: Checkpoint | None,
    saved: Saved | None,
    ranks: Ranks,
    *,
    batch_gpu: int | None,
    labelled: bool,
) -> None:
    """Usage where the run could not be trained or measured whatever its pictures are.

    origin: the network of --net; saved: the state of a run that goes on. batch_gpu and
    labelled: --batch-gpu, and whether --labels was given.
    """
    g, d = _shapes(config, origin, saved)
    _check_layers(config, g, d, ranks, in_parts=batch_gpu is not None)
    if batch_gpu is not None and config.spec_reg:
        raise Usage("--spec-reg durall weighs a loss by its whole batch: without --batch-gpu")
    for batch, group in _batches(config, d):
        if ranks.world > 1:
            ranks.share(batch, group)
        parts_of(batch // ranks.world, group, batch_gpu)
    if origin is not None:
        _check_classes(g, labelled=labelled)
    if config.metric is not None:
        _check_metric(config)


def _shapes(
    config: Config, origin: Checkpoint | None, saved: Saved | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configurations of generator and discriminator, as far as they are known by now."""
    if saved is not None:
        return saved.networks["g"], saved.networks["d"]
    if isinstance(config, GrowingConfig):
        g, d = config.network_configs()
    else:
        g, d = {}, {"mbstd_group": config.mbstd_group}
    if origin is None:
        return g, d
    return origin.config["g"], origin.config.get("d") or d


def _check_layers(
    config: Config, g: dict[str, Any], d: dict[str, Any], ranks: Ranks, *, in_parts: bool
) -> None:
    """Moments of a batch norm are gathered from processes, but not from parts in turn."""
    if d.get("mbdisc_kernels") and (in_parts or ranks.world > 1):
        raise Usage(
            "minibatch discrimination compares all samples of a batch: it is trained by one "
            "process, without torchrun and --batch-gpu"
        )
    batch_norm = "batch" in (g.get("norm"), d.get("norm")) or config.family in ("sngan", "biggan")
    if in_parts and batch_norm:
        raise Usage(
            "batch norm takes its moments from the whole batch of a process: without --batch-gpu"
        )


def _batches(config: Config, d: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Every minibatch that will come, and how many of its samples have to stand together."""
    group = d.get("mbstd_group", 1)
    if isinstance(config, GrowingConfig):
        yield from ((batch, group) for batch in config.schedule().all_batches())
        return
    yield config.batch, group
    if config.pl_weight:
        yield config.batch // 2, 1


def _check_classes(g: dict[str, Any], *, labelled: bool) -> None:
    classes = g.get("c_dim", 0)
    if bool(classes) != labelled:
        theirs = "some" if labelled else "0"
        raise Usage(
            f"--net: the network has {classes} classes, the pictures have {theirs} (--labels)"
        )


def check_classes(networks: Networks, classes: int) -> None:
    """Usage where the network of --net has another number of classes than the pictures."""
    own = networks.g.cfg.c_dim
    if own != classes:
        raise Usage(f"--net: the network has {own} classes, the pictures have {classes} (--labels)")


def _check_metric(config: Config) -> None:
    if not config.hold_out:
        raise Usage(
            f"--metric {config.metric}: 0 pictures are held out, {FEWEST} are needed (--hold-out N)"
        )
    features.weights_of(config.features)
