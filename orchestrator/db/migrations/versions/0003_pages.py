"""Indexes for pages of many runs, one of only what is to be shipped, and who may work with the schema."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.drop_index("runs_by_name", "runs")
    op.create_index("runs_by_name", "runs", ["project", "name", "created", "id"])
    op.create_index("runs_by_status", "runs", ["project", "status", "created", "id"])
    op.drop_index("points_to_ship", "points")
    waiting = sa.text("NOT shipped")
    op.create_index(
        "points_to_ship", "points", ["run", "step", "key"], sqlite_where=waiting, postgresql_where=waiting
    )
    schema = op.create_table("schema", sa.Column("oldest", sa.String(16), primary_key=True))
    op.bulk_insert(schema, [{"oldest": "0003"}])
