"""Documentation that cannot lie: man pages, completions, README and help agree with the app."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from gantools import cli, manual

ROOT = Path(__file__).parent.parent


def commands() -> dict[str, Any]:
    """{"edit": command, "train stylegan2": command, "spectrum testbed generator": command, …}."""

    def below(head: str, group: Any) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            if getattr(command, "commands", None) is None:
                yield f"{head}{name}", command
            else:
                yield from below(f"{head}{name} ", command)

    return dict(below("", typer.main.get_command(cli.app)))


def test_generated_files_are_current() -> None:
    """`python -m gantools.manual` would change nothing."""
    pages = manual.pages()
    for name, text in pages.items():
        assert (ROOT / name).read_text() == text, f"{name}: run python -m gantools.manual"
    committed = {f"man/{p.name}" for p in (ROOT / "man").iterdir()}
    committed |= {f"completions/{p.name}" for p in (ROOT / "completions").iterdir()}
    assert committed == {*pages, "man/gantools-stream.5"}


@pytest.mark.parametrize("name", commands())
def test_help_is_plain_and_has_two_examples(name: str, gt: Any) -> None:
    """Every command explains itself, with two examples that the parser accepts."""
    result = gt(*name.split(), "--help")
    assert result.code == 0
    text = result.text
    assert not re.search(r"[\u2500-\u257f\x1b]", text), "boxes or colours in the help"
    examples = re.findall(r"^ *\$ (.*)$", text, flags=re.MULTILINE)
    assert len(examples) >= 2
    for option in re.findall(r"^  (-.*?)  ", text, flags=re.MULTILINE):
        assert option
    for param in commands()[name].params:
        if param.param_type_name == "option" and not getattr(param, "hidden", False):
            assert param.help, f"{param.name} is not explained"


def lines_of(text: str) -> list[str]:
    """The `gantools …` invocations in a text, split at pipes, && and redirections."""
    found = []
    text = re.sub(r"\\\n\s*", " ", text)
    for raw in text.splitlines():
        line = raw.strip().removeprefix("$ ")
        if not re.match(r"(pip install|gantools|tar|cat|\w+=|torchrun|for|ffmpeg|srun)\b", line):
            continue
        for part in re.split(r"\|\||\||&&|;", line):
            words = part.strip()
            if words.startswith("gantools "):
                found.append(re.sub(r"\s[<>]+\s*\S+", "", words))
    return found


def check_parses(line: str) -> None:
    """The app's own parser takes the line; nothing runs."""
    words = shlex.split(line, comments=True)[1:]
    command: Any = typer.main.get_command(cli.app)
    context = command.make_context("gantools", [], resilient_parsing=True)
    while getattr(command, "commands", None) and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in command.commands, f"no command {name} ({line})"
        command = command.commands[name]
        context = command.make_context(name, [], parent=context, resilient_parsing=True)
    if words and words != ["--help"]:
        with command.make_context(context.info_name or "", list(words), parent=context.parent):
            pass


def test_every_command_line_in_the_documents_parses() -> None:
    """README, help texts and gantools-stream(5): each `gantools …` line is valid."""
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```(?:sh|console|bash)\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in lines_of(block)]
    page = (ROOT / "man" / "gantools-stream.5").read_text().replace("\\-", "-")
    lines += lines_of(page)
    for command in commands().values():
        lines += lines_of(command.help or "")
    assert len(lines) > 2 * len(commands())
    for line in lines:
        check_parses(line)


def test_readme_names_every_command_and_has_its_sections() -> None:
    """README: the two commands, every command, the changes."""
    text = (ROOT / "README.md").read_text()
    assert "pip install . && gantools project example:portrait" in text
    assert "pip install '.[test]' && pytest" in text
    for name in commands():
        assert f"gantools {name.split()[0]}" in text, name
    assert "## Changes" in text
    assert "research use" in text


def test_start_up_imports_nothing_heavy() -> None:
    """--help, completion and usage errors import neither torch nor numpy nor PIL."""
    heavy = "torch numpy PIL safetensors scipy sklearn matplotlib rich tqdm imageio"
    code = f"""
import sys
from gantools import cli
for argv in (["--help"], ["edit", "--help"], ["edit", "--no-such-option"], ["nonsense"]):
    cli.run(argv)
loaded = [name for name in {heavy.split()!r} if name in sys.modules]
assert not loaded, loaded
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_answers(shell: str) -> None:
    """The shells' requests are answered by the app itself: `gantools ed<TAB>` gives edit."""
    environment = {
        "bash": {"COMP_WORDS": "gantools ed", "COMP_CWORD": "1"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "gantools ed"},
        "fish": {"_TYPER_COMPLETE_ARGS": "gantools ed", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    run = subprocess.run(
        [sys.executable, "-m", "gantools"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "_GANTOOLS_COMPLETE": f"complete_{shell}", **environment},
    )
    assert "edit" in run.stdout, run.stderr
