"""The metric record: nothing lost, nothing doubled, and storage that is away stops nothing."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from orchestrator.contract import FileStore, parse_records, read_stream
from orchestrator.trainer import record as module
from orchestrator.trainer.record import MetricRecord, numbers


class Away(FileStore):
    """A store on a full disk, until somebody makes room; `tried` is set when a write was refused."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.full = True
        self.tried = threading.Event()

    def write(self, key: str, data: bytes) -> None:
        if self.full:
            self.tried.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(key, data)


def test_what_is_flushed_is_there_once_and_in_order(tmp_path: Path) -> None:
    record = MetricRecord(FileStore(tmp_path), 1)
    record.start(0, {"total_steps": 3000})
    for step in range(1, 3001):
        record.metrics(step, {"loss": 1 / step})
        if step % 700 == 0:
            record.checkpoint(step, {})
            record.flush()
    record.flush()
    data = read_stream(FileStore(tmp_path), 1, "metrics")
    records, end = parse_records(data)
    assert end == len(data) == record.length
    metrics = [each for each in records if each.kind == "metrics"]
    assert [each.step for each in metrics] == list(range(1, 3001))
    assert metrics[2].values == {"loss": 1 / 3}
    assert [each.step for each in records if each.kind == "checkpoint"] == [700, 1400, 2100, 2800]


def test_storage_that_is_away_delays_the_record_but_not_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.01)
    store = Away(tmp_path)
    record = MetricRecord(store, 1)
    record.start(0, {})
    assert store.tried.wait(10)
    record.metrics(1, {"loss": 2.0})
    with pytest.raises(OSError, match="No space"):
        record.flush()
    store.full = False
    record.flush()
    records, _ = parse_records(read_stream(store, 1, "metrics"))
    assert [each.kind for each in records] == ["start", "metrics"]


def test_only_figures_are_recorded() -> None:
    logs = {"loss": 0.5, "step": 3, "done": True, "name": "x", "none": None}
    assert numbers(logs) == {"loss": 0.5, "step": 3}
