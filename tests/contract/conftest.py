"""What the contract suites run against: every store and every database there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from databases import make_database

from orchestrator.contract import Store, open_store
from orchestrator.db import Database, opened


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind; a new kind joins here and meets the whole suite."""
    if request.param == "s3":
        return open_store(f"s3://{request.getfixturevalue('bucket')}/a store")
    return open_store((tmp_path / "a store").as_uri())


@pytest.fixture
def make_empty(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes an empty database of a kind; its URL."""

    def make(kind: str) -> str:
        name = f"axo_{uuid4().hex}"
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / name}.db"
        return make_database(request.getfixturevalue("postgres"), name, "template0")

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
    return make_database(request.getfixturevalue("postgres"))


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with opened(url) as database:
        yield database
