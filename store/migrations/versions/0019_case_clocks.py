"""Which case an entry belongs to: its clock may be corrected.

Revision ID: 0019
"""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Index the steps of cases by their entries."""
    op.create_index("hazard_step_entry", "hazard_step", ["entry_id"])
