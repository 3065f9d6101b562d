"""The controller with many active runs, over PostgreSQL with fsync and a simulated backend.

The service is a process of its own; its processor time and memory are what is counted, and others may use the
machine meanwhile. Times of the clock need a quiet one.
"""

from __future__ import annotations

import json
import statistics
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa
from postgres_server import postgres_server

from benches._measure import machine
from benches._program import Program, program, service_variables
from benches._simulated import tell
from benches._spec import SPEC
from orchestrator.contract import Record
from orchestrator.db import Database, Run, opened
from orchestrator.runs import Status
from orchestrator.spec.load import parse_spec

SETTINGS = "launches_per_second: {}\n"
MADE = """
    INSERT INTO {table} SELECT made.* FROM {table} r, generate_series(1, :count) n,
    LATERAL jsonb_populate_record(NULL::{table}, to_jsonb(r) || jsonb_build_object({changes})) made
    WHERE {chosen}
"""
ENDING = 20  # runs that end one after another, then a twentieth of the others while the service is down
WAIT_SECONDS = 600


def main(arguments: Sequence[str]) -> None:
    parser = ArgumentParser(prog="scripts/bench controller", description=__doc__)
    parser.add_argument("--active", type=int, default=10_000, help="Runs that are training.")
    parser.add_argument("--queued", type=int, default=5_000, help="Runs that wait for their launch.")
    parser.add_argument("--seconds", type=float, default=60, help="How long the service is left at rest.")
    parser.add_argument("--pace", type=float, default=100, help="Launches a second that the settings allow.")
    options = parser.parse_args(arguments)
    with (
        TemporaryDirectory(prefix="axo-bench-controller-") as home,
        postgres_server(durable=True) as server,
        opened(server.url()) as database,
    ):
        print(f"machine: {machine()}")
        world = _World(Path(home), server.url(), database)
        (world.home / "settings.yaml").write_text(SETTINGS.format(options.pace))
        with world.service() as service:
            empty = service.at_rest(5).memory
        world.fill(options.active)
        with world.service() as service:
            _converge(service, options.active)
            _rest(service, options.active, options.seconds, empty)
            _ends(world)
        gone = range(ENDING + 1, ENDING + 1 + options.active // 20)
        world.end(gone)
        _restart(world, options.active - ENDING, len(gone))
        _launches(world, options.queued)


@dataclass(frozen=True)
class _Figures:
    """What the service has used and done: seconds, bytes, looks, launches that it looked at."""

    processor: float
    memory: int
    looks: int
    looked_at: int


@dataclass(frozen=True)
class _Service:
    """The service in a process of its own."""

    process: Program

    def figures(self) -> _Figures:
        return _Figures(**json.loads(self.process.ask()))

    def at_rest(self, seconds: float) -> _Figures:
        time.sleep(seconds)
        return self.figures()


@dataclass(frozen=True)
class _World:
    """A home, its database, and what happens in it beside the service."""

    home: Path
    url: str
    database: Database

    @contextmanager
    def service(self) -> Iterator[_Service]:
        with program("_simulated", service_variables(self.home, self.url)) as process:
            yield _Service(process)

    def submit(self, name: str) -> None:
        """One run as a submission leaves it."""
        spec = parse_spec(SPEC.encode(), Path("spec.yaml")).spec.model_dump(mode="json")
        storage = (self.home / "storage").as_uri()
        now = time.time()
        status = Status.QUEUED
        self.database.submit(Run(name, "triage", "d", spec, SPEC, "", storage, status, now, now, look=now))

    def fill(self, count: int) -> None:
        """Runs that train, as the service would have left them: prepared, launched, their record read."""
        self.submit("active-0")
        run = self.database.move(self.database.run("active-0"), Status.TRAINING, None, "", time.time())
        self.database.update(
            run, look=None, step=100, loss=1.0, total_steps=1000, facts={"dataset": "d" * 64}
        )
        self.database.add_launch(run.id, "prepare", None, run.created)
        self.database.add_launch(run.id, "train", 8, run.created)
        lines = [Record("start", 0, run.created, {"total_steps": 1000})]
        lines += [Record("metrics", step, run.created + step, {"loss": 1.0}) for step in range(1, 101)]
        record = b"".join(line.to_line() for line in lines)
        attempt = {"run": run.id, "launch": 2, "offset": len(record), "checkpoint": 0, "started": run.created}
        self._insert("attempts", {**attempt, "number": 1, "last": run.created + 100, "total_steps": 1000})
        self._multiply("runs", count, "'id', 'active-' || n, 'look', r.created + 600", "r.id = 'active-0'")
        for table in ("launches", "attempts"):
            self._multiply(table, count, "'run', 'active-' || n", "r.run = 'active-0'")
        for number in range(1, count + 1):
            self._attempt(number, record)

    def queue(self, count: int) -> None:
        self.submit("queued-0")
        self._multiply("runs", count - 1, "'id', 'queued-' || n", "r.id = 'queued-0'")

    def end(self, numbers: Sequence[int]) -> None:
        """Let runs fail: their launches are gone, and say that their data was bad."""
        for number in numbers:
            said = {"attempt": 1, "launch": 2, "kind": "train", "result": "failed", "cause": "data"}
            folder = self._folder(number)
            (folder / "outcome.json").write_text(json.dumps({**said, "exit_code": 65}))
            tell(self.home / "simulated", f"active-{number}-2", 1)

    def count(self, query: str, **values: object) -> int:
        with self.database.reading() as connection:
            return connection.scalar(sa.text(f"SELECT count(*) FROM runs WHERE {query}"), values) or 0

    def _attempt(self, number: int, record: bytes) -> None:
        folder = self._folder(number)
        folder.mkdir(parents=True)
        (folder / "claim.json").write_text('{"attempt": 1, "launch": 2, "host": "h", "pid": 1, "time": 1.0}')
        (folder / "metrics-00000.jsonl").write_bytes(record)
        tell(self.home / "simulated", f"active-{number}-2", None)

    def _folder(self, number: int) -> Path:
        return self.home / f"storage/runs/active-{number}/attempts/1"

    def _insert(self, table: str, row: dict[str, object]) -> None:
        names = ", ".join(f'"{name}"' for name in row)
        values = ", ".join(f":{name}" for name in row)
        with self.database.writing() as connection:
            connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)

    def _multiply(self, table: str, count: int, changes: str, chosen: str) -> None:
        query = MADE.format(table=table, changes=changes, chosen=chosen)
        with self.database.writing() as connection:
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            connection.execute(sa.text(query), {"count": count})


def _until(done: Callable[[], bool]) -> float:
    """The seconds until something is done."""
    began = time.perf_counter()
    while not done():
        if time.perf_counter() - began > WAIT_SECONDS:
            raise TimeoutError(f"not done after {WAIT_SECONDS} s")
        time.sleep(0.02)
    return time.perf_counter() - began


def _converge(service: _Service, active: int) -> None:
    took = _until(lambda: service.figures().looked_at >= active)
    used = service.figures().processor
    print(f"first sight of {active:,} active runs: {took:.1f} s, {used:.1f} s of a processor")


def _rest(service: _Service, active: int, seconds: float, empty: int) -> None:
    before = service.at_rest(5)
    after = service.at_rest(seconds)
    share = (after.processor - before.processor) / seconds
    looks = (after.looks - before.looks) / seconds
    each = (after.memory - empty) / active / 1024
    print(f"at rest: {share:.2f} of a core (goal under 1), {looks:.0f} looks/s")
    print(f"memory: {after.memory / 2**20:.0f} MiB (goal 350), {each:.1f} KiB a run (goal 5)")


def _ends(world: _World) -> None:
    took = [_told(world, number) for number in range(1, ENDING + 1)]
    print(f"end of a launch -> told: median {statistics.median(took):.2f} s, most {max(took):.2f} s (goal 1)")


def _told(world: _World, number: int) -> float:
    """The seconds from the end of a launch until its run tells it."""
    world.end([number])
    return _until(lambda: world.count("id = :id AND status = 'failed'", id=f"active-{number}") == 1)


def _restart(world: _World, active: int, gone: int) -> None:
    began = time.perf_counter()
    with world.service() as service:
        _until(lambda: world.count("status = 'failed'") == ENDING + gone)
        _until(lambda: service.figures().looked_at >= active)
        took, used = time.perf_counter() - began, service.figures().processor
    told = f"restart, {gone} of {active:,} having ended meanwhile"
    print(f"{told}: all is told after {took:.1f} s (goal 10), {used:.1f} s of a processor")


def _launches(world: _World, queued: int) -> None:
    with world.service() as service:
        before = service.at_rest(10)
        world.queue(queued)
        took = _until(lambda: world.count("id LIKE 'queued-%' AND status = 'queued'") == 0)
        each = (service.figures().processor - before.processor) / queued * 1000
    print(f"{queued:,} queued: {queued / took:.0f} launches/s (goal 50), {each:.1f} ms of a processor each")
