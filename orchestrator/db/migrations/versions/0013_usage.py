"""How much of storage each run takes."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("runs", sa.Column("stored", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("measured", sa.Float))
