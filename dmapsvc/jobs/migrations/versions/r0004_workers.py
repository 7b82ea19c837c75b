"""Workers are rows that tell of themselves; an index counts what was run again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table and the index."""
    op.create_table(
        "dmapsvc_workers",
        sa.Column("executor", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("concurrency", sa.Integer, nullable=False),
        sa.Column("memory_used", sa.BigInteger, nullable=True),
        sa.Column("memory_total", sa.BigInteger, nullable=True),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("seen", sa.Float, nullable=False),
    )
    runs = sa.table("dmapsvc_runs", sa.column("latest", sa.Boolean))
    earlier = ~runs.c.latest
    op.create_index(
        "dmapsvc_runs_earlier", "dmapsvc_runs", ["state"], postgresql_where=earlier, sqlite_where=earlier
    )
