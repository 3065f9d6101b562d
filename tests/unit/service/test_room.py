"""Quota and disk: what is new is refused with a reason, what is there goes on, what is queued waits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from memory_world import World, memory_world
from stored_run import DATASET, SPEC, store_run

from orchestrator import contract, wire
from orchestrator.api.app import make_app
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.controller.decision import LaunchView, RunView, decide
from orchestrator.controller.room import Measuring, full_disk, stored_bytes
from orchestrator.db.usage import stored_by
from orchestrator.errors import FullError, QuotaError
from orchestrator.host import Host, open_host
from orchestrator.machines import GIB
from orchestrator.reasons import Reason
from orchestrator.runs import Intent as Wish
from orchestrator.runs import Observation, Phase, Status
from orchestrator.service import LOCAL
from orchestrator.settings import Settings

QUOTA = 500


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    (tmp_path / "python").touch()
    (tmp_path / "tickets.jsonl").write_text('{"text": "late", "queue": "delivery"}\n')
    settings = Settings.from_environment(
        {"AXO_HOME": str(tmp_path), "AXO_TRAINER_PYTHON": str(tmp_path / "python")}
    )
    with open_host(replace(settings, stored_bytes=QUOTA)) as opened:
        yield opened


def submit(host: Host, key: str | None = None) -> wire.RunDetail:
    asked = wire.Submission(spec=SPEC, base=str(host.service.settings.home))
    return host.service.runs.submit(LOCAL, asked, key)


def taken(host: Host) -> int:
    with host.service.database.reading() as connection:
        return stored_by(connection, "default")


def measure(host: Host, now: float = 1e9) -> None:
    Measuring(host.service.settings, host.service.database, lambda: now).turn()


def no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=GIB - 1))


def test_runs_and_uploads_of_a_project_share_its_quota(host: Host) -> None:
    first = submit(host, key="k")
    home = host.service.settings.home
    runs = [store_run(home, f"old-{letter * 5}") for letter in "ab"]
    assert {stored_bytes(run) for run in runs} == {
        100 + len((home / "storage/runs/old-aaaaa/adapter/adapter_config.json").read_bytes())
    }
    measure(host)
    assert taken(host) == 2 * stored_bytes(runs[0]) < QUOTA
    store_run(home, "other-aaaaa", project="theirs")
    measure(host)
    assert taken(host) == 2 * stored_bytes(runs[0]), "another project's are its own"
    free = QUOTA - taken(host)
    with pytest.raises(QuotaError, match="what default keeps takes"):
        host.service.files.begin(LOCAL, wire.FileAsked(sha256="b" * 64, size=free + 1))
    host.service.files.begin(LOCAL, wire.FileAsked(sha256="a" * 64, size=free))
    with pytest.raises(QuotaError) as caught:
        submit(host)
    assert "axo delete" in str(caught.value.hint)
    assert submit(host, key="k").id == first.id, "a repeated submission gets its run"
    host.service.files.begin(LOCAL, wire.FileAsked(sha256="a" * 64, size=free))
    host.service.keeping.delete(LOCAL, "old-aaaaa")
    assert submit(host).status is Status.QUEUED


def test_datasets_count_once_measured_until_they_are_deleted(host: Host, tmp_path: Path) -> None:
    store_run(tmp_path, "old-aaaaa", adapter_config=None)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/train.parquet").write_bytes(b"\0" * (QUOTA + 1))
    store = contract.open_store(host.service.settings.storage)
    key = contract.dataset_key(DATASET)
    contract.share_folder(store, tmp_path / "rows", key, contract.Manifest("dataset", ()))
    submit(host)
    measure(host)
    assert taken(host) == host.service.datasets.get(LOCAL, DATASET).size == QUOTA + 1
    with pytest.raises(QuotaError) as caught:
        submit(host)
    assert "axo datasets delete" in str(caught.value.hint)
    host.service.datasets.delete(LOCAL, DATASET)
    assert store.keys(key) == []
    submit(host)


def test_an_ended_run_is_measured_once_and_one_that_goes_on_again(host: Host, tmp_path: Path) -> None:
    database = host.service.database
    store_run(tmp_path, "done-aaaaa")
    store_run(tmp_path, "going-aaaaa", status=Status.TRAINING)
    measure(host, 2_000.0)
    assert database.to_measure(1_900.0, 9) == []
    assert [run.id for run in database.to_measure(2_100.0, 9)] == ["going-aaaaa"]


def test_the_api_tells_a_quota_from_a_full_disk(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(host.service, LOCAL)
    with httpx.Client(base_url="http://localhost", transport=EmbeddedTransport(app)) as http:
        body = {"sha256": "a" * 64, "size": QUOTA + 1}
        answer = http.post("/api/v1/files", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "quota")
        no_disk(monkeypatch)
        answer = http.post("/api/v1/files", json={**body, "size": 1})
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "full")
        assert (
            "less than 1 GiB is free on the disk of the service's home" in answer.json()["error"]["message"]
        )
    with pytest.raises(FullError):
        submit(host)


def test_a_queued_run_waits_for_the_disk_and_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with memory_world(tmp_path) as world:
        with monkeypatch.context() as full:
            no_disk(full)
            run = world.passes(3)
            assert (run.status, run.reason) == (Status.QUEUED, Reason.DISK)
            assert "GiB is free" in run.message
            assert launches(world) == []
            assert [event.reason for event in world.database.events(run.id)] == [None, "disk"], "told once"
        assert world.passes().status is Status.PREPARING
        assert launches(world) == ["prepare"]


def launches(world: World) -> list[str]:
    return [launch.step for launch in world.database.launches(world.run_id)]


def test_what_runs_is_not_held_up_by_a_full_disk(tmp_path: Path) -> None:
    run = RunView(Status.TRAINING, Wish.RUN, evaluate=False, published=False, full="no room")
    going = LaunchView(1, "train", Observation(Phase.RUNNING), attempts=1, started=True)
    assert decide(run, [going]) == decide(replace(run, full=None), [going])
    lost = replace(going, observation=Observation(Phase.ENDED))
    [moved] = decide(run, [lost])
    assert moved == type(moved)(Status.WAITING, Reason.DISK, "no room")  # type: ignore[call-arg, arg-type]
    assert full_disk(replace(settings_of(tmp_path), free_bytes=0), "s3://bucket/x") is None


def settings_of(home: Path) -> Settings:
    return Settings(home, (home / "storage").as_uri(), None, Path("/python"), Path("/secrets"))
