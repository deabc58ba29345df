"""Rounds of the series tell whether they are scored: the points that are there are written again.

Revision ID: 0011
"""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Set the cursor of rounds back; a point written again takes the place of the one before."""
    op.execute("UPDATE cursor SET position = 0 WHERE name = 'series.round'")
