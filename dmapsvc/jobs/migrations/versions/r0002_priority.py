"""Runs have a priority and may be of a batch, and may wait without a workflow of the engine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what they need; runs that are there were uploads."""
    with op.batch_alter_table("dmapsvc_runs") as table:
        table.alter_column("run", existing_type=sa.Text(), nullable=True)
        table.add_column(sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
        table.add_column(sa.Column("batch", sa.Text, nullable=True))
    op.create_index("dmapsvc_runs_queue", "dmapsvc_runs", ["state", "priority", "seq"])
    op.create_index("dmapsvc_runs_batch", "dmapsvc_runs", ["batch", "state"])
