"""When an attempt was last heard of, and which launches were stopped for their silence."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("heard", sa.Float))
    op.add_column("launches", sa.Column("stalled", sa.Float))
