"""Random lives of several runs under users, launches, faults and dying controllers: legal transitions only.

Five hundred steps or so in `scripts/test`, 200,000 with AXO_PROVE (AXO_STEPS names another number).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from memory_world import PREPARED, SPEC, Crash, MemoryBackend, World

from orchestrator import contract
from orchestrator.backends import LaunchRequest
from orchestrator.contract import Cause, FileStore, Record, Result
from orchestrator.controller.of_run import run_store
from orchestrator.controller.reconcile import Controller
from orchestrator.db import LeaseLost, Run, open_database
from orchestrator.db import tables as t
from orchestrator.db.transactions import Transactions
from orchestrator.errors import ConflictError
from orchestrator.runs import Intent, Observation, Phase, Status
from orchestrator.service import LOCAL
from orchestrator.service.runs import Runs
from orchestrator.settings import Settings
from orchestrator.spec.models import Spec

STEPS_IN_A_LIFE = 50
STEPS_LIVED = 30  # of those, in the mean, and rather more
STEPS = int(os.environ.get("AXO_STEPS", "200000" if os.environ.get("AXO_PROVE") else "500"))
RUNS = 3

_ENDS = {Status.FAILED, Status.CANCELLED}
_LATER = {Status.EVALUATING, Status.PUBLISHING, Status.SUCCEEDED}
# The drawing at the head of orchestrator/runs.py: where each status may lead, itself besides.
LEGAL = {
    Status.QUEUED: {Status.PREPARING, Status.PAUSED} | _ENDS,
    Status.PREPARING: {Status.WAITING, Status.PAUSED} | _ENDS,
    Status.WAITING: {Status.TRAINING, Status.PAUSED} | _LATER | _ENDS,
    Status.TRAINING: {Status.WAITING, Status.PAUSED} | _LATER | _ENDS,
    Status.EVALUATING: {Status.PUBLISHING, Status.SUCCEEDED, Status.PAUSED} | _ENDS,
    Status.PUBLISHING: {Status.SUCCEEDED, Status.PAUSED} | _ENDS,
    Status.PAUSED: {Status.PREPARING, Status.WAITING, Status.TRAINING} | _LATER | _ENDS,
    Status.SUCCEEDED: set(),
    Status.FAILED: set(),
    Status.CANCELLED: set(),
}
_RUNS = sa.select(t.runs.c.id, t.runs.c.status, t.runs.c.ended)
_EVENTS = sa.select(t.events.c.run, t.events.c.status).order_by(t.events.c.id)
_LAUNCHES = sa.select(t.launches.c.run, t.launches.c.number).order_by(t.launches.c.number)
_TAKEN: Counter[str] = Counter()


@dataclass
class CountingBackend(MemoryBackend):
    """Counts how often each launch was really started."""

    starts: Counter[str] = field(default_factory=Counter)

    def launch(self, launch: LaunchRequest) -> None:
        if launch.name not in self.phases:
            self.starts[launch.name] += 1
        super().launch(launch)


class Life(RuleBasedStateMachine):
    """What users, launches, machines and the world do to runs, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="axo-life-", dir=_memory()))
        shutil.copy(_template(), self.home / "axo.db")
        self.settings = Settings(
            self.home, (self.home / "storage").as_uri(), None, Path("/no/python"), self.home / "secrets"
        )
        self.database = open_database(f"sqlite:///{self.home / 'axo.db'}")
        self.backend = CountingBackend()
        self.now = 1_000.0
        self.base = Controller(self.settings, self.database, self.backend, self._clock)
        self.leader = self._elected()
        self.worlds: list[World] = []

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.home)

    @precondition(lambda self: len(self.worlds) < RUNS)
    @rule()
    def submit(self) -> None:
        _TAKEN["submit"] += 1
        name = f"triage-{len(self.worlds) + 1}"
        spec = Spec.model_validate(SPEC).model_dump(mode="json")
        place, queued = self.settings.storage, Status.QUEUED
        self.database.submit(Run(name, "triage", "d", spec, "text", "/", place, queued, 0.0, 0.0))
        self.worlds.append(World(self.database, self.backend, self.leader, name))

    @precondition(lambda self: self.worlds)
    @rule(data=st.data(), intent=st.sampled_from(Intent))
    def want(self, data: st.DataObject, intent: Intent) -> None:
        _TAKEN[intent] += 1
        world = self._any(data)
        verbs = Runs(self.settings, self.database, self.backend, self._clock, _Nobody())  # type: ignore[arg-type]
        before = world.run
        try:
            verbs.want(LOCAL, world.run_id, intent)
        except ConflictError:
            assert before.status.final or before.intent is Intent.CANCEL

    @precondition(lambda self: self.worlds)
    @rule(data=st.data())
    def look(self, data: st.DataObject) -> None:
        _TAKEN["pass"] += 1
        self.leader.reconcile(self._any(data).run_id)

    @precondition(lambda self: self.worlds)
    @rule(data=st.data(), what=st.sampled_from([None, *Cause]))
    def a_launch_ends(self, data: st.DataObject, what: Cause | None) -> None:
        """By its own words: in success, or for a cause."""
        if name := self._running(data):
            _TAKEN["event"] += 1
            world, number = self._of(name)
            facts = PREPARED if number == 1 or not world.run.facts else {}
            stopped = what in (Cause.STOPPED, Cause.FENCED)
            result = Result.SUCCESS if what is None else Result.INTERRUPTED if stopped else Result.FAILED
            world.end(number, result, what, **(facts if what is None else {}))

    @precondition(lambda self: self.worlds)
    @rule(data=st.data(), begun=st.booleans())
    def a_launch_vanishes(self, data: st.DataObject, begun: bool) -> None:
        """It is killed, before or after its program began."""
        if name := self._running(data):
            _TAKEN["event"] += 1
            world, number = self._of(name)
            if begun:
                contract.claim_attempt(run_store(world.run), number, host="h", pid=1, now=0.0)
            self.backend.phases[name] = Observation(Phase.ENDED, -9, "killed")

    @precondition(lambda self: self.worlds)
    @rule(data=st.data(), step=st.integers(1, 9))
    def a_launch_trains(self, data: st.DataObject, step: int) -> None:
        if name := self._running(data):
            _TAKEN["event"] += 1
            world, number = self._of(name)
            begun = Record("start", 0, self.now, {"total_steps": 9})
            world.record(number, begun, Record("metrics", step, self.now, {"loss": 1.0}))

    @precondition(lambda self: self.worlds)
    @rule(data=st.data(), moment=st.integers(1, 12))
    def crash(self, data: st.DataObject, moment: int) -> None:
        """The leader dies at the n-th write of its pass; another one is elected."""
        _TAKEN["crash"] += 1
        name = self._any(data).run_id
        with _dying(self.backend, moment):
            try:
                self.leader.reconcile(name)
            except Crash:
                self.leader = self._elected()

    @precondition(lambda self: self.worlds)
    @rule(data=st.data())
    def a_stale_leader_looks(self, data: st.DataObject) -> None:
        """The leader slept, and wakes after another one was elected: nothing that it writes counts."""
        _TAKEN["crash"] += 1
        stale, self.leader = self.leader, self._elected()
        name = self._any(data).run_id
        before = self.database.run(name), self.database.events(name), self.database.launches(name)
        starts = self.backend.starts.copy()
        try:
            stale.reconcile(name)
        except LeaseLost:
            _TAKEN["refused"] += 1
        after = self.database.run(name), self.database.events(name), self.database.launches(name)
        assert (before, starts) == (after, self.backend.starts)

    @precondition(lambda self: self.worlds)
    @rule(data=st.data(), where=st.sampled_from(["backend", "storage"]))
    def fault(self, data: st.DataObject, where: str) -> None:
        """Backend or storage cannot be asked; that alone must change no status, and launch nothing more."""
        _TAKEN["fault"] += 1
        world = self._any(data)
        before, launched = world.run, len(self.database.launches(world.run_id))
        said = where == "backend" and _has_spoken(world, launched)
        with _away(self.backend, where):
            try:
                self.leader.reconcile(world.run_id)
            except OSError as error:
                self.leader.explain(world.run_id, error)
        asked = where == "storage" and before.status is Status.QUEUED  # to keep the spec
        if asked or self.database.launches(world.run_id):
            later = _LATER | _ENDS | {Status.PAUSED} if said else set()
            assert world.run.status in {before.status, Status.PREPARING} | later
        assert launched in (0, len(self.database.launches(world.run_id)))

    @invariant()
    def lives_are_legal(self) -> None:
        """Every transition is one of the drawing; each launch was decided first and started once, and no two
        of a run are alive."""
        with self.database.snapshot() as connection:
            runs = {row.id: row for row in connection.execute(_RUNS)}
            events, launches = (_by_run(connection.execute(each)) for each in (_EVENTS, _LAUNCHES))
        for world in self.worlds:
            self._transitions(runs[world.run_id], [Status(told) for told in events[world.run_id]])
            self._launches(world.run_id, Status(runs[world.run_id].status), launches[world.run_id])

    def _transitions(self, run: sa.Row[Any], events: list[Status]) -> None:
        assert events[0] is Status.QUEUED
        for before, after in pairwise(events):
            assert after is before or after in LEGAL[before], f"{before} -> {after}"
        assert Status(run.status) is events[-1]
        assert (run.ended is not None) == events[-1].final

    def _launches(self, run: str, status: Status, decided: list[int]) -> None:
        assert decided == list(range(1, len(decided) + 1))
        names = {name for name in self.backend.starts if self._of(name)[0].run_id == run}
        assert names <= {f"{run}-{number}" for number in decided}
        assert all(self.backend.starts[name] == 1 for name in names)
        alive = sum(self.backend.phases[name].alive for name in names)
        assert alive <= (status not in (Status.SUCCEEDED, Status.CANCELLED, Status.PAUSED))

    def _elected(self) -> Controller:
        held = self.database.hold_lease("controller", f"leader {self.now} {_TAKEN.total()}", -1.0)
        assert held is not None
        self.now += 1.0
        return self.base.under(held)

    def _clock(self) -> float:
        self.now += 0.001
        return self.now

    def _any(self, data: st.DataObject) -> World:
        return self.worlds[data.draw(st.integers(0, len(self.worlds) - 1))]

    def _running(self, data: st.DataObject) -> str | None:
        alive = sorted(name for name, seen in self.backend.phases.items() if seen.alive)
        return data.draw(st.sampled_from(alive)) if alive else None

    def _of(self, name: str) -> tuple[World, int]:
        run, _, number = name.rpartition("-")
        return next(world for world in self.worlds if world.run_id == run), int(number)


def _by_run(rows: Iterable[sa.Row[Any]]) -> dict[str, list[Any]]:
    """What was selected of each run, in order."""
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for run, told in rows:
        found[run].append(told)
    return found


class _Nobody:
    """Waits for no news."""

    def set(self) -> None:
        pass


_WRITES = [(FileStore, "write"), (FileStore, "create")]


@contextmanager
def _dying(backend: CountingBackend, moment: int) -> Iterator[None]:
    """Die at the n-th write: half of the deaths before it, half after."""
    reached = iter(range(1, 1000))
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in [*_WRITES, (CountingBackend, "launch"), (CountingBackend, "stop")]:
            act = getattr(owner, name)

            def dying(*arguments: object, act: object = act, **named: object) -> object:
                if next(reached) == moment:
                    raise Crash
                done = act(*arguments, **named)  # type: ignore[operator]
                if next(reached) == moment:
                    raise Crash
                return done

            patch.setattr(owner, name, dying)
        writing = Transactions.writing

        @contextmanager
        def committing(database: Transactions, **named: bool) -> Iterator[object]:
            with writing(database, **named) as connection:
                yield connection
                if next(reached) == moment:
                    raise Crash
            if next(reached) == moment:
                raise Crash

        patch.setattr(Transactions, "writing", committing)
        yield


def _has_spoken(world: World, launch: int) -> bool:
    """Whether the newest attempt of a launch has said in storage how it ended."""
    store = run_store(world.run)
    claims = [claim.attempt for claim in contract.attempts(store) if claim.launch == launch]
    return bool(claims) and contract.read_outcome(store, claims[-1]) is not None


@contextmanager
def _away(backend: CountingBackend, where: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if where == "backend":
            unknown = Observation(Phase.UNKNOWN, None, "no answer")
            patch.setattr(CountingBackend, "observe", lambda *_: unknown)
        else:

            def fails(*_: object, **__: object) -> None:
                raise OSError("no answer")

            for name in ("read", "write", "create", "keys", "sizes"):
                patch.setattr(FileStore, name, fails)
        yield


def _memory() -> str | None:
    """A folder in memory, where there is one: these proofs are not about disks."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


_made: list[Path] = []


def _template() -> Path:
    return _made[0]


@pytest.fixture
def template(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "axo.db"
    open_database(f"sqlite:///{file}").close()
    _made.append(file)
    yield file
    _made.clear()


def test_random_lives(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _handle: None)
    _TAKEN.clear()
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=max(1, STEPS // STEPS_LIVED),
            stateful_step_count=STEPS_IN_A_LIFE,
            deadline=None,
            derandomize=not os.environ.get("AXO_PROVE"),
            suppress_health_check=list(HealthCheck),
        ),
    )
    refused = _TAKEN.pop("refused", 0)
    print(f"\n{_TAKEN.total()} steps: {dict(_TAKEN)}; {refused} stale leaders refused")
    assert refused > 0
