"""The tables of the first version."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("spec_digest", sa.String(64), nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("spec_text", sa.Text, nullable=False),
        sa.Column("base", sa.Text, nullable=False),
        sa.Column("storage", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32)),
        sa.Column("message", sa.Text, nullable=False, server_default=""),
        sa.Column("intent", sa.String(16), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("updated", sa.Float, nullable=False),
        sa.Column("ended", sa.Float),
        sa.Column("mlflow_run", sa.String(64)),
        sa.Column("mlflow_url", sa.Text),
        sa.Column("tracked", sa.String(16)),
        sa.Column("lost_steps", sa.Integer, nullable=False, server_default="0"),
        sa.Column("facts", sa.JSON, nullable=False),
    )
    op.create_index("runs_by_spec", "runs", ["spec_digest", "status"])
    op.create_index("runs_by_name", "runs", ["name", "created"])
    op.create_table(
        "launches",
        sa.Column("run", sa.String(64), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("micro_batch_size", sa.Integer),
        sa.Column("created", sa.Float, nullable=False),
    )
    op.create_table(
        "points",
        sa.Column("run", sa.String(64), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("key", sa.String(200), primary_key=True),
        sa.Column("step", sa.Integer, primary_key=True),
        sa.Column("value", sa.Float),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("shipped", sa.Boolean, nullable=False),
    )
    op.create_index("points_to_ship", "points", ["run", "shipped", "step"])
    op.create_table(
        "attempts",
        sa.Column("run", sa.String(64), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("launch", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("started", sa.Float),
        sa.Column("last", sa.Float),
        sa.Column("total_steps", sa.Integer),
        sa.Column("resumed_from", sa.Integer),
        sa.Column("checkpoint", sa.Integer, nullable=False),
    )
    op.create_table(
        "publications",
        sa.Column("run", sa.String(64), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("target", sa.Integer, primary_key=True),
        sa.Column("registry", sa.String(16), nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("version", sa.String(200), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("time", sa.Float, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
        ),
        sa.Column("run", sa.String(64), sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32)),
        sa.Column("message", sa.Text, nullable=False),
    )
    op.create_index("events_of_run", "events", ["run", "id"])
