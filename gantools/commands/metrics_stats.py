"""gantools metrics stats: sums of features for metrics fid, of parts that merge (S0.16)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gantools import __version__, options, report
from gantools.commands import _set_options as given
from gantools.commands import _sets, _sources
from gantools.report import Usage

if TYPE_CHECKING:
    from gantools.evaluation.statistics import Statistics

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUT]...",
        help="The pictures: a folder, a tar or zip archive, - for a stream, latents, or a file of "
        "features. Or any number of files of this command, which are merged. Without it: --num "
        "pictures of the network of --net.",
        show_default=False,
    ),
]
Num = Annotated[
    int | None,
    typer.Option(
        "--num",
        metavar="N",
        min=2,
        help="Pictures that the network makes where there is no INPUT. Default: 50000.",
        show_default=False,
    ),
]
Mirror = Annotated[
    bool, typer.Option("--mirror", help="Count every picture a second time, mirrored.")
]
Output = Annotated[
    str | None,
    typer.Option(
        "-o", "--output", metavar="OUT", help="The file: x.safetensors.", show_default=False
    ),
]


def stats(
    inputs: Inputs = None,
    *,
    features: given.Features = "inception",
    net: options.Net = None,
    num: Num = None,
    psi: given.Psi = None,
    mirror: Mirror = False,
    shard: options.Shard = None,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    no_cache: given.NoCache = False,
    json: options.Json = False,
    output: Output = None,
    no_clobber: options.NoClobber = False,
    quiet: options.Quiet = False,
) -> None:
    """Statistics of pictures' features, once and for all: count, mean and covariance, for fid.

    metrics fid takes the file in the place of the pictures. With --shard each process counts its
    part; fid and this command merge parts, in any order, to what one process counts. A part that
    is given twice is refused.

    $ gantools metrics stats photos/ -o photos.safetensors

    $ gantools metrics stats --net faces64 --shard "$SLURM_PROCID/$SLURM_NTASKS" \\
      -o part-$SLURM_PROCID.safetensors

    $ gantools metrics fid photos.safetensors part-*.safetensors
    """
    report.begin("metrics stats", quiet=quiet)
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
        splits=0,
        threads=threads,
        cache=not no_cache,
        shard=shard,
    )
    asked.check(inputs[0] if inputs else None, None, name="INPUT")
    target = _target(output)
    if no_clobber and target.exists():
        return
    found = _found(inputs or [], asked)
    from gantools.evaluation import statistics
    from gantools.io import results

    statistics.save(target, found)
    lost = statistics.missing(found.parts)
    if lost and shard is None:
        report.note(f"of the shards these are missing: {', '.join(lost[:8])}")
    protocol = {**found.extractor, "parts": found.parts, "version": f"gantools {__version__}"}
    results.write(_summary(found, protocol), as_json=json)


def _target(output: str | None) -> Path:
    from gantools.io.atomic import real_target

    if output is None:
        raise Usage("statistics are a file: -o x.safetensors")
    if Path(output).suffix.lower() != ".safetensors":
        raise Usage(f"-o {output}: statistics go to x.safetensors")
    return real_target(Path(output))


def _found(inputs: list[str], asked: _sets.Asked) -> Statistics:
    from gantools.evaluation import statistics
    from gantools.io.source import parse_shard

    parse_shard(asked.shard)
    for name in inputs:
        _sources.exists(name)
    options.set_threads(asked.threads)
    paths = [Path(name) for name in inputs]
    if paths and all(map(statistics.is_file_of_statistics, paths)):
        if asked.shard is not None or asked.mirror:
            raise Usage("--shard and --mirror are for pictures: statistics are sums of them")
        return statistics.merged([statistics.load(path) for path in paths])
    if len(inputs) > 1:
        raise Usage(f"{len(inputs)} inputs: statistics are of one set; those of several are merged")
    return _counted(inputs[0] if inputs else None, asked)


def _counted(name: str | None, asked: _sets.Asked) -> Statistics:
    from gantools.evaluation import frechet, statistics

    of_set = _sets.open_set(name, asked)
    (moments,) = frechet.accumulate(of_set.blocks, of_set.dim)
    if not moments.count:
        raise Usage("no picture could be measured")
    extractor = of_set.story.pop("extractor", {})
    return statistics.measured(str(of_set.story.get("source")), moments, extractor, of_set.story)


def _summary(found: Statistics, protocol: dict[str, Any]) -> dict[str, Any]:
    from gantools.evaluation.frechet import Moments

    count = found.moments.count if isinstance(found.moments, Moments) else None
    return {"count": count, "protocol": protocol}
