"""Reports of launches that train: each line once, whatever is repeated, and nobody speaks for another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from serving import served
from stored_run import store_run

from orchestrator import contract
from orchestrator.api.app import make_app
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.contract import Record, StreamWriter
from orchestrator.controller.heard import Heard, Said
from orchestrator.controller.of_run import run_store
from orchestrator.controller.record import take_in_records
from orchestrator.controller.report import token_digest
from orchestrator.db import Run
from orchestrator.host import Host, open_host
from orchestrator.runs import Status
from orchestrator.service import LOCAL
from orchestrator.service.reports import Reporter
from orchestrator.settings import Settings
from orchestrator.trainer import report as module
from orchestrator.trainer.record import MetricRecord
from orchestrator.trainer.report import Reports

RUN, OTHER, TOKEN, THEIRS = "triage-aaaaa", "triage-bbbbb", "token-of-ours", "token-of-theirs"
HERE = f"/api/v1/reports/{RUN}/1/3"  # two attempts are stored already


@dataclass
class World:
    host: Host
    app: FastAPI
    http: httpx.Client

    def put(
        self, data: bytes, offset: int = 0, token: str = TOKEN, path: str = HERE, status: int = 200
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        answer = self.http.put(path, params={"offset": offset}, content=data, headers=headers)
        assert answer.status_code == status, answer.text
        return answer

    def offset(self, data: bytes, offset: int = 0) -> int:
        return int(self.put(data, offset).json()["offset"])

    def losses(self) -> dict[int, float]:
        return {point.step: point.value for point in self.host.service.database.points(RUN, "loss")}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    settings = Settings.from_environment({"AXO_HOME": str(tmp_path)})
    with open_host(settings, lambda: 1_000_000.0) as host:
        for run, token in ((RUN, TOKEN), (OTHER, THEIRS)):
            store_run(tmp_path, run, status=Status.TRAINING)
            host.service.database.let_report(run, 1, token_digest(token))
        app = make_app(host.service, LOCAL)
        with httpx.Client(base_url="http://localhost", transport=EmbeddedTransport(app)) as http:
            yield World(host, app, http)


def lines(first: int, last: int) -> bytes:
    """Steps beyond those that are stored."""
    found = (Record("metrics", step, 100.0 + step, {"loss": float(step)}) for step in range(first, last + 1))
    return b"".join(record.to_line() for record in found)


def test_a_report_may_be_repeated_overlap_and_be_ahead(world: World) -> None:
    one, two = lines(11, 12), lines(13, 14)
    assert world.offset(two, len(one)) == 0  # it does not follow on what is known
    assert world.offset(one) == len(one)
    assert world.offset(one) == len(one)
    assert world.offset(one + two) == len(one + two)  # only what is new of it is taken in
    assert world.offset(two + lines(15, 15)[:9], len(one)) == len(one + two)  # half a line has to wait
    assert {step: loss for step, loss in world.losses().items() if step > 10} == {
        11: 11.0,
        12: 12.0,
        13: 13.0,
        14: 14.0,
    }
    assert world.host.service.database.run(RUN).step == 14


def recorded(run: Run, text: bytes) -> contract.Store:
    """The run's folder, with a new attempt whose record says this."""
    store = run_store(run)
    claim = contract.claim_attempt(store, 1, host="h", pid=1, now=1.0)
    writer = StreamWriter(store, claim.attempt, "metrics")
    writer.append(text)
    writer.flush()
    return store


def test_what_is_reported_and_what_is_read_from_storage_meet(world: World) -> None:
    run = world.host.service.database.run(RUN)
    store = recorded(run, lines(11, 14))
    world.offset(lines(11, 12))
    take_in_records(world.host.service.database, RUN, store, 1.0)  # it was not told of 13 and 14
    assert world.offset(lines(13, 15), len(lines(11, 12))) == len(lines(11, 15))
    take_in_records(world.host.service.database, RUN, store, 1.0)
    assert [step for step in world.losses() if step > 10] == [11, 12, 13, 14, 15]
    assert world.host.service.database.run(RUN).lost_steps == run.lost_steps


def test_an_endless_record_does_not_fill_the_database(world: World) -> None:
    run = world.host.service.database.run(RUN)
    store = recorded(run, lines(11, 1500))
    settings = replace(world.host.service.settings, points_per_run=1000)
    told = lines(11, 1300)
    replace(world.host.service, settings=settings).reports.take_in(Reporter(RUN, 1), RUN, 1, 3, 0, told)
    replace(world.host.loop.controller, settings=settings).look_at(run)
    stands = world.host.service.database.run(RUN)
    assert len(world.host.service.database.points(RUN)) == stands.points == 1000
    assert (stands.step, stands.points_left_out) == (1500, run.points + 1490 - 1000)
    messages = [event.message for event in world.host.service.database.events(RUN)]
    assert sum("It has 1,000 points of metrics" in message for message in messages) == 1
    assert contract.read_stream(store, contract.owner(store), "metrics") == lines(11, 1500)


def test_a_launch_speaks_for_itself_alone(world: World) -> None:
    data = lines(11, 12)
    refused = world.put(data, token=THEIRS, status=403).text
    unknown = world.put(data, path="/api/v1/reports/nowhere/1/3", status=403).text
    assert refused.partition("request_id")[0] == unknown.partition("request_id")[0]
    for token in ("", "nothing", TOKEN[:-1], TOKEN + "x"):
        assert RUN not in world.put(data, token=token, status=401).text
    world.put(data, path=f"/api/v1/reports/{RUN}/2/3", status=403)
    assert 11 not in world.losses()


def test_its_token_dies_with_the_launch(world: World) -> None:
    database = world.host.service.database
    world.put(lines(11, 11))
    database.add_launch(RUN, "train", 4, 1.0)
    world.put(lines(11, 12), status=401)
    run = database.run(OTHER)
    world.put(b"", token=THEIRS, path=f"/api/v1/reports/{OTHER}/1/3")
    database.move(run, Status.PUBLISHING, None, "", 2.0)
    world.put(b"", token=THEIRS, path=f"/api/v1/reports/{OTHER}/1/3", status=401)


def test_an_attempt_that_another_has_followed_is_told_so(world: World) -> None:
    world.put(lines(11, 12))
    answer = world.put(lines(11, 12), path=f"/api/v1/reports/{RUN}/1/2", status=409)
    assert answer.json()["error"]["code"] == "conflict"
    world.put(lines(11, 12), path=f"/api/v1/reports/{RUN}/1/4")
    world.put(lines(13, 13), offset=len(lines(11, 12)), status=409)


@pytest.mark.parametrize(
    "line",
    [
        b"x\n",
        b"[1]\n",
        b"{}\n",
        b"\xff\n",
        b"[" * 100_000 + b"\n",
        b'{"kind":"metrics","step":1,"time":1,"values":{"loss":"1"}}\n',
        b'{"kind":"metrics","step":1e9,"time":1,"values":{}}\n',
        b'{"kind":"metrics","step":99999999999,"time":1,"values":{}}\n',
        b'{"kind":"metrics","step":1,"time":NaN,"values":{}}\n',
        b'{"kind":"metrics","step":1,"time":1,"values":{"a\\u0000":1}}\n',
        b'{"kind":"metrics","step":1,"time":1,"values":{"a":' + b"9" * 400 + b"}}\n",
        b'{"kind":"metrics","step":1,"time":1,"values":{"' + b"k" * 201 + b'":1}}\n',
        b'{"kind":"end","step":1,"time":1,"values":{}}\n',
    ],
)
def test_what_is_no_record_is_refused_whole(world: World, line: bytes) -> None:
    world.put(lines(11, 11) + line, status=422)
    assert 11 not in world.losses()


@pytest.mark.parametrize("steps", ["Infinity", "-Infinity", "NaN", "-1", "1e300"])
def test_a_number_of_steps_that_is_none_is_left_out(world: World, steps: str) -> None:
    before = world.host.service.database.run(RUN).total_steps
    world.put(b'{"kind":"start","step":0,"time":1,"values":{"total_steps":%s}}\n' % steps.encode())
    assert world.host.service.database.run(RUN).total_steps == before


@contextmanager
def reporting(app: FastAPI, token: Path, path: str = HERE) -> Iterator[tuple[Reports, int]]:
    """Reports to the application on a port, for which it is served."""
    token.write_text(TOKEN + "\n")
    with served(app) as port:
        reports = Reports(f"http://127.0.0.1:{port}", token, path)
        yield reports, port
        reports.close()


def test_nothing_is_lost_or_doubled_while_the_service_comes_and_goes(world: World, tmp_path: Path) -> None:
    told = [lines(step, step) for step in range(11, 20)]
    with reporting(world.app, tmp_path / "token") as (reports, port):
        reports.tell(told[0])
        assert reports.turn() == 1.0
        reports.tell(told[1])
        reports.turn()
        assert [step for step in world.losses() if step > 10] == [11, 12]
    for wait, data in zip(module.AWAY_SECONDS, told[2:5], strict=False):
        reports.tell(data)
        assert reports.turn() == wait
    with served(world.app, port):
        reports.tell(told[5])
        assert reports.turn() == 1.0
        reports.close()
    assert world.losses() == {1: 3.0, 2: 2.0, 3: 1.0, **{step: float(step) for step in range(11, 17)}}


def test_what_is_kept_no_more_is_left_to_storage(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", len(lines(20, 24)))
    store = run_store(world.host.service.database.run(RUN))
    claim = contract.claim_attempt(store, 1, host="h", pid=1, now=1.0)
    with reporting(world.app, tmp_path / "token") as (reports, _):
        record = MetricRecord(store, claim.attempt, reports)
        for step in range(11, 41):
            record.metrics(step, {"loss": float(step)})
        record.flush()
        assert reports.turn() == module.BEHIND_SECONDS
        assert 40 not in world.losses()
        take_in_records(world.host.service.database, RUN, store, 1.0)
        record.metrics(41, {"loss": 41.0})
        record.flush()
        assert reports.turn() == 1.0
    assert [step for step in world.losses() if step > 10] == list(range(11, 42))


@pytest.mark.parametrize(
    ("path", "rest"), [(HERE, 0.0), (f"/api/v1/reports/{OTHER}/1/3", module.NOT_KNOWN_SECONDS)]
)
def test_a_refused_attempt_goes_on_training(world: World, tmp_path: Path, path: str, rest: float) -> None:
    world.put(b"", path=f"/api/v1/reports/{RUN}/1/4")
    world.put(lines(11, 11), path=f"/api/v1/reports/{RUN}/1/4")
    with reporting(world.app, tmp_path / "token", path) as (reports, _):
        reports.tell(lines(11, 12))
        assert reports.turn() == rest


def test_the_more_report_the_more_seldom_each_does() -> None:
    heard = Heard()
    waits = [heard.note(f"run-{number}", Said(1, 1, 10.0)) for number in range(1000)]
    assert (waits[0], waits[999]) == (1.0, pytest.approx(1 + 2 * 999 / 80))
    assert heard.of("run-1", 40.0) == Said(1, 1, 10.0)
    assert heard.of("run-1", 50.0) is None
    assert heard.note("run-1", Said(1, 1, 100.0)) == 1.0


def test_who_report_at_once_are_told_to_come_one_by_one() -> None:
    heard, now = Heard(), 10.0
    turns = sorted(now + heard.note(f"run-{number}", Said(1, 1, now)) for number in range(1000))
    for _ in range(3):
        turns = sorted(at + heard.note(f"run-{number}", Said(1, 1, at)) for number, at in enumerate(turns))
        gaps = [after - before for before, after in pairwise(turns)]
        assert min(gaps) == pytest.approx(1 / 80) == pytest.approx(max(gaps))
    assert heard.note("run-0", Said(1, 1, turns[0])) == pytest.approx(1000 / 80)


def test_a_report_before_its_turn_puts_nobody_off() -> None:
    heard = Heard()
    first = heard.note("run-1", Said(1, 1, 10.0))
    assert [heard.note("run-1", Said(1, 1, 10.0 + first / 2)) for _ in range(99)] == [first / 2] * 99
    assert heard.note("run-2", Said(1, 1, 10.0)) == pytest.approx(1 + 2 / 80)


def test_a_clock_that_was_set_back_puts_nobody_off() -> None:
    heard = Heard()
    for run in ("run-1", "run-2"):
        heard.note(run, Said(1, 1, 5000.0))
    assert heard.note("run-1", Said(1, 1, 10.0)) < 1.1
    assert heard.note("run-3", Said(1, 1, 10.0)) < 1.1


def test_the_controller_knows_who_has_reported(world: World) -> None:
    assert world.host.loop.controller.heard.of(RUN, 1_000_000.0) is None
    world.put(lines(11, 11))
    assert world.host.loop.controller.heard.of(RUN, 1_000_001.0) == Said(1, 3, 1_000_000.0)
