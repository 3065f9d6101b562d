"""The Docker backend keeps what every backend promises, and says what only an engine knows."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from backend_promises import EngineLab, EnginePromises, ended
from waiting import wait

from orchestrator.backend_sections import DockerSection
from orchestrator.backends import Backend, BackendAway, LaunchRequest, open_backend
from orchestrator.backends.docker.engine import Engine
from orchestrator.errors import BackendError
from orchestrator.machines import Machine
from orchestrator.runs import Phase
from orchestrator.settings import Settings

ROOT = Path(__file__).parents[2]
SMALL = Machine("small", "cpu", host_memory_gib=0.0625)
USER = 65532


class DockerLab(EngineLab):
    def __init__(self, folder: Path, client: docker.APIClient, image: str) -> None:
        self.client, self.image = client, image
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        section = DockerSection(
            service_image=image, trainer_image=image, host=client.base_url_named, network="none"
        )
        self.settings = Settings(
            self.home,
            (folder / "storage").as_uri(),
            None,
            Path("/no/python"),
            folder / "secrets",
            backend="docker",
            docker=section,
        )
        self._opened: list[Backend] = []
        self._run = uuid.uuid4().hex[:8]

    def backend(self, **changes: Any) -> Backend:
        assert self.settings.docker is not None
        section = self.settings.docker.model_copy(update=changes)
        self._opened.append(open_backend(dataclasses.replace(self.settings, docker=section)))
        return self._opened[-1]

    def crippled(self) -> Backend:
        return self.backend(trainer_image="axo.test/no-such-image:1")

    def away(self) -> Backend:
        return self.backend(host="tcp://127.0.0.1:9")  # nobody listens there

    def request(self, run: str = "run-a", machine: Machine = SMALL, **more: Any) -> LaunchRequest:
        name = f"{run}-{self._run}"  # an engine may have other guests
        return LaunchRequest(name, 1, "train", self.settings.storage, machine, **more)

    def folder(self, launch: LaunchRequest) -> Path:
        folder = Path(launch.storage.removeprefix("file://")) / "runs" / launch.run
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def kill(self, launch: LaunchRequest) -> None:
        self.client.kill(launch.name, signal.SIGKILL)

    def reads(self, launch: LaunchRequest, path: str) -> str:
        """What a program in its container reads at a path."""
        program = ["python", "-c", f"print(open({path!r}).read(), end='')"]
        call = self.client.exec_create(launch.name, program)
        return str(self.client.exec_start(call["Id"]).decode())

    def clear(self) -> None:
        for backend in self._opened:
            backend.close()
        for each in self.client.containers(all=True, filters={"label": f"axo.home={self.home}"}):
            self.client.remove_container(each["Id"], force=True, v=True)


@pytest.fixture(scope="module")
def client(engine: str) -> Iterator[docker.APIClient]:
    client = docker.APIClient(base_url=engine, version="auto")
    client.base_url_named = engine
    yield client
    client.close()


@pytest.fixture(scope="module")
def image(client: docker.APIClient) -> str:
    """An image that holds this machine's Python, with the stand-in as what a step runs."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from node import oci, python_image
    finally:
        sys.path.pop(0)
    package = "/opt/axo/orchestrator"
    program = {
        f"{package}/{part}": b"" for part in ("__init__.py", "trainer/__init__.py", "steps/__init__.py")
    }
    stand_in = (ROOT / "tests/stand_in.py").read_bytes()
    mains = {f"{package}/{part}/__main__.py": stand_in for part in ("trainer", "steps")}
    layers = [oci.layer(python_image.python()), oci.layer({**program, **mains})]
    name = "axo.test/stand-in:1"
    config = {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "PYTHONPATH=/opt/axo"]}
    client.load_image(oci.archive(name, layers, config))
    return name


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


class TestDocker(EnginePromises):
    @pytest.fixture
    def lab(self, tmp_path: Path, client: docker.APIClient, image: str) -> Iterator[DockerLab]:
        lab = DockerLab(tmp_path, client, image)
        yield lab
        lab.clear()

    def test_a_container_can_do_next_to_nothing(self, lab: DockerLab) -> None:
        launch = lab.started(lab.backend())
        seen = lab.client.inspect_container(launch.name)
        host, user = seen["HostConfig"], int(seen["Config"]["User"].split(":")[0])
        assert (host["NetworkMode"], host["ReadonlyRootfs"], host["CapDrop"]) == ("none", True, ["ALL"])
        assert "no-new-privileges" in host["SecurityOpt"]
        assert host["Memory"] == host["MemorySwap"] == 64 * 1024**2
        assert user == (os.getuid() or USER)
        (process,) = lab.starts(launch)
        assert process == "1"
        assert (lab.folder(launch) / "starts").stat().st_uid == user
        writable = [mount["Destination"] for mount in seen["Mounts"] if mount["RW"]]
        assert sorted(writable) == ["/scratch", f"/storage/runs/{launch.run}"]

    def test_the_native_request_is_what_is_sent(self, lab: DockerLab) -> None:
        gpus = dataclasses.replace(SMALL, device="gpu", devices=2)
        launch = lab.request(machine=gpus, reads=("models/m", "datasets/d"))
        body = lab.backend().request(launch)
        assert body["Cmd"] == [f"file:///storage/runs/{launch.run}", "1"]
        assert body["HostConfig"]["DeviceRequests"] == [{"Count": 2, "Capabilities": [["gpu"]]}]
        reads = [mount["Target"] for mount in body["HostConfig"]["Mounts"] if mount["ReadOnly"]]
        assert reads == ["/storage/models/m", "/storage/datasets/d"]

    def test_a_gpu_that_the_engine_does_not_have_leaves_nothing(self, lab: DockerLab) -> None:
        if "nvidia" in lab.client.info()["Runtimes"]:
            pytest.skip("this engine has GPUs")
        launch = lab.request(machine=dataclasses.replace(SMALL, device="gpu"))
        with pytest.raises(BackendError, match="capabilities"):
            lab.backend().launch(launch)
        assert list(lab.backend().launches()) == []

    def test_preparing_alone_has_secrets_inputs_and_a_network(self, lab: DockerLab, tmp_path: Path) -> None:
        inputs = tmp_path / "inputs"
        inputs.mkdir(mode=0o755)
        (inputs / "rows.jsonl").write_text("{}")
        (tmp_path / "secrets/hub").mkdir(parents=True)
        (tmp_path / "secrets/hub/token").write_text("hush")
        (tmp_path / "secrets/hub/token").chmod(0o600)
        launch = dataclasses.replace(lab.request(secrets=("hub",), inputs=str(inputs)), step="prepare")
        backend = lab.backend(network="host")
        lab.folder(launch)
        backend.launch(launch)
        wait(lambda: lab.starts(launch))
        assert lab.reads(launch, "/secrets/hub/token") == "hush"
        assert lab.reads(launch, "/inputs/rows.jsonl") == "{}"
        seen = lab.client.inspect_container(launch.name)
        assert seen["HostConfig"]["NetworkMode"] == "host"
        assert {"/storage/models", "/storage/datasets"} <= {
            m["Destination"] for m in seen["Mounts"] if m["RW"]
        }
        lab.leave(launch, 0)
        ended(backend, launch)
        backend.remove(launch.name)
        assert not list((lab.home / "docker").iterdir())

    def test_an_image_that_is_missing_is_named_before_anything_runs(self, lab: DockerLab) -> None:
        launch = lab.request()
        lab.backend().check(launch)
        with pytest.raises(BackendError, match=r"has no image axo\.test/no-such-image:1"):
            lab.backend(trainer_image="axo.test/no-such-image:1").check(launch)
        with pytest.raises(BackendAway):
            lab.away().check(launch)

    def test_a_container_of_somebody_else_is_left_alone(self, lab: DockerLab) -> None:
        launch = lab.started(lab.backend())
        stranger = DockerLab(lab.home / "other", lab.client, lab.image)
        with pytest.raises(BackendError, match="somebody else's"):
            stranger.backend().launch(launch)
        assert lab.backend().observe(launch.name).phase is Phase.RUNNING
        stranger.clear()

    def test_one_that_was_made_and_never_started_is_started(
        self, lab: DockerLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend, launch = lab.backend(), lab.request()
        lab.folder(launch)
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "start", interrupted)
            with pytest.raises(KeyboardInterrupt):
                backend.launch(launch)
        assert backend.observe(launch.name).phase is Phase.MISSING
        assert list(backend.launches()) == [launch.name]
        lab.started(backend)
