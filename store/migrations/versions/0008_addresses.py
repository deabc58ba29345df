"""Foreign readers: what a device is called in the topics of its own protocol.

Revision ID: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the address; devices that speak our contract have none."""
    op.add_column("device", sa.Column("address", sa.String()))
