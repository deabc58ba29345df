"""Proof of presence: tags with keys of their own, and what each check-in proves.

Revision ID: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Check-ins that are there already prove nothing, and no plan asked them to."""
    op.create_table(
        "tag_enrolment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.String(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("enrolled_at", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("retired_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uid", "generation"),
    )
    op.create_table(
        "tap",
        sa.Column("entry_id", sa.Integer(), nullable=False),
        sa.Column("proof", sa.String(), nullable=False),
        sa.Column("enrolment_id", sa.Integer()),
        sa.Column("ctr", sa.Integer()),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id"),
    )
    op.create_index("tap_counter", "tap", ["enrolment_id", "ctr"])
    op.create_index("tap_at", "tap", ["enrolment_id", "at"])
    op.create_index(
        "tap_proof",
        "tap",
        ["proof"],
        sqlite_where=sa.text("proof IN ('no-key', 'not-enrolled')"),
    )
