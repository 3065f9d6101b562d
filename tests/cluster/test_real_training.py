"""The whole chain on a real cluster: real preparing and real Axolotl in real pods, through a real service."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_parts import Cluster, Object, volume, volume_name
from cluster_world import pod_of
from node import python_image
from road import host_of_pods
from s3_server import s3_server
from serving import serving
from waiting import wait

from orchestrator import contract
from orchestrator.shipped import shipped_folder

ROOT = Path(__file__).parents[2]
SECONDS = 400
PROVE = bool(os.environ.get("AXO_PROVE"))
EVICTIONS, STEPS = (10, 400) if PROVE else (2, 60)
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # sums of floats depend on how many there are
SPEC = f"""\
name: desk
base_model: base
dataset: {{source: tickets.jsonl, validation: 0.2}}
mapping:
  messages:
    - {{role: user, content: "{{{{ text }}}}"}}
    - {{role: assistant, content: "{{{{ queue }}}}"}}
adapter: {{kind: lora, r: 4, alpha: 8}}
training:
  {{epochs: 40, max_steps: {STEPS}, checkpoint_steps: 4, learning_rate: 0.002, sequence_len: 64,
    batch_size: 8}}
publish:
  - mlflow: {{model: desk-of-cluster}}
"""

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
    """Somebody's folder with a spec, its data and its base model."""
    folder = tmp_path / "desk"
    folder.mkdir()
    rows = ({"text": f"ticket {i} " + "word " * (i % 7), "queue": f"queue-{i % 3}"} for i in range(120))
    (folder / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "base").symlink_to(tiny_model)
    (folder / "spec.yaml").write_text(SPEC)
    return folder


def axo(desk: Path, *arguments: str, **environment: str) -> Any:
    command = [sys.executable, "-m", "orchestrator.cli", *arguments, "-o", "json"]
    words = {**os.environ, **THREADS, **environment}
    done = subprocess.run(command, cwd=desk, env=words, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ended(run: dict[str, Any]) -> dict[str, Any] | None:
    return run if run["status"] in ("succeeded", "failed", "cancelled") else None


def weights(storage: Path, run: str) -> str:
    return sha256((storage / f"runs/{run}/adapter/adapter_model.safetensors").read_bytes()).hexdigest()


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
    with serving(home) as server:
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
        told = wait(lambda: ended(axo(desk, "get", run, AXO_URL=server.url)), SECONDS)
    lost = evictions.lost()
    print(f"steps lost by each eviction: {lost}; seconds: {[round(each) for each in evictions.seconds]}")
    assert (told["status"], told["attempts"], len(lost)) == ("succeeded", EVICTIONS + 1, EVICTIONS)
    assert told["published"][0]["reference"].startswith("models:/desk-of-cluster/")
    assert [job["metadata"]["name"] for job in cluster.list("batch/v1", "Job", pods.namespace)] == [
        f"{run}-1"
    ]
    monkeypatch.delenv("AXO_STORAGE")
    here = axo(
        desk,
        "run",
        "spec.yaml",
        AXO_HOME=str(tmp_path / "here"),
        AXO_MLFLOW_URI=mlflow_url,
        AXO_TRAINER_PYTHON=trainer_python,
    )
    assert weights(storage, run) == weights(tmp_path / "here/storage", here["id"])


def test_an_evicted_run_goes_on_from_a_bucket_with_the_keys_of_its_project(
    cluster: Cluster,
    pods: Pods,
    home: Path,
    desk: Path,
    mlflow_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("AXO_STORAGE", "s3://storage-{project}@axo-pods/{project}")
    monkeypatch.setenv("AXO_MLFLOW_URI", mlflow_url)
    settings = yaml.safe_load((home / "settings.yaml").read_text())
    del settings["kubernetes"]["storage_claim"]
    (home / "settings.yaml").write_text(yaml.safe_dump(settings))
    with s3_server(address=host_of_pods(cluster.kubeconfig)) as server:
        server.make_bucket("axo-pods")
        keys = server.make_user("pods", "axo-pods", "default")
        secret = home / "secrets/storage-default"
        secret.mkdir(parents=True)
        for name, value in keys.items():
            (secret / name).write_text(value)
        body = {"metadata": {"name": "storage-default"}, "stringData": keys}
        cluster.create("v1", "Secret", body, pods.namespace)
        with serving(home) as service:
            run = axo(desk, "submit", "spec.yaml", AXO_URL=service.url)["id"]
            monkeypatch.setenv("AXO_SECRETS", str(home / "secrets"))
            store = contract.open_store(f"s3://storage-default@axo-pods/default/runs/{run}")
            wait(lambda: [key for key in store.keys("checkpoints") if key.endswith("MANIFEST.json")], SECONDS)
            (pod,) = cluster.list("v1", "Pod", pods.namespace, f"axo/run={run},axo/step=train")
            cluster.evict(pod["metadata"]["name"], pods.namespace)
            told = wait(lambda: ended(axo(desk, "get", run, AXO_URL=service.url)), SECONDS)
            axo(desk, "pull", run, "pulled", AXO_URL=service.url)
        assert (told["status"], told["attempts"]) == ("succeeded", 2)
        assert not contract.verify_folder(store, contract.ADAPTER)
        assert "going on from step" in contract.read_stream(store, 3, "log").decode()
        weights = contract.hash_file(desk / "pulled/adapter_model.safetensors", "adapter_model.safetensors")
        assert weights in contract.read_manifest(store, contract.ADAPTER).files
