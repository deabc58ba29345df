"""What category a hazard's report had: the tag of its one point in the series.

Revision ID: 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Take it from the reports. A hazard whose steps gave it another goes to the series again."""
    op.add_column("hazard", sa.Column("reported_category", sa.String()))
    op.execute(
        "UPDATE hazard SET reported_category = report.category FROM ("
        " SELECT s.hazard, json_extract(e.body, '$.category') AS category"
        " FROM hazard_step s JOIN entry e ON e.id = s.entry_id JOIN device d ON d.id = e.device_id"
        " WHERE d.slug || '/' || e.epoch || '/' || e.seq = s.hazard) AS report "
        "WHERE report.hazard = hazard.id"
    )
    op.execute(
        "UPDATE hazard SET changed = (SELECT max(changed) FROM hazard) + 1"
        " WHERE category IS NOT reported_category"
    )
