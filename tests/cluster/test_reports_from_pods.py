"""Pods of a real cluster that report to a real service, by tokens that say whose they are."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import reporting
from cluster_world import KubernetesLab
from road import host_of_pods, road
from serving import served
from waiting import wait

import orchestrator
from orchestrator.api.app import make_app
from orchestrator.backends import LaunchRequest, ReportTo
from orchestrator.backends.kubernetes import KubernetesBackend
from orchestrator.controller.of_run import run_store
from orchestrator.controller.record import take_in_records
from orchestrator.db import Database, Run, opened
from orchestrator.runs import Status
from orchestrator.service import Access, Service

RUN, OTHER, STEPS = "run-a", "run-b", reporting.STEPS


@dataclass
class World:
    """A service that drives no run, so that it knows nothing but what is reported."""

    lab: KubernetesLab
    database: Database
    backend: KubernetesBackend
    url: str

    def launch(self, name: str) -> LaunchRequest:
        storage = self.lab.storage.as_uri()
        run = Run(name, name, "d", {}, "", "", storage, Status.WAITING, time.time(), time.time())
        self.database.submit(run)
        self.database.add_launch(name, "train", 1, time.time())
        launch = self.lab.request(name, report=ReportTo(self.url))
        self.backend.launch(launch)
        return launch

    def steps(self, name: str = RUN) -> list[int]:
        return [point.step for point in self.database.points(name, "loss")]

    def token(self, name: str, attempt: int) -> str:
        return (self.lab.storage / f"runs/{name}/token-{attempt}").read_text()

    def tell(self, token: str, run: str = RUN, attempt: int = 2) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{self.url}/api/v1/reports/{run}/1/{attempt}"
        return httpx.put(url, params={"offset": 0}, headers=headers).status_code


@pytest.fixture
def world(lab: KubernetesLab, tmp_path: Path) -> Iterator[World]:
    package, code = Path(orchestrator.__file__).parent, lab.storage / "code/orchestrator"
    shutil.copytree(package / "contract", code / "contract")
    for name in ("record", "report"):
        shutil.copy(package / f"trainer/{name}.py", code / "trainer")
    shutil.copy(reporting.__file__, code / "trainer/__main__.py")
    host = host_of_pods(lab.cluster.kubeconfig)
    with opened(f"sqlite:///{tmp_path}/axo.db") as database, road(host) as way:
        settings = replace(lab.settings(), home=tmp_path, report_url=way.url)
        backend = KubernetesBackend(settings)
        service = Service(settings, database, backend)
        with served(make_app(service, Access(database, time.time), [host])) as way.port:
            yield World(lab, database, backend, way.url)
        backend.close()


def test_what_pods_report_is_known_once_and_by_whom(world: World) -> None:
    launch = world.launch(RUN)
    wait(lambda: world.steps() == list(range(1, STEPS + 1)))
    (first,) = world.lab.pods(launch)
    world.lab.cluster.delete("v1", "Pod", first, world.lab.namespace)
    last = STEPS + STEPS // 2  # the next pod trains half of the steps again
    wait(lambda: world.steps() == list(range(1, last + 1)))
    run = world.database.run(RUN)
    assert (run.step, run.total_steps, run.lost_steps) == (last, STEPS, STEPS // 2)
    take_in_records(world.database, RUN, run_store(run), time.time())
    assert world.database.run(RUN) == run, "storage has no more, and no less"

    assert world.tell(world.token(RUN, 2)) == 200
    assert world.tell(world.token(RUN, 1)) == 401  # its pod is gone
    assert world.tell(world.token(RUN, 2), attempt=1) == 409
    world.launch(OTHER)
    wait(lambda: len(world.steps(OTHER)) == STEPS)
    assert world.tell(world.token(OTHER, 1), OTHER, 1) == 200
    assert world.tell(world.token(OTHER, 1)) == 403
    world.database.move(run, Status.PUBLISHING, None, "", time.time())
    assert world.tell(world.token(RUN, 2)) == 401
    assert world.steps() == list(range(1, last + 1))
