"""gantools model fetch: weights from outside, downloaded where the user asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gantools import options, report
from gantools.report import Usage

if TYPE_CHECKING:
    from gantools.io.fetch import Wanted
    from gantools.io.weights import Weights

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME|URL]...",
        help="Names that --list shows, or http(s) addresses.",
        show_default=False,
    ),
]
Digest = Annotated[
    str | None,
    typer.Option(
        "--sha256",
        metavar="HEX",
        help="What the file's sha256 has to be, or begin with (8 digits at least). An address "
        "needs it, unless its file name carries the digits as torch hub's do: vgg16-397923af.pth.",
        show_default=False,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="A file, or DIR/ for the file's own name. Without it: where gantools looks for "
        "weights, the first folder of $GANTOOLS_WEIGHTS or $XDG_DATA_HOME/gantools/weights.",
        show_default=False,
    ),
]
List = Annotated[
    bool, typer.Option("--list", help="What there is: name, size, whether you have it, licence.")
]


def fetch(
    names: Names = None,
    *,
    listed: List = False,
    sha256: Digest = None,
    output: Target = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Download weights (Inception, VGG16, LPIPS, FaceNet, ...), checked by their sha256.

    No other command uses the network. A download that broke off goes on where it was when the
    command is run again; a file takes its name when its digest fits, and one with another digest
    is removed. Nothing in it is run. --json is for --list.

    $ gantools model fetch --list

    $ gantools model fetch vgg16 lpips-vgg

    $ gantools model fetch https://example.org/networks/ffhq.pkl --sha256 0fb1a2... -o networks/
    """
    report.begin("model fetch", quiet=quiet)
    if listed:
        if names or sha256 or output:
            raise Usage("--list goes alone")
        return _show(as_json=json)
    if not names:
        raise Usage("expected NAME or URL, or --list (see gantools model fetch --help)")
    if len(names) > 1 and sha256 is not None:
        raise Usage("--sha256 is of one file: name one")
    folder, file_name = _place(output, len(names))
    for name in names:
        _get(name, folder, file_name, _digits(sha256))
    return None


def _show(*, as_json: bool) -> None:
    from gantools.io import results, weights

    found: list[dict[str, Any]] = [
        {
            "name": name,
            "what": known.what,
            "file": known.file,
            "present": any(weights.present(n) for n in (name, known.instead) if n),
            "size": known.size,
            "sha256": known.sha256,
            "licence": known.licence,
            "url": _published(name).url,
        }
        for name, known in weights.KNOWN.items()
    ]
    columns = ["name", "MB", "have", "licence", "what"]
    rows = [
        [
            row["name"],
            "-" if row["size"] is None else f"{row['size'] / 1e6:.3g}",
            "yes" if row["present"] else "no" if row["url"] else "no address",
            row["licence"],
            row["what"],
        ]
        for row in found
    ]
    results.write({"weights": found}, as_json=as_json, rows=rows, columns=columns)


def _digits(given: str | None) -> str | None:
    if given is None:
        return None
    digits = given.strip().lower().removeprefix("sha256:")
    if not 8 <= len(digits) <= 64 or set(digits) - set("0123456789abcdef"):
        raise Usage(f"--sha256 {given}: expected 8 to 64 hexadecimal digits")
    return digits


def _place(output: str | None, count: int) -> tuple[Path | None, str | None]:
    """(folder, file name) that -o says; None for what it does not say."""
    if output is None:
        return None, None
    if output == "-":
        raise Usage("-o -: weights are written to a file")
    path = Path(output)
    if output.endswith("/") or path.is_dir():
        return path, None
    if count > 1:
        raise Usage(f"-o {output}: {count} files go to a folder, -o DIR/")
    if not path.parent.is_dir():
        raise Usage(f"-o {output}: no such folder: {path.parent}")
    return path.parent, path.name


def _get(name: str, folder: Path | None, file_name: str | None, digits: str | None) -> None:
    from gantools.io import fetch as fetching
    from gantools.io import weights

    wanted, file = _wanted(name, digits)
    target = (folder or weights.home()) / (file_name or (Path(file).name if folder else file))
    if target.is_file():
        found = weights.sha256(target)
        if not found.startswith(wanted.digest):
            raise Usage(f"{target}: is there with the sha256 {found}, expected {wanted.digest}")
        return report.note(f"{target} is there and is right")
    found = fetching.fetch(wanted, target)
    return report.note(f"{target}: sha256 {found}")


def _published(name: str) -> Weights:
    """The weights, or the published file of the same numbers where these were made of another."""
    from gantools.io import weights

    known = weights.KNOWN[name]
    return weights.KNOWN[known.instead] if known.url is None and known.instead else known


def _wanted(name: str, digits: str | None) -> tuple[Wanted, str]:
    """What to fetch, and its path below a folder of weights."""
    from gantools.io import fetch as fetching
    from gantools.io import weights

    if "://" in name:
        fetching.check_address(name)
        file = fetching.file_name(name)
        digest = digits or fetching.digest_in_name(file)
        if digest is None:
            raise Usage(f"{file}: its digest is not known; give the publisher's, --sha256 HEX")
        return fetching.Wanted(name, digest), file
    if name not in weights.KNOWN:
        raise Usage(f"{name}: neither an address nor one of {', '.join(weights.KNOWN)}")
    known = _published(name)
    if known.url is None:
        raise Usage(
            f"{name}: nobody publishes {known.file} ({known.what}), it was made of a published "
            f"file; its sha256 is {known.sha256}"
        )
    if digits is not None and not known.sha256.startswith(digits):
        raise Usage(f"--sha256 {digits}: {name} has {known.sha256}")
    return fetching.Wanted(known.url, known.sha256, known.size), known.file
