"""How often the same has happened to a run that has many events."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("events", sa.Column("count", sa.Integer, nullable=False, server_default="1"))
    op.add_column("events", sa.Column("since", sa.Float))
