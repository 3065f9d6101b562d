"""The folder that holds all of axo on a machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def home_of(environment: Mapping[str, str] | None = None) -> Path:
    """`AXO_HOME`, or `~/.axo`, as an absolute path; it need not be there."""
    values = os.environ if environment is None else environment
    return Path(values.get("AXO_HOME") or Path.home() / ".axo").absolute()
