"""Runs whose launches do what a test says: a backend in memory under a real database and storage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from prepared import prepared

from orchestrator import contract
from orchestrator.backends import LaunchRequest
from orchestrator.contract import Cause, Outcome, Record, Result, StreamWriter
from orchestrator.controller.of_run import run_store
from orchestrator.controller.reconcile import Controller
from orchestrator.db import Database, Run, open_database
from orchestrator.runs import Observation, Phase, Status
from orchestrator.settings import Settings
from orchestrator.spec.models import Spec

SPEC = {
    "name": "triage",
    "base_model": "base",
    "dataset": {"source": "tickets.jsonl"},
    "mapping": {"messages": [{"role": "assistant", "content": "{{ queue }}"}]},
    "training": {"batch_size": 8, "micro_batch_size": 8, "epochs": 2},
}
PREPARED = prepared()


class Crash(BaseException):
    """The process dies here."""


@dataclass
class MemoryBackend:
    """Launches that end when the test says so; `fault` is raised at the next launch."""

    phases: dict[str, Observation] = field(default_factory=dict)
    fault: BaseException | None = None
    stopped: list[str] = field(default_factory=list)
    noted: dict[str, tuple[int, float]] = field(default_factory=dict)
    vouches: bool = False

    def request(self, launch: LaunchRequest) -> Mapping[str, Any]:
        return {"name": launch.name}

    def check(self, launch: LaunchRequest) -> None:
        if self.fault:
            raise self.fault

    def launch(self, launch: LaunchRequest) -> None:
        if self.fault:
            fault, self.fault = self.fault, None
            raise fault
        self.phases.setdefault(launch.name, Observation(Phase.RUNNING))

    def observe(self, name: str) -> Observation:
        return self.phases.get(name, Observation(Phase.MISSING))

    def on_news(self, hear: Callable[[str], None]) -> None:
        pass

    def stop(self, name: str, now: float) -> None:
        self.stopped.append(name)

    def logs(self, name: str) -> str:
        return ""

    def launches(self) -> Sequence[str]:
        return list(self.phases)

    def remove(self, name: str) -> None:
        self.phases.pop(name, None)

    def note_checkpoint(self, name: str, step: int, saved: float) -> None:
        self.noted[name] = (step, saved)

    def holder(self, credential: str) -> str | None:
        return None

    def close(self) -> None:
        pass


@dataclass
class World:
    """One run, its controller, and a way to let launches do things."""

    database: Database
    backend: MemoryBackend
    controller: Controller
    run_id: str

    @property
    def run(self) -> Run:
        return self.database.run(self.run_id)

    def passes(self, count: int = 1) -> Run:
        for _ in range(count):
            self.controller.reconcile(self.run_id)
        return self.run

    def record(self, launch: int, *records: Record) -> None:
        store = run_store(self.run)
        claim = contract.claim_attempt(store, launch, host="h", pid=1, now=0.0)
        writer = StreamWriter(store, claim.attempt, "metrics")
        for record in records:
            writer.append(record.to_line())
        writer.flush()

    def end(self, launch: int, result: Result, cause: Cause | None = None, **facts: Any) -> None:
        store = run_store(self.run)
        newest = contract.owner(store)
        claims = [claim for claim in contract.attempts(store) if claim.launch == launch]
        attempt = claims[-1].attempt if claims else newest + 1
        if not claims:
            contract.claim_attempt(store, launch, host="h", pid=1, now=0.0)
        outcome = Outcome(attempt, launch, "train", result, 0, cause, "words", facts=facts)
        store.create(f"attempts/{attempt}/outcome.json", outcome.to_json())
        self.backend.phases[f"{self.run_id}-{launch}"] = Observation(Phase.ENDED, 0)

    def config(self, launch: int) -> dict[str, Any]:
        text = run_store(self.run).read(f"launches/{launch}/axolotl.yaml")
        keys: dict[str, Any] = yaml.safe_load(text)
        return keys


@contextmanager
def memory_world(folder: Path) -> Iterator[World]:
    """One queued run in a home of its own; its clock counts up with each look."""
    settings = Settings(folder, (folder / "storage").as_uri(), None, Path("/no/python"), folder / "secrets")
    database = open_database(f"sqlite:///{folder / 'axo.db'}")
    backend, clock = MemoryBackend(), iter(range(1, 100_000))
    controller = Controller(settings, database, backend, lambda: float(next(clock)))
    spec = Spec.model_validate(SPEC).model_dump(mode="json")
    run = Run("triage-1", "triage", "d", spec, "text", str(folder), settings.storage, Status.QUEUED, 0.0, 0.0)
    database.submit(run)
    try:
        yield World(database, backend, controller, run.id)
    finally:
        database.close()
