"""The prepared datasets that projects hold: at first those that their runs have used."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    datasets = op.create_table(
        "datasets",
        sa.Column("project", sa.String(64), primary_key=True),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("storage", sa.Text, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("used", sa.Float, nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("deleted", sa.Float),
        sa.Column("removed", sa.Float),
    )
    op.create_index("datasets_of_project", "datasets", ["project", "used"])
    op.create_index("datasets_by_digest", "datasets", ["digest"])
    connection = op.get_bind()
    for row in connection.execute(_used()).mappings().all():
        newest = connection.execute(_newest(**row)).one()
        values = {**row, "storage": newest.storage, "facts": newest.facts.get("dataset_facts") or {}}
        connection.execute(datasets.insert().values(values))


_RUNS = sa.table(
    "runs",
    sa.column("project"),
    sa.column("created"),
    sa.column("storage"),
    sa.column("facts", sa.JSON),
)
_digest = _RUNS.c.facts["dataset"].as_string()


def _used() -> sa.Select[Any]:
    """Each dataset of each project, and when the first and the newest run with it were submitted."""
    first, last = sa.func.min(_RUNS.c.created), sa.func.max(_RUNS.c.created)
    found = sa.select(_RUNS.c.project, _digest.label("digest"), first.label("created"), last.label("used"))
    return found.where(_digest.is_not(None)).group_by(_RUNS.c.project, _digest)


def _newest(project: str, digest: str, used: float, **_: object) -> sa.Select[Any]:
    run = sa.select(_RUNS.c.storage, _RUNS.c.facts).where(_RUNS.c.project == project, _digest == digest)
    return run.where(_RUNS.c.created == used).limit(1)
