"""When an attempt committed its newest checkpoint."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("checkpoint_time", sa.Float))
