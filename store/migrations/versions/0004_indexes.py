"""Indexes for what is asked at every due: a site's devices, a checkpoint's open alarms.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Spare two questions the reading of whole tables."""
    op.create_index("device_site", "device", ["site_id"])
    op.create_index(
        "obligation_alarm", "obligation", ["checkpoint_id"], sqlite_where=sa.text("alarm = 1")
    )
