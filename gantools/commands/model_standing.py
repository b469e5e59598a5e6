"""gantools model standing: batch norm's moments of a BigGAN measured anew (formats.md 2d)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gantools import options, report
from gantools.report import Usage

MOST_ROWS = 1001


def standing(
    net: Annotated[
        str, typer.Argument(metavar="FILE|NAME", help="A BigGAN, of any supported project.")
    ],
    *,
    output: Annotated[
        str, typer.Option("-o", "--output", metavar="OUT", help="The network, x.safetensors.")
    ],
    rows: Annotated[
        int,
        typer.Option(
            "--rows",
            metavar="N",
            min=1,
            max=MOST_ROWS,
            help="Measure at so many truncations from 0 to 1, between which generate --psi "
            "interpolates, such as 51; 1: at psi 1 for all.",
        ),
    ] = 1,
    num: Annotated[
        int,
        typer.Option(
            "--num",
            metavar="N",
            min=1,
            help="Pictures for each of them, at least: the last batch is a whole one.",
        ),
    ] = 10_000,
    batch: Annotated[
        int,
        typer.Option(
            "--batch",
            metavar="N",
            min=1,
            help="Pictures whose moments are taken together; the means of all batches are kept, "
            "so another N gives another network.",
        ),
    ] = 64,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    quiet: options.Quiet = False,
) -> None:
    """Measure the batch statistics of a BigGAN on its own pictures, at one psi or at many.

    In training these are running means, which lag behind the averaged weights and know only psi 1.
    The new network is made for pictures, not for training on; it takes the latents of the old one.

    $ gantools model standing run/network-025000.safetensors -o birds.safetensors --rows 51

    $ gantools model standing biggan/G_ema.pth -o standing.safetensors --num 50000 --batch 256
    """
    report.begin("model standing", quiet=quiet)
    target = Path(output)
    if target.suffix != ".safetensors" or target.name == ".safetensors":
        raise Usage(f"-o {output}: a network is written as x.safetensors")
    if not target.parent.is_dir():
        raise Usage(f"-o {output}: no such folder: {target.parent}")
    options.set_threads(threads)
    from gantools.io import network as files
    from gantools.networks.biggan_standing import standing as measured
    from gantools.networks.network import numbers, open_network

    if target.exists() and target.samefile(files.find(net)):
        raise Usage(f"-o {output}: the network itself, which could be trained on no longer")
    opened = open_network(net, device=options.pick_device(device))
    if not opened.truncates_z:
        raise Usage(f"{opened.name}: a {opened.family} network, not a BigGAN")
    g = measured(opened.g, rows, num, batch, seed)
    tensors = {f"g_ema.{name}": value for name, value in numbers(g).items()}
    story = {"rows": rows, "num": num, "batch": batch, "seed": seed}
    meta = {name: value for name, value in opened.meta.items() if name != "id"}
    meta["derived_from"] = [opened.id, *meta.get("derived_from", [])]
    meta["standing"] = story
    made = files.Checkpoint("biggan", {"g": g.cfg.to_dict(), "d": None}, tensors, meta)
    identity = files.save(target, made)
    report.note(f"{target}: biggan, id {identity[:12]}")
