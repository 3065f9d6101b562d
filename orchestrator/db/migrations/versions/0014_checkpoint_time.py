"""When an attempt committed its newest checkpoint."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("checkpoint_time", sa.Float))
