"""Presence: when to look at a device, its open alarms, its firmware; rounds and words sent down.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Have every device looked at once, by what is known of it."""
    op.add_column("device_state", sa.Column("turned_at", sa.BigInteger()))
    op.add_column("device_state", sa.Column("wake", sa.BigInteger()))
    op.create_index(
        "device_state_wake", "device_state", ["wake"], sqlite_where=sa.text("wake IS NOT NULL")
    )
    op.execute(
        "UPDATE device_state SET wake = 0, turned_at = (SELECT max(presence.at) FROM presence"
        " WHERE presence.device_id = device_state.device_id)"
    )
    _alarms()
    op.create_table(
        "handout",
        _number("site_id"),
        _number("device_id"),
        sa.Column("digest", sa.String()),
        _instant("told_at"),
        sa.PrimaryKeyConstraint("site_id", "device_id"),
    )
    _messages()


def _alarms() -> None:
    op.create_table(
        "device_alarm",
        _number("id"),
        _number("device_id"),
        _text("kind"),
        _text("subject"),
        _instant("at"),
        _instant("raised_at"),
        sa.Column("data", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("device_id", "kind", "subject"),
    )
    op.create_table(
        "device_firmware",
        _number("id"),
        _number("device_id"),
        _instant("at"),
        _text("firmware"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("device_firmware_device", "device_firmware", ["device_id", "at"])
    op.execute(
        "INSERT INTO device_firmware (device_id, at, firmware)"
        " SELECT device_id, coalesce(status_at, 0), firmware FROM device_state"
        " WHERE firmware IS NOT NULL"
    )


def _messages() -> None:
    op.create_table(
        "device_message",
        _number("id"),
        _text("slug"),
        _number("device_id"),
        _number("site_id"),
        _text("text"),
        _text("severity"),
        _text("author"),
        _instant("made_at"),
        _number("entry_id"),
        sa.Column("told_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("slug"),
    )
    op.create_index(
        "device_message_waiting", "device_message", ["id"], sqlite_where=sa.text("told_at IS NULL")
    )
    op.create_index("device_message_device", "device_message", ["device_id", "made_at"])


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False)


def _instant(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)
