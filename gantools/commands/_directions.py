"""The flows of `train direction`: labelled latents and no labels (S2.7); pictures: _pictured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantools import report
from gantools.commands import _labelled
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.io.direction import Direction
    from gantools.io.labels import Labels
    from gantools.io.sample import Sample
    from gantools.latents.directions import Fit
    from gantools.networks.network import Network

DEFAULT_STRENGTH = 3.0


@dataclass(frozen=True)
class Job:
    """The flags that every flow shares."""

    net: str | None
    samples: int
    seed: int
    batch: int
    device: str
    dtype: str
    layers: list[int] | None
    hold_out: int | None
    epochs: int | None
    method: str
    share: float | None
    steps: int | None
    reader: Path | None

    def network(self) -> Network:
        """The generator of --net, for gradient with the discriminator where it has one."""
        from gantools.io import network as files
        from gantools.networks.network import build
        from gantools.options import pick_device

        path = files.find(self.net)
        ckpt = files.load(path)
        judged = self.method == "gradient" and bool(ckpt.config.get("d"))
        device = pick_device(self.device)
        network = build(ckpt, path.stem, device=device, dtype=self.dtype, discriminator=judged)
        network.need_w()
        self.check_layers(network.g.num_ws)
        return network

    def check_layers(self, count: int) -> None:
        """Usage where --layers names one that a network of `count` layers has not."""
        if self.layers is not None and self.layers[-1] >= count:
            raise Usage(f"--layers {self.layers[-1]}: the network has layers 0-{count - 1}")


@dataclass(frozen=True)
class Asked:
    """The labels, the directions wanted of them, and what is taken out of which."""

    labels: Labels
    columns: dict[str, str]  # name of the direction -> column
    orthogonal_to: list[str]
    strengths: list[float]

    @classmethod
    def of(
        cls,
        labels: str | None,
        attributes: list[str] | None,
        orthogonal_to: list[str] | None,
        default: list[float] | None,
    ) -> Asked:
        """Read the flags and the label file; Usage where they do not go together."""
        from gantools.io import labels as files

        if labels is None or not attributes:
            raise Usage("a labelled fit needs --labels FILE.csv and --attribute NAME")
        pairs = [
            (name, column or name) for name, _, column in (a.partition("=") for a in attributes)
        ]
        columns = dict(pairs)
        if len(columns) < len(pairs) or "" in columns:
            raise Usage("--attribute: every direction needs a name of its own")
        for name in orthogonal_to or []:
            if name not in columns:
                raise Usage(f"--orthogonal-to {name}: not among the --attribute of this run")
        table = files.read(labels)
        table.require(list(columns.values()))
        return cls(table, columns, orthogonal_to or [], strengths(default, len(columns)))


def strengths(given: list[float] | None, count: int) -> list[float]:
    """--default-strength once for all, or once per direction."""
    values = given or [DEFAULT_STRENGTH]
    if len(values) not in (1, count):
        raise Usage(f"--default-strength is given {len(values)} times for {count} directions")
    return values * count if len(values) == 1 else values


def labelled(job: Job, asked: Asked, operands: Sequence[str] | None) -> list[Direction]:
    """Directions from labelled latents, or from labelled pictures."""
    from gantools.commands import _pictured
    from gantools.io.sample import kind
    from gantools.io.source import samples

    if not operands and job.reader is not None and job.reader.is_file():
        return _pictured.labelled(job, asked, iter(()))
    incoming = samples(operands)
    first = next(incoming, None)
    if first is None:
        raise Usage("no sample to learn from")
    everything = chain([first], incoming)
    if kind(first.data) == "latent":
        return _from_latents(job, asked, everything)
    return _pictured.labelled(job, asked, everything)


# --- labelled latents ---


def _from_latents(job: Job, asked: Asked, samples: Iterator[Sample]) -> list[Direction]:
    import numpy as np

    if job.method == "gradient":
        raise Usage("--method gradient needs labelled pictures, and these are latents")
    unused = {"--reader": job.reader, "--epochs": job.epochs, "--hold-out": job.hold_out}
    for flag, value in unused.items():
        if value is not None:
            raise Usage(f"{flag} is for labelled pictures, and these are latents: leave it out")
    columns = list(asked.columns.values())
    latents, rows = _labelled.latents(asked.labels, columns, samples)
    first = latents[0]
    name = "z" if first.space == "z" else "w"
    shape = first.tensors[name].shape
    if first.space in {"w+", "nw+"}:
        job.check_layers(len(first.tensors["w"]))
    x = np.stack([latent.tensors[name].ravel() for latent in latents])
    fits = fit_labels(job, asked, x, rows)
    network = first.header.get("network") or {}
    space = first.space.removeprefix("n")
    made = []
    for direction in described(job, asked, fits, network, space):
        vector = direction.vector.reshape(shape)
        made.append(replace(direction, vector=vector[0] if space == "w" else vector))
    return made


def fit_labels(job: Job, asked: Asked, x: np.ndarray, rows: np.ndarray) -> dict[str, Fit]:
    """Linear fits of labels rows [N, K] on latents x [N, dim], with the flags of the job."""
    from gantools.latents import fitting

    how = fitting.How(job.method, job.share, asked.orthogonal_to, job.seed)
    return fitting.fit_all(x, rows, list(asked.columns), how)


def described(
    job: Job, asked: Asked, fits: dict[str, Fit], network: dict[str, Any], space: str
) -> list[Direction]:
    """The fits as directions of a file, and a line on stderr for each."""
    from gantools.io.direction import Direction

    layers = None if job.layers is None else tuple(job.layers)
    made = []
    defaults = dict(zip(asked.columns, asked.strengths, strict=True))
    for name, fit in fits.items():
        moves = fit.quality.get("moves", {})
        also = ", ".join(f"{other} by {by:+.2f}" for other, by in moves.items())
        report.note(
            f"{name}: held-out correlation {fit.quality['r']:.2f}, one sd is {fit.sd:.3g}"
            + (f"; it also moves (in sd) {also}" if also else "")
        )
        quality = {**fit.quality, "column": asked.columns[name]}
        made.append(
            Direction(
                name, fit.vector, space, "sd", fit.sd, layers, defaults[name], network, quality
            )
        )
    return made


# --- no labels ---


def unlabelled(job: Job, count: int, strength: float, *, first_rgb: bool) -> list[Direction]:
    """SeFa's or GANSpace's directions, each one standard deviation of w along it."""
    from gantools.io import network as files
    from gantools.io.direction import Direction
    from gantools.latents import directions, labelling

    network = job.network()
    w = labelling.sample_w(network, job.samples, seed=job.seed)
    if job.method == "pca":
        rows, sds = directions.pca(w, count)
    else:
        tensors = files.load(files.find(job.net)).part("g_ema")
        try:
            weights = directions.sefa_weights(tensors, layers=job.layers, first_rgb=first_rgb)
        except SampleError as e:
            raise Usage(str(e)) from None
        rows = directions.sefa(weights, normalise=not first_rgb)[0][:count]
        sds = (w @ rows.T).std(axis=0)
    layers = None if job.layers is None else tuple(job.layers)
    return [
        Direction(
            f"{job.method}{i + 1:02d}", row * sd, "w", "sd", None, layers, strength, network.story()
        )
        for i, (row, sd) in enumerate(zip(rows, sds, strict=True))
    ]


def save(output: str, found: list[Direction]) -> None:
    """Write the direction file and say what is in it."""
    from gantools.io import direction as files

    if not found:
        raise Usage("no direction was found: nothing is written")
    files.write(Path(output), {direction.name: direction for direction in found})
    report.note(f"{Path(output).name}: {', '.join(direction.name for direction in found)}")
