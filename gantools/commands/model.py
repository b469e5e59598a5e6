"""gantools model: what a network file is, conversion into our format, what there is, downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gantools import options, report
from gantools.commands import model_fetch
from gantools.commands.model_standing import standing
from gantools.report import Usage

app = typer.Typer(
    help="Network files of any project: what they are, conversion, what there is, downloads.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Network = Annotated[
    str | None,
    typer.Argument(
        metavar="[FILE|NAME]",
        help="A network file of any supported project, or a name that `gantools model list` shows. "
        "Without it: $GANTOOLS_NET, else the network inside the package.",
        show_default=False,
    ),
]
Foreign = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A network file: .pkl of NVIDIA's repositories (PyTorch or TensorFlow), .pt of "
        "rosinality's or pixel2style2pixel's, BigGAN's G_ema.pth or the folder of its run, "
        "huggingface's folder of a BigGAN-deep, or one of ours. Known by its bytes; nothing in it "
        "is run.",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="x.safetensors, or DIR/ for DIR/<name of the file>.safetensors. Without it the "
        "network goes where --net finds it by that name: $XDG_DATA_HOME/gantools/networks.",
        show_default=False,
    ),
]
Licence = Annotated[
    str | None,
    typer.Option(
        "--licence", metavar="TEXT", help="The licence of the weights, kept.", show_default=False
    ),
]
TrainedOn = Annotated[
    str | None,
    typer.Option(
        "--trained-on",
        metavar="TEXT",
        help="What it was trained on, where the file does not say or says it badly; kept.",
        show_default=False,
    ),
]
ClassNames = Annotated[
    str | None,
    typer.Option(
        "--class-names",
        metavar="FILE",
        help="The names of its classes in their order, a text file with one in each line; kept, "
        "for generate --class NAME.",
        show_default=False,
    ),
]
PeerRows = Annotated[
    bool,
    typer.Option(
        "--peer-rows",
        help="huggingface's BigGAN-deep: between two truncations of its batch statistics take "
        "those that its own code takes, which has the two shares interchanged and finds 0.58 one "
        "row too low. Default: the right ones.",
    ),
]


@app.command("info")
def info(
    net: Network = None,
    *,
    output: options.TextOutputs = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what a network file is: family, resolution, parts, parameters, layers, origin.

    Layers are shown with both numbers: the 0-based one of --layers and --cutoff, and the 1-based
    block that names spaces and noise maps.

    $ gantools model info

    $ gantools model info ffhq.pkl --json
    """
    report.begin("model info", quiet=quiet)
    from gantools.io import describe, network, results

    results.check(output)

    path = network.find(net)
    known = describe.network(path, network.load(path))
    rest = {name: value for name, value in known.items() if name != "layers"}
    rest |= {name: "-" for name in ("trained_on", "licence", "crop") if not known[name]}
    rows = [pair for pair in results.flat(rest) if pair[1] is not None]
    rows += [(f"layer.{row['layer']}", _layer(row)) for row in known["layers"]]
    results.write(known, output, as_json=json, rows=rows)


def _layer(row: dict[str, Any]) -> str:
    (height, width), channels = row["size"], row["channels"]
    return f"block {row['block']}, {height}x{width}, {channels} channels, {row['modules']}"


@app.command("import")
def import_(
    file: Foreign,
    *,
    output: Target = None,
    licence: Licence = None,
    trained_on: TrainedOn = None,
    class_names: ClassNames = None,
    peer_rows: PeerRows = False,
    no_clobber: options.NoClobber = False,
    quiet: options.Quiet = False,
) -> None:
    """Convert a network file of another project into ours (safetensors), weights bit for bit.

    The generator, its average and the discriminator are kept, with the sha256 of the file they
    came from. The output appears whole or not at all. Spectral normalisation of huggingface's
    weights is multiplied out. pixel2style2pixel's encoder is written beside its network, as
    NAME.psp.encoder.safetensors, where `project --method psp` finds it.

    $ gantools model import stylegan2-ffhq-config-f.pkl -o ffhq.safetensors

    $ gantools model import network-snapshot-025000.pkl

    $ gantools model import biggan-deep-128/ --class-names imagenet.txt
    """
    report.begin("model import", quiet=quiet)
    from gantools.io import classes, foreign, network
    from gantools.io import encoder as encoders

    source = network.find(file)
    target = _target(source, output, network.networks_folder())
    if no_clobber and target.exists():
        report.note(f"{target} exists, nothing done")
        return
    checkpoint = network.load(source)
    said = {"licence": licence, "trained_on": trained_on}
    checkpoint.meta |= {name: value for name, value in said.items() if value is not None}
    g = checkpoint.config["g"]
    if class_names is not None:
        checkpoint.meta["classes"] = classes.names_in(class_names, g.get("c_dim", 0))
    if peer_rows:
        if g.get("n_stats", 1) == 1:
            raise Usage(f"--peer-rows: {source.name} has no batch statistics by truncation")
        g["peer_rows"] = True
    beside = foreign.encoder(source, checkpoint, target.stem)
    if beside is not None:
        from gantools.inversion import encoder_files

        encoder_files.of(
            beside, source.name
        )  # refuses what does not fit before anything is written
    identity = network.save(target, checkpoint)
    if beside is not None:
        encoder_file = target.with_name(f"{target.stem}.psp{encoders.SUFFIX}")
        encoders.write(encoder_file, beside)
        report.note(f"{encoder_file}: its encoder, for project --method psp")
    for part in checkpoint.meta.get("left_out", []):
        report.note(f"{source.name}: left out: {part}")
    report.note(f"{target}: {checkpoint.family}, id {identity[:12]}")


def _target(source: Path, output: str | None, home: Path) -> Path:
    """The file to write; the folder of networks is made, others must be there."""
    if output is None:
        home.mkdir(parents=True, exist_ok=True)
        return home / f"{source.stem}.safetensors"
    if output == "-":
        raise Usage("-o -: a network is written to a file, such as -o x.safetensors")
    target = Path(output)
    if output.endswith("/") or target.is_dir():
        target = target / f"{source.stem}.safetensors"
    if target.suffix != ".safetensors" or target.name == ".safetensors":
        raise Usage(f"-o {output}: a network is written as x.safetensors")
    if not target.parent.is_dir():
        raise Usage(f"-o {output}: no such folder: {target.parent}")
    return target


@app.command("list")
def list_(
    *,
    output: options.TextOutputs = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """List the networks that --net finds by name: yours and the one inside the package.

    Columns: name, family, resolution, first digits of the id, file name.

    $ gantools model list

    $ gantools model list --json
    """
    report.begin("model list", quiet=quiet)
    from gantools.io import network, results

    results.check(output)

    found = []
    for name, path in network.known():
        story = network.header(path)
        if story.get("kind") != "network":
            report.failed(path.name, "not a network of gantools")
            continue
        found.append({"name": name, **_summary(story), "file": path.name})
    rows = [[n["name"], n["family"], _pixels(n["size"]), n["id"][:12], n["file"]] for n in found]
    columns = ["name", "family", "resolution", "id", "file"]
    results.write({"networks": found}, output, as_json=json, rows=rows, columns=columns)


def _summary(story: dict[str, Any]) -> dict[str, Any]:
    from gantools.io import describe

    config = story.get("config")
    g = config.get("g") if isinstance(config, dict) else None
    known = g if isinstance(g, dict) else {}
    return {
        "family": str(story.get("family")),
        "resolution": known.get("resolution"),
        "size": describe.size(known),
        "id": str(story.get("id", "")),
    }


def _pixels(size: list[int] | None) -> str | int | None:
    """64, or 64x96 where pictures are not square."""
    if size is None:
        return None
    return size[0] if size[0] == size[1] else f"{size[0]}x{size[1]}"


app.command("fetch")(model_fetch.fetch)
app.command("standing")(standing)
