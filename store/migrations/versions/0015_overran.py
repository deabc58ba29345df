"""When a visit ended a stretch that had outlived its window: an earlier one may yet come in.

Revision ID: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Take the ends from the verdicts that hold."""
    op.add_column("obligation", sa.Column("overran", sa.BigInteger()))
    op.execute(
        "UPDATE obligation SET overran = last.ended_at FROM ("
        " SELECT o.id, o.due, json_extract(v.document, '$.stretches[#-1][2]') AS ended_at"
        " FROM obligation o JOIN verdict v ON v.obligation_id = o.id AND v.revision = o.revision"
        " WHERE o.kind = 'gap') AS last "
        "WHERE last.id = obligation.id AND last.ended_at >= last.due"
    )
    op.create_index(
        "obligation_overran",
        "obligation",
        ["checkpoint_id", "overran"],
        sqlite_where=sa.text("overran IS NOT NULL"),
    )
