"""Man pages and completions, generated from the app: `python -m gantools.manual`.

A test compares the committed files with what this module writes. man/gantools-stream.5 is
written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from gantools import __version__
from gantools.cli import app

SHELLS = {"gantools.bash": "bash", "_gantools": "zsh", "gantools.fish": "fish"}

EXIT_STATUS = """\
.SH EXIT STATUS
.TP
.B 0
everything was written
.TP
.B 1
some samples failed; each has its line on standard error, the rest is done
.TP
.B 2
wrong usage, or the command could not go on (no network, disk full, damaged stream)
.TP
.B 130, 141, 143
ended by Ctrl\\-C, by a reader that went away, by SIGTERM; temporary files are removed
"""

ENVIRONMENT = """\
.SH ENVIRONMENT
.TP
.B GANTOOLS_NET
the network where \\-\\-net is not given
.TP
.B GANTOOLS_WEIGHTS
a folder with networks from outside (LPIPS, Inception, \\&...), found by their file names
.TP
.B XDG_DATA_HOME
networks by name are found in $XDG_DATA_HOME/gantools/networks, weights from outside in
$XDG_DATA_HOME/gantools/weights
.TP
.B XDG_CACHE_HOME
features that metrics have computed are kept in $XDG_CACHE_HOME/gantools/features.sqlite, which may
be deleted at any time
.TP
.B GANTOOLS_DEBUG
1 shows tracebacks
"""


def pages() -> dict[str, str]:
    """{file name: text} of every generated page and completion script."""
    root = typer.main.get_command(app)
    files = {f"man/{name}": text for name, text in _man_pages(root)}
    for name, shell in SHELLS.items():
        files[f"completions/{name}"] = completion(shell)
    return files


def completion(shell: str) -> str:
    """The completion script of a shell; it asks `gantools` itself, so it knows every option."""
    from typer._completion_shared import get_completion_script

    script = get_completion_script(
        prog_name="gantools", complete_var="_GANTOOLS_COMPLETE", shell=shell
    )
    return script.strip() + "\n"


def _man_pages(root: Any) -> Iterator[tuple[str, str]]:
    yield "gantools.1", _overview(root)
    for name, command in sorted(root.commands.items()):
        yield f"gantools-{name}.1", _page(f"gantools {name}", command)


def _title(name: str) -> str:
    return f'.TH "{name.upper()}" 1 "" "gantools {__version__}" "gantools manual"\n'


def _overview(root: Any) -> str:
    text = _title("gantools")
    text += f".SH NAME\ngantools \\- {escape(_first_line(root.help))}\n"
    text += ".SH SYNOPSIS\n.B gantools\nCOMMAND [OPTION]... [INPUT]...\n"
    text += ".SH COMMANDS\n"
    for name, command in sorted(root.commands.items()):
        text += f".TP\n.BR gantools\\-{escape(name)} (1)\n{escape(_first_line(command.help))}\n"
    text += EXIT_STATUS + ENVIRONMENT
    return text + _see_also(
        [f"gantools-{n}(1)" for n in sorted(root.commands)] + ["gantools-stream(5)"]
    )


def _page(path: str, command: Any) -> str:
    name = path.replace(" ", "-")
    text = _title(name) + f".SH NAME\n{escape(name)} \\- {escape(_first_line(command.help))}\n"
    verbs = dict(_verbs("", command))
    if not verbs:
        text += _synopsis(path, command) + ".SH DESCRIPTION\n" + _prose(command.help)
        text += ".SH OPTIONS\n" + _options(path, command)
    else:
        text += ".SH SYNOPSIS\n" + "".join(
            f".B {escape(path)} {escape(verb)}\n{_usage(path, one)}\n.br\n"
            for verb, one in verbs.items()
        )
        text += ".SH DESCRIPTION\n" + _prose(command.help)
        for verb, one in verbs.items():
            text += f".SH {escape(f'{path} {verb}'.upper())}\n" + _prose(one.help)
            text += _options(f"{path} {verb}", one)
    return text + EXIT_STATUS + ENVIRONMENT + _see_also(["gantools(1)", "gantools-stream(5)"])


def _verbs(head: str, command: Any) -> Iterator[tuple[str, Any]]:
    """The verbs of a group, those of groups below it as `testbed generator`, by name."""
    for name, one in sorted(getattr(command, "commands", {}).items()):
        if getattr(one, "commands", None):
            yield from _verbs(f"{head}{name} ", one)
        else:
            yield f"{head}{name}", one


def _synopsis(path: str, command: Any) -> str:
    return f".SH SYNOPSIS\n.B {escape(path)}\n{_usage(path, command)}\n"


def _context(path: str, command: Any) -> Any:
    return command.make_context(path, [], resilient_parsing=True)


def _usage(path: str, command: Any) -> str:
    return escape(" ".join(command.collect_usage_pieces(_context(path, command))))


def _options(path: str, command: Any) -> str:
    context = _context(path, command)
    text = ""
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if record:
            text += f".TP\n.B {escape(record[0])}\n{escape(' '.join(record[1].split()))}\n"
    return text


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0].rstrip(".")


def _prose(text: str | None) -> str:
    """Paragraphs; one that begins with $ is an example."""
    out = ""
    for paragraph in re.split(r"\n\s*\n", (text or "").strip()):
        if paragraph.startswith("$ "):
            out += f".PP\n.RS\n.nf\n{escape(' '.join(paragraph.split()))}\n.fi\n.RE\n"
        else:
            out += f".PP\n{escape(' '.join(paragraph.split()))}\n"
    return out


def _see_also(names: list[str]) -> str:
    parts = [re.sub(r"\((\d)\)$", r" (\1)", escape(n)) for n in names]
    return ".SH SEE ALSO\n" + ",\n".join(f".BR {p}" for p in parts) + "\n"


def escape(text: str) -> str:
    """Text as roff: backslashes, hyphens, and no line that begins with a control character."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line[:1] in {".", "'"} else line for line in text.split("\n"))


def write(folder: Path) -> None:
    """Write every generated file below `folder`."""
    for name, text in pages().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd())
