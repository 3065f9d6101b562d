"""A namespace of a real cluster in which stand-ins run as the trainer."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from backend_promises import EngineLab, welcoming
from cluster_parts import Cluster, Object, shipped
from road import host_of_pods
from waiting import wait

import orchestrator
from orchestrator.backend_sections import KubernetesSection
from orchestrator.backends import LaunchRequest, ReportTo
from orchestrator.backends.kubernetes import KubernetesBackend
from orchestrator.backends.kubernetes.api import Api
from orchestrator.errors import BackendError
from orchestrator.machines import Machine
from orchestrator.reasons import Reason
from orchestrator.runs import Observation, Phase
from orchestrator.settings import Settings
from orchestrator.shipped import shipped_folder

SMALL = Machine("small", "cpu", cpus=0.1, host_memory_gib=0.125, scratch_gib=0.1)
GPU = replace(SMALL, name="gpu-1", device="gpu")
GRACE = 2
STAND_IN = Path(__file__).parents[1] / "stand_in.py"

IMAGE = "registry.example/axo@sha256:" + "1" * 64  # one that the admission policy of the tests allows

Change = Callable[[Object], Any]


class KubernetesLab(EngineLab):
    """The backend with the shipped Job, but for the program's place and a short grace."""

    def __init__(self, cluster: Cluster, namespace: str, storage: Path) -> None:
        self.cluster, self.namespace, self.storage = cluster, namespace, storage
        code = storage / "code/orchestrator"
        (code / "trainer").mkdir(parents=True)
        shutil.copy(Path(orchestrator.__file__), code)
        shutil.copy(STAND_IN, code / "trainer/__main__.py")
        (code / "trainer/__init__.py").touch()

    def backend(self, change: Change = lambda job: None, **section: Any) -> KubernetesBackend:
        """The backend; `change` is made to its Job, `section` to its settings."""
        return KubernetesBackend(self.settings(change, **section))

    def settings(self, change: Change = lambda job: None, **section: Any) -> Settings:
        job = yaml.safe_load((shipped_folder("k8s") / "job.yaml").read_text())
        pod = pod_of(job)
        pod["terminationGracePeriodSeconds"] = GRACE
        pod["containers"][0]["env"].append({"name": "PYTHONPATH", "value": str(self.storage / "code")})
        change(job)
        file = self.storage / f"job-{len(list(self.storage.glob('job-*')))}.yaml"
        file.write_text(yaml.safe_dump(job))
        usual: dict[str, Any] = {
            "namespace": self.namespace,
            "service_image": self.cluster.image,
            "trainer_image": self.cluster.image,
            "storage_claim": "axo-storage",
            "job": file,
        }
        nowhere = self.storage / "none"
        return Settings(
            nowhere,
            self.storage.as_uri(),
            None,
            nowhere,
            nowhere,
            backend="kubernetes",
            kubernetes=KubernetesSection(**{**usual, **section}),
        )

    def crippled(self) -> KubernetesBackend:
        return self.backend(namespace="no-such-namespace")

    def away(self) -> KubernetesBackend:
        return self.backend(context="away")  # where nobody listens

    def request(self, run: str = "run-a", machine: Machine = SMALL, **more: Any) -> LaunchRequest:
        launch = LaunchRequest(run, 1, "train", self.storage.as_uri(), machine, ("code",), **more)
        self.folder(launch)
        return launch

    @contextlib.contextmanager
    def listening(self) -> Iterator[ReportTo]:
        """Where the API server is listened for too, since that is where pods reach this machine."""
        host = host_of_pods(self.cluster.kubeconfig)
        with socket.create_server((host, 0)) as listener, welcoming(listener):
            yield ReportTo(f"http://{host}:{listener.getsockname()[1]}")

    def folder(self, launch: LaunchRequest) -> Path:
        folder = self.storage / "runs" / launch.run
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def kill(self, launch: LaunchRequest) -> None:
        arguments = [f"{launch.storage}/runs/{launch.run}", str(launch.launch)]
        for process in Path("/proc").glob("[0-9]*"):  # the node is this machine
            with contextlib.suppress(OSError):
                if (process / "cmdline").read_text().rstrip("\0").split("\0")[-2:] == arguments:
                    os.kill(int(process.name), signal.SIGKILL)

    def pods(self, launch: LaunchRequest) -> list[str]:
        """Its pods by name, the oldest first."""
        label = f"batch.kubernetes.io/job-name={launch.name}"
        found = self.cluster.list("v1", "Pod", self.namespace, label)
        return [each["metadata"]["name"] for each in sorted(found, key=_made)]

    def job(self, launch: LaunchRequest) -> Object | None:
        return self.cluster.get("batch/v1", "Job", launch.name, self.namespace)


class Recording(Api):
    """The API, and each (resource, verb) that was asked of it; what is served at all, everybody may ask."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    def _answer(self, method: str, path: str, query: Any, *more: Any, **options: Any) -> Any:
        parts = path.partition("/namespaces/")[2].split("/")[1:]  # such as pods, NAME, log
        reading = "get" if len(parts) > 1 else "watch" if "watch" in query else "list"
        if parts:
            verb = {"post": "create", "get": reading}.get(method, method)
            self.asked.append(("/".join(parts[::2]), verb))
        return super()._answer(method, path, query, *more, **options)


def granted(file: str, namespace: str) -> set[tuple[str, str]]:
    """Each (resource, verb) of the Role in a shipped manifest."""
    (role,) = (thing for thing in shipped(file, namespace) if thing["kind"] == "Role")
    return {(name, verb) for rule in role["rules"] for name in rule["resources"] for verb in rule["verbs"]}


def pod_of(job: Object) -> Object:
    spec: Object = job["spec"]["template"]["spec"]
    return spec


def _made(thing: Object) -> str:
    return str(thing["metadata"]["creationTimestamp"])


def with_context_away(kubeconfig: Path) -> str:
    """The kubeconfig with a further context `away`, of a server that nobody is."""
    config = yaml.safe_load(kubeconfig.read_text())
    config["clusters"].append({"name": "away", "cluster": {"server": "https://127.0.0.1:9"}})
    user = config["users"][0]["name"]
    config["contexts"].append({"name": "away", "context": {"cluster": "away", "user": user}})
    return yaml.safe_dump(config)


def sees(
    backend: KubernetesBackend, launch: LaunchRequest, phase: Phase, reason: Reason | None
) -> Observation:
    """The observation once it is of this phase and reason."""

    def seen() -> Observation | None:
        now = backend.observe(launch.name)
        return now if (now.phase, now.reason) == (phase, reason) else None

    try:
        found: Observation = wait(seen)
    except AssertionError:
        pytest.fail(f"it is seen as {backend.observe(launch.name)}")
    return found


def refused(lab: KubernetesLab, change: Any = lambda job: None, **settings: Any) -> str:
    """What the policy says against a launch; nothing where it would be taken."""
    backend = lab.backend(change, **{"trainer_image": IMAGE, **settings})
    try:
        backend.check(lab.request())
    except BackendError as error:
        return str(error)
    return ""
