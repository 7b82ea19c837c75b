"""Which revision a database is at, and bringing it to the newest one."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from dmapsvc.errors import BadInput

VERSION_TABLE = "dmapsvc_version"

_UNVERSIONED = "0001"  # what a database is at that was made before there were revisions


def upgrade(connection: sa.Connection) -> None:
    """Bring the tables to the newest revision, in the transaction of `connection`.

    Raises BadInput for a database that a later dmapsvc has changed.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    found = _version(connection)
    if found == script.get_current_head():
        return
    if found is not None and found not in {revision.revision for revision in script.walk_revisions()}:
        raise BadInput(
            f"the queue's database is at revision {found}, which this dmapsvc does not know",
            "wanted one that it knows: a later dmapsvc has changed the tables",
            "Start the later dmapsvc, or restore the backup taken before it",
        )
    if found is None and sa.inspect(connection).has_table("dmapsvc_runs"):
        command.stamp(config, _UNVERSIONED)
    command.upgrade(config, "head")


def _version(connection: sa.Connection) -> str | None:
    """The revision that the tables are at; None for none."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    name = sa.column("version_num", sa.Text)
    return connection.execute(sa.select(name).select_from(sa.table(VERSION_TABLE))).scalar()
