"""How many points are kept of each run, and how many were left out."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    for name in ("points", "points_left_out"):
        op.add_column("runs", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.execute("UPDATE runs SET points = (SELECT count(*) FROM points WHERE points.run = runs.id)")
