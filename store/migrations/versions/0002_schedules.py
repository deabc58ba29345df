"""Schedules: day tables, period profiles, excuses, silences, substitutions; who answers.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what people decide ahead, and what an obligation remembers of how it was made."""
    _obligation()
    _calendar()
    _profiles()
    _decided()


def _obligation() -> None:
    for column in (
        sa.Column("scored", sa.Boolean(), server_default=sa.text("1"), nullable=False),
        sa.Column("owner_id", sa.Integer()),
        sa.Column("calendar_id", sa.Integer()),
        sa.Column("profiled_id", sa.Integer()),
    ):
        op.add_column("obligation", column)
    op.create_index(
        "obligation_quota",
        "obligation",
        ["site_id", "opens"],
        sqlite_where=sa.text("kind = 'quota'"),
    )


def _calendar() -> None:
    op.create_table(
        "calendar_table",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.Integer()),
        sa.Column("node_id", sa.Integer()),
        sa.Column("imported_at", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", "version"),
    )
    op.create_index(
        "calendar_table_current",
        "calendar_table",
        ["name"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "calendar_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )


def _profiles() -> None:
    op.create_table(
        "period_profile",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("slug", sa.String(), nullable=False),
        sa.Column("site_id", sa.Integer()),
        sa.Column("node_id", sa.Integer()),
        sa.Column("plan", sa.String()),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "period_profile_current",
        "period_profile",
        ["slug"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "profiled_plan",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("plan_version_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("plan_version_id", "digest"),
    )


def _decided() -> None:
    _spans("excuse", _whole("site_id"), sa.Column("plan_id", sa.Integer()))
    _spans("silence", sa.Column("kind", sa.String()), sa.Column("site_id", sa.Integer()))
    _spans("substitution", _whole("plan_id"), _whole("person_id"), _whole("for_id"))
    op.create_index("excuse_site", "excuse", ["site_id", "until"])
    op.create_index("silence_until", "silence", ["until"])
    op.create_index("substitution_plan", "substitution", ["plan_id", "until"])


def _spans(name: str, *of: sa.Column[int] | sa.Column[str]) -> None:
    """What somebody decided for a span of time: always with an end, an author and a reason."""
    op.create_table(
        name,
        _whole("id"),
        *of,
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        _whole("entry_id"),
        sa.PrimaryKeyConstraint("id"),
    )


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)
