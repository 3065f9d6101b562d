"""The whole chain on a real cluster: real preparing and real Axolotl in real pods, through a real service."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import yaml
from cluster_parts import Cluster, Object, shipped, volume, volume_name
from cluster_world import pod_of
from desks import SECONDS, THREADS, axo, ended, make_desk, run_here, weights
from mlflow import MlflowClient
from node import python_image
from road import host_of_pods, road
from s3_server import s3_server
from serving import serving
from waiting import wait

from orchestrator import contract
from orchestrator.client import Client
from orchestrator.shipped import shipped_folder

ROOT = Path(__file__).parents[2]
PROVE = bool(os.environ.get("AXO_PROVE"))
EVICTIONS, STEPS = (10, 400) if PROVE else (2, 120)

pytestmark = pytest.mark.skipif(
    "KUBECONFIG" in os.environ, reason="pods mount the environments of this machine, which other nodes lack"
)


class Pods:
    """Images whose `python` is that of an environment of this machine, and the volumes of both."""

    def __init__(self, cluster: Cluster, namespace: str, environments: dict[str, Path]) -> None:
        self.cluster, self.namespace, self.environments = cluster, namespace, environments
        for name, folder in environments.items():
            for thing in volume(namespace, name, folder):
                cluster.apply(thing)

    def image(self, name: str) -> str:
        image, archive = python_image.make(self.environments[name])
        with tempfile.NamedTemporaryFile(suffix=".tar") as file:
            file.write(archive)
            file.flush()
            subprocess.run([ROOT / "scripts/cluster", "load", file.name], check=True)
        return image

    def job(self) -> Object:
        """The shipped Job with both environments mounted where they lie on this machine."""
        job: Object = yaml.safe_load((shipped_folder("k8s") / "job.yaml").read_text())
        container = pod_of(job)["containers"][0]
        for name, folder in self.environments.items():
            claim = {"claimName": name, "readOnly": True}
            pod_of(job)["volumes"].append({"name": name, "persistentVolumeClaim": claim})
            container["volumeMounts"].append({"name": name, "mountPath": str(folder), "readOnly": True})
        container["env"] += [{"name": name, "value": value} for name, value in THREADS.items()]
        return job


@pytest.fixture
def pods(cluster: Cluster, namespace: str, trainer_python: str) -> Iterator[Pods]:
    trainer = Path(trainer_python).parent.parent.resolve()
    made = Pods(cluster, namespace, {"service": Path(sys.prefix), "trainer": trainer})
    yield made
    for name in made.environments:
        cluster.delete("v1", "PersistentVolume", volume_name(namespace, name))


@pytest.fixture
def home(pods: Pods, tmp_path: Path) -> Path:
    """The home of a service that launches into the namespace."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "job.yaml").write_text(yaml.safe_dump(pods.job()))
    settings = {
        "backend": "kubernetes",
        "kubernetes": {
            "namespace": pods.namespace,
            "service_image": pods.image("service"),
            "trainer_image": pods.image("trainer"),
            "storage_claim": "axo-storage",
            "job": "job.yaml",
        },
        "machines": {"cpu": {"device": "cpu", "cpus": 1, "host_memory_gib": 6, "scratch_gib": 5}},
    }
    (home / "settings.yaml").write_text(yaml.safe_dump(settings))
    return home


@pytest.fixture
def desk(tiny_model: Path, tmp_path: Path) -> Path:
    return make_desk(tmp_path / "desk", tiny_model, STEPS)


class Evictions:
    """Takes the place of a run's trainer away at random moments, and notes what that cost."""

    def __init__(self, pods: Pods, storage: Path, run: str, seed: int) -> None:
        self.pods, self.run, self.random = pods, run, random.Random(seed)
        self.store = contract.FileStore(storage / "runs" / run)
        self.seconds: list[float] = []

    def evict(self, first: int, last: int) -> None:
        """Once some step of these is trained; returns when another pod trains."""
        step = self.random.randint(first, last)
        wait(lambda: self._step() >= step, SECONDS)
        time.sleep(self.random.uniform(0, 0.5))
        attempt, pod = contract.owner(self.store), contract.attempts(self.store)[-1].host
        began = time.monotonic()
        self.pods.cluster.evict(pod, self.pods.namespace)
        wait(lambda: contract.owner(self.store) > attempt and self._records(), SECONDS)
        self.seconds.append(time.monotonic() - began)

    def lost(self) -> list[int]:
        """The steps that each attempt trained and the next had to train again."""
        resumed = [self._records(claim.attempt)[0].values["resumed_from"] for claim in self._trained()[1:]]
        reached = [max(r.step for r in self._records(claim.attempt)) for claim in self._trained()[:-1]]
        return [int(last - first) for last, first in zip(reached, resumed, strict=True)]

    def _trained(self) -> list[contract.Claim]:
        return [claim for claim in contract.attempts(self.store) if self._records(claim.attempt)]

    def _step(self) -> int:
        return max((record.step for record in self._records()), default=-1)

    def _records(self, attempt: int | None = None) -> list[contract.Record]:
        of = attempt or contract.owner(self.store)
        return contract.parse_records(contract.read_stream(self.store, of, "metrics"))[0]


def test_an_evicted_run_ends_with_the_tensors_of_one_that_nobody_disturbed(
    cluster: Cluster,
    pods: Pods,
    home: Path,
    storage: Path,
    desk: Path,
    mlflow_url: str,
    trainer_python: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At last the service is killed too, and the Job of its run removed before it is back."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("AXO_STORAGE", str(storage))
    monkeypatch.setenv("AXO_MLFLOW_URI", mlflow_url)
    seed = int(os.environ.get("AXO_SEED") or time.time())
    print(f"AXO_SEED={seed}")
    with ThreadPoolExecutor() as pool, serving(home) as server:
        beside = pool.submit(run_here, desk, tmp_path / "here", mlflow_url, trainer_python)
        run = axo(desk, "submit", "spec.yaml", AXO_URL=server.url)["id"]
        evictions = Evictions(pods, storage, run, seed)
        share = STEPS // (EVICTIONS + 1)
        for number in range(EVICTIONS):
            evictions.evict(number * share, number * share + share // 2)
        os.kill(server.pid, signal.SIGKILL)
    newest = f"{run}-{contract.attempts(evictions.store)[-1].launch}"
    wait(lambda: cluster.get("batch/v1", "Job", newest, pods.namespace)["status"].get("succeeded"), SECONDS)
    cluster.delete("batch/v1", "Job", newest, pods.namespace, body={"propagationPolicy": "Background"})
    with serving(home) as server:
        told = ended(desk, run, server.url)
    lost = evictions.lost()
    print(f"steps lost by each eviction: {lost}; seconds: {[round(each) for each in evictions.seconds]}")
    assert (told["status"], told["attempts"], len(lost)) == ("succeeded", EVICTIONS + 1, EVICTIONS)
    assert told["published"][0]["reference"].startswith("models:/desk-of-cluster/")
    assert [job["metadata"]["name"] for job in cluster.list("batch/v1", "Job", pods.namespace)] == [
        f"{run}-1"
    ]
    assert weights(storage, run) == weights(tmp_path / "here/storage", beside.result()["id"])


def test_an_evicted_run_reports_and_goes_on_from_a_bucket_with_the_keys_of_its_project(
    cluster: Cluster,
    pods: Pods,
    home: Path,
    desk: Path,
    mlflow_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its loss is in MLflow while it trains, told by its pods over the network under their own tokens."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("AXO_STORAGE", "s3://storage-{project}@axo-pods/{project}")
    monkeypatch.setenv("AXO_MLFLOW_URI", mlflow_url)
    settings = yaml.safe_load((home / "settings.yaml").read_text())
    del settings["kubernetes"]["storage_claim"]
    host = host_of_pods(cluster.kubeconfig)
    with road(host) as way, s3_server(address=host) as server:
        settings["reports"] = {"url": way.url}
        (home / "settings.yaml").write_text(yaml.safe_dump(settings))
        server.make_bucket("axo-pods")
        keys = server.make_user("pods", "axo-pods", "default")
        secret = home / "secrets/storage-default"
        secret.mkdir(parents=True)
        for name, value in keys.items():
            (secret / name).write_text(value)
        body = {"metadata": {"name": "storage-default"}, "stringData": keys}
        cluster.create("v1", "Secret", body, pods.namespace)
        with serving(home) as service:
            way.port = int(service.url.rpartition(":")[2])
            run = axo(desk, "submit", "spec.yaml", AXO_URL=service.url)["id"]
            monkeypatch.setenv("AXO_SECRETS", str(home / "secrets"))
            store = contract.open_store(f"s3://storage-default@axo-pods/default/runs/{run}")
            wait(lambda: [key for key in store.keys("checkpoints") if key.endswith("MANIFEST.json")], SECONDS)
            tracked = axo(desk, "get", run, AXO_URL=service.url)["mlflow"].rpartition("/")[2]
            mlflow = MlflowClient(mlflow_url)
            seen = wait(lambda: len(mlflow.get_metric_history(tracked, "loss")), SECONDS)
            assert mlflow.get_run(tracked).info.status == "RUNNING"
            assert _reports(service.url) > 0
            (pod,) = cluster.list("v1", "Pod", pods.namespace, f"axo/run={run},axo/step=train")
            cluster.evict(pod["metadata"]["name"], pods.namespace)
            told = ended(desk, run, service.url)
            axo(desk, "pull", run, "pulled", AXO_URL=service.url)
        assert (told["status"], told["attempts"]) == ("succeeded", 2)
        curve = [point.step for point in mlflow.get_metric_history(tracked, "loss")]
        assert seen < len(curve)
        assert sorted(curve) == list(range(1, STEPS + 1))
        assert not contract.verify_folder(store, contract.ADAPTER)
        assert "going on from step" in contract.read_stream(store, 3, "log").decode()
        pulled = contract.hash_file(desk / "pulled/adapter_model.safetensors", "adapter_model.safetensors")
        assert pulled in contract.read_manifest(store, contract.ADAPTER).files


@pytest.mark.skipif(not PROVE, reason="three runs of real training: scripts/prove cluster")
def test_urgent_training_takes_the_place_of_other_training_until_its_own_time_is_up(
    cluster: Cluster, pods: Pods, home: Path, storage: Path, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node has room for one of them. The other waits, says why, and loses the steps of one checkpoint."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("AXO_STORAGE", str(storage))
    for thing in shipped("admin/priorities", pods.namespace):
        cluster.apply(thing)
    settings = yaml.safe_load((home / "settings.yaml").read_text())
    small = settings["machines"]["cpu"]
    settings["kubernetes"]["priorities"] = ["axo-spare", "axo-urgent"]
    settings["machines"] = {"cpu": {**small, "cpus": 0.1}, "one": {**small, "cpus": _most_of_a_node(cluster)}}
    (home / "settings.yaml").write_text(yaml.safe_dump(settings))
    text = (desk / "spec.yaml").read_text().partition("publish:")[0]
    spare, urgent = ({"machine": "one", "priority": each} for each in ("axo-spare", "axo-urgent"))
    (desk / "spare.yaml").write_text(text + yaml.safe_dump({"compute": spare}))
    (desk / "urgent.yaml").write_text(text + yaml.safe_dump({"compute": {**urgent, "max_hours": 0.001}}))
    with serving(home) as service, Client(service.url) as client:
        first = axo(desk, "submit", "spare.yaml", AXO_URL=service.url)["id"]
        wait(lambda: (client.run(first).step or 0) > 8, SECONDS)
        second = axo(desk, "submit", "urgent.yaml", AXO_URL=service.url)["id"]
        wait(lambda: client.run(first).reason == "unschedulable", SECONDS)
        assert client.run(first).status == "waiting"
        late = ended(desk, second, service.url)
        assert (late["status"], late["reason"]) == ("failed", "time_limit")
        assert contract.checkpoint_steps(contract.FileStore(storage / "runs" / second))
        done = ended(desk, first, service.url)
        assert (done["status"], done["attempts"]) == ("succeeded", 2)
        assert done["lost_steps"] <= 4
        said = {event.reason for event in client.events(first)}
        assert {"preempted", "unschedulable", "resuming"} <= said


def _most_of_a_node(cluster: Cluster) -> float:
    """Processors, of which no node has twice as many."""
    return 0.6 * max(float(node["status"]["capacity"]["cpu"]) for node in cluster.list("v1", "Node"))


def _reports(url: str) -> float:
    """How many reports a service has taken in."""
    found = re.search(r"^axo_reports_total (\S+)$", httpx.get(f"{url}/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0
