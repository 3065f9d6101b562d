"""What launches report their progress with."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    with op.batch_alter_table("launches") as launches:
        launches.add_column(sa.Column("token", sa.String(64)))
    op.create_index("launches_by_token", "launches", ["token"])
