"""gantools metrics modes: how many of stacked MNIST's thousand modes there are (S1.22)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gantools import __version__, options, report
from gantools.commands import _parts, _ranks, _sources
from gantools.commands import _set_options as given
from gantools.report import SampleError, Usage

if TYPE_CHECKING:
    from gantools.evaluation.shards import Rows

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUT]...",
        help="Pictures of three digits, one in each channel: a folder, a tar or zip archive, - for "
        "a stream; or latents; or files that this command wrote with --shard. Without it: --num "
        "pictures of the network of --net.",
        show_default=False,
    ),
]
Num = Annotated[
    int | None,
    typer.Option(
        "--num",
        metavar="N",
        min=1,
        help="Pictures that the network makes where there is no INPUT. Default: 25600.",
        show_default=False,
    ),
]


def modes(
    inputs: Inputs = None,
    *,
    net: options.Net = None,
    num: Num = None,
    psi: given.Psi = None,
    shard: options.Shard = None,
    seed: options.Seed = 0,
    batch: options.Batch = 64,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    json: options.Json = False,
    output: _parts.Outputs = None,
    quiet: options.Quiet = False,
) -> None:
    """Modes of stacked MNIST: how many of the 1000 combinations of three digits there are.

    A LeNet reads a digit in each channel. modes counts the combinations that are there, kl is the
    divergence of their histogram from the uniform one: ln 1000 = 6.908 for a single mode, about
    (1000 - 1) / 2N for N pictures that leave nothing out. modes_ci is about the modes of the
    source, those that are not in the pictures included. --json has the counts. With --shard each
    process reads its pictures into -o part.safetensors, and parts as INPUT make the result of all.

    $ gantools metrics modes --net digits.safetensors --num 25600

    $ gantools metrics modes rgb.tar --json -o modes.png

    $ gantools metrics modes part-*.safetensors
    """
    report.begin("metrics modes", quiet=quiet)
    _sources.check_operands(*(inputs or []))
    text = _parts.check(output, shard=shard, given=False)
    asked = _sources.Drawn(
        net=net,
        given_num=num,
        given_psi=psi,
        seed=seed,
        batch=batch,
        device=device,
        dtype=dtype.value,
        threads=threads,
        default_num=25_600,
        shard=shard,
    )
    options.set_threads(threads)
    from gantools.evaluation import plots, shards
    from gantools.evaluation.modes import Modes
    from gantools.io import results

    names = inputs or []
    if any(shards.is_rows(Path(name)) for name in names):
        if any(value is not None for value in (net, num, psi, shard)):
            raise Usage("parts say what was read: leave --net, --num, --psi, --shard out")
        _ranks.alone("parts")
        rows = _parts.read(names, "modes")
    else:
        if len(names) > 1:
            raise Usage(f"{names[1]}: of several INPUT each must be a file of metrics modes")
        name = names[0] if names else None
        asked.check_num(name, "INPUT")
        rows = _read(name, asked)
    _parts.keep(output, rows, "modes")
    found = Modes.of_codes(rows.column("code"))
    protocol = {**rows.protocol, **_parts.told(rows)}
    drawn = int(rows.protocol.get("seed", 0))
    table = {**found.results(), **found.intervals(drawn), "protocol": protocol}
    results.write(
        {**table, "counts": found.counts.tolist()},
        text,
        as_json=json,
        rows=list(results.flat(table)),
        plot=lambda kind: plots.of_modes(found, kind),
    )


def _read(name: str | None, asked: _sources.Drawn) -> Rows:
    """The code of every picture, numbered as the shards divide them; Usage where there is none."""
    import numpy as np
    import torch

    from gantools.commands import _pairs
    from gantools.evaluation import modes as counted
    from gantools.evaluation.shards import Rows
    from gantools.io import weights
    from gantools.io.source import parse_shard

    on = options.pick_device(asked.device)
    digits = counted.load(weights.locate("mnist-lenet")).to(on)
    source = _sources.open_source(name, asked)
    read = [np.zeros(0, np.int64)]
    for group in _pairs.of_one_size(_sources.sized(source), asked.batch):
        with torch.inference_mode():
            images = _pairs.stacked([pixels for _, pixels in group], on)
            try:
                read.append(counted.codes(images, digits))
            except SampleError as e:
                for failed, _ in group:
                    report.failed(failed, e)
    codes = np.concatenate(read)
    if not len(codes):
        raise Usage("no picture could be measured")
    index, count = parse_shard(asked.shard)
    story = {key: value for key, value in source.story.items() if key != "shard"}
    protocol = {**story, "classifier": "mnist-lenet"}
    protocol |= {"classifier_sha256": weights.KNOWN["mnist-lenet"].sha256, **counted.PROTOCOL}
    protocol |= {"quantisation": _sources.QUANTISATION, "seed": asked.seed}
    protocol["version"] = f"gantools {__version__}"
    numbers = index + count * np.arange(len(codes))
    told = [] if asked.shard is None else [asked.shard]
    return Rows(numbers, codes[:, None].astype(float), ["code"], protocol, told)
