"""The table of batches, and what lets a batch's jobs be counted and listed without reading other runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "dmapsvc_batches",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("batch", sa.Text, nullable=False, unique=True),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("asked", sa.JSON, nullable=False),
        sa.Column("cases", sa.Integer, nullable=False),
        sa.Column("files", sa.Integer, nullable=False),
        sa.Column("published", sa.Integer, nullable=False, server_default="0"),
        sa.Column("under_way", sa.Integer, nullable=False, server_default="0"),
        sa.Column("submitted", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("created", sa.Float, nullable=False),
    )
    of_a_batch = sa.text("batch IS NOT NULL")
    op.drop_index("dmapsvc_runs_batch", "dmapsvc_runs")
    for name, columns in {
        "dmapsvc_runs_batch": ["batch", "state", "ended"],
        "dmapsvc_runs_batch_seq": ["batch", "seq"],
    }.items():
        op.create_index(name, "dmapsvc_runs", columns, sqlite_where=of_a_batch, postgresql_where=of_a_batch)
