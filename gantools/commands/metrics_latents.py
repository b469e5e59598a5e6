"""gantools metrics w1, metrics latents: how the numbers of latents lie in W (S2.16, S2.17)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gantools import __version__, options, report
from gantools.commands import _latents
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    import numpy as np

    from gantools.io.latent import Latent
    from gantools.networks.network import Network

PooledNum = Annotated[
    int,
    typer.Option("--num", metavar="N", min=2, help="z that the network maps: the scalars of W."),
]
Num = Annotated[
    int | None,
    typer.Option(
        "--num",
        metavar="N",
        min=2,
        help="z that the network maps where there is no INPUT. Default: 16384.",
        show_default=False,
    ),
]
Each = Annotated[bool, typer.Option("--each", help="Also the distance of each latent, by its key.")]
DEFAULT_NUM = 16_384


def w1(
    operands: options.Operands = None,
    *,
    num: PooledNum = 4096,
    each: Each = False,
    net: options.Net = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    json: options.Json = False,
    output: options.PlotOutputs = None,
    quiet: options.Quiet = False,
) -> None:
    """Distance of latents from W: 1-Wasserstein between a latent's scalars and all of W's.

    w1 is the mean over the latents, the integral of |Q - Q_W| of their quantile functions. It is
    small for generated latents and large for those that left W, which --equalize C of gantools
    edit brings back. All numbers of w count alike, those of all layers together; noise maps do
    not count. w1_pooled is the distance of the latents' scalars together.

    $ gantools project photos/ --space w+ | gantools metrics w1 --each

    $ gantools metrics w1 latents/ --json -o w1.png
    """
    report.begin("metrics w1", quiet=quiet)
    from gantools.io import results

    results.check(output, plots=True)
    latents = _latents.read(operands)
    network = _open(net, device, threads, "metrics w1")
    from gantools.evaluation import plots
    from gantools.ops.quantiles import Distribution, Pool
    from gantools.ops.quantiles import w1 as distance

    pool, together = Pool(), Pool()
    pool.update(_sampled(network, num, seed))
    target = pool.distribution()
    found: dict[str, float] = {}
    for latent, w in _measurable(latents, network):
        found[latent.key] = distance(Distribution.of(w), target)
        together.update(w)
    if not found:
        raise Usage("no latent could be measured")
    pooled, values = together.distribution(), list(found.values())
    measured: dict[str, Any] = {**_summary(values), "w1_pooled": distance(pooled, target)}
    if each:
        measured["each"] = found
    how = {"latents": len(found), "w": num, "seed": seed, "exact": pool.is_exact}
    measured["protocol"] = _protocol(network, how)
    results.write(
        measured,
        output,
        as_json=json,
        plot=lambda kind: plots.of_distances(target, pooled, values, kind),
    )


def latents(
    operands: options.Operands = None,
    *,
    num: Num = None,
    net: options.Net = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    json: options.Json = False,
    output: options.PlotOutputs = None,
    quiet: options.Quiet = False,
) -> None:
    """Statistics of w: histograms, quantiles and correlations of its features.

    Of z that the network maps, psi 1, or of the latents given; each layer of a w+ is a sample. The
    plot has the histograms of the first 8 features, the correlation matrix, and the histogram of
    all scalars; --json and x.json have the histograms too.

    $ gantools metrics latents -o statistics.png

    $ gantools metrics latents latents/ --json
    """
    report.begin("metrics latents", quiet=quiet)
    from gantools.io import results

    results.check(output, plots=True)
    if operands and num is not None:
        raise Usage("--num is for w that the network makes: leave the latents out")
    given = _latents.read(operands) if operands else None
    network = _open(net, device, threads, "metrics latents")
    import numpy as np

    from gantools.evaluation import plots
    from gantools.evaluation.latents import statistics

    if given is None:
        w = _sampled(network, num or DEFAULT_NUM, seed)
        how: dict[str, Any] = {"seed": seed}
    else:
        rows = [w for _, w in _measurable(given, network)]
        w, how = np.concatenate([*rows, np.zeros((0, network.g.cfg.w_dim))]), {"latents": len(rows)}
    found = statistics(w)
    table = {**found.results(), "protocol": _protocol(network, {"w": len(w), **how})}
    results.write(
        {**table, "histograms": found.histograms()},
        output,
        as_json=json,
        rows=list(results.flat(table)),
        plot=lambda kind: plots.of_statistics(found, kind),
    )


def _open(net: str | None, device: str, threads: int, what: str) -> Network:
    from gantools.networks.network import open_network

    options.set_threads(threads)
    network = open_network(net, device=options.pick_device(device))
    network.need_w(what)
    return network


def _sampled(network: Network, num: int, seed: int) -> np.ndarray:
    from gantools.latents.labelling import sample_w

    return sample_w(network, num, seed=seed)


def _measurable(latents: Iterator[Latent], network: Network) -> Iterator[tuple[Latent, np.ndarray]]:
    """Latents of the network with their w [n, w_dim]; others are reported."""
    for latent in report.progress(latents, unit="latents"):
        try:
            network.check(latent)
            yield latent, _rows(latent, network)
        except SampleError as e:
            report.failed(latent.key, e)


def _rows(latent: Latent, network: Network) -> np.ndarray:
    """w [n, w_dim]: the rows, the places of all style maps, or what z is mapped to."""
    import numpy as np

    from gantools.latents.distribution import parts
    from gantools.latents.source import NetworkSource

    if "z" in latent.tensors:
        return NetworkSource(network).styles(latent)
    names = parts(latent).get("w")
    if names is None:
        raise SampleError(f"a {latent.space} latent has no w")
    dim = network.g.cfg.w_dim
    found = [latent.tensors[name] for name in names]
    return np.concatenate([w if w.ndim == 2 else w.reshape(dim, -1).T for w in found])


def _summary(values: Sequence[float]) -> dict[str, float]:
    import numpy as np

    x = np.array(values)
    found = {"w1": x.mean(), "w1_std": x.std(), "w1_min": x.min(), "w1_max": x.max()}
    return {name: float(value) for name, value in found.items()}


def _protocol(network: Network, how: dict[str, Any]) -> dict[str, Any]:
    named = {"network": network.name, "network_id": network.id, "target_psi": 1.0}
    if network.g.cfg.c_dim:
        named["classes"] = "uniform"
    return {**named, **how, "version": f"gantools {__version__}"}
