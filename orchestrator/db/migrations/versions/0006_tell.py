"""When MLflow must next be told of which run."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("tell", sa.Float))
    op.execute("UPDATE runs SET tell = 0 WHERE tracked IS NULL OR tracked <> status")
    op.create_index("runs_to_tell", "runs", ["tell"])
