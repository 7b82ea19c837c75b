"""The pages of docs/ that say what the code says: settings, commands, errors. `make reference` writes them.

Each page is a function; `test_docs_reference.py` holds the committed pages to them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from unittest import mock

import api.app  # noqa: F401  its errors are part of the tree
from dmapsvc import errors
from dmapsvc.cli import main as dmapsvc
from dmapsvc.errors import DmapsvcError
from dmapsvc.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
WIDTH = 100  # columns of the terminal that shows the helps

_MADE = "<!-- Made from the code by `make reference`; change it there. -->\n"


def settings() -> str:
    """Every setting, with its default and its description."""
    rows = [_setting(name) for name in Settings.model_fields]
    return f"""# Settings

{_MADE}
Environment variables; the API and the workers of one service read the same ones. They are defined in
`dmapsvc/settings.py`.

| variable | default | what it is |
|---|---|---|
{_lines(rows)}
The command line reads `DMAPSVC_SERVER` (the service's URL) and `DMAPSVC_DEBUG` (show tracebacks) besides.
It, the client and the loader read `DMAPSVC_KEY`, the key that they show to services ([access.md](access.md)).
"""


def commands() -> str:
    """What `--help` of the program and of each of its commands prints."""
    return f"""# Commands

{_MADE}
What `dmapsvc --help` and the help of each command print. The service's own two processes are
`python -m api` and `python -m worker`; their settings are in [settings.md](settings.md).

{_lines(_helps())}"""


def problems() -> str:
    """Every error: what it is called over HTTP and in a failed job, its status, and what it says."""
    rows = [_error(kind) for kind in _tree(DmapsvcError)]
    return f"""# Errors

{_MADE}
Every error says what was found, what was wanted and what to do. On the command line it is one line, and
the exit code is 2 where what was given cannot be used, else 1. Over HTTP it is a problem (RFC 9457,
`application/problem+json`) with `type`, `title`, `status` and `detail`; a failed job keeps the same object.
Python raises the class, which is of `dmapsvc.errors`.

A job whose error is final is not tried again by itself; others are, `DMAPSVC_ATTEMPTS` times.

| error | `type` | status | final | what it is |
|---|---|---|---|---|
{_lines(rows)}
Besides these a request may be answered with what HTTP itself says, as a problem of `type` `about:blank`: 404
for an address that is none, 405 for a method that is not done there; and 500 for what nobody foresaw, with
the id by which the service's log has more.
"""


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings,
    "commands.md": commands,
    "errors.md": problems,
}


def _setting(name: str) -> str:
    field = Settings.model_fields[name]
    chosen = field.default is not None and field.default_factory is None
    default = f"`{field.default}`" if chosen else ""
    return f"| `DMAPSVC_{name.upper()}` | {default} | {field.description} |"


def _helps(*words: str) -> Iterator[str]:
    """The help of a command and of those below it, each under its name."""
    shown = _printed(*words, "--help")
    yield f"## {' '.join(('dmapsvc', *words))}\n\n```text\n{shown.strip()}\n```\n"
    for word in re.findall(r"^  (\S+)", shown.partition("Commands:\n")[2], re.MULTILINE):
        yield from _helps(*words, word)


def _printed(*words: str) -> str:
    out = io.StringIO()
    with redirect_stdout(out), mock.patch.dict("os.environ", COLUMNS=str(WIDTH)):
        dmapsvc(words)
    return out.getvalue()


def _tree(kind: type[DmapsvcError]) -> Iterator[type[DmapsvcError]]:
    for below in kind.__subclasses__():
        if below.__module__.startswith(("dmapsvc", "api")):
            yield below
            yield from _tree(below)


def _error(kind: type[DmapsvcError]) -> str:
    title = kind.__new__(kind).title
    if kind in (errors.ServerProblem, errors.ServerUnreachable):  # the client's own; no server sends them
        return f"| `{kind.__name__}` |  |  |  | {title} |"
    name = re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()
    final = "yes" if kind.permanent else ""
    return f"| `{kind.__name__}` | `/problems/{name}` | {kind.status} | {final} | {title} |"


def _lines(parts: Iterator[str] | list[str]) -> str:
    return "".join(f"{part}\n" for part in parts)


if __name__ == "__main__":
    for page, make in PAGES.items():
        (DOCS / page).write_text(make(), encoding="utf-8")
        print(f"docs/{page}")
