"""What the contract suites run against: every store and every database there is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from postgres_container import PostgresContainer, postgres_container
from postgres_server import PostgresServer, postgres_server

from orchestrator.contract import Store, open_store
from orchestrator.db import Database, opened


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind; a new kind joins here and meets the whole suite."""
    if request.param == "s3":
        return open_store(f"s3://{request.getfixturevalue('bucket')}/a store")
    return open_store((tmp_path / "a store").as_uri())


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer | PostgresContainer]:
    """A PostgreSQL for the whole session, whose database `template` is of today's schema."""
    image = os.environ.get("AXO_TEST_POSTGRES_IMAGE")
    with (
        postgres_container(image, request.getfixturevalue("engine"))
        if image
        else postgres_server(durable=False)
    ) as server:
        _make_database(server, "template", "template0")
        with opened(server.url("template")):
            pass
        yield server


@pytest.fixture
def make_empty(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes an empty database of a kind; its URL."""

    def make(kind: str) -> str:
        name = f"axo_{uuid4().hex}"
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / name}.db"
        server: PostgresServer | PostgresContainer = request.getfixturevalue("postgres")
        _make_database(server, name, "template0")
        return server.url(name)

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, make_empty: Callable[[str], str]) -> str:
    """A database of each kind that has nothing in it, not even a schema."""
    return make_empty(request.param)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind with no runs."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'axo.db'}"
    server: PostgresServer | PostgresContainer = request.getfixturevalue("postgres")
    name = f"axo_{uuid4().hex}"
    _make_database(server, name, "template")
    return server.url(name)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with opened(url) as database:
        yield database


def _make_database(server: PostgresServer | PostgresContainer, name: str, template: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
