"""What a prepare step found out, where nothing was prepared."""

from __future__ import annotations

from typing import Any

MODEL, DATASET = "m" * 64, "d" * 64


def prepared(**counts: int) -> dict[str, Any]:
    """The facts that planning goes on with; `counts` of its dataset differ from a hundred rows."""
    facts = {"rows": 100, "validation_rows": 0, "tokens": 5000, "trained_tokens": 500, "longest": 60}
    return {"model": MODEL, "dataset": DATASET, "dataset_facts": {**facts, **counts, "digest": DATASET}}
