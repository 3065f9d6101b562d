"""Where changes came from. Rows that are there have none, and stay as they were chained."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    for table in ("audit", "audit_waiting"):
        op.add_column(table, sa.Column("address", sa.String(64)))
