"""`train direction` from labelled pictures: the attribute network, and what is fitted with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gantools import report
from gantools.commands import _labelled
from gantools.commands._directions import Asked, Job, described, fit_labels
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.evaluation.attributes import Reader
    from gantools.io.direction import Direction
    from gantools.io.sample import Sample
    from gantools.latents.directions import Fit
    from gantools.networks.network import Network

EPOCHS = 8
STEPS = 300  # of method gradient
MEASURED = 512  # samples on which a direction's effect is measured


def labelled(job: Job, asked: Asked, samples: Iterator[Sample]) -> list[Direction]:
    """Directions of --net from labelled pictures, by way of the attribute network."""
    import numpy as np

    from gantools.latents import fitting, labelling

    network = job.network()
    if network.channels == 4:
        raise Usage(f"{network.name} makes pictures with alpha, which no label is read from")
    reader = _reader(job, asked, samples, network.device)
    at = [reader.columns.index(column) for column in asked.columns.values()]

    def read(images: Any) -> Any:
        return reader.read(images)[:, at]

    w = labelling.sample_w(network, job.samples, seed=job.seed)
    batches = labelling.labels_of(network, w, read, batch=job.batch)
    total = -(-len(w) // job.batch)
    rows = np.concatenate(list(report.progress(batches, total=total, desc="labelling")))
    if job.method == "gradient":
        fits = _learned(job, asked, network, reader, w, rows)
    else:
        fits = fit_labels(job, asked, w, rows)

    def change(vector: np.ndarray) -> np.ndarray:
        some = w[-MEASURED:]
        return labelling.response(network, some, read, vector, layers=job.layers, batch=job.batch)

    fits = fitting.measured(fits, change, list(asked.columns))
    space = "w+" if job.method == "gradient" else "w"
    return described(job, asked, fits, network.story(), space)


def _learned(
    job: Job, asked: Asked, network: Network, reader: Reader, w: np.ndarray, rows: np.ndarray
) -> dict[str, Fit]:
    """One direction per label by gradient, in the label's own units; rows [N, K]: labels of w."""
    import numpy as np
    import torch

    from gantools.evaluation import attributes
    from gantools.io.seeds import derive
    from gantools.latents import gradient

    d = network.d if network.d is not None and not network.g.cfg.c_dim else None
    world = gradient.World(
        lambda ws: network.g.synthesis(ws, dtype=network.dtype),
        lambda images: reader(attributes.resized(images)),
        network.g.num_ws,
        None if d is None else lambda images: d(images)[:, 0],
        job.layers,
    )
    start = torch.from_numpy(w).to(network.device)
    steps = job.steps or STEPS
    bar = report.progress_bar(total=steps * len(asked.columns), desc="gradient")
    fits = {}
    try:
        for i, (name, column) in enumerate(asked.columns.items()):
            at = reader.columns.index(column)
            mean, scale = float(reader.mean[at]), float(reader.sd[at])
            low, high = np.nanmin(rows[:, i]), np.nanmax(rows[:, i])
            limits = (float(low - mean) / scale, float(high - mean) / scale)
            seed = derive(job.seed, column, "gradient")
            try:
                fit = gradient.learn(
                    world, start, at, limits, steps=steps, seed=seed, batch=job.batch,
                    step=lambda: bar.update(1),
                )  # fmt: skip
            except SampleError as e:
                report.failed(f"--attribute {name}", e)
                continue
            fits[name] = replace(fit, sd=float(rows[:, i].std()), slope=fit.slope * scale)
    finally:
        bar.close()
    return fits


def _reader(job: Job, asked: Asked, samples: Iterator[Sample], device: str) -> Reader:
    """The attribute network of --reader, or a new one for the wanted columns."""
    from gantools.evaluation import attributes

    columns = list(dict.fromkeys(asked.columns.values()))
    path = job.reader
    if path is not None and path.is_file():
        reader, quality = attributes.load(path, device=device)
        missing = sorted(set(columns) - set(reader.columns))
        if missing:
            raise Usage(
                f"{path.name} does not read {missing[0]}; it reads {', '.join(reader.columns)}"
            )
    else:
        pictures = _labelled.pictures(asked.labels, columns, samples, job.hold_out or 0)
        epochs = job.epochs or EPOCHS
        count = attributes.steps(int((~pictures.held).sum()), epochs)
        bar = report.progress_bar(total=count, desc="attribute network")
        try:
            reader, quality = attributes.train(
                pictures,
                columns,
                epochs=epochs,
                seed=job.seed,
                device=device,
                step=lambda: bar.update(1),
            )
        finally:
            bar.close()
        if path is not None:
            attributes.save(path, reader, quality)
    told = ", ".join(f"{column} {quality[column]:.2f}" for column in columns if column in quality)
    report.note(f"the attribute network reads held-out pictures with correlation {told}")
    return reader
