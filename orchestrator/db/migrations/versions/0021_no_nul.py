"""Takes NULs out of JSON: PostgreSQL keeps them, and then reads no field of the value they are in."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_JSON = {"runs": ("spec", "facts", "mappings", "uploads"), "datasets": ("facts",)}


def upgrade() -> None:
    for name, columns in _JSON.items():
        for column in columns:
            _clean(sa.table(name, sa.column(column, sa.JSON)))


def _clean(table: sa.TableClause) -> None:
    """Write anew, as JSON is written now, what may have a NUL."""
    connection, (column,) = op.get_bind(), table.columns
    kept = sa.cast(column, sa.Text)
    for text in connection.scalars(sa.select(kept).where(kept.contains(r"\u0000", autoescape=True))).all():
        connection.execute(table.update().where(kept == text).values({column: json.loads(text)}))
