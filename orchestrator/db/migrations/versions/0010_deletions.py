"""Deleted runs: their ids stay taken, their keys spent and their published versions known."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "deleted_runs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("storage", sa.Text, nullable=False),
        sa.Column("mlflow_url", sa.Text),
        sa.Column("time", sa.Float, nullable=False),
    )
    op.create_table(
        "removals",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
        ),
        sa.Column("storage", sa.Text, nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("time", sa.Float, nullable=False),
    )
    op.add_column("publications", sa.Column("project", sa.String(64)))
    op.add_column("publications", sa.Column("name", sa.String(64)))
    op.add_column("publications", sa.Column("base_model", sa.Text))
    for table in ("requests", "publications"):
        names = {"fk": "%(table_name)s_%(column_0_name)s_fkey"}
        with op.batch_alter_table(table, naming_convention=names) as altered:
            altered.drop_constraint(f"{table}_run_fkey", type_="foreignkey")
