"""Where each device belonged, and when: a device that was moved is placed as of each record.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the dated places of devices; those there are have stood where they stand since ever."""
    op.create_table(
        "device_place",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("device_id", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.Integer()),
        sa.Column("node_id", sa.Integer()),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger()),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"]),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.ForeignKeyConstraint(["node_id"], ["grid_node.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_device_place_site_id", "device_place", ["site_id"])
    op.create_index(
        "device_place_current",
        "device_place",
        ["device_id"],
        unique=True,
        sqlite_where=sa.text("until IS NULL"),
    )
    op.execute(
        "INSERT INTO device_place (device_id, site_id, node_id, since)"
        " SELECT id, site_id, node_id, 0 FROM device"
    )
