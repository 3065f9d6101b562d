"""What the chain's tests read back: from MLflow, and from storage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator import mlflow_client


def open_mlflow(uri: str) -> Any:
    return mlflow_client.open_client(uri)


def history_of(client: Any, mlflow_run: str, key: str) -> list[tuple[int, float]]:
    """Every point of a metric that the server holds, doubles included, by step."""
    return sorted((point.step, point.value) for point in client.get_metric_history(mlflow_run, key))


def counts_of(home: Path, run: str) -> dict[str, Any]:
    """What the plugin read from Axolotl, as the adapter's manifest keeps it."""
    manifest = home / "storage" / "runs" / run / "adapter" / "MANIFEST.json"
    facts: dict[str, Any] = json.loads(manifest.read_text())["facts"]
    return facts
