"""`decide`, by its table of facts and by random lives."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from orchestrator.contract import Cause, Outcome, Result, StepKind
from orchestrator.controller.decision import (
    MAX_FAILURES,
    MAX_LOST_WITHOUT_PROGRESS,
    Action,
    Launch,
    LaunchView,
    Move,
    Publish,
    RunView,
    Stall,
    Stop,
    decide,
)
from orchestrator.reasons import REASONS, Reason
from orchestrator.runs import Intent, Observation, Phase, Status

RUN = RunView(Status.WAITING, Intent.RUN, evaluate=True, published=False)
RUNNING, ENDED = Observation(Phase.RUNNING), Observation(Phase.ENDED)
MISSING, UNKNOWN = Observation(Phase.MISSING), Observation(Phase.UNKNOWN, detail="no answer")


def outcome(result: Result, cause: Cause | None = None, message: str = "") -> Outcome:
    return Outcome(1, 1, "train", result, 0, cause, message)


SUCCESS = outcome(Result.SUCCESS)
INTERRUPTED = outcome(Result.INTERRUPTED, Cause.STOPPED)


def launch(
    step: StepKind, seen: Observation = ENDED, said: Outcome | None = None, **more: object
) -> LaunchView:
    return replace(LaunchView(1, step, seen, said, attempts=1), **more)


def failed(cause: Cause, **more: object) -> LaunchView:
    return launch("train", ENDED, outcome(Result.FAILED, cause, "words"), **more)


def test_a_new_run_is_prepared_first() -> None:
    assert decide(replace(RUN, status=Status.QUEUED), []) == [
        Move(Status.PREPARING, Reason.STARTING),
        Launch("prepare"),
    ]


@pytest.mark.parametrize("status", [status for status in Status if status.final])
def test_what_has_ended_stays_so(status: Status) -> None:
    for intent in Intent:
        assert decide(replace(RUN, status=status, intent=intent), [launch("train", RUNNING)]) == []


@pytest.mark.parametrize(
    ("view", "run", "actions"),
    [
        (launch("prepare", said=SUCCESS), RUN, [Move(Status.WAITING, Reason.STARTING), Launch("train")]),
        (launch("train", said=SUCCESS), RUN, [Move(Status.EVALUATING, Reason.STARTING), Launch("evaluate")]),
        (launch("train", said=SUCCESS), replace(RUN, evaluate=False), [Publish()]),
        (launch("evaluate", said=SUCCESS), RUN, [Publish()]),
        (launch("evaluate", said=SUCCESS), replace(RUN, published=True), [Move(Status.SUCCEEDED)]),
    ],
    ids=["prepared", "trained", "trained, nobody evaluates", "evaluated", "published"],
)
def test_success_leads_to_the_next_step(view: LaunchView, run: RunView, actions: list[Action]) -> None:
    assert decide(run, [view]) == actions


@pytest.mark.parametrize(
    ("view", "status"),
    [
        (launch("prepare", RUNNING), Status.PREPARING),
        (launch("train", RUNNING), Status.WAITING),
        (launch("train", RUNNING, started=True), Status.TRAINING),
        (launch("evaluate", RUNNING), Status.EVALUATING),
    ],
)
def test_what_runs_shows(view: LaunchView, status: Status) -> None:
    (move,) = decide(RUN, [view])
    assert isinstance(move, Move)
    assert move.status is status


def test_no_information_is_no_failure() -> None:
    assert decide(RUN, [launch("train", UNKNOWN)]) == [Move(Status.WAITING, Reason.UNKNOWN, "no answer")]


def test_a_launch_whose_making_was_cut_off_is_made_again_under_its_number() -> None:
    view = launch("train", MISSING, attempts=0, number=4, micro_batch_size=2)
    assert decide(RUN, [view])[-1] == Launch("train", 2, 4)


def test_a_launch_that_vanished_without_a_word_is_followed_by_another() -> None:
    for seen in (ENDED, MISSING):
        assert decide(RUN, [launch("train", seen)])[-1] == Launch("train")


def test_interruptions_never_count() -> None:
    views = [launch("train", said=INTERRUPTED, number=number) for number in range(1, 60)]
    assert decide(RUN, views)[-1] == Launch("train")


def test_storage_that_was_away_too_long_ends_a_launch_and_no_run() -> None:
    said = outcome(Result.INTERRUPTED, Cause.STORAGE_AWAY, "cannot be reached")
    views = [launch("train", said=said, number=number) for number in range(1, 60)]
    assert decide(RUN, views)[-1] == Launch("train")


def test_losing_it_again_and_again_without_progress_ends_it() -> None:
    stuck = [launch("train", number=n, progress=10) for n in range(1, MAX_LOST_WITHOUT_PROGRESS + 2)]
    assert decide(RUN, stuck) == [Move(Status.FAILED, Reason.LOST, "")]
    moving = [launch("train", number=n, progress=10 * n) for n in range(1, 40)]
    assert decide(RUN, moving)[-1] == Launch("train")


def test_what_never_started_is_tried_a_few_times() -> None:
    views = [launch("train", number=n, attempts=0) for n in range(1, MAX_FAILURES + 1)]
    assert decide(RUN, views)[-1] == Launch("train")
    views.append(launch("train", number=9, attempts=0))
    assert decide(RUN, views) == [Move(Status.FAILED, Reason.NOT_STARTED, "")]


def test_out_of_memory_halves_the_micro_batch_once() -> None:
    first = failed(Cause.OUT_OF_MEMORY, micro_batch_size=8)
    assert decide(RUN, [first])[-1] == Launch("train", 4)
    second = failed(Cause.OUT_OF_MEMORY, micro_batch_size=4, number=2)
    assert decide(RUN, [first, second]) == [Move(Status.FAILED, Reason.OUT_OF_MEMORY, "words")]


@pytest.mark.parametrize("micro", [1, 3])
def test_a_micro_batch_that_cannot_be_halved_fails(micro: int) -> None:
    view = failed(Cause.OUT_OF_MEMORY, micro_batch_size=micro)
    assert decide(RUN, [view]) == [Move(Status.FAILED, Reason.OUT_OF_MEMORY, "words")]


@pytest.mark.parametrize("cause", [Cause.DATA, Cause.CONFIG, Cause.STORAGE])
def test_what_cannot_get_better_fails_at_once(cause: Cause) -> None:
    assert decide(RUN, [failed(cause)]) == [Move(Status.FAILED, Reason(cause.value), "words")]


def test_a_crash_is_tried_again_with_the_micro_batch_it_had() -> None:
    view = failed(Cause.CRASHED, micro_batch_size=4)
    assert decide(RUN, [view])[-1] == Launch("train", 4)
    assert decide(RUN, [view] * (MAX_FAILURES + 1)) == [Move(Status.FAILED, Reason.CRASHED, "words")]


@pytest.mark.parametrize(
    ("intent", "end"), [(Intent.CANCEL, Status.CANCELLED), (Intent.PAUSE, Status.PAUSED)]
)
def test_stopping_shows_until_the_device_is_free(intent: Intent, end: Status) -> None:
    run = replace(RUN, status=Status.TRAINING, intent=intent)
    assert decide(run, [launch("train", RUNNING)]) == [Stop(1), Move(Status.TRAINING, Reason.STOPPING)]
    assert decide(run, [launch("train", UNKNOWN)])[0] == Move(Status.TRAINING, Reason.UNKNOWN, "no answer")


NOT_ASKED = [Move(Status.WAITING, Reason.UNKNOWN, "no answer")]
NOBODY_EVALUATES = replace(RUN, evaluate=False)


@pytest.mark.parametrize(
    ("view", "run", "actions"),
    [
        (launch("train", UNKNOWN, SUCCESS), NOBODY_EVALUATES, [Publish()]),
        (launch("evaluate", UNKNOWN, SUCCESS), RUN, [Publish()]),
        (launch("evaluate", UNKNOWN, SUCCESS), replace(RUN, published=True), [Move(Status.SUCCEEDED)]),
        (
            launch("prepare", UNKNOWN, outcome(Result.FAILED, Cause.DATA, "words")),
            RUN,
            [Move(Status.FAILED, Reason.DATA, "words")],
        ),
        (launch("prepare", UNKNOWN, SUCCESS), RUN, NOT_ASKED),
        (launch("train", UNKNOWN, SUCCESS), RUN, NOT_ASKED),
        (launch("train", UNKNOWN, INTERRUPTED), NOBODY_EVALUATES, NOT_ASKED),
        (launch("train", UNKNOWN, outcome(Result.FAILED, Cause.CRASHED)), RUN, NOT_ASKED),
        (launch("train", UNKNOWN, outcome(Result.FAILED, Cause.KILLED)), RUN, NOT_ASKED),
        (
            launch("train", UNKNOWN, INTERRUPTED),
            replace(RUN, training_seconds=9.0, max_seconds=5.0),
            NOT_ASKED,
        ),
    ],
)
def test_what_storage_says_ends_a_run_though_its_backend_cannot_be_asked(
    view: LaunchView, run: RunView, actions: list[Action]
) -> None:
    """Nothing more is launched: its pod may hold the device yet, or another attempt may follow in it."""
    assert decide(run, [view]) == actions


@pytest.mark.parametrize("intent", [Intent.PAUSE, Intent.CANCEL])
def test_a_wish_is_done_without_the_backend_once_the_launch_has_said_all(intent: Intent) -> None:
    run = replace(RUN, intent=intent)
    end = Status.PAUSED if intent is Intent.PAUSE else Status.CANCELLED
    assert decide(run, [launch("train", UNKNOWN, SUCCESS)]) == [Move(end, Reason.BY_USER)]
    for said in (None, INTERRUPTED, outcome(Result.FAILED, Cause.CRASHED)):
        assert decide(run, [launch("train", UNKNOWN, said)]) == NOT_ASKED
    assert decide(run, [launch("train", said=INTERRUPTED)]) == [Move(end, Reason.BY_USER)]
    again = [] if end.final else [Move(end, Reason.BY_USER)]
    assert decide(replace(run, status=end), [launch("train", said=INTERRUPTED)]) == again
    assert decide(replace(run, status=Status.QUEUED), []) == [Move(end, Reason.BY_USER)]


def test_a_paused_run_goes_on_when_asked() -> None:
    paused = replace(RUN, status=Status.PAUSED, intent=Intent.RUN)
    assert decide(paused, [launch("train", said=INTERRUPTED)])[-1] == Launch("train")


def test_max_hours_counts_training_and_ends_it() -> None:
    run = replace(RUN, status=Status.TRAINING, training_seconds=61.0, max_seconds=60.0)
    assert decide(run, [launch("train", RUNNING, started=True)])[0] == Stop(1)
    assert decide(run, [launch("train", said=INTERRUPTED)]) == [Move(Status.FAILED, Reason.TIME_LIMIT)]
    assert decide(run, [launch("train", said=SUCCESS)])[-1] == Launch("evaluate")


def test_what_stalls_for_too_long_is_stopped_until_it_is_gone_and_counts_as_a_failure() -> None:
    run, alive = replace(RUN, status=Status.TRAINING), launch("train", RUNNING, started=True)
    shown = replace(run, stall=Stall("nothing was heard of it"))
    assert decide(shown, [alive]) == [Move(Status.TRAINING, Reason.STALLED, "nothing was heard of it")]
    assert decide(replace(run, stall=Stall("", too_long=True)), [alive])[0] == Stop(1, stalled=True)
    stopped = replace(alive, stalled=True)
    assert decide(run, [stopped])[0] == Stop(1, stalled=True), "also once it has said something again"
    gone = [replace(launch("train", number=number), stalled=True) for number in (1, 2, 3)]
    assert decide(run, gone[:2])[-1] == Launch("train")
    assert decide(run, gone)[0] == Move(Status.FAILED, Reason.STALLED, "it stalled again in each new launch")


def test_what_vanished_beyond_its_hours_is_not_started_again() -> None:
    run = replace(RUN, status=Status.TRAINING, training_seconds=61.0, max_seconds=60.0)
    assert decide(run, [launch("train")]) == [Move(Status.FAILED, Reason.TIME_LIMIT)]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_says_what_to_do(reason: Reason) -> None:
    facts = REASONS[reason]
    assert facts.sentence.endswith(".")
    assert facts.advice or reason is Reason.BY_USER


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_is_decided_upon(cause: Cause) -> None:
    assert decide(RUN, [failed(cause)])


@pytest.mark.parametrize("seed", range(200))
def test_random_lives_end_and_never_train_twice_at_once(seed: int) -> None:
    """Whatever the world does, one launch is alive at most, and an ordinary life ends in an end."""
    draw = random.Random(seed)
    run, views = RunView(Status.QUEUED, Intent.RUN, evaluate=True, published=False), list[LaunchView]()
    for _ in range(400):
        for action in decide(run, views):
            match action:
                case Move(status):
                    run = replace(run, status=status)
                case Launch(step, micro, number):
                    assert not any(view.observation.alive for view in views)
                    if number is None:
                        views.append(LaunchView(len(views) + 1, step, MISSING, micro_batch_size=micro or 4))
                    else:
                        views[-1] = replace(views[-1], observation=RUNNING)
                case Stop():
                    views[-1] = replace(views[-1], observation=ENDED, attempts=1, outcome=INTERRUPTED)
                case Publish():
                    run = replace(run, published=draw.random() < 0.5)
        if run.status.final:
            break
        if views:
            views[-1] = _lived(views[-1], draw)
        if draw.random() < 0.01:
            run = replace(run, intent=Intent.CANCEL)
    assert run.status.final
    assert run.status is not Status.SUCCEEDED or views[-1].outcome == SUCCESS


def _lived(view: LaunchView, draw: random.Random) -> LaunchView:
    """What may befall a launch between two passes."""
    if not view.observation.alive:
        return view
    view = replace(view, attempts=1, started=True, progress=view.progress + draw.randint(0, 5))
    fate = draw.random()
    if fate < 0.3:
        return replace(view, observation=ENDED, outcome=SUCCESS)
    if fate < 0.5:
        return replace(view, observation=ENDED, outcome=INTERRUPTED)
    if fate < 0.6:
        return replace(view, observation=ENDED)
    if fate < 0.65:
        return replace(view, observation=ENDED, outcome=outcome(Result.FAILED, draw.choice(list(Cause))))
    return view


def test_a_launch_that_was_often_interrupted_is_followed_by_one_that_need_not_wait() -> None:
    resting = Observation(Phase.PENDING, None, "", Reason.EVICTED, resting=True)
    assert decide(RUN, [launch("train", resting, attempts=2)]) == [Move(Status.WAITING, Reason.EVICTED)]
    often = launch("train", resting, INTERRUPTED, attempts=3, progress=8)
    stop, move = decide(RUN, [often])
    assert isinstance(move, Move)
    assert (stop, move.status, move.reason) == (Stop(1), Status.WAITING, Reason.RESUMING)
    starts = replace(often, observation=replace(resting, resting=False))
    assert decide(RUN, [starts]) == [Move(Status.WAITING, Reason.EVICTED)]
    for said in (INTERRUPTED, None):
        gone = replace(often, observation=MISSING, outcome=said)
        assert decide(RUN, [gone]) == [Move(Status.WAITING, Reason.RESUMING), Launch("train")]


def test_a_launch_that_waits_shows_why_in_the_clusters_words() -> None:
    full = Observation(Phase.PENDING, None, "1 Insufficient nvidia.com/gpu", Reason.UNSCHEDULABLE)
    assert decide(RUN, [launch("train", full, attempts=0)]) == [
        Move(Status.WAITING, Reason.UNSCHEDULABLE, "1 Insufficient nvidia.com/gpu")
    ]
    assert decide(RUN, [launch("evaluate", full)])[0] == Move(
        Status.EVALUATING, Reason.UNSCHEDULABLE, full.detail
    )


def test_a_place_that_was_taken_away_is_waited_for_and_starts_nothing_new() -> None:
    """The launch is alive: another pod of it will come, whatever its first attempt said."""
    training = replace(RUN, status=Status.TRAINING)
    evicted = Observation(Phase.PENDING, None, "words", Reason.EVICTED)
    for said in (None, INTERRUPTED):
        view = launch("train", evicted, said, started=True)
        assert decide(training, [view]) == [Move(Status.WAITING, Reason.EVICTED, "words")]
    lost = launch("train", Observation(Phase.RUNNING, None, "", Reason.NODE_LOST), started=True)
    assert decide(training, [lost]) == [Move(Status.TRAINING, Reason.NODE_LOST)]


def test_memory_that_only_the_backend_saw_run_out_counts_as_if_the_trainer_had_said_so() -> None:
    killed = Observation(Phase.ENDED, 137, "its limit of 4Gi", Reason.OUT_OF_MEMORY)
    assert decide(RUN, [launch("train", killed, micro_batch_size=8)])[-1] == Launch("train", 4)
    halved = [
        launch("train", MISSING, micro_batch_size=8),
        launch("train", killed, micro_batch_size=4, number=2),
    ]
    assert decide(RUN, halved) == [Move(Status.FAILED, Reason.OUT_OF_MEMORY, "its limit of 4Gi")]


def test_a_deadline_of_the_cluster_ends_it_without_another_try() -> None:
    late = Observation(Phase.ENDED, None, "active longer than its deadline", Reason.DEADLINE)
    assert decide(RUN, [launch("train", late)]) == [Move(Status.FAILED, Reason.DEADLINE, late.detail)]


def test_a_scratch_disk_that_it_fills_ends_it_instead_of_filling_the_next() -> None:
    full = Observation(Phase.RUNNING, None, "exceeds the total limit", Reason.SCRATCH)
    assert decide(RUN, [launch("train", full, started=True)]) == [
        Stop(1),
        Move(Status.FAILED, Reason.SCRATCH, full.detail),
    ]


def test_one_that_does_not_go_though_told_to_comes_with_the_command_that_releases_it() -> None:
    stuck = Observation(Phase.RUNNING, None, "kubectl delete pod ..", Reason.STUCK)
    pausing = replace(RUN, intent=Intent.PAUSE, status=Status.TRAINING)
    assert decide(pausing, [launch("train", stuck)]) == [
        Stop(1),
        Move(Status.TRAINING, Reason.STUCK, "kubectl delete pod .."),
    ]
