"""What metrics ls measures: samples with scores of attributes, and their latents (S0.18)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantools import options, report
from gantools.commands import _latents, _parts, _ranks, _readers, _sources
from gantools.io.seeds import key_of_seed, seed_of_key
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.evaluation.shards import Rows
    from gantools.io.labels import Labels
    from gantools.io.latent import Latent
    from gantools.networks.network import Network

AT_ONCE = 256  # z that are mapped together: always as many, so that w are the same numbers
SPACES = ("z", "zy", "w", "w+", "nw", "nw+")


@dataclass
class Scored:
    """scores [N, K] of the columns, and latents(space) -> [N, dim] for `z` and `w`.

    rows: the scores as a file of them has them, where a network made the samples. thresholds: those
    that an attribute network brings.
    """

    columns: list[str]
    scores: np.ndarray
    spaces: list[str]
    latents: Callable[[str], np.ndarray]
    protocol: dict[str, Any]
    rows: Rows | None = None
    thresholds: dict[str, float] = field(default_factory=dict)


def opened(
    inputs: Sequence[str] | None,
    asked: _sources.Drawn,
    *,
    labels: str | None,
    reader: str | None,
    attributes: Sequence[str] | None,
) -> Scored:
    """The samples of the command line; Usage where the flags do not go together."""
    parts = bool(inputs) and all(_is_part(name) for name in inputs or [])
    if parts:
        if labels is not None or reader is not None:
            raise Usage("parts hold their labels: leave --labels and --reader out")
        scored = _of_parts(inputs or [], asked)
    elif labels is not None and reader is not None:
        raise Usage("--labels and --reader: give one of them")
    elif reader is not None:
        if inputs:
            raise Usage("--reader labels pictures that the network makes: leave INPUT out")
        scored = _of_reader(reader, asked)
    elif labels is None:
        raise Usage("labels are needed: --reader FILE, --labels FILE.csv, or parts")
    else:
        if asked.shard is not None:
            raise Usage("--shard divides pictures that --reader reads, and --labels has labels")
        table = _table(labels, attributes)
        scored = _of_latents(inputs, table, asked) if inputs else _of_seeds(table, asked)
    if not len(scored.scores):
        raise Usage("no sample has labels")
    return _only(scored, attributes)


def _is_part(name: str) -> bool:
    from gantools.evaluation import shards

    return shards.is_rows(Path(name))


def _only(scored: Scored, attributes: Sequence[str] | None) -> Scored:
    """The wanted columns; files of scores keep all."""
    if not attributes:
        return scored
    for name in attributes:
        if name not in scored.columns:
            there = ", ".join(scored.columns)
            raise Usage(f"--attribute {name}: no such label; there are {there}")
    wanted = list(dict.fromkeys(attributes))
    at = [scored.columns.index(name) for name in wanted]
    return replace(scored, columns=wanted, scores=scored.scores[:, at])


def _table(name: str, attributes: Sequence[str] | None) -> Labels:
    from gantools.io import labels

    table = labels.read(name)
    table.require(list(attributes or []))
    return table


# ---------------------------------------------------------------------------- of a network's seeds


def _spaces(network: Network) -> list[str]:
    return ["z", "w"] if network.has_w else ["z"]


def _of_index(
    index: np.ndarray, asked: _sources.Drawn, network: Network
) -> Callable[[str], np.ndarray]:
    """z and w of the samples with these numbers."""

    def latents(space: str) -> np.ndarray:
        made = (_sources.drawn(network, asked, int(i)) for i in index)
        return _stacked(made, len(index), space, network)

    return latents


def _stacked(made: Any, count: int, space: str, network: Network) -> np.ndarray:
    """z [count, z_dim] of z latents, or w [count, w_dim] that the network maps them to."""
    from itertools import islice

    import numpy as np

    cfg = network.g.cfg
    x = np.empty((count, cfg.z_dim if space == "z" else cfg.w_dim), np.float32)
    made, at = iter(made), 0
    while group := [*islice(made, AT_ONCE)]:
        z = np.stack([latent.tensors["z"] for latent in group])
        y = [latent.tensors["y"] for latent in group if "y" in latent.tensors]
        x[at : at + len(group)] = z if space == "z" else _mapped(network, z, y)
        at += len(group)
    return x


def _mapped(network: Network, z: np.ndarray, y: Sequence[np.ndarray]) -> np.ndarray:
    import numpy as np
    import torch

    with torch.no_grad():
        label = torch.from_numpy(np.stack(y)).to(network.device) if y else None
        ws = network.g.mapping(torch.from_numpy(z).to(network.device), label)
        return ws[:, -1].float().cpu().numpy()  # type: ignore[no-any-return]


def _of_reader(reader: str, asked: _sources.Drawn) -> Scored:
    import numpy as np

    from gantools.evaluation.shards import Rows

    reading = _readers.opened(reader, options.pick_device(asked.device))
    source = _sources.open_source(None, asked)
    assert source.seeds is not None
    found = [*_ranks.together(_read(reading, source, asked), source.seeds)]
    index = [seed - asked.seed for seed, _ in found]
    scores = np.array([row for _, row in found]).reshape(-1, len(reading.columns))
    source.story.pop("shard", None)
    story = {**source.story, **reading.story, "quantisation": _sources.QUANTISATION}
    story["thresholds"] = reading.thresholds
    shards = [] if asked.shard is None else [asked.shard]
    rows = Rows(np.array(index, np.int64), scores, reading.columns, story, shards)
    return _of_rows(rows, asked, asked.network)


def _read(
    reading: _readers.Reading, source: _sources.Source, asked: _sources.Drawn
) -> Iterator[tuple[int, np.ndarray]]:
    """(seed, scores [K]) of this process's pictures; what is not finite is reported."""
    import numpy as np

    for names, scores in reading.scores(_sources.own(source), asked.batch):
        for name, row in zip(names, scores, strict=True):
            if np.isfinite(row).all():
                yield seed_of_key(name), row
            else:
                report.failed(name, "its labels are not finite; it is left out")


def _key(asked: _sources.Drawn, i: int) -> str:
    return key_of_seed(asked.seed + i)


def _of_rows(rows: Rows, asked: _sources.Drawn, network: Network) -> Scored:
    latents = _of_index(rows.index, asked, network)
    limits = rows.protocol.get("thresholds", {})
    story = {**rows.protocol, **({"shards": rows.shards} if rows.shards else {})}
    return Scored(rows.columns, rows.values, _spaces(network), latents, story, rows, limits)


def _of_parts(inputs: Sequence[str], asked: _sources.Drawn) -> Scored:
    rows = _parts.read(inputs, "ls")
    network = asked.network
    if rows.protocol.get("network_id") != network.id:
        raise Usage(f"{rows.name}: of the network {rows.protocol.get('network')}: give it as --net")
    first = str(rows.protocol.get("seeds")).partition("-")[0]
    if first != str(asked.seed):
        raise Usage(f"{rows.name}: of the seeds {rows.protocol.get('seeds')}: give --seed {first}")
    return _of_rows(rows, asked, network)


def _of_seeds(table: Labels, asked: _sources.Drawn) -> Scored:
    """Seeds whose rows the table has; no picture is made."""
    import numpy as np

    network = asked.network
    found = {i: table.values(_key(asked, i), table.columns) for i in range(asked.num)}
    rows = {i: row for i, row in found.items() if row is not None}
    if not rows:
        last = _key(asked, asked.num - 1)
        raise Usage(f"{table.name} has no row of {_key(asked, 0)} to {last}")
    if len(rows) < asked.num and asked.given_num is not None:
        report.note(f"{asked.num - len(rows)} seeds have no row in {table.name} and are left out")
    index = np.array([*rows], np.int64)
    story = {"network": network.name, "network_id": network.id, "labels": table.name}
    story["seeds"] = f"{asked.seed}-{asked.seed + asked.num - 1}"
    latents = _of_index(index, asked, network)
    return Scored(table.columns, np.stack([*rows.values()]), _spaces(network), latents, story)


# ---------------------------------------------------------------------------- of latents


def _of_latents(inputs: Sequence[str], table: Labels, asked: _sources.Drawn) -> Scored:
    import numpy as np

    gathered: dict[str, list[np.ndarray]] = {}
    scores: list[np.ndarray] = []
    kinds: list[object] = []
    story: dict[str, Any] = {"labels": table.name}
    without = 0
    for latent in report.progress(_latents.read(inputs), unit="latents"):
        row = table.values(latent.key, table.columns)
        if row is None:
            without += 1
            continue
        network = latent.header.get("network") or {}
        try:
            found = _of_one(latent, asked)
            kind = network.get("id"), {space: x.shape for space, x in found.items()}
            if kinds and kind != kinds[0]:
                raise SampleError("of another network or space than those before it")
        except SampleError as e:
            report.failed(latent.key, e)
            continue
        for space, x in found.items():
            gathered.setdefault(space, []).append(x)
        scores.append(row)
        if not kinds:
            kinds.append(kind)
            story |= {"network": network.get("name"), "network_id": network.get("id")}
    if without:
        report.note(f"{without} latents have no row in {table.name} and are left out")
    if not scores:
        raise Usage(f"none of the latents has a row in {table.name}")
    return Scored(
        table.columns, np.stack(scores), [*gathered], lambda space: np.stack(gathered[space]), story
    )


def _of_one(latent: Latent, asked: _sources.Drawn) -> dict[str, np.ndarray]:
    """z and, by the network of --net, w of a z latent; the last row of a w (S0.18)."""
    if latent.space not in SPACES:
        raise SampleError(f"hyperplanes are fitted in z and w, not in {latent.space}")
    if "z" not in latent.tensors:
        return {"w": latent.tensors["w"][-1]}
    from gantools.latents.inputs import styles

    asked.network.check(latent)
    z = latent.tensors["z"]
    if not asked.network.has_w:
        return {"z": z}
    return {"z": z, "w": styles(asked.network, [latent], psi=1.0)[0, -1].float().cpu().numpy()}
