"""Folding: up to which entry coverage and contacts tell.

Revision ID: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Until now they were written with each entry."""
    column = sa.Column("folded_entry", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    op.add_column("worker", column)
    op.execute("UPDATE worker SET folded_entry = (SELECT coalesce(max(id), 0) FROM entry)")
