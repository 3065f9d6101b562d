"""Uploaded files, and what a packed spec came with."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("mappings", sa.JSON, nullable=False, server_default="{}"))
        runs.add_column(sa.Column("uploads", sa.JSON, nullable=False, server_default="{}"))
    op.create_table(
        "files",
        sa.Column("project", sa.String(64), primary_key=True),
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("used", sa.Float, nullable=False),
        sa.Column("finished", sa.Float),
    )
