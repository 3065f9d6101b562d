"""A whole database as one file, and back: also from SQLite to PostgreSQL, and from an older release.

The file is JSON by lines under zstd: first what made it, then each row under its table's name, in an order in
which they can be added again, last how many rows there are, without which the file is not whole.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

import sqlalchemy as sa
import zstandard

from orchestrator import __version__
from orchestrator.db.migrate import HEAD, VERSIONS, run_alembic, upgrade, version
from orchestrator.db.transactions import Transactions
from orchestrator.errors import ConflictError, NotFoundError, StorageError

_FORMAT = "axo database 1"
_BATCH = 1000
_ALEMBIC = "alembic_version"


def back_up(database: Transactions, file: Path) -> Mapping[str, int]:
    """Write everything that a database holds at this moment to a new file; how many rows of each table.

    Raises:
        ConflictError: the file is there already.
        NotFoundError: the database is empty.
        DatabaseError: the database cannot be used now.
    """
    if file.exists():
        raise ConflictError(f"{file} is there already", hint="name a new file")
    rows: Counter[str] = Counter()
    with _new_file(file) as lines, database.snapshot() as connection:
        schema = version(connection)
        if schema is None:
            raise NotFoundError("the database is empty", hint="AXO_DATABASE says which one it is")
        _say(lines, {"format": _FORMAT, "axo": __version__, "schema": schema})
        for table in _tables(connection):
            ordered = sa.select(table).order_by(*table.primary_key.columns)
            for row in connection.execute(ordered, execution_options={"yield_per": _BATCH}).mappings():
                _say(lines, [table.name, dict(row)])
                rows[table.name] += 1
        _say(lines, {"rows": rows})
    return rows


def restore(database: Transactions, file: Path) -> Mapping[str, int]:
    """Fill an empty database from a file, all or nothing, and bring it to this version's schema.

    Raises:
        ConflictError: the database is not empty.
        StorageError: the file is no backup, not whole, or of a newer axo.
        DatabaseError: the database cannot be used now.
    """
    with _lines(file) as lines:
        of = _schema_of(next(lines, None), file)
        with database.writing() as connection:
            if version(connection) is not None:
                raise ConflictError(
                    "the database has something in it", hint="let AXO_DATABASE name an empty one"
                )
            run_alembic(connection, of)
            rows = _load(connection, lines, file)
    upgrade(database)
    return rows


def _load(connection: sa.Connection, lines: Iterator[Any], file: Path) -> Mapping[str, int]:
    """Add the rows of a file to the tables that migrations have just made."""
    tables = {table.name: table for table in _tables(connection)}
    for table in reversed(tables.values()):
        connection.execute(table.delete())  # what a migration itself has put there
    rows: Counter[str] = Counter()
    said = None
    for name, group in groupby(lines, key=lambda line: line[0] if isinstance(line, list) else None):
        if name is None:
            said = next(group).get("rows")
            continue
        for batch in _batches(line[1] for line in group):
            try:
                connection.execute(tables[name].insert(), batch)
            except (KeyError, sa.exc.CompileError, sa.exc.IntegrityError, sa.exc.DataError) as error:
                raise _not_whole(file) from error
            rows[name] += len(batch)
    if said != rows:
        raise _not_whole(file)
    _count_on(connection, tables.values())
    return rows


def _tables(connection: sa.Connection) -> list[sa.Table]:
    """The tables there are, each after those that it refers to."""
    found = sa.MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != _ALEMBIC]


def _count_on(connection: sa.Connection, tables: Any) -> None:
    """Have PostgreSQL's counters go on after the highest number that is there; SQLite does by itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables:
        for column in table.primary_key.columns:
            counter = connection.scalar(sa.select(sa.func.pg_get_serial_sequence(table.name, column.name)))
            if counter is not None:
                highest = sa.select(sa.func.max(column)).scalar_subquery()
                connection.execute(sa.select(sa.func.setval(counter, highest)))


@contextmanager
def _new_file(file: Path) -> Iterator[TextIO]:
    """A file that is there once it is whole, readable for its owner alone."""
    new = file.with_name(f".{file.name}.new")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as raw:
            with zstandard.open(raw, "wt", encoding="utf-8", closefd=False) as lines:
                yield lines
            raw.flush()
            os.fsync(raw.fileno())
        new.rename(file)
    finally:
        new.unlink(missing_ok=True)


def _say(lines: TextIO, value: Any) -> None:
    lines.write(json.dumps(value, separators=(",", ":")) + "\n")


@contextmanager
def _lines(file: Path) -> Iterator[Iterator[Any]]:
    """The values of a file's lines; one that cannot be read ends the block."""
    try:
        with zstandard.open(file, "rt", encoding="utf-8") as lines:
            yield map(json.loads, lines)
    except (zstandard.ZstdError, ValueError, UnicodeError) as error:
        raise StorageError(f"{file} cannot be read as a backup: {error}") from error


def _schema_of(first: Any, file: Path) -> str:
    """The version of the schema that a file was taken of."""
    if not isinstance(first, dict) or first.get("format") != _FORMAT:
        raise StorageError(f"{file} is no backup of axo's database")
    found = str(first["schema"])
    if found not in VERSIONS:
        raise StorageError(
            f"{file} is of schema {found}, made by axo {first['axo']}; this axo knows up to {HEAD}",
            hint="restore it with that axo or a newer one",
        )
    return found


def _not_whole(file: Path) -> StorageError:
    return StorageError(f"{file} is not whole", hint="take another backup; the database is as it was")


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
