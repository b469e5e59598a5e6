"""gantools edit: latents along directions, or towards W (papers.md S2.7-S2.9, S2.18, S4.21)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gantools import options, report
from gantools.commands import _edit_plan, _equalize, _latents, _overlay, _paste
from gantools.commands._paste import NO_PICTURES, Paste, Scale
from gantools.report import Usage

if TYPE_CHECKING:
    from gantools.io.direction import Direction


class Figure(StrEnum):
    """Sheets."""

    strengths = "strengths"
    models = "models"


COLUMNS = ("name", "default", "strength 1", "space", "layers", "features")
Directions = Annotated[
    list[str] | None,
    typer.Option(
        "--dir",
        metavar="NAME|FILE",
        help="A direction that --list shows, or a file: ours (FILE or FILE:NAME) of directions or "
        "of attribute models, a plain .npy of (dim,), (1,dim) or (L,dim), a tensor in a .pt. "
        "Repeatable: one after another.",
        show_default=False,
    ),
]
Strengths = Annotated[
    list[str] | None,
    typer.Option(
        "--strength",
        metavar="S",
        help="How far: 1 is one standard deviation of the attribute, or a raw file's own length. "
        "Once for all, or once per --dir; FROM:TO with --frames or --figure. Default: the "
        "direction's own, which --list shows (1 for raw files).",
        show_default=False,
    ),
]


class Norm(StrEnum):
    """latents.edit.length."""

    fro = "fro"
    row = "row"


StrengthNorm = Annotated[
    Norm | None,
    typer.Option(
        "--strength-norm",
        help="--strength is a distance in w: 1 moves by 1, the direction's own length aside. fro: "
        "that of all its rows together, as the file has them; row: that of the longest.",
        show_default=False,
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        "--layers",
        metavar="LIST",
        help="Only these layers, 0-based, such as 0-7; w becomes w+. Default: the direction's own, "
        "which is all of them unless --list says otherwise.",
        show_default=False,
    ),
]
Orthogonal = Annotated[
    list[str] | None,
    typer.Option(
        "--orthogonal-to",
        metavar="NAME|FILE",
        help="Take this direction out of every --dir first (conditional projection, the length is "
        "kept). Repeatable.",
        show_default=False,
    ),
]
Mask = Annotated[
    list[str] | None,
    typer.Option(
        "--mask",
        metavar="FILE|left|right|top|bottom|ellipse|gradient",
        help="Where the directions work: on the left half, and so on, inside an ellipse, more and "
        "more to the right, or where a picture is bright. Once for all, or once per --dir. Latents "
        "are brought to style maps first (w+ to sw+, fnw+5 to fnsw+5).",
        show_default=False,
    ),
]
Smooth = Annotated[
    str | None,
    typer.Option(
        "--smooth",
        metavar="X[,Y]",
        help="Blur masks by X of the picture's side; X at the first block to Y at the last.",
        show_default=False,
    ),
]
Absolute = Annotated[
    bool,
    typer.Option(
        "--absolute",
        help="The strength is where the latent ends along the direction, not how far it moves.",
    ),
]
Equalize = Annotated[
    float | None,
    typer.Option(
        "--equalize",
        metavar="C",
        min=0,
        max=1,
        callback=options.finite,
        help="First bring the numbers of the latent towards the network's own, their order kept: "
        "all styles together, F, R. 0 leaves them, 1 gives them the network's quantiles. "
        "`metrics w1` says how far those of w are.",
        show_default=False,
    ),
]
ListThem = Annotated[
    bool,
    typer.Option(
        "--list",
        help="Print the directions of the network (--json, -o x.json, x.tsv), and nothing else.",
    ),
]
Frames = Annotated[
    int | None,
    typer.Option(
        "--frames",
        metavar="N",
        min=2,
        help="N latents from strength 0 to S (to --equalize C where there is no --dir): keys "
        "key/0000 and on; a video with -o x.mp4.",
        show_default=False,
    ),
]
FigureOption = Annotated[
    Figure | None,
    typer.Option(
        "--figure",
        help="A sheet with a row for each latent, from strength -S to S in --frames steps (5): the "
        "latent is in the middle. models: a row with the styles alone moved, and one with the "
        "attribute model.",
        show_default=False,
    ),
]


def edit(
    operands: options.Operands = None,
    *,
    directions: Directions = None,
    strength: Strengths = None,
    strength_norm: StrengthNorm = None,
    layers: Layers = None,
    orthogonal_to: Orthogonal = None,
    absolute: Absolute = False,
    mask: Mask = None,
    smooth: Smooth = None,
    equalize: Equalize = None,
    list_them: ListThem = False,
    frames: Frames = None,
    figure: FigureOption = None,
    paste: Paste = None,
    scale: Scale = 1,
    output: options.Output = None,
    net: options.Net = None,
    batch: options.Batch = 8,
    device: options.Device = "auto",
    dtype: options.DtypeOption = options.Dtype.fp32,
    threads: options.Threads = 0,
    shard: options.Shard = None,
    no_clobber: options.NoClobber = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Move latents along attribute directions: older, smiling, turned.

    Takes latents in every space and gives latents; pictures where the output names pictures. Of
    latents with features (fnw+5) it moves the styles, and the features where there is an attribute
    model for them: beside the network's file, in the package, or in the file of --dir.

    $ gantools project photo.jpg | gantools edit --dir age -o older.png

    $ gantools edit face.safetensors --dir smile --frames 60 -o smile.mp4

    $ gantools edit two.safetensors --dir age --mask left --smooth 0.05 -o half.png

    $ gantools edit features/ --dir age.attribute.safetensors --figure models -o sheet.png

    $ gantools edit projected/ --equalize 0.7 --dir age -o older/{}.png

    $ gantools edit face.safetensors --dir age --paste photo.jpg -o whole.png
    """
    report.begin("edit", quiet=quiet)
    network = _latents.NetworkFile(net)
    if list_them:
        _check_alone(
            {
                "INPUT": operands,
                "--dir": directions,
                "--strength": strength,
                "--strength-norm": strength_norm,
                "--layers": layers,
                "--orthogonal-to": orthogonal_to,
                "--absolute": absolute,
                "--mask": mask,
                "--smooth": smooth,
                "--equalize": equalize is not None,
                "--frames": frames,
                "--figure": figure,
                "--paste": paste,
                "--scale": scale != 1,
                "--batch": batch != 8,
                "--device": device != "auto",
                "--dtype": dtype != options.Dtype.fp32,
                "--threads": threads,
                "--shard": shard,
                "--no-clobber": no_clobber,
            }
        )
        _print_list(net, network.meta(), None if output is None else [output], as_json=json)
        return
    if json:
        raise Usage("--json goes with --list")
    if scale != 1 and paste is None:
        raise Usage("--scale goes with --paste PHOTO")
    if not directions and equalize is None:
        raise Usage("give a direction with --dir NAME; gantools edit --list shows what there is")
    given = {
        "--strength": strength,
        "--layers": layers,
        "--orthogonal-to": orthogonal_to,
        "--absolute": absolute,
        "--mask": mask,
        "--smooth": smooth,
        "--figure": figure,
    }
    for flag, value in given.items():
        if value and not directions:
            raise Usage(f"{flag} is for directions: give one with --dir, or leave it out")
    if strength_norm is not None and not strength:
        raise Usage("--strength-norm: how far? Give --strength")
    opened = _latents.Opened(net, device, threads)
    plan = _edit_plan.Plan(
        directions or [],
        _edit_plan.parse_strengths(strength, len(directions or []), sweep=bool(frames or figure)),
        _latents.parse_layers(layers),
        orthogonal_to or [],
        absolute,
        frames,
        net,
        network,
        equalize,
        _equalize.Equalizer(opened),
        _overlay.Overlay.of(mask, smooth),
        opened,
        strength_norm=strength_norm and strength_norm.value,
    )
    from gantools.io.sink import open_sink

    if figure is not None:
        from gantools.commands import _edit_figures

        if paste is not None:
            raise Usage("--figure and --paste together: a sheet has no place for photographs")
        with open_sink(output, own="image", no_clobber=no_clobber) as sink:
            latents = _latents.read(operands, shard)
            _edit_figures.put(figure.value, plan, latents, sink, dtype, batch)
        return
    with open_sink(output, own="latent", no_clobber=no_clobber) as sink:
        finish = None if paste is None else partial(_paste.paste_back, where=paste, scale=scale)
        if finish and sink.kind == "latent":
            raise Usage(NO_PICTURES)
        edited = plan.run(_latents.read(operands, shard))
        _latents.write(
            sink,
            edited,
            net=net,
            batch=batch,
            device=device,
            dtype=dtype,
            threads=threads,
            finish=finish,
        )


def _check_alone(given: Mapping[str, object]) -> None:
    """Usage where a flag is given that --list would not heed."""
    useless = [flag for flag, value in given.items() if value]
    if useless:
        raise Usage(f"{useless[0]} does nothing with --list: leave one of them out")


def _print_list(
    net: str | None, header: Mapping[str, Any], outputs: list[str] | None, *, as_json: bool
) -> None:
    """The directions that fit the network: text, tabs between the columns, or one JSON object."""
    from gantools.io import direction_library as library
    from gantools.io import results

    results.check(outputs)
    found: dict[str, Direction] = {}
    for direction in library.known(net):
        if library.belongs(direction, {"id": header.get("id")}, header):
            found.setdefault(direction.name, direction)
    if not found:
        raise Usage(
            "no direction is known for this network: gantools train direction makes some; "
            "--dir FILE reads any"
        )
    blocks: dict[str, list[int]] = {name: [] for name in found}
    for model in library.known_models(net):
        if library.belongs(model.direction, {"id": header.get("id")}, header):
            blocks[model.direction.name].append(model.first)
    table = {
        name: {**d.story(), "attribute_models": blocks[name], "network": d.network}
        for name, d in found.items()
    }
    rows = [_row(d, blocks[d.name]) for d in found.values()]
    results.write(table, outputs, as_json=as_json, rows=rows, columns=COLUMNS)


def _row(d: Direction, blocks: list[int]) -> tuple[str, str, str, str, str, str]:
    """name, default strength, what strength 1 is, space, layers, blocks with attribute models."""
    unit = "raw" if d.unit == "raw" else "1 sd"
    if d.unit == "sd" and d.sd_in_label_units is not None:
        unit = f"1 sd = {d.sd_in_label_units:.3g} of its label"
    layers = "all" if d.layers is None else ",".join(map(str, d.layers))
    models = ",".join(f"block {i}" for i in blocks) or "no model"
    return d.name, f"{d.default_strength:g}", unit, d.space or "by its shape", layers, models
