"""Batches remember that they were cancelled."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add it; a batch that is there was not, as far as is known."""
    op.add_column(
        "dmapsvc_batches", sa.Column("cancelled", sa.Boolean, nullable=False, server_default=sa.false())
    )
