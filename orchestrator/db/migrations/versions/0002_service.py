"""What a service needs beyond one person's runs: projects, due times, idempotency keys, leases."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("project", sa.String(64), nullable=False, server_default="default"))
        runs.add_column(sa.Column("owner", sa.String(200), nullable=False, server_default="local"))
        runs.add_column(sa.Column("look", sa.Float))
        runs.add_column(sa.Column("step", sa.Integer))
        runs.add_column(sa.Column("total_steps", sa.Integer))
        runs.add_column(sa.Column("loss", sa.Float))
    op.execute(
        "UPDATE runs SET look = 0 WHERE status NOT IN ('succeeded', 'failed', 'cancelled') "
        "OR tracked IS NULL OR tracked <> status"
    )
    op.execute(
        "UPDATE runs SET step = (SELECT max(step) FROM points WHERE points.run = runs.id AND key = 'loss'), "
        "total_steps = (SELECT max(total_steps) FROM attempts WHERE attempts.run = runs.id)"
    )
    op.execute(
        "UPDATE runs SET loss = (SELECT value FROM points WHERE points.run = runs.id AND key = 'loss' "
        "AND points.step = runs.step) WHERE step IS NOT NULL"
    )
    op.create_index("runs_due", "runs", ["look"])
    op.create_index("runs_of_project", "runs", ["project", "created", "id"])
    op.create_table(
        "requests",
        sa.Column("project", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(200), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("run", sa.String(64), sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(200), nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
    )
