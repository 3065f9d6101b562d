"""Each kind of database keeps each point once, each launch numbered, each submission one."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TypeVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from orchestrator.db import (
    Attempt,
    Database,
    Lease,
    LeaseLost,
    Point,
    Publication,
    Run,
    RunMoved,
)
from orchestrator.db import events as db_events
from orchestrator.db.tables import metadata
from orchestrator.errors import ConflictError, NotFoundError, TakenError, TooLargeError
from orchestrator.reasons import Reason
from orchestrator.runs import Intent, Keep, Status

T = TypeVar("T")


def a_run(name: str = "triage", number: int = 1, created: float = 100.0) -> Run:
    return Run(
        id=f"{name}-{number}",
        name=name,
        spec_digest="d" * 64,
        spec={"name": name},
        spec_text="name: x",
        base="/data",
        storage="file:///s",
        status=Status.QUEUED,
        created=created,
        updated=created,
    )


def test_migrations_make_the_tables_the_code_has(database: Database) -> None:
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_run_comes_back_by_id_and_newest_by_name(database: Database) -> None:
    first, second = a_run(number=1), a_run(number=2, created=200.0)
    database.submit(first)
    database.submit(second)
    assert database.run("triage-1") == first
    assert database.find_run("triage", "default") == second
    with pytest.raises(NotFoundError):
        database.run("triage")
    assert database.runs() == [second, first]
    with pytest.raises(NotFoundError, match="nothing"):
        database.run("nothing")


def test_finished_runs_are_those_of_a_machine_and_a_project(database: Database) -> None:
    for number, machine, project in [(1, "cpu", "default"), (2, "gpu", "default"), (3, "cpu", "theirs")]:
        run = replace(a_run(number=number), spec={"compute": {"machine": machine}}, project=project)
        database.submit(run)
        database.move(run, Status.SUCCEEDED, None, "", 200.0)
    database.submit(replace(a_run(number=4), spec={"compute": {"machine": "cpu"}}))
    assert [run.id for run in database.finished_on("cpu", "default", 9)] == ["triage-1"]


def test_a_move_is_an_event_and_the_same_again_is_none(database: Database) -> None:
    database.submit(a_run())
    run = database.move(database.run("triage-1"), Status.WAITING, Reason.RESUMING, "killed", 110.0)
    assert database.move(run, Status.WAITING, Reason.RESUMING, "killed", 120.0) == run
    run = database.move(run, Status.FAILED, Reason.LOST, "", 130.0)
    assert database.run("triage-1") == run
    assert run.ended == 130.0
    assert [event.status for event in database.events(run.id)] == ["queued", "waiting", "failed"]


def test_a_run_that_goes_to_and_fro_for_weeks_has_an_end_of_events(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db_events, "MOST_EVENTS", 6)
    run, other = a_run(), a_run(number=2)
    database.submit(run)
    database.submit(other)
    ways = [(Status.TRAINING, None), (Status.TRAINING, Reason.UNKNOWN), (Status.PAUSED, Reason.BY_USER)]
    (first,) = database.events(run.id)
    heard, last = [], first.id
    for number in range(30):
        status, reason = ways[number % 3]
        run = database.move(run, status, reason, f"time {number}", 200.0 + number)
        fresh = database.events(run.id, last)
        assert [event.message for event in fresh] == [f"time {number}"], "who follows hears each, once"
        heard.append(last := fresh[-1].id)
    assert heard == sorted(set(heard)), "ids only grow"
    kept = database.events(run.id)
    assert len(kept) == 6
    assert [event.message for event in kept[:3]] == ["", "time 0", "time 1"], "how it began stays"
    assert [(event.message, event.count, event.since) for event in kept[3:]] == [
        ("time 27", 9, 203.0),
        ("time 28", 9, 204.0),
        ("time 29", 10, 202.0),
    ]
    assert sum(event.count for event in kept) == 31, "each is counted"
    assert database.events(run.id, heard[-9])[0].message == "time 27", "from one that is gone it goes on"
    run = database.move(run, Status.FAILED, Reason.LOST, "x" * 20_000, 300.0)
    assert (len(database.events(run.id)), len(database.run(run.id).message)) == (7, 10_000)
    assert [event.count for event in database.events(other.id)] == [1]


def test_only_an_unfinished_run_of_the_same_spec_is_gone_on_with(database: Database) -> None:
    first = a_run()
    assert database.submit(first) == (first, True)
    assert database.submit(a_run(number=2), go_on=True) == (first, False)
    for other in (
        replace(a_run(number=3), spec_digest="e" * 64),
        replace(a_run(number=4), base="/elsewhere"),
        replace(a_run(number=5), project="theirs"),
    ):
        assert database.submit(other, go_on=True) == (other, True)
    database.move(first, Status.SUCCEEDED, None, "", 130.0)
    again = a_run(number=6, created=200.0)
    assert database.submit(again, go_on=True) == (again, True)


def test_a_key_gives_its_run_again_and_serves_for_one_submission(database: Database) -> None:
    first = a_run()
    assert database.submit(first, key="k", fingerprint="one") == (first, True)
    assert database.submit(a_run(number=2), key="k", fingerprint="one") == (first, False)
    with pytest.raises(ConflictError, match="triage-1"):
        database.submit(a_run(number=3), key="k", fingerprint="two")
    theirs = replace(a_run(number=4), project="theirs")
    assert database.submit(theirs, key="k", fingerprint="two") == (theirs, True)
    assert [run.id for run in database.runs()] == ["triage-1", "triage-4"]


def test_pages_hold_every_run_of_a_project_once_newest_first(database: Database) -> None:
    made = [a_run(number=n, created=100.0 + n // 2) for n in range(7)]
    for run in made:
        database.submit(run)
    database.submit(replace(a_run("other"), project="theirs"))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        runs, cursor = database.page("default", limit=3, cursor=cursor)
        seen += [run.id for run in runs]
        if cursor is None:
            break
    assert seen == [run.id for run in sorted(made, key=lambda run: (run.created, run.id), reverse=True)]
    with pytest.raises(NotFoundError, match="cursor"):
        database.page("default", cursor="nonsense")


def test_a_run_is_due_from_its_look_until_somebody_puts_it_off(database: Database) -> None:
    run = replace(a_run(), look=100.0)
    database.submit(run)
    assert database.due(99.0, 9) == []
    (due,) = database.due(100.0, 9)
    database.set_intent(run.id, Intent.PAUSE, 101.0)
    database.look_again(run.id, due.look, 500.0)
    assert [each.look for each in database.due(101.0, 9)] == [101.0], "a wish in between is not lost"
    database.look_again(run.id, 101.0, None)
    assert database.due(1e9, 9) == []


def test_what_goes_on_stands_as_its_newest_launch_and_attempt_do(database: Database) -> None:
    run = replace(a_run(), look=100.0)
    database.submit(run)
    assert database.standing() == [], "it only waits for its first launch"
    for step in ("prepare", "train"):
        database.add_launch(run.id, step, None, 1.0)
    first, newest = Attempt(1, 1, started=2.0, offset=5), Attempt(2, 2, started=3.0, offset=7)
    database.take_in(run.id, Attempt(1, 1), first, [])
    (standing,) = database.standing()
    assert (standing.run, standing.launch, standing.step, standing.attempt) == (run.id, 2, "train", 1)
    assert (standing.claimed, standing.started) == (False, False)
    database.take_in(run.id, Attempt(2, 2), newest, [])
    (standing,) = database.standing()
    assert (standing.attempt, standing.claimed, standing.started, standing.offset) == (2, True, True, 7)
    database.set_intent(run.id, Intent.PAUSE, 2.0)
    assert database.standing() == []


def test_a_cancelled_run_is_not_taken_back_and_an_ended_one_is_past_wishing(database: Database) -> None:
    run = database.submit(a_run())[0]
    database.set_intent(run.id, Intent.CANCEL, 1.0)
    with pytest.raises(RunMoved):
        database.set_intent(run.id, Intent.RUN, 2.0)
    assert database.run(run.id).keep is None
    database.set_intent(run.id, Intent.CANCEL, 3.0, Keep.BEST)
    assert database.run(run.id).keep is Keep.BEST
    database.move(run, Status.CANCELLED, Reason.BY_USER, "", 4.0)
    with pytest.raises(RunMoved):
        database.set_intent(run.id, Intent.CANCEL, 5.0)
    assert database.run(run.id).intent is Intent.CANCEL


def test_the_queue_gives_each_project_its_turn(database: Database) -> None:
    for number in range(1, 5):
        database.submit(replace(a_run(number=number), look=float(number)))
    database.submit(replace(a_run("other", 1), look=9.0, project="other"))
    database.submit(replace(a_run("gone", 1), look=0.5, intent=Intent.CANCEL))
    queue = [owed.run for owed in database.next_of_the_queue(10.0, 3)]
    assert queue == ["triage-1", "other-1", "triage-2"]
    assert [owed.run for owed in database.due_beside_the_queue(10.0, 9)] == ["gone-1"]
    assert database.count() == {Status.QUEUED: 6}
    assert database.lag(10.0) == (9.5, 0.0)


def test_one_holder_has_a_lease_at_a_time_and_each_new_one_a_higher_fence(database: Database) -> None:
    first = database.hold_lease("l", "a", 60.0)
    assert first == Lease("l", "a", 1)
    assert database.hold_lease("l", "b", 60.0) is None
    assert database.hold_lease("l", "a", -1.0) == first, "prolonged, to a moment ago"
    second = database.hold_lease("l", "b", 60.0)
    assert second == Lease("l", "b", 2)
    assert database.hold_lease("l", "a", 60.0) is None
    database.release_lease(first)
    assert database.hold_lease("l", "a", 60.0) is None, "only the holder lets go"
    assert database.is_lease_held("l")
    database.release_lease(second)
    assert not database.is_lease_held("l")
    assert not database.is_lease_held("other")
    assert database.hold_lease("l", "a", 60.0) == Lease("l", "a", 3)


def test_a_lease_from_before_the_clock_was_set_back_is_free(database: Database) -> None:
    database.hold_lease("l", "a", 3600.0)
    assert database.hold_lease("l", "b", 10.0) == Lease("l", "b", 2)


def test_a_write_under_a_lost_lease_changes_nothing(database: Database) -> None:
    run = a_run()
    database.submit(run)
    lease = database.hold_lease("l", "a", -1.0)
    assert lease is not None
    leading = database.under(lease)
    assert leading.move(run, Status.QUEUED, Reason.UNKNOWN, "", 1.0).reason is Reason.UNKNOWN
    database.hold_lease("l", "b", 60.0)
    before = database.run(run.id), database.events(run.id)
    writes: list[Callable[[], object]] = [
        leading.check_lease,
        lambda: leading.move(before[0], Status.PREPARING, None, "", 2.0),
        lambda: leading.update(before[0], message="stale"),
        lambda: leading.add_launch(run.id, "prepare", None, 2.0),
        lambda: leading.take_in(run.id, Attempt(1, 1), Attempt(1, 1, 9), [Point("loss", 1, 1.0, 2.0)]),
        lambda: leading.look_again(run.id, run.look, 9.0),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    assert (database.run(run.id), database.events(run.id)) == before
    assert (database.launches(run.id), database.points(run.id), database.attempts(run.id)) == ([], [], [])


def test_a_status_is_changed_only_from_what_it_was_seen_to_be(database: Database) -> None:
    run = a_run()
    database.submit(run)
    database.move(run, Status.PREPARING, None, "", 1.0)
    with pytest.raises(RunMoved):
        database.move(run, Status.CANCELLED, Reason.BY_USER, "", 2.0)
    assert database.run(run.id).status is Status.PREPARING
    assert [event.status for event in database.events(run.id)] == ["queued", "preparing"]


def test_the_first_value_of_a_point_wins_and_retrained_steps_are_counted(database: Database) -> None:
    database.submit(a_run())
    first, second = Attempt(1, 1), Attempt(2, 2)
    points = [Point("loss", step, step / 3, 100.0 + step) for step in (1, 2, 3)]
    assert database.take_in("triage-1", first, Attempt(1, 1, 90, checkpoint=2), points) == 0
    again = [Point("loss", 3, 9.0, 200.0), Point("loss", 4, 1.5, 201.0), Point("epoch", 3, 0.5, 200.0)]
    assert database.take_in("triage-1", second, Attempt(2, 2, 60), again) == 1
    assert [(p.step, p.value) for p in database.points("triage-1", "loss")] == [
        (1, 1 / 3),
        (2, 2 / 3),
        (3, 1.0),
        (4, 1.5),
    ]
    newest = database.newest_point("triage-1", "loss")
    assert newest is not None
    assert (newest.step, newest.value) == (4, 1.5)
    assert database.newest_point("triage-1", "eval_loss") is None
    run = database.run("triage-1")
    assert (run.lost_steps, run.step, run.loss) == (1, 4, 1.5)
    assert database.attempts("triage-1") == [Attempt(1, 1, 90, checkpoint=2), Attempt(2, 2, 60)]


def test_the_same_bytes_are_taken_in_once(database: Database) -> None:
    database.submit(a_run())
    before, after = Attempt(1, 1), Attempt(1, 1, 30)
    points = [Point("loss", 1, 2.0, 100.0)]
    database.take_in("triage-1", before, after, points)
    assert database.take_in("triage-1", before, after, points) == 0
    assert database.run("triage-1").lost_steps == 0


def test_no_more_points_of_a_run_are_kept_than_may_be(database: Database) -> None:
    run, now = a_run(), Attempt(1, 1)
    database.submit(run)
    for step in range(1, 7):  # two points of a report
        after = replace(now, offset=step * 10, heard=1000.0 + step)
        fresh = [Point("loss", step, 1 / step, 1.0 * step), Point("grad_norm", step, 0.5, 1.0 * step)]
        database.take_in(run.id, now, after, fresh, most=5)
        now = after
        if step == 3:
            database.told(run.id, database.to_tell(2000.0)[run.id])
    stands = database.run(run.id)
    assert [(p.step, p.key) for p in database.points(run.id)][-2:] == [(2, "loss"), (3, "loss")]
    assert (stands.points, stands.points_left_out, stands.lost_steps) == (5, 7, 0)
    assert (stands.step, stands.loss) == (6, 1 / 6)  # how far it is, is told all the same
    assert stands.tell is None  # and MLflow of nothing that is not kept
    told = [(event.time, event.status, event.message) for event in database.events(run.id)[1:]]
    message = "It has 5 points of metrics, and no more of a run are kept. "
    assert told == [
        (1003.0, "queued", message + "Training goes on, and its record in storage has all of them.")
    ]


def test_a_point_that_is_there_already_takes_no_room(database: Database) -> None:
    run = a_run()
    database.submit(run)
    points = [Point("loss", step, 1.0, 1.0) for step in (1, 2)]
    database.take_in(run.id, Attempt(1, 1), Attempt(1, 1, 10), points, most=3)
    database.take_in(run.id, Attempt(2, 1), Attempt(2, 1, 10), points[1:], most=3)
    database.take_in(run.id, Attempt(2, 1, 10), Attempt(2, 1, 20), [Point("loss", 3, 1.0, 1.0)], most=3)
    stands = database.run(run.id)
    assert (stands.points, stands.points_left_out, stands.lost_steps) == (3, 0, 1)


@pytest.mark.parametrize("most", [1, 2, 3, 7, 99, 100, 101])
def test_the_database_thins_a_metric_out_evenly(database: Database, most: int) -> None:
    database.submit(a_run())
    points = [Point("loss", step, 1 / step, 100.0) for step in range(1, 101)]
    points += [Point("epoch", 50, math.nan, 100.0)]
    database.take_in("triage-1", Attempt(1, 1), Attempt(1, 1, 30), points)
    found = database.series("triage-1", [], most)
    assert list(found) == ["epoch", "loss"]
    assert (found["epoch"].count, [point.step for point in found["epoch"].points]) == (1, [50])
    steps = [point.step for point in found["loss"].points]
    assert (found["loss"].count, len(steps), steps[-1]) == (100, min(most, 100), 100)
    gaps = [after - before for before, after in pairwise(steps)]
    assert most == 1 or (steps[0] == 1 and max(gaps) - min(gaps) <= 1)


def test_metrics_share_the_points_of_an_answer(database: Database) -> None:
    database.submit(a_run())
    points = [Point(key, step, 1.0, 100.0) for key in "abcd" for step in range(1, 101)]
    database.take_in("triage-1", Attempt(1, 1), Attempt(1, 1, 30), points)
    for keys, most, in_all, each in ((), 60, 40, 10), (("a", "b"), 60, 50, 25), (("a",), 60, 90, 60):
        found = database.series("triage-1", keys, most, in_all=in_all)
        assert {len(series.points) for series in found.values()} == {each}
        assert {series.count for series in found.values()} == {100}
        assert {series.points[-1].step for series in found.values()} == {100}
    with pytest.raises(TooLargeError, match="there are 4 metrics, and an answer has 3 points"):
        database.series("triage-1", (), 60, in_all=3)
    assert database.series("triage-1", (), 60, first=101, in_all=3) == {}


def test_a_range_of_steps_is_read_alone(database: Database) -> None:
    database.submit(a_run())
    points = [Point(key, step, 1.0, 100.0) for key in ("loss", "epoch") for step in range(1, 101)]
    database.take_in("triage-1", Attempt(1, 1), Attempt(1, 1, 30), points)
    found = database.series("triage-1", ["loss"], 3, first=11, last=20)
    assert list(found) == ["loss"]
    assert (found["loss"].count, [point.step for point in found["loss"].points]) == (10, [11, 16, 20])
    assert database.series("triage-1", ["loss"], 3, first=101) == {}


def test_points_are_shipped_in_order_and_once(database: Database) -> None:
    database.submit(a_run())
    points = [Point("loss", step, math.nan if step == 2 else 1.0, 100.0) for step in (3, 1, 2)]
    database.take_in("triage-1", Attempt(1, 1), Attempt(1, 1, 30), points)
    batch = database.points_to_ship("triage-1", 2)
    assert [point.step for point in batch] == [1, 2]
    assert math.isnan(batch[1].value)
    database.mark_shipped("triage-1", batch)
    assert [point.step for point in database.points_to_ship("triage-1", 9)] == [3]


def test_launches_are_numbered_from_one(database: Database) -> None:
    database.submit(a_run())
    database.submit(a_run("other"))
    assert [database.add_launch("triage-1", "prepare", None, 1.0) for _ in range(2)] == [1, 2]
    assert database.add_launch("other-1", "train", 4, 2.0) == 1
    (launch,) = database.launches("other-1")
    assert (launch.step, launch.micro_batch_size) == ("train", 4)


def test_a_token_is_its_launchs_for_as_long_as_that_is_the_one_to_train(database: Database) -> None:
    database.submit(a_run())
    run = database.run("triage-1")
    database.add_launch(run.id, "train", 8, 1.0)
    database.let_report(run.id, 1, "a" * 64)
    assert (database.reporter("a" * 64), database.reports(run.id, 1)) == (None, False)  # it is queued yet
    run = database.move(run, Status.TRAINING, None, "", 2.0)
    assert (database.reporter("a" * 64), database.reports(run.id, 1)) == ((run.id, 1), True)
    assert (database.reporter("b" * 64), database.reports(run.id, 2)) == (None, False)
    database.add_launch(run.id, "train", 8, 3.0)
    assert (database.reporter("a" * 64), database.reports(run.id, 1)) == (None, False)
    database.let_report(run.id, 2, "b" * 64)
    assert database.reporter("b" * 64) == (run.id, 2)
    database.move(run, Status.PUBLISHING, None, "", 4.0)
    assert (database.reporter("b" * 64), database.reports(run.id, 2)) == (None, False)


def test_news_that_come_while_mlflow_is_told_are_not_forgotten(database: Database) -> None:
    database.submit(a_run())
    database.told("triage-1", database.run("triage-1").tell or 0.0)
    attempt = Attempt(1, 1)
    for step in (1, 2):
        before, attempt = attempt, replace(attempt, offset=attempt.offset + 10)
        seen = database.to_tell(1e9)
        database.take_in("triage-1", before, attempt, [Point("loss", step, 1.0, 1.0)])
        if seen:
            database.told("triage-1", seen["triage-1"])
    (tell,) = database.to_tell(1e9).values()
    assert tell < 0, "there is nothing but points"
    assert database.lag(100.0)[1] == 0.0
    database.told("triage-1", tell)
    assert database.to_tell(1e9) == {}


def test_mlflow_is_told_first_of_what_has_waited_longest(database: Database) -> None:
    for number in (1, 2, 3, 4):
        database.submit(a_run(number=number))
        database.told(f"triage-{number}", database.run(f"triage-{number}").tell or 0.0)
    for at, number, offset in ((50.0, 3, 10), (51.0, 1, 900), (52.0, 3, 990), (53.0, 2, 20)):
        before = next(iter(database.attempts(f"triage-{number}")), Attempt(1, 1))
        after = replace(before, offset=offset, heard=at)
        database.take_in(f"triage-{number}", before, after, [Point("loss", offset, 1.0, 1.0)])
    database.tell_again("triage-4", 51.5)
    assert list(database.to_tell(60.0)) == ["triage-3", "triage-1", "triage-4", "triage-2"]


def test_publishing_again_replaces_the_confirmation(database: Database) -> None:
    database.submit(a_run())
    for version in ("1", "2"):
        database.add_publication(
            "triage-1", Publication(0, "mlflow", f"models:/x/{version}", version, "u", "d", 5.0)
        )
    assert [p.version for p in database.publications("triage-1")] == ["2"]


def test_what_is_published_anew_loses_its_confirmations_and_is_due(database: Database) -> None:
    run = database.move(database.submit(a_run())[0], Status.SUCCEEDED, None, "", 5.0)
    for target in (0, 1):
        database.add_publication(run.id, Publication(target, "mlflow", "models:/x/1", "1", "u", "d", 5.0))
    anew = database.publish_anew(run, [1], "it was tampered with", 9.0)
    assert anew == replace(database.run(run.id), look=9.0)
    assert (anew.status, anew.ended) == (Status.PUBLISHING, None)
    assert [each.target for each in database.publications(run.id)] == [0]
    assert [owed.run for owed in database.due(9.0, 9)] == [run.id]
    assert database.events(run.id)[-1].message == "it was tampered with"
    with pytest.raises(ConflictError):
        database.publish_anew(run, [0], "", 10.0)
    assert [each.target for each in database.publications(run.id)] == [0]


def test_of_wishes_at_one_moment_each_is_kept_or_refused_and_a_cancel_stays(database: Database) -> None:
    for turn in range(25):
        made = a_run(f"triage-{turn}", created=float(turn))
        run = database.submit(replace(made, spec={"base_model": "org/base", "adapter": {}}))[0]
        cancelled, deleted = wished_at_once(database, run, tries=turn)
        assert (database.deleted_run(run.id) is not None) == deleted
        if deleted:
            assert (database.project_of(run.id), database.events(run.id)) == (None, [])
            continue
        found = database.run(run.id)
        assert found.status is Status.CANCELLED
        assert found.intent is Intent.CANCEL or not cancelled
        assert not _done(partial(database.set_intent, run.id, Intent.RUN, 80.0))


def wished_at_once(database: Database, run: Run, tries: int) -> tuple[bool, bool]:
    """Cancel, pause and resume a run, move it on as a controller does, and try to delete it, all at one
    moment; whether it could be cancelled, and deleted."""
    start = threading.Barrier(6)

    def act(what: Callable[[], object], times: int = 1) -> bool:
        start.wait()
        return any(_done(what) for _ in range(times))

    with ThreadPoolExecutor(6) as pool:
        intents = (Intent.CANCEL, Intent.PAUSE, Intent.RUN, Intent.PAUSE)
        cancelled, *_ = [pool.submit(act, partial(database.set_intent, run.id, to, 50.0)) for to in intents]
        end = pool.submit(act, partial(database.move, run, Status.CANCELLED, Reason.BY_USER, "", 60.0))
        deleted = pool.submit(act, partial(database.delete_run, run, 70.0), tries)
    assert end.result()
    return cancelled.result(), deleted.result()


def _done(act: Callable[[], object]) -> bool:
    """Whether somebody could do it."""
    try:
        act()
    except ConflictError:
        return False
    return True


def test_writers_in_several_threads_wait_for_each_other(database: Database) -> None:
    database.submit(a_run())

    def write(attempt: int) -> None:
        state = Attempt(attempt, 1)
        for step in range(20):
            after = Attempt(attempt, 1, step + 1)
            database.take_in("triage-1", state, after, [Point(f"k{attempt}", step, 1.0, 1.0)])
            state = after
        database.set_intent("triage-1", Intent.RUN, 1.0)

    at_once(write, range(1, 5))
    assert len(database.points("triage-1")) == 80


def test_one_key_from_many_threads_gives_one_run(database: Database) -> None:
    for key in ("a", "b", "c"):
        answers = at_once(
            lambda number, key=key: database.submit(a_run(key, number), key=key, fingerprint="one"), range(12)
        )
        assert len({run.id for run, _ in answers}) == 1
        assert sum(made for _, made in answers) == 1
    assert database.count() == {Status.QUEUED: 3}


def test_one_spec_gone_on_with_from_many_threads_is_one_run(database: Database) -> None:
    answers = at_once(
        lambda number: database.submit(a_run(number=number), key=f"k{number}", go_on=True), range(12)
    )
    assert len({run.id for run, _ in answers}) == 1
    assert database.count() == {Status.QUEUED: 1}
    again = [database.submit(a_run(number=99), key=f"k{number}") for number in range(12)]
    assert again == [(answers[0][0], False)] * 12, "each key remembers the run it got"


def test_an_id_is_given_once(database: Database) -> None:
    database.submit(a_run(), key="k")
    with pytest.raises(TakenError):
        database.submit(a_run(created=200.0), key="another")
    assert database.run("triage-1").created == 100.0
    fresh = a_run(number=2)
    assert database.submit(fresh, key="another") == (fresh, True), "the refused key is free"


def test_the_same_bytes_from_many_threads_are_taken_in_once(database: Database) -> None:
    database.submit(a_run())
    before, after = Attempt(1, 1), Attempt(1, 1, 30)
    points = [Point("loss", step, 2.0, 100.0) for step in range(5)]
    lost = at_once(lambda _: database.take_in("triage-1", before, after, points), range(8))
    assert lost == [0] * 8
    assert (database.run("triage-1").lost_steps, len(database.points("triage-1"))) == (0, 5)


def test_launches_from_many_threads_get_numbers_of_their_own(database: Database) -> None:
    database.submit(a_run())
    numbers = at_once(lambda _: database.add_launch("triage-1", "train", None, 1.0), range(12))
    assert sorted(numbers) == list(range(1, 13))


def test_a_lease_that_many_want_has_one_holder(database: Database) -> None:
    for turn in range(3):
        held = at_once(lambda n, turn=turn: database.hold_lease("l", f"{turn}-{n}", 15.0), range(8))
        (lease,) = filter(None, held)
        assert lease.fence == turn + 1
        database.release_lease(lease)


def test_texts_and_numbers_that_one_of_the_databases_lacks_are_kept_alike(database: Database) -> None:
    run = database.submit(a_run())[0]
    run = database.add_facts(run, {"loss": math.nan, "scores": [math.inf, 1.5], "words": "a\0b\udcff😀"})
    assert database.run("triage-1").facts == {"loss": None, "scores": [None, 1.5], "words": "ab?😀"}
    database.move(run, Status.FAILED, Reason.LOST, "killed\0 by \ud83d a signal", 130.0)
    assert database.run("triage-1").message == "killed by ? a signal"
    big = 5 << 32
    database.take_in("triage-1", Attempt(1, 1), Attempt(1, 1, big), [Point("loss", 1, math.nan, 1.0)])
    assert database.run("triage-1").loss is None
    assert database.attempts("triage-1")[0].offset == big
    point = database.newest_point("triage-1", "loss")
    assert point is not None
    assert math.isnan(point.value)


def at_once(act: Callable[[int], T], numbers: Iterable[int]) -> list[T]:
    """What an act gives for each number, all done by threads that begin together."""
    numbers = list(numbers)
    barrier = threading.Barrier(len(numbers))

    def one(number: int) -> T:
        barrier.wait()
        return act(number)

    with ThreadPoolExecutor(len(numbers)) as pool:
        return list(pool.map(one, numbers))
