"""Passes over a run with a backend in memory: cut off anywhere, repeated, and out of memory."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from memory_world import PREPARED, Crash, MemoryBackend, World, memory_world

from orchestrator import contract
from orchestrator.backend_sections import DockerSection
from orchestrator.backends import BackendAway, BackendFull
from orchestrator.backends.docker import DockerBackend
from orchestrator.contract import Cause, FileStore, Outcome, Record, Result, claim_attempt
from orchestrator.controller import reconcile as reconciling
from orchestrator.controller.due import DueRuns
from orchestrator.controller.glance import has_news
from orchestrator.controller.of_run import run_store
from orchestrator.controller.removals import Removals
from orchestrator.controller.ship import LIVE_SECONDS, Shipping
from orchestrator.controller.sweep import Sweep
from orchestrator.controller.track import Tracking, behind
from orchestrator.controller.workers import Hands
from orchestrator.db import Database, Publication
from orchestrator.errors import BackendError, ConflictError, TrackingError
from orchestrator.reasons import Reason
from orchestrator.registries import RegistryAway
from orchestrator.runs import Intent, Observation, Phase, Status
from orchestrator.tracking import MetricPoint, TrackedRun, TrackingAway


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with memory_world(tmp_path) as made:
        yield made


def loss(step: int, value: float = 1.0) -> Record:
    return Record("metrics", step, float(step), {"loss": value})


def test_an_ordinary_life(world: World) -> None:
    assert world.passes().status is Status.PREPARING
    world.end(1, Result.SUCCESS, **PREPARED)
    assert world.passes().status is Status.WAITING
    world.record(2, Record("start", 0, 1.0, {"total_steps": 25}), loss(1))
    assert world.passes().status is Status.TRAINING
    world.end(2, Result.SUCCESS, peak_memory_bytes=5)
    assert world.passes(2).status is Status.SUCCEEDED
    assert world.run.facts["train"] == {"peak_memory_bytes": 5}
    statuses = [event.status for event in world.database.events(world.run_id)]
    assert list(dict.fromkeys(statuses)) == ["queued", "preparing", "waiting", "training", "succeeded"]


@pytest.mark.parametrize(("saved", "going_on"), [(4, Reason.RESUMING), (0, Reason.STARTING)])
def test_what_was_preempted_trains_only_once_its_next_attempt_does(
    world: World, saved: int, going_on: Reason
) -> None:
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    world.passes()
    kept = [Record("checkpoint", saved, 5.0, {})] if saved else []
    world.record(2, Record("start", 0, 1.0, {"total_steps": 25}), loss(4), *kept)
    assert world.passes().status is Status.TRAINING
    world.end(2, Result.INTERRUPTED, Cause.STOPPED)
    launch = f"{world.run_id}-2"
    world.backend.phases[launch] = Observation(Phase.PENDING, None, "", Reason.PREEMPTED)
    assert _stands(world) == (Status.WAITING, Reason.PREEMPTED)
    world.backend.phases[launch] = Observation(Phase.RUNNING)
    assert _stands(world) == (Status.WAITING, going_on)
    world.record(2)
    assert _stands(world) == (Status.WAITING, going_on)
    standing = world.controller.reconcile(world.run_id).standing
    assert standing is not None
    assert not has_news(standing, world.backend)
    world.record(2, Record("start", saved, 9.0, {"total_steps": 25}))
    assert _stands(world) == (Status.TRAINING, None)


def _stands(world: World) -> tuple[Status, Reason | None]:
    run = world.passes()
    return run.status, run.reason


def test_the_backend_is_told_of_the_newest_checkpoint_of_what_trains(world: World) -> None:
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    world.passes()
    world.record(2, Record("start", 0, 1.0, {"total_steps": 25}), loss(1))
    world.passes()
    assert world.backend.noted == {}
    world.record(2, Record("checkpoint", 4, 8.0, {}), loss(5), Record("checkpoint", 8, 16.0, {}))
    world.record(2, Record("start", 8, 20.0, {}))  # another attempt, which has saved nothing yet
    world.passes()
    assert world.backend.noted == {"triage-1-2": (8, 16.0)}


def test_a_pass_without_news_changes_nothing(world: World) -> None:
    before = world.passes(2)
    events = world.database.events(before.id)
    assert world.passes(3) == before
    assert world.database.events(before.id) == events
    assert len(world.database.launches(before.id)) == 1


def test_a_launch_cut_off_before_it_was_made_is_made_under_its_number(world: World) -> None:
    world.backend.fault = Crash()
    with pytest.raises(Crash):
        world.passes()
    assert world.backend.phases == {}
    assert world.passes().status is Status.PREPARING
    assert list(world.backend.phases) == ["triage-1-1"]
    assert [launch.number for launch in world.database.launches("triage-1")] == [1]


def test_a_launch_that_begins_and_ends_while_it_is_looked_at_has_succeeded(world: World) -> None:
    @dataclass
    class Sudden(MemoryBackend):
        def observe(self, name: str) -> Observation:
            if self.phases.get(name) == Observation(Phase.RUNNING):
                world.end(1, Result.SUCCESS, **PREPARED)
            return super().observe(name)

    world.passes()
    world.controller = replace(world.controller, backend=Sudden(world.backend.phases))
    assert world.passes().status is Status.WAITING
    assert [launch.step for launch in world.database.launches(world.run_id)] == ["prepare", "train"]


def test_a_dataset_that_somebody_deletes_before_it_is_seen_to_be_used_is_prepared_again(world: World) -> None:
    database, clock = world.database, world.controller.clock
    other = replace(world.run, id="other-1", look=None)
    database.submit(other)
    database.add_launch(other.id, "prepare", None, clock())
    assert database.take_dataset(other, PREPARED, 1)
    database.move(other, Status.CANCELLED, None, "", clock())
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    database.delete_dataset("default", PREPARED["dataset"], clock())
    with pytest.raises(ConflictError, match="is being removed"):
        world.passes()
    Removals(database, clock).turn()
    assert world.passes().status is Status.PREPARING
    assert [launch.step for launch in database.launches(world.run_id)] == ["prepare", "prepare"]
    world.end(2, Result.SUCCESS, **PREPARED)
    assert world.passes().status is Status.WAITING
    assert database.dataset("default", PREPARED["dataset"]).used == world.run.created


def test_a_backend_that_refuses_ends_the_run_with_its_words(world: World) -> None:
    world.backend.fault = BackendError("no such queue", hint="name another")
    run = world.passes(2)
    assert (run.status, run.reason) == (Status.FAILED, Reason.BACKEND)
    assert run.message == "no such queue; name another"


def test_a_backend_that_is_away_when_something_is_launched_is_told_and_waited_for(world: World) -> None:
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    for _ in range(2):
        world.backend.fault = BackendAway("there is no namespace training", hint="make it")
        run = world.passes()
        assert (run.status, run.reason) == (Status.WAITING, Reason.UNKNOWN)
        assert run.message == "there is no namespace training; make it"
    assert world.passes().status is Status.WAITING
    assert [launch.number for launch in world.database.launches(world.run_id)] == [1, 2]


def test_a_backend_that_is_full_is_waited_for(world: World) -> None:
    world.backend.fault = BackendFull("exceeded quota: count/jobs.batch=2")
    run = world.passes()
    assert (run.status.final, run.reason) == (False, Reason.QUOTA)
    assert run.message == "exceeded quota: count/jobs.batch=2"
    told = len(world.database.events(world.run_id))
    work = DueRuns(world.controller, lambda: 10.0, threading.Event())
    for _ in range(3):
        world.backend.fault = BackendFull("exceeded quota: count/jobs.batch=2")
        work.one(world.run_id)
    assert len(world.database.events(world.run_id)) == told, "what it waits for is said once"
    assert world.database.run(world.run_id).look == 25.0
    world.passes(2)
    world.end(1, Result.SUCCESS, **PREPARED)
    assert [launch.number for launch in world.database.launches(world.run_id)] == [1]


def test_a_run_ends_by_its_storage_while_its_backend_cannot_be_asked(world: World) -> None:
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    world.passes()
    launch, unseen = f"{world.run_id}-2", Observation(Phase.UNKNOWN, None, "no answer")
    world.record(2, Record("start", 0, 1.0, {"total_steps": 25}), loss(1))
    world.backend.phases[launch] = unseen
    assert _stands(world) == (Status.WAITING, Reason.UNKNOWN)
    standing = world.controller.reconcile(world.run_id).standing
    assert standing is not None
    assert not has_news(standing, world.backend)
    world.end(2, Result.SUCCESS, peak_memory_bytes=5)
    world.backend.phases[launch] = unseen
    assert has_news(standing, world.backend)
    assert _stands(world) == (Status.SUCCEEDED, None)
    assert [point.step for point in world.database.points(world.run_id, "loss")] == [1]
    assert world.backend.stopped == []
    sweep = Sweep(world.database, world.backend, lambda: 1_000.0)
    sweep.turn()
    assert world.backend.stopped == []
    world.backend.phases[launch] = Observation(Phase.RUNNING)  # it answers again, and the pod is there yet
    sweep.turn()
    assert world.backend.stopped == [launch]


def test_an_engine_that_is_away_keeps_no_run_from_its_end(world: World) -> None:
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    world.passes()
    section = DockerSection(service_image="s", trainer_image="t", host="tcp://127.0.0.1:9")
    engine = DockerBackend(replace(world.controller.settings, docker=section))
    world.controller = replace(world.controller, backend=engine)
    assert _stands(world) == (Status.WAITING, Reason.UNKNOWN)
    world.end(2, Result.SUCCESS)
    assert _stands(world) == (Status.SUCCEEDED, None)


@pytest.mark.parametrize("intent", Intent)
def test_what_is_to_stop_is_told_so_though_its_storage_cannot_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch, intent: Intent
) -> None:
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    world.passes()
    world.record(2, Record("start", 0, 1.0, {"total_steps": 25}))
    world.database.set_intent(world.run_id, intent, 5.0)
    monkeypatch.setattr(FileStore, "keys", _no_answer)
    work = DueRuns(world.controller, lambda: 10.0, threading.Event())
    work.one(world.run_id)
    assert world.backend.stopped == ([] if intent is Intent.RUN else [f"{world.run_id}-2"])
    assert _stood(world) == (Status.WAITING, Reason.STORAGE_AWAY)


@pytest.mark.parametrize("claim", [b"no claim", b"{}", b"[" * 200_000])
def test_what_stands_in_the_place_of_a_claim_counts_as_none(world: World, claim: bytes) -> None:
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    world.passes()
    world.record(2, Record("start", 0, 1.0, {"total_steps": 25}))
    run_store(world.run).write("attempts/2/claim.json", claim)
    assert world.passes().status is Status.WAITING
    standing = world.controller.reconcile(world.run_id).standing
    assert standing is not None
    assert not has_news(standing, world.backend)
    world.backend.phases[f"{world.run_id}-2"] = Observation(Phase.ENDED, 1)
    world.passes()
    world.record(3, Record("start", 0, 1.0, {"total_steps": 25}), loss(1))
    assert world.passes().status is Status.TRAINING
    assert contract.owner(run_store(world.run)) == 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (OSError("no answer"), Reason.STORAGE_AWAY),
        (KeyError("rows"), Reason.TROUBLE),
        (RegistryAway("no answer"), Reason.REGISTRY_AWAY),
    ],
)
def test_what_goes_wrong_with_publishing_in_a_thread_of_its_own_is_shown_and_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: Exception, reason: Reason
) -> None:
    world.database.update(world.run, spec={**world.run.spec, "publish": [{"mlflow": {"model": "triage"}}]})
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    world.passes()
    world.end(2, Result.SUCCESS)
    tried = [fault]

    def publish(*_: object) -> None:
        if tried:
            raise tried.pop()
        world.database.add_publication(
            world.run_id, Publication(0, "mlflow", "models:/triage/1", "1", "", "d" * 64, 1.0)
        )

    monkeypatch.setattr(reconciling, "publish", publish)
    hands = Hands("publish", 1, threading.Event())
    controller = replace(world.controller, beside=hands.take)
    controller.reconcile(world.run_id)
    assert hands.wait_done(5.0)
    assert _stood(world) == (Status.PUBLISHING, reason)
    for _ in range(20):
        controller.reconcile(world.run_id)
        assert hands.wait_done(5.0)
    assert _stood(world) == (Status.SUCCEEDED, None)


def test_lines_that_are_no_records_are_passed_over(world: World) -> None:
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    world.passes()
    world.record(2, Record("start", 0, 1.0, {"total_steps": math.inf, "resumed_from": 1e300}), loss(1))
    key = contract.part_key(2, "metrics", 0)
    whole = run_store(world.run).read(key)
    run_store(world.run).write(key, b"\xff[\n" + whole + b'{"kind": "metrics"}\n\n' + loss(2).to_line())
    assert world.passes().status is Status.TRAINING
    assert [point.step for point in world.database.points(world.run_id)] == [1, 2]
    assert world.run.total_steps is None


def test_what_training_says_in_the_name_of_preparing_is_not_heard(world: World) -> None:
    """Code of a model may write anywhere in its run's folder; what is said there of other folders would be
    mounted at the next launch."""
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    world.passes()
    store, prepared = run_store(world.run), dict(world.run.facts)
    world.record(2, Record("start", 0, 1.0, {"total_steps": 25}))
    forged = {**PREPARED, "earlier_adapter": {"key": "uploads/theirs"}, "dataset": "e" * 64}
    for attempt in (1, claim_attempt(store, 1, host="h", pid=1, now=0.0).attempt):
        said = Outcome(attempt, 1, "prepare", Result.SUCCESS, 0, facts=forged)
        store.write(f"attempts/{attempt}/outcome.json", said.to_json())
    world.backend.phases[f"{world.run_id}-2"] = Observation(Phase.ENDED, 137)
    world.passes(2)
    assert [launch.number for launch in world.database.launches(world.run_id)] == [1, 2, 3]
    assert world.run.facts == prepared


def test_what_stands_in_the_place_of_an_outcome_counts_as_none(world: World) -> None:
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    for _ in range(20):
        if world.passes().status.final:
            break
        newest = world.database.launches(world.run_id)[-1].number
        attempt = claim_attempt(run_store(world.run), newest, host="h", pid=1, now=0.0).attempt
        run_store(world.run).write(f"attempts/{attempt}/outcome.json", b"[" * 200_000)
        world.backend.phases[f"{world.run_id}-{newest}"] = Observation(Phase.ENDED, 1)
    assert _stood(world) == (Status.FAILED, Reason.LOST)


def _no_answer(*_: object) -> None:
    raise OSError("no answer")


def _stood(world: World) -> tuple[Status, Reason | None]:
    return world.run.status, world.run.reason


def test_what_was_prepared_waits_for_a_backend_that_can_be_asked(world: World) -> None:
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    ended = world.backend.phases[f"{world.run_id}-1"]
    world.backend.phases[f"{world.run_id}-1"] = Observation(Phase.UNKNOWN, None, "no answer")
    assert _stands(world) == (Status.PREPARING, Reason.UNKNOWN)
    assert len(world.database.launches(world.run_id)) == 1
    world.backend.phases[f"{world.run_id}-1"] = ended
    assert _stands(world) == (Status.WAITING, Reason.STARTING)


def test_a_config_that_cannot_be_rendered_ends_the_run(world: World) -> None:
    world.passes()
    nothing = {**PREPARED, "dataset_facts": {**PREPARED["dataset_facts"], "rows": 0}}
    world.end(1, Result.SUCCESS, **nothing)
    run = world.passes()
    assert (run.status, run.reason) == (Status.FAILED, Reason.CONFIG)
    assert "no row is left" in run.message


def test_out_of_memory_keeps_the_effective_batch(world: World) -> None:
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    world.passes()
    world.end(2, Result.FAILED, Cause.OUT_OF_MEMORY)
    assert world.passes().reason is Reason.OUT_OF_MEMORY
    first, second = world.config(2), world.config(3)
    assert (first["micro_batch_size"], first["gradient_accumulation_steps"]) == (8, 1)
    assert (second["micro_batch_size"], second["gradient_accumulation_steps"]) == (4, 2)
    world.end(3, Result.FAILED, Cause.OUT_OF_MEMORY)
    assert world.passes().status is Status.FAILED


def test_points_and_lost_steps_over_two_attempts(world: World) -> None:
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    world.passes()
    world.record(2, Record("start", 0, 1.0, {"total_steps": 25}), loss(1, 3.0), loss(2, 2.0))
    world.backend.phases["triage-1-2"] = Observation(Phase.ENDED, -9)
    world.passes()
    assert world.run.reason is Reason.RESUMING
    world.record(3, Record("start", 1, 9.0, {"total_steps": 25}), loss(2, 2.0), loss(3, math.nan))
    run = world.passes()
    assert [point.step for point in world.database.points(run.id, "loss")] == [1, 2, 3]
    assert run.lost_steps == 1


def test_cancelling_asks_the_launch_to_leave_and_waits_for_it(world: World) -> None:
    world.passes()
    world.database.set_intent(world.run_id, Intent.CANCEL, 5.0)
    assert world.passes().reason is Reason.STOPPING
    assert world.backend.stopped == ["triage-1-1"]
    world.end(1, Result.INTERRUPTED, Cause.STOPPED)
    assert world.passes().status is Status.CANCELLED


@pytest.mark.parametrize("moment", range(1, 8))
def test_a_pass_that_dies_at_any_write_is_repeated_to_the_same_end(
    world: World, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """The controller is cut off at the n-th write of its life, then a fresh one goes on."""
    writes = iter(range(1, 1000))

    def dying(write: Callable[..., Any]) -> Callable[..., Any]:
        def cut_off(*arguments: Any, **named: Any) -> Any:
            if next(writes) == moment:
                raise Crash
            return write(*arguments, **named)

        return cut_off

    for name in ("move", "update", "add_launch", "take_in"):
        monkeypatch.setattr(Database, name, dying(getattr(Database, name)))
    done: set[int] = set()
    for _ in range(20):
        try:
            world.passes()
        except Crash:
            world.controller = replace(world.controller)
        for launch in world.database.launches(world.run_id):
            if f"triage-1-{launch.number}" in world.backend.phases and launch.number not in done:
                done.add(launch.number)
                world.end(launch.number, Result.SUCCESS, **(PREPARED if launch.step == "prepare" else {}))
        if world.run.status.final:
            break
    assert world.run.status is Status.SUCCEEDED
    assert [launch.step for launch in world.database.launches(world.run_id)] == ["prepare", "train"]


@dataclass
class MemoryTracker:
    """An MLflow server in memory that can be away."""

    away: bool = False
    made: int = 0
    points: list[tuple[str, int, float]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    summary: dict[str, float] = field(default_factory=dict)
    status: str = "RUNNING"

    def ensure_run(self, *_: object) -> TrackedRun:
        self._answer()
        self.made += 1
        return TrackedRun("m1", "1", "http://mlflow/#/runs/m1")

    def log_params(self, _: str, params: Mapping[str, object]) -> None:
        self._answer()

    def log_artifact_texts(self, _: str, texts: Mapping[str, str]) -> None:
        self._answer()

    def log_points(self, _: str, points: Sequence[MetricPoint]) -> None:
        self._answer()
        self.points += [(point.key, point.step, point.value) for point in points]

    def log_summary(self, _: str, values: Mapping[str, float]) -> None:
        self._answer()
        self.summary.update(values)

    def set_tags(self, _: str, tags: Mapping[str, str]) -> None:
        self._answer()
        self.tags.update(tags)

    def finish(self, _: str, status: str, ended_ms: int) -> None:
        self._answer()
        self.status = status

    def _answer(self) -> None:
        if self.away:
            raise TrackingAway("MLflow cannot be reached")


def test_mlflow_may_be_away_at_any_time_and_catches_up(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    server = MemoryTracker(away=True)
    settings = replace(world.controller.settings, mlflow_uri="http://mlflow")
    tracking = Tracking(settings, world.database, _tracker=server)  # type: ignore[arg-type]
    clock = iter(range(1_000, 1_000_000, 60))
    shipping = Shipping(tracking, lambda: float(next(clock)), threading.Event())
    world.database.tell_again(world.run_id, 0.0)
    world.passes()
    assert [shipping.turn() for _ in range(3)] == [2.0, 5.0, 15.0]
    assert (world.run.status, world.run.mlflow_run, server.made) == (Status.PREPARING, None, 0)
    world.backend.phases["triage-1-1"] = Observation(Phase.RUNNING)
    world.record(1, loss(1), loss(2))
    world.passes()
    server.away = False
    shipping.turn()
    shipping.turn()
    assert [record.getMessage() for record in caplog.records][3:] == ["MLflow answers again"]
    assert server.points == [("loss", 1, 1.0), ("loss", 2, 1.0)]
    assert world.database.to_tell(1e9) == {}
    server.away = True
    world.end(1, Result.FAILED, Cause.DATA)
    run = world.passes()
    shipping.turn()
    assert (run.status, behind(world.run, settings), server.status) == (Status.FAILED, True, "RUNNING")
    server.away = False
    shipping.turn()
    assert (behind(world.run, settings), server.status, server.made) == (False, "FAILED", 1)
    assert server.tags == {"axo.status": "failed", "axo.reason": "data"}
    assert server.summary["run/lost_steps"] == 0.0
    assert len(server.points) == 2


def test_news_while_mlflow_is_being_told_is_told_next(world: World) -> None:
    class Interrupted(MemoryTracker):
        def log_points(self, mlflow_run: str, points: Sequence[MetricPoint]) -> None:
            super().log_points(mlflow_run, points)
            if len(self.points) == 1:
                world.record(1, loss(2))
                world.passes()

    server = Interrupted()
    settings = replace(world.controller.settings, mlflow_uri="http://mlflow")
    tracking = Tracking(settings, world.database, _tracker=server)  # type: ignore[arg-type]
    now = [1_000.0]
    shipping = Shipping(tracking, lambda: now[0], threading.Event())
    world.passes()
    world.record(1, loss(1))
    world.passes()
    shipping.turn()
    assert list(world.database.to_tell(1e9)) == [world.run_id], "what came meanwhile is not forgotten"
    shipping.turn()
    assert list(world.database.to_tell(1e9)) == [world.run_id], "points of one run come in batches"
    now[0] += LIVE_SECONDS
    shipping.turn()
    assert (server.points[1:], world.database.to_tell(1e9)) == ([("loss", 2, 1.0)], {})


def test_what_mlflow_refuses_of_one_run_leaves_the_others_alone(world: World) -> None:
    """Both are told at once, by two threads."""
    both = threading.Barrier(2)

    class Refusing(MemoryTracker):
        def ensure_run(self, run_id: str, *_: object) -> TrackedRun:
            both.wait(60)
            return TrackedRun(run_id, "1", "http://mlflow")

        def log_params(self, mlflow_run: str, params: Mapping[str, object]) -> None:
            if mlflow_run == world.run_id:
                raise TrackingError("a parameter is too long")

    other = replace(world.run, id="triage-2", tell=1.0)
    world.database.submit(other)
    world.database.tell_again(world.run_id, 0.0)
    settings = replace(world.controller.settings, mlflow_uri="http://mlflow")
    tracking = Tracking(settings, world.database, _tracker=Refusing())  # type: ignore[arg-type]
    shipping = Shipping(tracking, lambda: 1_000.0, threading.Event())
    shipping.turn()
    assert (world.run.tracked, world.database.run(other.id).tracked) == (None, "created")
    assert world.database.to_tell(1_059.0) == {}
    assert list(world.database.to_tell(1_060.0)) == [world.run_id]
