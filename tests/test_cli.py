"""The command line as a whole: exit statuses, one line per error, shared options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import typer

from gantools import cli, options, report
from gantools.report import Usage


def one_line(err: str) -> bool:
    return err.count("\n") == 1 and err.startswith("gantools")


@pytest.mark.parametrize(
    "argv",
    [
        ["nonsense"],
        ["edit", "--no-such-option"],
        ["generate", "--seeds"],
        ["generate", "--batch", "0", "--seeds", "1"],
        ["generate", "--noise-mode", "loud", "--seeds", "1"],
        ["train", "nonsense"],
        ["model", "info", "no-such-network"],
    ],
    ids=" ".join,
)
def test_usage_errors_are_one_line_and_2(argv: list[str], gt: Callable[..., Any]) -> None:
    result = gt(*argv)
    assert result.code == 2
    assert result.out == b""
    assert one_line(result.err), result.err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["generate", "--video", "--seconds", "nan"], "'--seconds': nan is not a finite number"),
        (["generate", "--video", "--fps", "inf"], "'--fps': inf is not a finite number"),
        (["project", "x.png", "--mse-weight", "nan"], "'--mse-weight': nan is not"),
        (["prefilter", "x.png", "--margin", "inf"], "'--margin': inf is not a finite number"),
        (["generate", "--seeds", "0", "--device", "meta"], "--device meta: not available here"),
        (["generate", "--seeds"], "requires an argument (see gantools generate --help)"),
        (["metrics", "fid", "--psi"], "requires an argument (see gantools metrics fid --help)"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_wrong_values_name_their_option(
    argv: list[str], words: str, gt: Callable[..., Any]
) -> None:
    result = gt(*argv)
    assert result.code == 2
    assert one_line(result.err), result.err
    assert result.err.startswith(f"gantools {argv[0]}")
    assert words in result.err


def test_version_and_help(gt: Callable[..., Any]) -> None:
    assert gt("--version").text.startswith("gantools ")
    assert gt("--help").code == 0
    assert gt().code == 2
    assert b"edit" in gt("--help").out


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (Usage("no"), 2, "no"),
        (BrokenPipeError(), 141, ""),
        (KeyboardInterrupt(), 130, ""),
        (report.Terminated(), 143, ""),
        (OSError(28, "No space left on device", "x.png"), 2, "x.png: no space left"),
        (PermissionError(13, "Permission denied", "y"), 2, "y: permission denied"),
        (MemoryError(), 2, "--batch"),
        (RuntimeError("CUDA out of memory. Tried"), 2, "--batch"),
        (ValueError("odd\nthing"), 2, "odd thing"),
    ],
)
def test_every_end_has_its_status(
    error: BaseException,
    status: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Any,
) -> None:
    """Whatever is raised: one line at most, the right status, the litter gone."""
    litter = tmp_path / "half"

    def fail(argv: Any) -> int:
        litter.write_text("half a picture")
        report.cleanup(litter)
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    assert cli.run(["edit"]) == status
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == bool(words)
    assert not litter.exists()


def test_failed_samples_end_in_1(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def project(operands: list[str]) -> None:
        report.begin("project")
        report.failed("photos/7.jpg", "no face found")

    app = typer.Typer()
    app.command()(project)
    monkeypatch.setattr(cli, "app", app)
    assert cli.run(["photos/7.jpg"]) == 1
    assert capsys.readouterr().err == "gantools project: photos/7.jpg: no face found\n"


def test_ranges() -> None:
    assert options.parse_ranges("0,3-5,9") == [0, 3, 4, 5, 9]
    for bad in ("5-1", "", "a", "1,,2", "-3", "1-", "0-999999999"):
        with pytest.raises(Usage):
            options.parse_ranges(bad)
    assert options.parse_layers("0-2,2", 4) == [0, 1, 2]
    with pytest.raises(Usage, match="0-3"):
        options.parse_layers("4", 4)


def test_amounts() -> None:
    assert options.parse_amount("25M", "--images") == 25_000_000
    assert options.parse_amount("1.5k", "--images") == 1500
    for bad in ("0", "k", "1G", "-3"):
        with pytest.raises(Usage):
            options.parse_amount(bad, "--images")
