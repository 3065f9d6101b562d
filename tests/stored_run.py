"""A home with runs in it, as the service would have left them: database, storage, records, adapter."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prepared import prepared

from orchestrator import contract
from orchestrator.contract import Cause, Manifest, Outcome, Record, Result, StreamWriter
from orchestrator.controller.of_run import run_store
from orchestrator.controller.record import take_in_records
from orchestrator.db import Database, Publication, Run, opened
from orchestrator.reasons import Reason
from orchestrator.runs import Status
from orchestrator.settings import Settings
from orchestrator.spec.load import Loaded, parse_spec

SPEC = """\
name: triage
base_model: org/base@0123abc
# where the tickets come from
dataset: {source: tickets.jsonl, validation: 0.2}
mapping:
  messages:
    - {role: user, content: "{{ text }}"}
    - {role: assistant, content: "{{ queue }}"}
adapter: {kind: lora, r: 24}
training:
  learning_rate: 2e-4  # the peak
  sequence_len: 256
  batch_size: 4
"""
ADAPTER_CONFIG = {"r": 24, "lora_alpha": 32, "base_model_name_or_path": "org/base", "bias": "none"}
FACTS = prepared(validation_rows=25)
DATASET: str = FACTS["dataset"]


def store_run(
    home: Path,
    run_id: str,
    *,
    text: str = SPEC,
    status: Status = Status.SUCCEEDED,
    reason: Reason | None = None,
    message: str = "",
    created: float = 1_000.0,
    losses: Sequence[float] = (3.0, 2.0, 1.0),
    held_out: Mapping[int, float] | None = None,
    facts: Mapping[str, Any] = FACTS,
    adapter_config: Mapping[str, Any] | None = ADAPTER_CONFIG,
    project: str = "default",
    database_url: str | None = None,
    storage: str | None = None,
) -> Run:
    """Put one run into a home: interrupted once after its second step, then trained to its end.

    `held_out` are losses on held-out rows, at steps behind the second.
    """
    settings = Settings.from_environment({"AXO_HOME": str(home), "AXO_STORAGE": storage or ""})
    loaded = parse_spec(text.encode(), home / "spec.yaml")
    with opened(database_url or settings.database_url) as database:
        run = replace(_queued(settings, loaded, run_id, created), project=project)
        database.submit(run)
        database.add_launch(run.id, "train", 4, created + 1)
        _interrupted(run, losses, created)
        _finished(run, losses, held_out or {}, created, status)
        take_in_records(database, run.id, run_store(run), 1.0)
        run = (database.take_dataset(run, facts, 1) or run) if facts else run
        if status is Status.SUCCEEDED and adapter_config is not None:
            _adapter(run, adapter_config)
        return _moved(database, run, status, reason, message, created)


def _queued(settings: Settings, loaded: Loaded, run_id: str, created: float) -> Run:
    return Run(
        id=run_id,
        name=loaded.spec.name,
        spec_digest=loaded.digest,
        spec=loaded.spec.model_dump(mode="json"),
        spec_text=loaded.text,
        base=str(loaded.path.parent),
        storage=settings.storage,
        temporary=loaded.spec.temporary,
        status=Status.QUEUED,
        created=created,
        updated=created,
    )


def _interrupted(run: Run, losses: Sequence[float], created: float) -> None:
    store = run_store(run)
    claim = contract.claim_attempt(store, 1, host="h", pid=1, now=created + 2)
    _say(
        store,
        claim.attempt,
        "first words\n",
        [_start(losses, 0, created + 3), *_steps(losses[:2], 1, created)],
    )
    outcome = Outcome(
        claim.attempt, 1, "train", Result.INTERRUPTED, 75, Cause.STOPPED, ended=created + 10, step=2
    )
    store.create(f"attempts/{claim.attempt}/outcome.json", outcome.to_json())


def _finished(
    run: Run, losses: Sequence[float], held_out: Mapping[int, float], created: float, status: Status
) -> None:
    """Goes on from step 1, so step 2 is trained again."""
    store = run_store(run)
    claim = contract.claim_attempt(store, 1, host="h", pid=1, now=created + 20)
    records = [_start(losses, 1, created + 21), *_steps(losses[1:], 2, created + 20)]
    records += [
        Record("metrics", step, created + 30 + step, {"eval_loss": loss}) for step, loss in held_out.items()
    ]
    _say(store, claim.attempt, "second words\nlast words\n", records)
    if status is Status.SUCCEEDED:
        outcome = Outcome(claim.attempt, 1, "train", Result.SUCCESS, 0, ended=created + 40, step=len(losses))
        store.create(f"attempts/{claim.attempt}/outcome.json", outcome.to_json())


def _start(losses: Sequence[float], resumed_from: int, time: float) -> Record:
    return Record("start", 0, time, {"total_steps": len(losses), "resumed_from": resumed_from})


def _steps(losses: Sequence[float], first: int, time: float) -> list[Record]:
    return [
        Record("metrics", first + index, time + first + index, {"loss": loss, "tokens_per_second": 900.0})
        for index, loss in enumerate(losses)
    ]


def _say(store: contract.Store, attempt: int, log: str, records: Sequence[Record]) -> None:
    for stream, data in (("log", log.encode()), ("metrics", b"".join(r.to_line() for r in records))):
        writer = StreamWriter(store, attempt, stream)  # type: ignore[arg-type]
        writer.append(data)
        writer.flush()


def _adapter(run: Run, config: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "adapter_config.json").write_text(json.dumps(config))
        (Path(folder) / "adapter_model.safetensors").write_bytes(b"\0" * 100)
        contract.commit_folder(
            run_store(run), Path(folder), contract.ADAPTER, Manifest("adapter", (), step=3)
        )


def _moved(
    database: Database, run: Run, status: Status, reason: Reason | None, message: str, created: float
) -> Run:
    run = database.move(run, Status.TRAINING, None, "", created + 5)
    run = database.move(run, status, reason, message, created + 60)
    if status is Status.SUCCEEDED:
        publication = Publication(
            0, "mlflow", "models:/triage/1", "1", "http://mlflow/1", "a" * 64, created + 50
        )
        database.add_publication(run.id, publication)
    return database.run(run.id)
