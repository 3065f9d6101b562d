"""What the contract suites run against: every store there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.contract import Store, open_store


@pytest.fixture(params=["file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind; a new kind joins here and meets the whole suite."""
    return {"file": lambda: open_store((tmp_path / "a store").as_uri())}[request.param]()
