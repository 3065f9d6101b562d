"""Plans of submissions: foreseen in a process of their own, with the faults a run would end with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from memory_world import MemoryBackend
from triage import lay_out

from orchestrator.api.app import make_app
from orchestrator.backends import Backend
from orchestrator.client import Client
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.client.pack import packed
from orchestrator.errors import BackendError, ForbiddenError, NotFoundError, SpecError
from orchestrator.host import Host, open_host
from orchestrator.service import Caller, Role
from orchestrator.settings import Settings
from orchestrator.spec.load import load_spec


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    folder = tmp_path / "laptop"
    folder.mkdir()
    return lay_out(folder)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with opened(tmp_path) as host:
        yield host


@contextmanager
def opened(folder: Path, backend: Backend | None = None) -> Iterator[Host]:
    (folder / "python").touch()
    values = {"AXO_HOME": str(folder / "server"), "AXO_TRAINER_PYTHON": str(folder / "python")}
    with open_host(Settings.from_environment(values), backend=backend) as host:
        yield host


def asking(host: Host, caller: Caller | None = None) -> Client:
    return Client("http://embedded", transport=EmbeddedTransport(make_app(host.service, caller or Caller())))


def test_a_packed_spec_is_foreseen_and_leaves_no_run(host: Host, laptop: Path) -> None:
    with asking(host) as client, packed(load_spec(laptop / "spec.yaml")) as package:
        package.send(client)
        plan = client.plan(package.submission)
        assert (plan.name, plan.splits["train"]["rows"], plan.splits["validation"]["rows"]) == (
            "triage",
            32,
            8,
        )
        assert plan.steps > 0
        assert yaml.safe_load(plan.config_text) == plan.config
        assert "orchestrator.trainer" in plan.request["command"]
        assert list(client.runs()) == []
        assert client.submit(package.submission).spec_digest == plan.spec_digest


def test_a_plan_tells_why_its_launch_would_be_refused(tmp_path: Path, laptop: Path) -> None:
    backend = MemoryBackend(
        fault=BackendError("the cluster refuses it: no such priority", hint="name another")
    )
    with opened(tmp_path, backend) as host, asking(host) as client:
        with packed(load_spec(laptop / "spec.yaml")) as package:
            package.send(client)
            assert client.plan(package.submission).refused == (
                "the cluster refuses it: no such priority; name another"
            )
            backend.fault = None
            assert client.plan(package.submission).refused is None
        assert backend.launches() == []


def test_a_plan_tells_what_changed_since_a_run(host: Host, laptop: Path) -> None:
    with asking(host) as client, packed(load_spec(laptop / "spec.yaml")) as package:
        package.send(client)
        run = client.submit(package.submission)
        same = client.plan(package.submission, against="triage")
        assert (same.against, same.changes["spec"]) == (run.id, {})
        text = package.submission.spec.replace("sequence_len: 256", "sequence_len: 128")
        other = client.plan(package.submission.model_copy(update={"spec": text}), against=run.id)
        assert other.changes["spec"] == {"training.sequence_len": [256, 128]}
        assert other.changes["dataset"]["train.rows"] == [None, 32]  # that run has prepared nothing yet
        with pytest.raises(NotFoundError):
            client.plan(package.submission, against="nothing")
    with (
        asking(host, Caller(project="theirs")) as theirs,
        packed(load_spec(laptop / "spec.yaml")) as package,
    ):
        package.send(theirs)
        with pytest.raises(NotFoundError):
            theirs.plan(package.submission, against=run.id)


def test_faults_of_the_data_come_back_at_their_place(host: Host, laptop: Path) -> None:
    text = (laptop / "spec.yaml").read_text().replace("{{ queue }}", "{{ cue }}")
    (laptop / "spec.yaml").write_text(text)
    with asking(host) as client, packed(load_spec(laptop / "spec.yaml")) as package:
        package.send(client)
        with pytest.raises(SpecError) as caught:
            client.plan(package.submission)
    fault = next(fault for fault in caught.value.faults if "cue" in str(fault))
    assert fault.line == text[: text.index("{{ cue }}")].count("\n") + 1


def test_a_viewer_has_nothing_foreseen(host: Host, laptop: Path) -> None:
    with (
        asking(host, Caller(role=Role.VIEWER)) as viewer,
        packed(load_spec(laptop / "spec.yaml")) as package,
        pytest.raises(ForbiddenError),
    ):
        viewer.plan(package.submission)
