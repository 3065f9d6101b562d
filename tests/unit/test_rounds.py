"""Runs that go on by themselves: glanced at without the database, looked at when there is news."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from memory_world import PREPARED, SPEC, MemoryBackend, World

from orchestrator import contract
from orchestrator.contract import Record, Result
from orchestrator.controller.due import DueRuns
from orchestrator.controller.glance import has_news
from orchestrator.controller.heard import Said
from orchestrator.controller.of_run import run_store
from orchestrator.controller.reconcile import Controller
from orchestrator.controller.rounds import LOOK_SECONDS, PROCESSOR_SHARE, REST_SECONDS, Rounds
from orchestrator.db import Run, Standing, open_database
from orchestrator.reasons import Reason
from orchestrator.runs import Observation, Phase, Status
from orchestrator.settings import Settings
from orchestrator.spec.models import Spec


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A run that trains: its record has a start and a step."""
    storage = (tmp_path / "storage").as_uri()
    settings = Settings(tmp_path, storage, None, Path("/no/python"), tmp_path / "secrets")
    database = open_database(f"sqlite:///{tmp_path / 'axo.db'}")
    controller = Controller(settings, database, MemoryBackend(), time.time)
    spec = Spec.model_validate(SPEC).model_dump(mode="json")
    run = Run("triage-1", "triage", "d", spec, "text", "/", storage, Status.QUEUED, 1.0, 1.0, look=1.0)
    database.submit(run)
    world = World(database, controller.backend, controller, run.id)  # type: ignore[arg-type]
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    world.passes()
    world.record(2, Record("start", 0, 1.0, {"total_steps": 25}), Record("metrics", 1, 2.0, {"loss": 1.0}))
    assert world.passes().status is Status.TRAINING
    yield world
    database.close()


def standing(world: World) -> Standing:
    found = world.controller.reconcile(world.run_id).standing
    assert found is not None
    return found


def test_what_stands_is_the_same_after_a_restart(world: World) -> None:
    assert world.database.standing() == [standing(world)]


def test_of_a_run_that_reports_storage_is_not_asked(world: World) -> None:
    stands = replace(standing(world), storage="s3://nowhere-that-could-be-asked")
    said = Said(stands.launch, stands.attempt, 1.0)
    assert not has_news(stands, world.backend, said)
    assert has_news(stands, world.backend, replace(said, attempt=stands.attempt + 1))
    assert has_news(replace(stands, started=False), world.backend, said)
    world.backend.phases[f"{world.run_id}-2"] = Observation(Phase.ENDED, 0)
    assert has_news(stands, world.backend, said)


def test_a_run_whose_time_will_be_up_is_looked_at_then(world: World) -> None:
    spec = dict(world.run.spec)
    world.database.update(world.run, spec={**spec, "compute": {**spec["compute"], "max_hours": 1.0}})
    patient = replace(world.controller.settings, stalled_seconds=1e9)
    looked = replace(world.controller, settings=patient).reconcile(world.run_id)
    assert looked.within == 3599.0  # its record holds one second of training


def test_a_silent_run_is_looked_at_when_it_stalls_and_a_stalled_one_when_it_speaks(world: World) -> None:
    looked = world.controller.reconcile(world.run_id)
    assert looked.standing
    assert 890.0 < looked.within <= 900.0
    late = replace(world.controller, clock=lambda: time.time() + 901.0)
    looked = late.reconcile(world.run_id)
    assert (looked.run.reason, looked.run.message) == (
        Reason.STALLED,
        "nothing was heard of it for 15 minutes",
    )
    assert looked.standing
    assert not has_news(looked.standing, world.backend)
    assert late.reconcile(world.run_id).run == looked.run, "it is told once"
    _grows(world)
    assert has_news(looked.standing, world.backend)
    later = replace(world.controller, clock=lambda: time.time() + 902.0)
    assert later.reconcile(world.run_id).run.reason is None


def test_a_glance_without_news_asks_the_database_nothing(world: World) -> None:
    stands, statements = standing(world), []
    sa.event.listen(world.database.engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    assert not has_news(stands, world.backend)
    assert statements == []


def _grows(world: World) -> None:
    file = run_store(world.run).local("attempts/2/metrics-00000.jsonl")
    assert file is not None
    file.write_bytes(file.read_bytes() + Record("metrics", 2, 3.0, {"loss": 0.5}).to_line())


def _ends(world: World) -> None:
    world.end(2, Result.SUCCESS)
    world.backend.phases[f"{world.run_id}-2"] = Observation(Phase.RUNNING)


NEWS: dict[str, Callable[[World], object]] = {
    "its record grew": _grows,
    "it said how it ended": _ends,
    "another attempt began": lambda w: contract.claim_attempt(run_store(w.run), 2, host="h", pid=1, now=0.0),
    "it is gone": lambda w: w.backend.phases.update({f"{w.run_id}-2": Observation(Phase.ENDED, -9)}),
    "it is unknown": lambda w: w.backend.phases.update({f"{w.run_id}-2": Observation(Phase.UNKNOWN)}),
    "it is stuck": lambda w: w.backend.phases.update(
        {f"{w.run_id}-2": Observation(Phase.RUNNING, reason=Reason.STUCK)}
    ),
}


@pytest.mark.parametrize("news", NEWS)
def test_a_glance_sees_that(world: World, news: str) -> None:
    stands = standing(world)
    NEWS[news](world)
    assert has_news(stands, world.backend)


def test_one_record_of_an_earlier_launch_is_no_news_of_this_one(world: World) -> None:
    world.backend.phases[f"{world.run_id}-2"] = Observation(Phase.ENDED, -9)
    world.passes()
    stands = standing(world)
    assert (stands.launch, stands.attempt, stands.claimed) == (3, 2, False)
    _grows(world)
    assert not has_news(stands, world.backend)


def test_what_is_told_is_looked_at_at_once_and_nothing_else_is(world: World) -> None:
    class Telling(MemoryBackend):
        def on_news(self, hear: Callable[[str], None]) -> None:
            self.hear = hear

    backend = Telling(world.backend.phases)
    now = time.time()
    work = DueRuns(replace(world.controller, backend=backend), lambda: now, threading.Event())
    _turn(work)
    assert [owed.run for owed in world.database.due(now + LOOK_SECONDS, 9)] == [], "it is put off for long"
    backend.phases[f"{world.run_id}-2"] = Observation(Phase.ENDED, -9)
    backend.hear("another-1")
    assert not work.heard.is_set()
    backend.hear(f"{world.run_id}-2")
    assert work.heard.is_set()
    _turn(work)
    assert world.run.reason is Reason.RESUMING


def _turn(work: DueRuns) -> None:
    """Turns until what they find is done."""
    for _ in range(3):
        work.turn()
        work.go_round()
        assert work.glancing.wait_done(5)
        assert work.hands.wait_done(5)


def test_rests_grow_with_quiet_and_with_what_all_glances_cost() -> None:
    rounds, now = Rounds(), 1_000.0
    stands = Standing("a", "file:///s", Status.TRAINING, None, "", 1, "train")
    rounds.keep(stands, now)
    assert rounds.next(now + LOOK_SECONDS - 0.01, 9) == []
    assert rounds.next(now + LOOK_SECONDS, 9) == [stands]
    assert rounds.next(now + LOOK_SECONDS, 9) == [], "it is put off at once"
    rounds.next(now + 600.0, 9)
    assert (rounds.due(now + 600.0 + REST_SECONDS - 0.01), rounds.due(now + 600.0 + REST_SECONDS)) == (0, 1)
    rounds.keep_all([replace(stands, run=f"r{n}") for n in range(999)], now)
    for _ in range(100):
        rounds.spent(0.05, 50)  # a thousandth of a second each
    rounds.next(now + 700.0, 9_999)
    rest = 1000 * 0.001 / PROCESSOR_SHARE
    assert (rounds.due(now + 700.0 + 0.9 * rest), rounds.due(now + 700.0 + 1.1 * rest)) == (0, 1000)


def test_a_run_that_changed_is_glanced_at_sooner() -> None:
    rounds, now = Rounds(), 1_000.0
    stands = Standing("a", "file:///s", Status.TRAINING, None, "", 1, "train")
    rounds.keep(stands, now)
    rounds.keep(stands, now + 600.0)
    assert rounds.due(now + 600.0 + LOOK_SECONDS) == 0
    rounds.keep(replace(stands, offset=9), now + 601.0)
    assert rounds.due(now + 601.0 + LOOK_SECONDS) == 1
    rounds.leave("a")
    assert rounds.due(now + 9_999.0) == 0


def test_a_clock_that_is_set_back_puts_nothing_off(world: World) -> None:
    clock, database = [10_000.0], world.database
    work = DueRuns(world.controller, lambda: clock[0], threading.Event())

    def turn(at: float) -> float:
        """When the run is to be looked at next."""
        clock[0] = at
        work.turn()
        work.go_round()
        assert work.hands.wait_done(5.0)
        assert work.glancing.wait_done(5.0)
        return database.run(world.run_id).look or 0.0

    database.update(world.run, look=10_500.0, tell=10_050.0)
    assert turn(10_000.0) == turn(9_999.9) == 10_500.0
    assert 6_400.0 < turn(6_400.0) <= 7_300.0
    assert database.run(world.run_id).tell == 6_400.0
    assert work._rounds.due(6_402.0) == 1, "it is glanced at as before"
    work = DueRuns(world.controller, lambda: clock[0], threading.Event())  # of a later term
    assert 1_000.0 < turn(1_000.0) <= 1_900.0
