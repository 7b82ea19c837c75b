"""Each command explains itself, and the program starts without the heavy libraries."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from dmapsvc import __version__
from tests.cli.cli_run import Run

COMMANDS = (
    "precompute",
    "submit",
    "jobs",
    "workers",
    "info",
    "fetch",
    "view",
    "check",
    "gc",
    "train",
    "predict",
    "evaluate",
    "report",
    "compare",
    "batch",
    "keys",
)


def test_the_program_names_its_commands_and_exit_codes(cli: Callable[..., Run]) -> None:
    run = cli("--help")
    assert run.code == 0
    listed = run.out.partition("Commands:")[2]
    assert tuple(re.findall(r"^  (\S+)", listed, re.MULTILINE)) == COMMANDS
    assert "..." not in listed, "a command's first line is cut off"
    for code in ("0", "1", "2", "130"):
        assert re.search(rf"^ +{code} +\w", run.out, re.MULTILINE)


def test_nothing_is_asked_so_the_help_is_shown(cli: Callable[..., Run]) -> None:
    assert cli().out == cli("--help").out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_and_explains_every_option(
    cli: Callable[..., Run], command: str
) -> None:
    run = cli(command, "-h")
    assert run.code == 0
    assert f"dmapsvc {command} " in run.out.partition("For example:")[2]
    for section in ("Arguments:", "Options:"):
        listed = run.out.partition(section)[2].split("\n\n")[0]
        for line in listed.strip("\n").splitlines():
            if re.match(r"  \S", line):
                assert re.match(r"  \S.*?  +\S", line) or line.endswith(">"), f"unexplained: {line}"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_is_one_the_program_understands(cli: Callable[..., Run], command: str) -> None:
    """Each example's options exist: asking for help as well stops it before it does anything."""
    example = re.search(rf"^ +dmapsvc ({command} .*)$", cli(command, "-h").out, re.MULTILINE)
    assert example
    options = re.findall(r"(?<=\s)--?[a-z]+", example[1])
    explained = cli(command, "-h").out.partition("Options:")[2]
    assert all(re.search(rf"(^  |, ){option}\b", explained, re.MULTILINE) for option in options)


def test_the_version(cli: Callable[..., Run]) -> None:
    run = cli("--version")
    assert (run.code, run.out) == (0, f"dmapsvc {__version__}\n")


def test_the_help_starts_light() -> None:
    heavy = (
        "torch",
        "numba",
        "SimpleITK",
        "matplotlib",
        "zarr",
        "scipy",
        "nibabel",
        "httpx",
        "numpy",
        "dbos",
    )
    code = (
        "import sys; from dmapsvc.cli import main; main(['--help']); "
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == "[]\n"


def test_the_console_script_is_this_program() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["scripts"]["dmapsvc"] == "dmapsvc.cli:main"
    run = subprocess.run([sys.executable, "-m", "dmapsvc", "nonsense"], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "error: No such command 'nonsense'. See dmapsvc --help.\n"
