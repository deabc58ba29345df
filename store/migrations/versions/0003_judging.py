"""Judging: clocks of statuses, people's decisions, marks, what waits, quarantine taken again.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add what judging remembers beside entries and verdicts."""
    op.create_table(
        "status_clock",
        _key("id"),
        _key("device_id"),
        _instant("after"),
        _instant("before"),
        _instant("sent"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("status_clock_after", "status_clock", ["after"])
    op.create_table(
        "decision",
        _key("id"),
        sa.Column("do", sa.String(), nullable=False),
        sa.Column("obligation_id", sa.Integer()),
        sa.Column("entry_id", sa.Integer()),
        sa.Column("author", sa.String(), nullable=False),
        _instant("at"),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("decision_obligation", "decision", ["obligation_id"])
    op.create_index("decision_entry", "decision", ["entry_id"])
    _marks()
    waiting = sa.Column("waiting", sa.Integer(), server_default=sa.text("0"), nullable=False)
    op.add_column("obligation", waiting)
    op.create_index(
        "obligation_waiting",
        "obligation",
        ["site_id", "opens"],
        sqlite_where=sa.text("waiting > 0"),
    )
    state = sa.Column("state", sa.String(), server_default=sa.text("'kept'"), nullable=False)
    for column in (
        state,
        sa.Column("settled_at", sa.BigInteger()),
        sa.Column("arrival_id", sa.Integer()),
    ):
        op.add_column("quarantine", column)
    op.create_index(
        "quarantine_asked", "quarantine", ["id"], sqlite_where=sa.text("state = 'asked'")
    )


def _marks() -> None:
    op.create_table(
        "mark",
        _key("entry_id"),
        sa.Column("kind", sa.String(), nullable=False),
        _key("site_id"),
        _instant("at"),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", "kind"),
    )
    op.create_index("mark_site_at", "mark", ["site_id", "at"])
    op.create_table(
        "doubt",
        _key("id"),
        _key("site_id"),
        _instant("at"),
        sa.PrimaryKeyConstraint("id"),
    )


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _instant(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)
