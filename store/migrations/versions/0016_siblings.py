"""Which rounds of a plan overlap is told by the index of a site's rounds alone.

Revision ID: 0016
"""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """The same index, with due and plan in it."""
    op.drop_index("obligation_site_opens", "obligation")
    op.create_index("obligation_site_opens", "obligation", ["site_id", "opens", "due", "plan_id"])
