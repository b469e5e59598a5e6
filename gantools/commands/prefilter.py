"""gantools prefilter: pictures in, faces found, judged and cut out (S0.2-S0.5, S1.15-S1.17)."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from gantools import options, report
from gantools.commands._prefilter_options import (
    MIN_FACE,
    MIN_SCORE,
    Alpha,
    AlphaOption,
    Crop,
    Detection,
    DryRun,
    First,
    Framing,
    Keep,
    Labels,
    Margin,
    MinFace,
    MinScore,
    MosaicFolder,
    Mtcnn,
    Pack,
    Packing,
    Report,
    Seed,
    Select,
    Size,
    StackRgb,
    Which,
    Zarr,
)
from gantools.report import Usage

WHOLE = (Framing.celeba, Framing.square, Framing.pad)
SIZES = {Framing.celeba: 128, Framing.pad: 32}


def prefilter(
    operands: options.Operands = None,
    *,
    size: Size = None,
    margin: Margin = None,
    crop: Crop = Framing.facenet,
    select: Select = Which.largest_centred,
    mtcnn: Detection = Mtcnn.facenet_pytorch,
    min_score: MinScore = MIN_SCORE,
    min_face: MinFace = MIN_FACE,
    alpha: AlphaOption = Alpha.white,
    first: First = None,
    keep: Keep = None,
    dry_run: DryRun = False,
    report_to: Report = None,
    mosaic: MosaicFolder = None,
    seed: Seed = None,
    pack: Pack = None,
    labels: Labels = None,
    stack_rgb: StackRgb = None,
    zarr: Zarr = False,
    output: options.Output = None,
    net: options.Net = None,
    batch: options.Batch = 16,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    shard: options.Shard = None,
    no_clobber: options.NoClobber = False,
    quiet: options.Quiet = False,
) -> None:
    """Find faces (MTCNN), reject pictures without one, cut the others out as square pictures.

    A rejected picture is no failure. A picture that cannot be read is one: it is named, and the
    rest is done. With --shard, --keep and --mosaic are of the shard, and so is what --stack-rgb
    makes: every shard reads all pictures.

    $ gantools prefilter photos/ -o faces/ --report decisions.jsonl

    $ gantools prefilter photos/ --dry-run --mosaic look/

    $ gantools prefilter photos/ --crop celebahq --size 1024 --keep 30000 -o best/

    $ gantools prefilter photos/ --crop ffhq --pack zip -o faces.zip

    $ gantools prefilter photos.tar --crop network --size 64 | gantools project -o latents/

    $ gantools prefilter train-images-idx3-ubyte.gz --crop pad --pack zip -o mnist.zip

    $ gantools prefilter satellite/ --zarr -o satellite.zarr
    """
    report.begin("prefilter", quiet=quiet)
    if zarr:
        of_faces: dict[str, Any] = {
            "--size": size, "--margin": margin, "--first": first, "--keep": keep,
            "--mosaic": mosaic, "--seed": seed, "--pack": pack, "--labels": labels,
            "--stack-rgb": stack_rgb, "--net": net,
            "--no-clobber": no_clobber or None,
            "--alpha": None if alpha is Alpha.white else alpha,
            "--crop, --select, --mtcnn, --min-score or --min-face": _changed(
                crop, select, mtcnn, min_score, min_face
            ),
        }  # fmt: skip
        _store(operands, shard, output, report_to, dry_run, of_faces)
        return
    _refuse_crop(crop, net, margin, (select, mtcnn, min_score, min_face))
    if labels is not None and pack not in (Packing.zip, Packing.tfrecord):
        raise Usage("--labels go into what --pack zip or --pack tfrecord makes")
    if no_clobber and pack is not None:
        raise Usage("--pack makes a data set whole, and --no-clobber keeps what is there")
    if no_clobber and (keep is not None or mosaic is not None):
        what = "--mosaic shows" if keep is None else "--keep compares"
        raise Usage(f"{what} every picture, and --no-clobber skips those that are there")
    if seed is not None and mosaic is None and stack_rgb is None:
        raise Usage("--seed is for --mosaic and --stack-rgb, and neither is there")
    if alpha is Alpha.keep and (stack_rgb is not None or pack is Packing.tfrecord):
        what = "--stack-rgb makes" if stack_rgb is not None else "--pack tfrecord has"
        raise Usage(f"--alpha keep: {what} pictures of red, green and blue alone")
    limit = None if first is None else options.parse_amount(first, "--first")
    stacked = None if stack_rgb is None else options.parse_amount(stack_rgb, "--stack-rgb")
    if stacked is not None and (keep is not None or labels is not None):
        what = "--keep" if labels is None else "--labels"
        raise Usage(f"{what} is of single crops, and --stack-rgb puts three in a picture")
    from gantools.commands._best import Best
    from gantools.commands._ledger import Ledger
    from gantools.commands._prefilter import Mosaics, Run, Stack
    from gantools.faces.judge import Rules
    from gantools.faces.stack import Planes
    from gantools.io import labels as tables
    from gantools.io import packs
    from gantools.io.sink import Sink, open_sink
    from gantools.io.source import parse_shard

    parse_shard(shard)
    rules = Rules(
        crop.value,
        size or SIZES.get(crop, 256),
        50 if margin is None else margin,
        select.value,
        min_score,
        min_face,
        _framing_of(net) if crop is Framing.network else None,
        mtcnn.value,
    )
    sink: Sink | packs.Pack | None = None
    if pack is not None:
        table = None if labels is None else tables.read(labels)
        sink = packs.open_pack(pack.value, output, rules.size, table)
    elif not (dry_run and output in (None, "-")):
        sink = open_sink(output, own="image", no_clobber=no_clobber)
    options.set_threads(threads)
    device = options.pick_device(device)
    with ExitStack() as stack:
        if sink is not None and not dry_run:
            stack.enter_context(sink)
        ledger = stack.enter_context(Ledger(report_to, keep=no_clobber))
        mosaics = stack.enter_context(Mosaics(mosaic, seed or 0)) if mosaic else None
        best = stack.enter_context(Best(keep)) if keep else None
        run = Run(
            sink, ledger, rules, device, dry_run, best, mosaics, alpha=alpha is Alpha.keep
        )  # fmt: skip
        if stacked is not None:
            planes = stack.enter_context(Planes(rules.size))
            run.stack = Stack(planes, stacked, seed or 0, shard)
        run.over(operands, shard, batch, limit)
    report.note(ledger.summary())


def _changed(*given: object) -> bool | None:
    """Whether one of --crop, --select, --mtcnn, --min-score and --min-face is not its default."""
    defaults = (
        Framing.facenet, Which.largest_centred, Mtcnn.facenet_pytorch, MIN_SCORE, MIN_FACE,
    )  # fmt: skip
    return given != defaults or None


def _store(
    operands: list[str] | None,
    shard: str | None,
    output: str | None,
    report_to: str | None,
    dry_run: bool,
    of_faces: dict[str, Any],
) -> None:
    """--zarr; Usage for options that leave it nothing to do."""
    named = [flag for flag, value in of_faces.items() if value is not None]
    if named:
        raise Usage(f"--zarr stores whole pictures as they are, without {named[0]}")
    from gantools.commands import _rasters
    from gantools.commands._ledger import Ledger
    from gantools.io import rasters
    from gantools.io.source import parse_shard

    parse_shard(shard)
    with ExitStack() as stack:
        writer = None if dry_run else stack.enter_context(rasters.writer(output))
        ledger = stack.enter_context(Ledger(report_to, keep=False))
        _rasters.store(operands, shard, writer, ledger)
    report.note(ledger.summary())


def _refuse_crop(
    crop: Framing, net: str | None, margin: float | None, faces: tuple[object, ...]
) -> None:
    """Usage for options that --crop leaves nothing to do."""
    if net is not None and crop is not Framing.network:
        raise Usage("--net says how to cut faces out only with --crop network")
    if margin is not None and crop is not Framing.facenet:
        raise Usage("--margin is facenet's; the other crops follow the landmarks")
    defaults = (Which.largest_centred, Mtcnn.facenet_pytorch, MIN_SCORE, MIN_FACE)
    if crop in WHOLE and faces != defaults:
        raise Usage(
            f"--crop {crop} looks for no face: --select, --mtcnn, --min-score and --min-face "
            "are for the other crops"
        )


def _framing_of(net: str | None) -> dict[str, Any]:
    """`crop` of the network's training pictures. Usage for a network that does not say."""
    from gantools.io import network

    path = network.find(net)
    header = network.header(path) or network.load(path).meta
    framing = header.get("crop")
    if not framing:
        raise Usage(f"--crop network: {path.name} does not say where its pictures have the face")
    return dict(framing)
