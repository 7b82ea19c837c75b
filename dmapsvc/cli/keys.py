"""`dmapsvc keys`: the API keys of a service, made, listed and revoked where its data lies."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from dmapsvc.cli.output import print_table
from dmapsvc.errors import BadInput

if TYPE_CHECKING:
    from dmapsvc.keys import KeyFile

app = typer.Typer(no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="What the key is called, in lists and in the audit.")
]


@app.callback()
def root() -> None:
    """Make, list and revoke the API keys of a service.

    They lie in the file that DMAPSVC_KEYS names, or in keys.json in the folder DMAPSVC_DATA: run it there, as
    the service's user. A running service sees a change at once. From the first key on, every request wants a
    key.

    For example:

    \b
        dmapsvc keys list
    """


@app.command("new")
def new(
    name: Name,
    scope: Annotated[
        str,
        typer.Option(
            "--scope",
            help="read, write (uploads, cancelling) or admin (deletions); each covers those before.",
        ),
    ],
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="Days it is good for; left out: until it is revoked.")
    ] = None,
) -> None:
    """Make a key and print it, once: only its hash is kept.

    For example:

    \b
        dmapsvc keys new anna --scope write --days 365
    """
    from dmapsvc.keys import Scope

    if scope not in list(Scope):
        raise BadInput(f"--scope {scope}", f"wanted {', '.join(Scope)}")
    with _changing("new_key", name) as keys:
        text = keys.new(name, Scope(scope), days=days)
    typer.echo(f"key {name}, {scope}; it is not shown again. Clients take it from DMAPSVC_KEY:", err=True)
    typer.echo(text)


@app.command("list")
def show() -> None:
    """List the keys, without what they are.

    For example:

    \b
        dmapsvc keys list
    """
    from dmapsvc.keys import KeyFile
    from dmapsvc.settings import load_settings

    keys = KeyFile(load_settings().keys_file).keys()
    if not keys:
        typer.echo("no keys" if keys is None else "no keys: nobody is let in", err=True)
        return
    rows = [
        (
            key.name,
            key.scope,
            f"{key.created:%Y-%m-%d}",
            f"{key.expires:%Y-%m-%d}" if key.expires else "never",
        )
        for key in keys
    ]
    print_table(("key", "scope", "made", "expires"), rows)


@app.command("revoke")
def revoke(name: Name) -> None:
    """Make a key worthless from now on.

    For example:

    \b
        dmapsvc keys revoke anna
    """
    with _changing("revoke_key", name) as keys:
        keys.revoke(name)
    typer.echo(f"key {name} is revoked", err=True)


@contextmanager
def _changing(action: str, name: str) -> Iterator[KeyFile]:
    """The keys, to be changed inside; noted in the audit once that is done. Raises BadInput."""
    from dmapsvc.audit import AuditLog
    from dmapsvc.keys import KeyFile
    from dmapsvc.settings import load_settings

    settings = load_settings()
    try:
        yield KeyFile(settings.keys_file)
    except OSError as error:
        raise BadInput(
            f"{settings.keys_file}: {error.strerror}", "wanted a file that can be written"
        ) from None
    AuditLog(settings.audit_file).note(action=action, name=name, user=_user())


def _user() -> str | None:
    """Who is at this machine; None where that has no name, as in a container."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None
