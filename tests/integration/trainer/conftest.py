"""The trainer's environment, a tiny model, and a training_lab for each test module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import training_lab

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def lab(
    trainer_python: str, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[training_lab.Lab]:
    root = tmp_path_factory.mktemp("lab")
    with training_lab.opened(root, trainer_python, ROOT / "orchestrator", tiny_model) as opened:
        yield opened


@pytest.fixture(scope="session")
def rounds() -> int:
    """How many random steps a stop is tried at: 5 each in the long form of the proof."""
    return 5 if os.environ.get("AXO_PROVE") == "1" else 1
