"""Temporary runs: when their files go, when they went, and what is pinned."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    no = sa.false()
    op.add_column("runs", sa.Column("temporary", sa.Boolean, nullable=False, server_default=no))
    op.add_column("runs", sa.Column("pinned", sa.Boolean, nullable=False, server_default=no))
    op.add_column("runs", sa.Column("expires", sa.Float))
    op.add_column("runs", sa.Column("expired", sa.Float))
    kept = sa.text("temporary AND expired IS NULL")
    op.create_index("runs_to_expire", "runs", ["ended"], sqlite_where=kept, postgresql_where=kept)
