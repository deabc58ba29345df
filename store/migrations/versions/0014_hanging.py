"""Readers that hang at a checkpoint, where a person's tag is that person's visit.

Revision ID: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add where a device hangs; those there are hang nowhere."""
    op.add_column("device", sa.Column("checkpoint_id", sa.Integer()))
