"""The runs of the REST interface, through the client: submitted once, paged, wanted of, told apart."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from stored_run import SPEC, store_run

from orchestrator import wire
from orchestrator.api.app import make_app
from orchestrator.client import Client
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.controller.of_run import run_store
from orchestrator.errors import ConflictError, ForbiddenError, NotFoundError, SpecError, TooLargeError
from orchestrator.host import Host, open_host
from orchestrator.runs import Intent, Status
from orchestrator.service import LOCAL, Caller, Role, runs
from orchestrator.settings import Settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "tickets.jsonl").write_text('{"text": "It is late", "queue": "delivery"}\n' * 20)
    return tmp_path


@pytest.fixture
def host(home: Path) -> Iterator[Host]:
    trainer = home / "python"
    trainer.touch()
    settings = Settings.from_environment({"AXO_HOME": str(home), "AXO_TRAINER_PYTHON": str(trainer)})
    with open_host(settings, lambda: 1_000.0) as opened:
        yield opened


@pytest.fixture
def client(host: Host) -> Iterator[Client]:
    with asking(host, LOCAL) as client:
        yield client


def asking(host: Host, caller: Caller) -> Client:
    return Client("http://embedded", transport=EmbeddedTransport(make_app(host.service, caller)))


def submission(home: Path, **changes: object) -> wire.Submission:
    return wire.Submission.model_validate({"spec": SPEC, "base": str(home), **changes})


def test_a_submission_is_a_queued_run_with_its_text_as_written(home: Path, client: Client) -> None:
    run = client.submit(submission(home))
    assert (run.status, run.name, run.spec_text, run.continued) == (Status.QUEUED, "triage", SPEC, False)
    assert [event.status for event in client.events(run.id)] == ["queued"]
    assert client.run("triage") == client.run(run.id)


def test_the_same_key_gives_the_same_run_and_another_body_is_refused(home: Path, client: Client) -> None:
    first = client.submit(submission(home), key="k")
    again = client.submit(submission(home), key="k")
    assert (again.id, again.continued) == (first.id, True)
    with pytest.raises(ConflictError, match="used for another submission"):
        client.submit(submission(home, spec=SPEC.replace("r: 24", "r: 8")), key="k")
    assert [run.id for run in client.runs()] == [first.id]


def test_every_fault_of_a_spec_comes_back_at_its_place(home: Path, client: Client) -> None:
    bad = SPEC.replace("r: 24", "r: many").replace("name: triage", "name: Triage!")
    with pytest.raises(SpecError) as caught:
        client.submit(submission(home, spec=bad))
    assert [(fault.line, fault.path) for fault in caught.value.faults] == [(1, "name"), (9, "adapter.r")]
    assert list(client.runs()) == []


def test_what_is_no_template_is_refused_before_any_data_is_read(home: Path, client: Client) -> None:
    bad = SPEC.replace("{{ text }}", "{{ text").replace("{{ queue }}", "{% if queue %}")
    with pytest.raises(SpecError) as caught:
        client.submit(submission(home, spec=bad))
    paths = [(fault.line, fault.path) for fault in caught.value.faults]
    assert paths == [(7, "mapping.messages[0].content"), (8, "mapping.messages[1].content")]


def test_what_is_wanted_is_kept_apart_from_how_a_run_stands(home: Path, client: Client) -> None:
    run = client.submit(submission(home))
    assert (client.pause(run.id).intent, client.run(run.id).status) == (Intent.PAUSE, Status.QUEUED)
    assert client.resume(run.id).intent is Intent.RUN
    assert client.cancel(run.id).intent is Intent.CANCEL
    with pytest.raises(ConflictError, match="is being cancelled"):
        client.resume(run.id)


def test_pages_hold_every_run_once(home: Path, client: Client) -> None:
    made = [client.submit(submission(home)).id for _ in range(5)]
    page = client.connection.ask("GET", "/runs", params={"limit": 2}).json()
    assert (len(page["items"]), page["cursor"] is None) == (2, False)
    assert {run.id for run in client.runs(limit=500)} == set(made)
    assert len(list(client.runs(limit=3))) == 3
    assert list(client.runs(status=[Status.FAILED])) == []


def test_a_value_that_is_no_number_survives_the_way(home: Path, client: Client) -> None:
    store_run(home, "triage-1", losses=[3.0, math.nan, math.inf])
    loss = client.metrics("triage-1", "loss")["loss"]
    assert loss[0].value == 3.0
    assert math.isnan(loss[1].value)
    thin = client.metrics("triage-1", "loss", points=2)["loss"]
    assert [point.step for point in thin] == [1, 3]
    part = client.metrics("triage-1", "loss", "no such", first=2, last=2)
    steps = {key: [point.step for point in points] for key, points in part.items()}
    assert steps == {"loss": [2], "no such": []}


def test_an_answer_has_so_many_points_whatever_it_is_asked_for(
    home: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_run(home, "triage-1", losses=[float(step) for step in range(100)])
    monkeypatch.setattr(runs, "MAX_POINTS", 20)
    for keys in (), ("loss", "tokens_per_second"), ("loss", "loss", "tokens_per_second"):
        params = {"key": keys, "points": 1000}
        told = client.connection.ask("GET", "/runs/triage-1/metrics", params=params).json()
        assert [(each["key"], each["count"], len(each["points"])) for each in told] == [
            ("loss", 100, 10),
            ("tokens_per_second", 100, 10),
        ]
    with pytest.raises(TooLargeError, match="there are 21 metrics"):
        client.metrics("triage-1", *(f"no such {number}" for number in range(21)))


def test_logs_go_on_where_the_reader_stands(home: Path, client: Client) -> None:
    store_run(home, "triage-1")
    parts = list(client.logs("triage-1"))
    assert "".join(part.text for part in parts) == "first words\nsecond words\nlast words\n"
    seen = {parts[0].name: parts[0].size, parts[1].name: len("second words\n")}
    assert "".join(part.text for part in client.logs("triage-1", seen)) == "last words\n"


def test_a_caller_sees_the_runs_of_its_project_alone(home: Path, host: Host, client: Client) -> None:
    run = client.submit(submission(home))
    with asking(host, dataclasses.replace(LOCAL, project="theirs")) as other:
        assert list(other.runs()) == []
        for ask in (other.run, other.cancel, other.attempts, other.events, other.metrics, other.config):
            with pytest.raises(NotFoundError):
                ask(run.id)
        with pytest.raises(NotFoundError):
            list(other.logs(run.id))


def test_a_viewer_changes_nothing(home: Path, host: Host, client: Client) -> None:
    run = client.submit(submission(home))
    with asking(host, dataclasses.replace(LOCAL, role=Role.VIEWER)) as viewer:
        assert viewer.run(run.id).id == run.id
        for change in (viewer.cancel, viewer.pause, viewer.resume, viewer.publish):
            with pytest.raises(ForbiddenError, match="needs the role submitter"):
                change(run.id)
        with pytest.raises(ForbiddenError):
            viewer.submit(submission(home))


def test_a_folder_of_the_service_is_no_place_for_somebody_elsewhere(home: Path, host: Host) -> None:
    with asking(host, Caller()) as elsewhere, pytest.raises(SpecError, match="this very machine"):
        elsewhere.submit(submission(home))


def test_every_problem_has_the_one_body(host: Host) -> None:
    transport = EmbeddedTransport(make_app(host.service, LOCAL))
    with httpx.Client(base_url="http://embedded/api/v1", transport=transport) as http:
        for answer, status, code in (
            (http.get("/runs/nothing"), 404, "not_found"),
            (http.get("/nowhere"), 404, "not_found"),
            (http.put("/runs"), 405, "method"),
            (http.post("/runs", content=b"{"), 422, "usage"),
            (http.get("/runs", params={"limit": 0}), 422, "usage"),
        ):
            problem = wire.ProblemBody.model_validate_json(answer.content).error
            assert (answer.status_code, problem.code) == (status, code)
            assert problem.request_id == answer.headers["x-request-id"]


def test_prometheus_reads_how_the_service_stands(home: Path, host: Host, client: Client) -> None:
    client.submit(submission(home))
    transport = EmbeddedTransport(make_app(host.service, LOCAL))
    with httpx.Client(base_url="http://embedded", transport=transport) as http:
        text = http.get("/metrics").text
    assert 'axo_runs{status="queued"} 1.0' in text
    for name in ("axo_due_lag_seconds", "axo_mlflow_lag_seconds", "axo_launch_throttle_seconds_total"):
        assert f"\n{name} " in text
    assert "axo_controller_leads 0.0" in text


def test_what_code_of_a_model_left_in_a_runs_folder_is_no_fault_of_the_service(home: Path) -> None:
    run = store_run(home, "triage-bbbbb")
    store, folder = run_store(run), home / "storage/runs/triage-bbbbb"
    for place in ("launches/1", "launches/x", "launches/02", f"launches/{'9' * 30}", "launches/\u0663"):
        store.write(f"{place}/axolotl.yaml", b"base_model: \xff" if place == "launches/1" else b"theirs")
    store.write("attempts/1/claim.json", b"[")
    (folder / "attempts/2/log-00000.txt").unlink()
    (folder / "attempts/2/log-00000.txt").symlink_to("/etc/passwd")
    settings = Settings.from_environment({"AXO_HOME": str(home)})
    with open_host(settings) as host, asking(host, Caller()) as client:
        assert client.config(run.id) == "base_model: \ufffd"
        assert [attempt.number for attempt in client.attempts(run.id)] == [2]
        assert client.adapter(run.id)
        assert list(client.logs(run.id)) == []
        (folder / "launches/3").mkdir()
        (folder / "launches/3/axolotl.yaml").symlink_to("/etc/passwd")
        with pytest.raises(ConflictError, match="what storage holds of it is not what it must be"):
            client.config(run.id)
        (folder / "attempts").rename(home / "elsewhere")
        (folder / "attempts").symlink_to(home / "elsewhere")
        assert client.attempts(run.id) == []


def test_what_belongs_to_another_project_opens_nothing(home: Path, host: Host) -> None:
    """Cursors, ids of events and of runs that somebody of another project was given."""
    for number, project in enumerate(("ours", "theirs", "ours", "theirs")):
        store_run(home, f"triage-{project}{number}", project=project, created=1000.0 + number)
    with asking(host, Caller("ours")) as ours, asking(host, Caller("theirs")) as theirs:
        cursor = host.service.runs.page(Caller("ours"), limit=1).cursor
        page = host.service.runs.page(Caller("theirs"), cursor=cursor)
        assert [run.id for run in page.items] == ["triage-theirs1"]
        last = ours.events("triage-ours2")[-1].id
        found = theirs.follow("triage-theirs3", last)
        assert {each.run for each in found if isinstance(each, wire.Event)} == {"triage-theirs3"}
        acts = (theirs.run, theirs.events, theirs.attempts, theirs.verify, theirs.publish, theirs.pin)
        for act in (*acts, theirs.delete_run, theirs.cancel, theirs.config, theirs.adapter):
            with pytest.raises(NotFoundError, match="there is no run") as caught:
                act("triage-ours2")
            assert "ours" not in str(caught.value.hint)
        with pytest.raises(NotFoundError):
            theirs.clone("triage-ours2", wire.CloneAsked(name="mine"))
        assert ours.delete_run("triage-ours0").run == "triage-ours0"
        with pytest.raises(NotFoundError) as caught:
            theirs.run("triage-ours0")
        assert "deleted" not in str(caught.value.hint)
