"""What a service asks at its start, at each marker and each minute costs no more after years.

Revision ID: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Indexes for what is still open, and for what has just been; which events have not ended."""
    op.create_index("arrival_after", "arrival", ["after"])
    op.create_index("arrival_open", "arrival", ["id"], sqlite_where=sa.text("before IS NULL"))
    op.create_index(
        "entry_sos", "entry", ["device_id", "epoch", "seq"], sqlite_where=sa.text("kind = 3")
    )
    op.create_index("hazard_changed", "hazard", ["changed"])
    op.create_index("hazard_open", "hazard", ["site_id"], sqlite_where=sa.text("closed_at IS NULL"))
    op.create_index("outage_until", "outage", ["until"])
    op.create_index("device_place_device", "device_place", ["device_id"])
    op.drop_index("quarantine_identity", "quarantine")
    op.create_index(
        "quarantine_identity",
        "quarantine",
        ["device", "epoch", "seq"],
        sqlite_where=sa.text("seq IS NOT NULL"),
    )
    op.create_table(
        "open_event",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("event_row", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject"),
        sa.ForeignKeyConstraint(["event_row"], ["event.id"]),
    )
    op.execute("""
        INSERT INTO open_event (kind, subject, event_row)
        SELECT kind, subject, id FROM event
         WHERE kind IN ('sos.raised', 'device.clock-skew', 'calendar.unknown')
           AND state <> 'resolved'
           AND revision = (SELECT max(revision) FROM event later
                            WHERE later.kind = event.kind AND later.subject = event.subject)
    """)
