"""gantools metrics pr: precision, recall, density and coverage of two sets of pictures."""

from __future__ import annotations

from typing import Annotated

import typer

from gantools import options, report
from gantools.commands import _set_options as given
from gantools.commands import _sets

Neighbours = Annotated[
    int,
    typer.Option(
        "--neighbours",
        metavar="K",
        min=1,
        help="A ball reaches to the K-th neighbour: 3 in published precision and recall, 5 in "
        "published density and coverage.",
    ),
]


def pr(
    real: given.Real,
    fake: given.Fake = None,
    *,
    features: given.Features = "inception",
    net: options.Net = None,
    num: given.Num = None,
    psi: given.Psi = None,
    mirror: given.Mirror = False,
    neighbours: Neighbours = 3,
    splits: given.Splits = 0,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    no_cache: given.NoCache = False,
    json: options.Json = False,
    output: options.PlotOutputs = None,
    quiet: options.Quiet = False,
) -> None:
    """Precision and recall, density and coverage of generated pictures, with their protocol.

    A set's manifold is the balls around its features, each reaching to the K-th neighbour.
    precision is the share of FAKE in REAL's manifold, recall that of REAL in FAKE's. density counts
    the balls of REAL around a FAKE, over K (1 where the sets are alike); coverage is the share of
    REAL's balls that hold a FAKE. All depend on the number of pictures: take as many of both.
    The plot has the widths of the balls. --splits measures 2 K times more.

    $ gantools metrics pr photos/ --net faces64 --num 10000 -o pr.json -o pr.png

    $ gantools metrics pr photos.npz generated.npz --neighbours 5
    """
    report.begin("metrics pr", quiet=quiet)
    asked = _sets.Asked(
        features=features,
        net=net,
        given_num=num,
        given_psi=psi,
        mirror=mirror,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype.value,
        splits=splits,
        threads=threads,
        cache=not no_cache,
    )
    asked.check(fake, output, plots=True)
    from gantools.evaluation import manifolds, plots
    from gantools.io import results

    pair = _sets.open_pair(real, fake, asked)
    found, values, how = manifolds.measure(
        pair.real.blocks, pair.fake.blocks, k=neighbours, splits=splits
    )
    results.write(
        {**values, "protocol": pair.protocol(how)},
        output,
        as_json=json,
        plot=lambda kind: plots.of_manifolds(found, kind),
    )
