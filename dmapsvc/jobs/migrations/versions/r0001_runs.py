"""The table of runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "dmapsvc_runs",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("run", sa.Text, nullable=False, unique=True),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("latest", sa.Boolean, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("case_name", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("spool", sa.Text, nullable=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("stopping", sa.Boolean, nullable=False),
        sa.Column("executor", sa.Text, nullable=True),
        sa.Column("alone", sa.Boolean, nullable=False),
        sa.Column("deaths", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("stage", sa.Text, nullable=True),
        sa.Column("percent", sa.Float, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("started", sa.Float, nullable=True),
        sa.Column("ended", sa.Float, nullable=True),
        sa.Column("problem", sa.JSON, nullable=True),
        sa.Column("outcome", sa.JSON, nullable=True),
    )
    op.create_index("dmapsvc_runs_state", "dmapsvc_runs", ["state", "seq"])
    op.create_index("dmapsvc_runs_job", "dmapsvc_runs", ["job", "n"])
    op.create_index("dmapsvc_runs_case", "dmapsvc_runs", ["dataset", "case_name", "seq"])
