"""The program: its commands, and what every command has in common: version, errors, exit codes."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, cast

import typer

from dmapsvc import __version__
from dmapsvc.cli import (
    batches,
    check,
    compare,
    evaluate,
    fetch,
    gc,
    info,
    jobs,
    keys,
    precompute,
    predict,
    report,
    submit,
    train,
    view,
    workers,
)
from dmapsvc.cli.grouped import GroupedCommand
from dmapsvc.errors import DmapsvcError

INTERRUPTED = 130  # 128 + SIGINT, as shells write it
UsageError = typer.BadParameter.__bases__[0]  # Typer gives the class no public name

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line on `arguments` (the process's own if None) and return the exit code."""
    _never_fail_to_print()
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words or bool(os.environ.get("DMAPSVC_DEBUG"))
    words = [word for word in words if word != "--debug"]
    try:
        code = app(words or ["--help"], prog_name="dmapsvc", standalone_mode=False)
        sys.stdout.flush()
    except Exception as error:
        if debug:
            raise
        return _tell(error)
    if code == INTERRUPTED:
        _error_line("stopped; run the same command again to go on")
    return code or 0


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dmapsvc {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; or set DMAPSVC_DEBUG=1.")
    ] = False,
) -> None:
    """Error-penalising distance maps for segmentation: compute, upload, look at, check, train on them.

    For example:

    \b
        dmapsvc precompute labels/ knees.zarr --labels 5,6,7

    \b
    Exit codes, of every command:
        0    all is well
        1    something failed
        2    what was given cannot be used
        130  stopped by Ctrl-C
    """


app.command("precompute")(precompute.command)
app.command("submit")(submit.command)
app.command("jobs")(jobs.command)
app.command("workers")(workers.command)
app.add_typer(batches.app, name="batch")
app.command("info")(info.command)
app.command("fetch")(fetch.command)
app.command("view")(view.command)
app.command("check")(check.command)
app.command("gc")(gc.command)
app.command("train", cls=GroupedCommand)(train.command)
app.command("predict")(predict.command)
app.command("evaluate")(evaluate.command)
app.command("report")(report.command)
app.command("compare")(compare.command)
app.add_typer(keys.app, name="keys")


def _never_fail_to_print() -> None:
    """Let a terminal or a pipe that cannot show Φ, or a file's odd name, show ? instead."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _tell(error: Exception) -> int:
    """Say what went wrong in one line; the exit code."""
    if isinstance(error, DmapsvcError):
        _error_line(f"error: {error.detail}")
        return 2 if error.problem.status < 500 else 1
    if isinstance(error, UsageError):
        _error_line(
            f"error: {cast('typer.BadParameter', error).format_message().rstrip('.')}. See {_help_of(error)}."
        )
        return 2
    if isinstance(error, BrokenPipeError):  # `dmapsvc … | head`: whoever reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    _error_line(f"error: {type(error).__name__}: {error}. Run it with --debug to see the traceback.")
    return 1


def _help_of(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'dmapsvc'} --help"


def _error_line(text: str) -> None:
    typer.echo(" ".join(text.split()), err=True)
