"""What Alembic runs for each upgrade: the revisions, in the transaction of the connection it is handed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from dmapsvc.jobs.migrations.version import VERSION_TABLE

connection: sa.Connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table=VERSION_TABLE, render_as_batch=True)
context.run_migrations()
