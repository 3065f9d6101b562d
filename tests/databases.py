"""Databases of the tests' PostgreSQL."""

from __future__ import annotations

from uuid import uuid4

import psycopg
from postgres_container import PostgresContainer
from postgres_server import PostgresServer
from psycopg import sql

Postgres = PostgresServer | PostgresContainer


def make_database(server: Postgres, name: str | None = None, template: str = "template") -> str:
    """A new database, by default of today's schema with nothing in it; its URL."""
    name = name or f"axo_{uuid4().hex}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    return server.url(name)


def drop_database(server: Postgres, url: str) -> None:
    """Remove a database that nobody needs any more: each is 8 MB on disk."""
    name = sql.Identifier(psycopg.conninfo.conninfo_to_dict(url)["dbname"])
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
