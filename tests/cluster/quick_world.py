"""A real service over a real cluster, whose launches are the quick trainer."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import quick_trainer
import yaml
from cluster_parts import Cluster, Object, make_namespace, volume, volume_name
from cluster_world import pod_of
from node import processes
from serving import Server, serving
from waiting import wait

import orchestrator
from orchestrator import contract
from orchestrator.client import Client
from orchestrator.client.pack import packed
from orchestrator.db import Run, opened
from orchestrator.runs import Status
from orchestrator.shipped import shipped_folder
from orchestrator.spec.load import load_spec

SPEC = """\
name: {name}
base_model: org/base@0123abc
dataset: {{source: tickets.jsonl}}
mapping:
  messages:
    - {{role: user, content: "{{{{ text }}}}"}}
    - {{role: assistant, content: "{{{{ queue }}}}"}}
training: {{batch_size: 4}}
"""
SMALL = {"cpus": 0.02, "host_memory_gib": 0.0625, "scratch_gib": 0.05}
MACHINES = {
    "cpu": {"device": "cpu", **SMALL},
    "far": {"device": "cpu", "node_selector": {"no": "such"}, **SMALL},
    "gpu": {"device": "gpu", "memory_gib": 80, **SMALL},
}
SECONDS = 240.0

own_node = pytest.mark.skipif(
    "KUBECONFIG" in os.environ, reason="it is about parts of the node of scripts/cluster"
)


class QuickWorld:
    """A home of a service, the namespace that it launches into, and what tests do to both."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        storage: Path,
        home: Path,
        account: tuple[str, str] = ("axo", "axo"),
        database: str | None = None,
    ) -> None:
        """Of a service that is this account of a namespace; by default its database is a file of the home."""
        self.cluster, self.namespace, self.storage, self.home = cluster, namespace, storage, home
        self.database = database or f"sqlite:///{home / 'axo.db'}"
        self.code = storage.with_name(f"{storage.name}-code")
        self._lay_out_code()
        home.mkdir()
        (home / "tickets.jsonl").write_text('{"text": "a", "queue": "b"}\n')
        (home / "job.yaml").write_text(yaml.safe_dump(quick_job()))
        (home / "settings.yaml").write_text(yaml.safe_dump(self._settings()))
        (home / "kubeconfig").write_text(cluster.kubeconfig_as(*account))
        self.server: Server | None = None
        self.url, self.key = "", ""

    @contextmanager
    def serving(self) -> Iterator[Server]:
        """The service with no more rights than its account, until the block ends or somebody kills it."""
        with serving(
            self.home, AXO_STORAGE=str(self.storage), KUBECONFIG=str(self.home / "kubeconfig")
        ) as it:
            self.server, self.url = it, it.url
            yield it

    def kill_service(self) -> None:
        assert self.server is not None
        os.kill(self.server.pid, signal.SIGKILL)

    def submit(self, name: str, *, hold: int | None = None, **compute: object) -> str:
        """A run by its name; with `hold` it waits at that step of training."""
        spec = self.home / f"{name}.yaml"
        spec.write_text(SPEC.format(name=name) + yaml.safe_dump({"compute": compute}))
        with Client(self.url, key=self.key or None) as client, packed(load_spec(spec)) as package:
            package.send(client)
            run = client.submit(package.submission).id
        if hold is not None:
            self.hold(run, hold)
        return run

    def hold(self, run: str, step: int) -> None:
        folder = self.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".hold").write_text(str(step))
        (folder / ".hold").replace(folder / "hold")

    def says_at_once(self, run: str, words: str) -> None:
        """Let its launches say this and end before they begin an attempt."""
        self.folder(run).mkdir(parents=True, exist_ok=True)
        (self.folder(run) / "last-words").write_text(words)

    def let_go(self, run: str) -> None:
        (self.folder(run) / "hold").unlink(missing_ok=True)

    def folder(self, run: str) -> Path:
        return self.storage / "runs" / run

    def records(self, run: str) -> list[contract.Record]:
        """What the newest attempt of a run has recorded."""
        store = contract.FileStore(self.folder(run))
        return contract.parse_records(contract.read_stream(store, contract.owner(store), "metrics"))[0]

    def weights(self, run: str) -> bytes:
        return (self.folder(run) / "adapter/adapter_model.safetensors").read_bytes()

    def run(self, run: str) -> Run:
        with opened(self.database) as database:
            return database.run(run)

    def ended(self, *runs: str) -> list[Run]:
        """The runs once all have ended."""
        with opened(self.database) as database:

            def all_ended() -> list[Run] | None:
                found = [database.run(run) for run in runs]
                return found if all(each.status.final for each in found) else None

            try:
                done: list[Run] = wait(all_ended, SECONDS)
            except AssertionError:
                found = [database.run(run) for run in runs]
                raise AssertionError([(r.id, r.status, r.reason, r.message) for r in found]) from None
        return done

    def jobs(self, run: str) -> list[Object]:
        return self.cluster.list("batch/v1", "Job", self.namespace, f"axo/run={run}")

    def pods(self, run: str, *, alive: bool = True) -> list[Object]:
        """Its pods of training; those that have neither ended nor are leaving, or all of them."""
        found = self.cluster.list("v1", "Pod", self.namespace, f"axo/run={run},axo/step=train")
        return [pod for pod in found if not alive or _is_alive(pod)]

    def pod(self, run: str) -> str:
        """The name of its one pod that trains, once it does."""

        def training() -> str | None:
            names = [pod["metadata"]["name"] for pod in self.pods(run)]
            claims = contract.attempts(contract.FileStore(self.folder(run)))
            return names[0] if len(names) == 1 and claims and claims[-1].host == names[0] else None

        name: str = wait(training, SECONDS)
        return name

    def kill_process(self, run: str) -> None:
        """SIGKILL to its program, as an administrator or the system might do on the node."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_text().split("\0")
                if "orchestrator.trainer" in words and f"{self.storage.as_uri()}/runs/{run}" in words:
                    os.kill(int(process.name), signal.SIGKILL)

    def assert_right(self, run: Run) -> None:
        """It succeeded, with the weights of a run that nobody disturbed."""
        assert (run.status, run.reason) == (Status.SUCCEEDED, None), (run.id, run.reason, run.message)
        assert self.weights(run.id) == quick_trainer.weights(run.id)

    def forget(self) -> None:
        self.cluster.delete("v1", "PersistentVolume", volume_name(self.namespace, "code"))
        shutil.rmtree(self.code)

    def remove_namespace(self) -> None:
        """With all that is in it; the folders behind its volumes stay."""
        self.cluster.delete("v1", "Namespace", self.namespace)
        wait(lambda: self.cluster.get("v1", "Namespace", self.namespace) is None, 120)
        for claim in self._volumes():
            self.cluster.delete("v1", "PersistentVolume", volume_name(self.namespace, claim))

    def make_namespace(self) -> None:
        make_namespace(self.cluster, self.namespace)
        for claim, folder in self._volumes().items():
            for thing in volume(self.namespace, claim, folder):
                self.cluster.apply(thing)

    def _volumes(self) -> dict[str, Path]:
        return {"axo-storage": self.storage, "code": self.code}

    def _lay_out_code(self) -> None:
        source, package = Path(orchestrator.__file__).parent, self.code / "orchestrator"
        package.mkdir(parents=True)
        shutil.copy(source / "__init__.py", package)
        shutil.copytree(
            source / "contract", package / "contract", ignore=shutil.ignore_patterns("__pycache__")
        )
        for step in ("steps", "trainer"):
            (package / step).mkdir()
            (package / step / "__init__.py").touch()
            shutil.copy(quick_trainer.__file__, package / step / "__main__.py")
        for thing in volume(self.namespace, "code", self.code):
            self.cluster.apply(thing)

    def _settings(self) -> Object:
        return {
            "backend": "kubernetes",
            "kubernetes": {
                "namespace": self.namespace,
                "service_image": self.cluster.image,
                "trainer_image": self.cluster.image,
                "storage_claim": "axo-storage",
                "job": "job.yaml",
                "queues": ["gpus"],
                "priorities": ["axo-spare", "axo-urgent"],
            },
            "reports": {"url": "http://axo.axo.svc:8520"},  # where nobody is: pods' storage tells it all
            "machines": MACHINES,
        }


def quick_job() -> Object:
    """The shipped Job, in which the quick trainer stands where the steps are: of the claim `code`."""
    job: Object = yaml.safe_load((shipped_folder("k8s") / "job.yaml").read_text())
    pod = pod_of(job)
    pod["terminationGracePeriodSeconds"] = 10
    claim = {"claimName": "code", "readOnly": True}
    pod["volumes"].append({"name": "code", "persistentVolumeClaim": claim})
    container = pod["containers"][0]
    container["volumeMounts"].append({"name": "code", "mountPath": "/code", "readOnly": True})
    container["env"].append({"name": "PYTHONPATH", "value": "/code"})
    return job


def _is_alive(pod: Object) -> bool:
    ended = pod["status"].get("phase") in ("Succeeded", "Failed")
    return not ended and "deletionTimestamp" not in pod["metadata"]


@contextmanager
def without(part: str, back: Callable[[], object]) -> Iterator[None]:
    """A part of the node, killed for the length of a `with` block."""
    processes.kill(part)
    try:
        yield
    finally:
        back()
