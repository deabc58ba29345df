"""Persons' tags that devices read: whose the reads after them are, and for how long.

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

HOLDS = 43_200_000
"""12 h in ms: what every site begins with."""


def upgrade() -> None:
    """Add the holdings, those of tags that were read already among them."""
    op.create_table(
        "holding",
        sa.Column("entry_id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("lasts", sa.BigInteger(), nullable=False),
        sa.Column("by_round", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id"),
    )
    op.create_index("holding_device_at", "holding", ["device_id", "at", "epoch", "seq"])
    holds = sa.Column(
        "person_tag_holds", sa.String(), server_default=sa.text("'12h'"), nullable=False
    )
    op.add_column("site", holds)
    op.execute(
        "INSERT INTO holding"  # noqa: S608 - the numbers are ours
        " SELECT e.id, e.device_id, e.epoch, e.seq, e.site_id, t.person_id,"
        f" coalesce(c.at, e.at), {HOLDS}, 0"
        " FROM entry e JOIN tag t ON t.uid = e.tag AND t.person_id IS NOT NULL"
        " AND t.since <= e.at AND (t.until IS NULL OR e.at < t.until)"
        " LEFT JOIN correction c ON c.entry_id = e.id"
        " WHERE e.kind = 1 AND e.checkpoint_id IS NULL"
    )
