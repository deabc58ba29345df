"""A decision about a round is found by the round's key: its row may be made anew.

Revision ID: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Take the keys from the actions: what had lost its round finds it again."""
    op.add_column("decision", sa.Column("obligation_key", sa.String()))
    op.execute(
        "UPDATE decision SET obligation_key ="
        " (SELECT json_extract(body, '$.about') FROM entry WHERE entry.id = decision.id)"
        " WHERE obligation_id IS NOT NULL"
    )
    op.drop_index("decision_obligation", "decision")
    op.drop_column("decision", "obligation_id")
    op.create_index("decision_obligation", "decision", ["obligation_key"])
