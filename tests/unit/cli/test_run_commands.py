"""Commands that show runs and change what is wanted of them, over a stored home."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from stored_run import SPEC, store_run

from orchestrator import wire
from orchestrator.cli import axo, follow, progress
from orchestrator.cli.describe import source_line
from orchestrator.cli.drawn import draw, erase
from orchestrator.cli.progress import Figures, live_lines, plain_line
from orchestrator.controller.loop import LEASE
from orchestrator.db import Point, opened, tables
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.reasons import Reason
from orchestrator.runs import Intent, Status


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AXO_STORAGE", "AXO_MLFLOW_URI", "MLFLOW_TRACKING_URI", "AXO_SETTINGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AXO_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def call(*arguments: str, fails: type[BaseException] | None = None) -> Result:
    done = CliRunner().invoke(axo, arguments)
    if fails is None:
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    else:
        assert isinstance(done.exception, fails), done
    return done


def test_runs_are_listed_under_80_columns_and_whole_with_wide(home: Path) -> None:
    long = f"{'a' * 20}-{'b' * 20}-x7k2p"
    store_run(home, long, status=Status.FAILED, reason=Reason.REGISTRY_REFUSED)
    store_run(home, "triage-later", created=2_000.0)
    lines = call("get").stdout.splitlines()
    assert [line.split()[0][:5] for line in lines] == ["NAME", "triag", "aaaaa"]
    assert max(map(len, lines)) < 80
    wide = call("get", "-o", "wide").stdout
    assert long in wide
    assert "registry_refused" in wide
    assert "org/base@0123abc" in wide
    assert call("get", "-o", "name").stdout.split() == ["triage-later", long]


def test_a_list_is_of_some_statuses_or_one_name_alone(home: Path) -> None:
    store_run(home, "triage-1", status=Status.FAILED)
    store_run(home, "triage-2", status=Status.TRAINING)
    store_run(home, "other-3", text=SPEC.replace("name: triage", "name: other"), status=Status.PAUSED)

    def listed(*options: str) -> list[str]:
        return sorted(call("get", *options, "-o", "name").stdout.split())

    assert listed("runs") == listed() == ["other-3", "triage-1", "triage-2"]
    assert listed("--status", "failed", "--status", "paused") == ["other-3", "triage-1"]
    assert listed("--named", "triage") == ["triage-1", "triage-2"]
    assert listed("--named", "triage", "--status", "failed") == ["triage-1"]
    assert "no such runs" in call("get", "--status", "queued").stderr
    assert "'failed'" in call("get", "--status", "faild").stderr
    assert "leave NAME out" in call("get", "triage-1", "--status", "failed").stderr


def test_metrics_that_were_left_out_are_told(home: Path) -> None:
    run = store_run(home, "triage-x7k2p", status=Status.TRAINING)
    assert "left out" not in call("describe", run.id).stdout
    with opened(f"sqlite:///{home / 'axo.db'}") as database:
        newest = database.attempts(run.id)[-1]
        points = [Point("loss", step, 1.0, 1.0) for step in range(100, 1400)]
        database.take_in(run.id, newest, newest, points, most=run.points + 300)
    told = call("describe", run.id).stdout
    assert "metrics left out: 1,000 points; its record in storage has them" in told
    assert f"It has {run.points + 300} points of metrics" in " ".join(told.split())


def test_watching_a_list_is_for_people(home: Path) -> None:
    assert call("get", "-w", "-o", "json").exit_code == 2


@pytest.mark.parametrize("looking", ["get", "get triage-1", "describe triage-1", "top --once"])
def test_whoever_looks_on_hears_that_nothing_drives_a_run(home: Path, looking: str) -> None:
    """As after a kill of `axo run`, or a restart of the machine."""
    run = store_run(home, "triage-1", status=Status.TRAINING)
    with opened(f"sqlite:///{home / 'axo.db'}") as database:
        database.update(run, look=1_000.0)
        assert "nothing drives" in call(*looking.split()).stderr
        database.hold_lease(LEASE, "somebody", 60.0)
        assert "nothing drives" not in call(*looking.split()).stderr


def test_runs_that_have_ended_or_only_just_begun_need_nobody(home: Path) -> None:
    store_run(home, "triage-1")
    assert "nothing drives" not in call("get").stderr
    run = store_run(home, "triage-2", status=Status.QUEUED)
    with opened(f"sqlite:///{home / 'axo.db'}") as database:
        database.move(run, Status.PREPARING, None, "", time.time(), look=True)
    assert "nothing drives" not in call("get").stderr


def test_a_run_that_is_not_there_is_told_with_the_one_meant(home: Path) -> None:
    store_run(home, "triage-x7k2p")
    error = call("get", "triag-x7k2p", fails=NotFoundError).exception
    assert isinstance(error, NotFoundError)
    assert "did you mean 'triage-x7k2p'" in str(error.hint)


def test_describe_tells_the_whole_story_of_a_run(home: Path) -> None:
    store_run(home, "triage-1", status=Status.FAILED, reason=Reason.CRASHED, message="its last words " * 9)
    done = call("describe", "triage")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) < 80
    for told in (
        "crashed: The step's program crashed.",
        "Read `axo logs`",
        "lora of rank 24",
        "5,000 an epoch, 500 of them trained",
        "3 to 1  █",
        "axo logs triage-1",
    ):
        assert told in done.stdout
    attempts = [line.split() for line in lines if "2026" in line or "1970" in line]
    first, second = ([cell for cell in row if ":" not in cell] for row in attempts[:2])
    assert first == ["1", "train", "1970-01-01", "-", "2", "-", "stopped"]
    assert second == ["2", "train", "1970-01-01", "1", "3", "1", "killed"]


def test_describe_names_an_uploaded_source_by_its_name() -> None:
    address = f"upload://{'5f2a' * 16}/tickets.csv"
    assert source_line([{"source": address}]) == "tickets.csv (uploaded, 5f2a5f2a5f2a)"
    assert source_line("data/tickets.csv") == "data/tickets.csv"


def test_an_event_that_stands_for_several_says_so(home: Path) -> None:
    store_run(home, "triage-1")
    with opened(f"sqlite:///{home / 'axo.db'}") as database, database.writing() as connection:
        connection.execute(
            tables.events.update().where(tables.events.c.id == 2).values(count=1234, since=60.0)
        )
    for command in ("events", "describe"):
        lines = [line for line in call(command, "triage-1").stdout.splitlines() if "times since" in line]
        assert len(lines) == 1
        assert "training" in lines[0]
        assert "(1,234 times since 1970-01-01 00:01" in lines[0]


def test_describe_as_data_holds_attempts_and_events(home: Path) -> None:
    store_run(home, "triage-1")
    told = json.loads(call("describe", "triage-1", "-o", "json").stdout)
    assert [(a["result"], a["lost_steps"]) for a in told["attempt_history"]] == [
        ("interrupted", 0),
        ("success", 1),
    ]
    assert [event["status"] for event in told["events"]] == ["queued", "training", "succeeded"]
    assert told["spec"]["adapter"]["r"] == 24
    assert told["published"][0]["reference"] == "models:/triage/1"


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        ("", "its spec names no registry"),
        ("publish: [{mlflow: {model: triage}}]\n", None),
    ],
)
def test_what_was_never_published_is_told_with_advice_that_can_be_followed(
    home: Path, more: str, hint: str | None
) -> None:
    store_run(home, "triage-1", text=SPEC + more, status=Status.CANCELLED)
    error = call("verify", "triage-1", fails=NotFoundError).exception
    assert isinstance(error, NotFoundError)
    assert (str(error), error.hint) == ("nothing of triage-1 is published", hint)


def test_a_run_that_names_no_registry_has_its_adapter_all_the_same(home: Path) -> None:
    store_run(home, "triage-1")
    with opened(f"sqlite:///{home / 'axo.db'}") as database, database.engine.begin() as connection:
        connection.execute(tables.publications.delete())
    assert "names no registry; `axo pull triage-1`" in call("publish", "triage-1").stderr


def test_logs_come_by_attempt_and_from_their_end(home: Path) -> None:
    store_run(home, "triage-1")
    whole = call("logs", "triage-1")
    assert whole.stdout == "first words\nsecond words\nlast words\n"
    assert [line for line in whole.stderr.splitlines() if line] == ["--- attempt 1", "--- attempt 2"]
    assert call("logs", "triage-1", "--attempt", "1").stdout == "first words\n"
    assert call("logs", "triage-1", "--tail", "1").stdout == "last words\n"
    assert call("logs", "triage-1", "--tail", "3").stdout == whole.stdout
    assert "attempt 9 has printed nothing" in call("logs", "triage-1", "--attempt", "9").stderr


def test_the_words_of_a_launch_that_died_before_its_attempt_are_shown(home: Path) -> None:
    store_run(home, "triage-1", status=Status.FAILED, reason=Reason.NOT_STARTED)
    with opened(f"sqlite:///{home / 'axo.db'}") as database:
        database.add_launch("triage-1", "train", None, 1.0)
    (home / "local").mkdir()
    (home / "local" / "triage-1-2.lock").write_bytes(b"launched\n")
    (home / "local" / "triage-1-2.log").write_text("No module named orchestrator\n")
    done = call("logs", "triage-1")
    assert done.stdout.endswith("No module named orchestrator\n")
    assert "launch 2, which ended before its first attempt" in done.stderr


def test_following_logs_ends_with_the_run_and_prints_nothing_twice(home: Path) -> None:
    run = store_run(home, "triage-1", status=Status.TRAINING)

    def end() -> None:
        with opened(f"sqlite:///{home / 'axo.db'}") as database:
            database.move(run, Status.CANCELLED, Reason.BY_USER, "", 9_000.0)

    timer = threading.Timer(0.5, end)
    timer.start()
    done = call("logs", "triage-1", "-f")
    timer.join()
    assert done.stdout == "first words\nsecond words\nlast words\n"


def test_what_has_ended_is_neither_paused_nor_resumed(home: Path) -> None:
    store_run(home, "triage-1")
    for verb in ("pause", "resume", "cancel"):
        call(verb, "triage-1", fails=ConflictError)


def test_a_run_that_is_being_cancelled_is_not_resumed(home: Path) -> None:
    store_run(home, "triage-1", status=Status.TRAINING)
    with opened(f"sqlite:///{home / 'axo.db'}") as database:
        database.set_intent("triage-1", Intent.CANCEL, 1.0)
    call("resume", "triage-1", fails=ConflictError)


def test_a_run_is_paused_and_stays_so(home: Path) -> None:
    store_run(home, "triage-1", status=Status.WAITING)
    done = call("pause", "triage-1")
    assert done.stdout == "triage-1 paused\n"
    assert "axo resume triage-1" in done.stderr
    assert json.loads(call("get", "triage-1", "-o", "json").stdout)["status"] == "paused"


def test_waiting_ends_at_its_timeout_with_124(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[bool] = []
    monkeypatch.setattr(follow, "keep_driving", lambda: left.append(True))
    store_run(home, "triage-1", status=Status.TRAINING)
    with opened(f"sqlite:///{home / 'axo.db'}") as database:  # another process drives it
        assert database.hold_lease("controller", "another", 15)
        done = call("resume", "triage-1", "--timeout", "0", "--no-watch")
    assert (done.exit_code, left) == (124, [True])
    assert "come back:  axo get triage-1 -w" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_cut_connection_lets_go_of_a_run_as_ctrl_c_does(
    home: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    left: list[bool] = []
    monkeypatch.setattr(follow, "keep_driving", lambda: left.append(True))
    told = follow.standings

    def hung_up(*arguments: Any, **options: Any) -> Iterator[wire.Run]:
        for run in told(*arguments, **options):
            yield run
            signal.raise_signal(number)

    monkeypatch.setattr(follow, "standings", hung_up)
    store_run(home, "triage-1", status=Status.TRAINING)
    with opened(f"sqlite:///{home / 'axo.db'}") as database:
        assert database.hold_lease("controller", "another", 15)
        done = call("resume", "triage-1", "--no-watch")
    assert (done.exit_code, left) == (130, [True])
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


POINTS = [wire.Point(step=step, value=4.0 / step, time=10.0 * step) for step in range(1, 101)]


@pytest.mark.parametrize("width", [30, 79, 200])
def test_the_live_view_fits_its_width(width: int) -> None:
    figures = Figures(POINTS, 400, 12_345.6, 0.5, 3)
    lines = [click.unstyle(line) for line in live_lines(figures, width)]
    assert len(lines) == 2
    assert all(len(line) <= width for line in lines)
    if width > 78:
        assert "100/400   25%  50:00 left" in lines[0]
        assert lines[0].count("━") * 4 == lines[0].count("━") + lines[0].count("─")
        assert "loss 0.0400" in lines[1]
        assert "12,346 tokens/s" in lines[1]


def test_a_pause_between_two_steps_does_not_slow_the_estimate() -> None:
    late = [wire.Point(step=step, value=0.1, time=50_000.0 + 10 * (step - 101)) for step in (101, 102)]
    assert Figures([*POINTS, *late], 202).seconds_left == pytest.approx(1000.0)


def test_a_plain_line_tells_what_is_known() -> None:
    assert plain_line(Figures([], 0)) == "before its first step"
    assert plain_line(Figures(POINTS[:1], 400)) == "step 1/400  loss 4.0000"
    assert plain_line(Figures(POINTS, 100)).endswith("0:00 left") is False


def test_every_change_of_a_run_is_printed_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = store_run(home, "triage-1", status=Status.WAITING, reason=Reason.RESUMING)
    told: list[str] = []

    def note(line: str) -> None:
        """Once the first line is there, the run goes on."""
        told.append(line)
        if len(told) > 1:
            return
        with opened(f"sqlite:///{home / 'axo.db'}") as database:
            moved = database.move(run, Status.TRAINING, None, "", 9_000.0)
            moved = database.move(moved, Status.WAITING, Reason.RESUMING, "", 9_001.0)
            database.move(moved, Status.FAILED, Reason.CRASHED, "out of luck", 9_002.0)

    monkeypatch.setattr(progress, "note", note)
    call("get", "triage-1", "-w")
    resuming = "waiting: Training was interrupted and goes on from its newest checkpoint."
    crashed = "failed: The step's program crashed. out of luck"
    assert told == [resuming, "training", resuming, crashed]


def test_a_drawn_view_has_no_colours_where_none_are_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    lines = live_lines(Figures(POINTS, 400), 79)
    for color in (True, False):
        with click.Context(axo, color=color):
            draw(lines)
            erase()
        drawn = capsys.readouterr().err
        assert ("\x1b[32m" in drawn, "\x1b[2K" in drawn) == (color, True)
