"""The app: every command, how errors become one line and an exit status, how signals end a run."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from gantools import __version__, report
from gantools.commands import (
    edit,
    generate,
    metrics,
    mix,
    model,
    prefilter,
    project,
    spectrum,
    train,
    train_attribute,
    train_direction,
    train_encoder,
)
from gantools.report import Exit

app = typer.Typer(
    name="gantools",
    help="GANs on faces from the shell: commands that read and write files, folders and streams.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"gantools {__version__}\n")
        raise typer.Exit


@app.callback()
def gantools(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """GANs on faces from the shell: commands that read and write files, folders and streams."""


app.command()(prefilter.prefilter)
train.app.command()(train_direction.direction)
train.app.command()(train_encoder.encoder)
train.app.command()(train_attribute.attribute)
app.add_typer(train.app, name="train")
app.command()(generate.generate)
app.command()(project.project)
app.command()(mix.mix)
app.command()(edit.edit)
app.add_typer(metrics.app, name="metrics")
app.add_typer(spectrum.app, name="spectrum")
app.add_typer(model.app, name="model")


def main() -> None:
    """The console script: run, then leave with the status, by the signal itself where one came."""
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGTERM, _terminated)
    status = run(sys.argv[1:])
    by_signal = {
        Exit.INTERRUPTED: signal.SIGINT,
        Exit.TERMINATED: signal.SIGTERM,
        Exit.PIPE: signal.SIGPIPE,
    }.get(Exit(status))
    if by_signal is not None:
        signal.signal(by_signal, signal.SIG_DFL)
        os.kill(os.getpid(), by_signal)
    # Not sys.exit: interpreter shutdown would flush a stdout whose reader may be gone.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(status)


def _terminated(number: int, frame: Any) -> None:
    raise report.Terminated


def run(argv: Sequence[str]) -> int:
    """Run one command line in this process and return its exit status; nothing is raised."""
    report.reset()
    completing = _complete()
    if completing is not None:
        return completing
    debug = os.environ.get("GANTOOLS_DEBUG") == "1"
    try:
        status = _run(argv)
        if sys.stdout is not None:
            sys.stdout.flush()
    except Exception as e:
        if debug:
            raise
        status = _status_of(e, argv)
    except KeyboardInterrupt:
        status = Exit.INTERRUPTED
    except report.Terminated:
        status = Exit.TERMINATED
    finally:
        report.remove_litter()
    return status


def _run(argv: Sequence[str]) -> int:
    # Not app(): its own handling of a broken pipe ends the process with 1.
    command = typer.main.get_command(app)
    with command.make_context("gantools", list(argv)) as context:
        command.invoke(context)
    return Exit.SOME_FAILED if report.failures() else Exit.OK


def _status_of(error: Exception, argv: Sequence[str]) -> int:
    """One line for the error, and its exit status."""
    if isinstance(error, BrokenPipeError):
        return Exit.PIPE
    if isinstance(error, typer.Exit):
        return int(getattr(error, "exit_code", 0))
    if isinstance(error, typer.Abort):
        return Exit.INTERRUPTED
    if hasattr(error, "format_message"):  # typer's own usage errors
        return _usage_error(error, argv)
    report.say(_in_words(error))
    return Exit.USAGE


def _in_words(error: Exception) -> str:
    kind = type(error).__name__
    if isinstance(error, report.Usage | report.SampleError):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{error.filename or 'output'}: no space left on the device"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror.lower()}"
    if kind == "OutOfMemoryError" or "out of memory" in str(error).lower():
        return "out of GPU memory: lower --batch (or use --dtype bf16)"
    if isinstance(error, MemoryError):
        return "out of memory: lower --batch"
    return f"internal error, {kind}: {error} (GANTOOLS_DEBUG=1 shows where)"


def _usage_error(error: Any, argv: Sequence[str]) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stdout.write(error.ctx.get_help() + "\n")
        return Exit.USAGE
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else _command_path(argv)
    report.begin(path.removeprefix("gantools").strip())
    report.say(f"{error.format_message().rstrip('.')} (see {path} --help)")
    return Exit.USAGE


def _command_path(argv: Sequence[str]) -> str:
    """The command that a line calls; an option without its value names no context."""
    command: Any = typer.main.get_command(app)
    path = "gantools"
    for word in argv:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        path += f" {word}"
    return path


def _complete() -> int | None:
    """Answer a shell's completion request (`_GANTOOLS_COMPLETE=complete_bash`), if it is one."""
    instruction = os.environ.get("_GANTOOLS_COMPLETE")
    if not instruction:
        return None
    from typer._completion_classes import completion_init
    from typer.completion import shell_complete

    completion_init()
    command = typer.main.get_command(app)
    return shell_complete(command, {}, "gantools", "_GANTOOLS_COMPLETE", instruction)
