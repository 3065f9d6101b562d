"""What the service's image holds is a part of what the tests run with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
IN_IMAGE = ("docker", "kubernetes", "postgres", "s3")


def pins(lock: str) -> dict[str, str]:
    """Version and hashes of each distribution, by its name."""
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements" / lock).read_text().strip())
    return {entry.partition("==")[0].partition("[")[0]: " ".join(entry.split()[1:]) for entry in entries}


def test_the_image_holds_the_same_versions_as_the_tests() -> None:
    tested = pins("service.lock")
    assert {name: hashes for name, hashes in pins("image.lock").items() if tested.get(name) != hashes} == {}


def test_the_image_holds_all_that_the_service_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in IN_IMAGE for line in project["optional-dependencies"][extra]]
    needed = {re.match(r"[\w-]+", line)[0].replace("_", "-") for line in [*project["dependencies"], *extras]}  # type: ignore[index]
    assert needed - set(pins("image.lock")) == set()
    assert "torch" not in pins("image.lock")
