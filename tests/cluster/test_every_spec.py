"""Whatever a spec and the operator's machines say, the strictest admission takes each of its launches.

Generated specs go through the service's own way from text to manifest. The API server judges: the admission
policy its Job, Pod Security its pod, both for a namespace that enforces them. 20 specs, 500 with AXO_PROVE.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from cluster_parts import Object, shipped
from cluster_world import IMAGE, KubernetesLab
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from memory_world import PREPARED, MemoryBackend, World

from orchestrator import wire
from orchestrator.backends import LaunchRequest
from orchestrator.backends.kubernetes import KubernetesBackend
from orchestrator.backends.kubernetes.api import Api
from orchestrator.contract import Result
from orchestrator.controller.reconcile import Controller
from orchestrator.db import Database, open_database
from orchestrator.machines import Machine
from orchestrator.runs import Status
from orchestrator.service import LOCAL
from orchestrator.service.runs import Runs
from orchestrator.settings_file import MachineEntry

SPECS = 500 if os.environ.get("AXO_PROVE") else 20
MACHINE = "the-machine"
STEPS = {"prepare", "train", "evaluate"}
FOUND: Object = {**PREPARED, "dataset_facts": {**PREPARED["dataset_facts"], "validation_rows": 20}}

text = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=60)
names = st.from_regex(r"\A[a-z]([a-z0-9-]{0,38}[a-z0-9])?\Z")
secret = st.sampled_from([None, "hub", "s3"])
labels = st.from_regex(r"\A[a-z]{1,8}(\.[a-z]{1,8})?/[a-z]([a-z0-9-]{0,8}[a-z0-9])?\Z")


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


sources = st.fixed_dictionaries(
    {"source": text.map(lambda name: f"s3://bucket/{name}.jsonl"), "secret": secret}
)
specs = st.fixed_dictionaries(
    {
        "name": names,
        "description": optional(text),
        "base_model": st.fixed_dictionaries({"source": st.just("org/base@0123abc"), "secret": secret}),
        "dataset": st.fixed_dictionaries(
            {"source": st.lists(sources, min_size=1, max_size=3), "validation": st.just(0.2)}
        ),
        "mapping": st.just({"messages": [{"role": "assistant", "content": "{{ text }}"}]}),
        "adapter": st.fixed_dictionaries({"kind": st.sampled_from(["lora", "qlora", "full"])}),
        "training": st.just({"batch_size": 64}),
        "compute": st.fixed_dictionaries(
            {"machine": st.just(MACHINE), "max_hours": optional(st.floats(0.1, 100))}
        ),
        "evaluate": st.just({"rows": 10}),
        "tracking": st.fixed_dictionaries({"experiment": optional(text)}),
    }
)
tolerations = st.fixed_dictionaries(
    {"key": labels, "effect": st.sampled_from([None, "NoSchedule", "PreferNoSchedule"])}
)
machines = st.fixed_dictionaries(
    {
        "device": st.sampled_from(["cpu", "gpu"]),
        "devices": st.sampled_from([1, 2, 4, 8]),
        "cpus": optional(st.floats(0.001, 10_000)),
        "host_memory_gib": optional(st.floats(0.01, 100_000)),
        "scratch_gib": optional(st.floats(0.01, 1_000_000)),
        "gpu_resource": st.sampled_from(["nvidia.com/gpu", "nvidia.com/mig-3g.40gb", "amd.com/gpu"]),
        "node_selector": st.dictionaries(labels, names, max_size=3),
        "tolerations": st.lists(tolerations, max_size=3).map(tuple),
        "priority": st.sampled_from([None, "axo-spare", "axo-urgent"]),
    }
)


class Judged(MemoryBackend):
    """Lets the API server judge the Job and the pod of each launch, and runs none of them."""

    def __init__(self, backend: KubernetesBackend, namespace: str) -> None:
        super().__init__()
        self.asks, self.pods, self.api = backend, f"/api/v1/namespaces/{namespace}/pods", Api()
        self.steps: list[str] = []

    def request(self, launch: LaunchRequest) -> Mapping[str, Any]:
        return self.asks.request(launch)

    def launch(self, launch: LaunchRequest) -> None:
        self.asks.check(launch)
        template = self.request(launch)["spec"]["template"]
        pod: Object = {**template, "apiVersion": "v1", "kind": "Pod"}
        pod["metadata"] = {**template["metadata"], "name": f"{launch.name}-abcde"}
        self.api.create(self.pods, pod, dryRun="All")
        self.steps.append(launch.step)
        super().launch(launch)


@pytest.mark.usefixtures("admission")
def test_every_launch_of_every_spec_is_admitted(lab: KubernetesLab, tmp_path: Any) -> None:
    for thing in shipped("admin/priorities", lab.namespace):
        lab.cluster.apply(thing)
    base = lab.settings(trainer_image=IMAGE, service_image=IMAGE, secrets=("hub", "s3"))
    judge = KubernetesBackend(base)
    database = open_database(f"sqlite:///{tmp_path / 'axo.db'}")
    judged: list[str] = []

    @settings(
        max_examples=SPECS,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(specs, machines)
    def admitted(spec: Object, machine: Object) -> None:
        backend = Judged(judge, lab.namespace)
        judged.append(launched(spec, machine, base, database, backend))
        assert set(backend.steps) == STEPS

    admitted()
    assert len(judged) >= SPECS
    print(f"{len(judged)} specs, {len(STEPS)} launches each: all admitted")
    database.close()


def launched(spec: Object, machine: Object, base: Any, database: Database, backend: Judged) -> str:
    """Bring a run of the spec through all its steps; its id."""
    entry = MachineEntry.model_validate(without_nothing(machine))
    catalogue = {**base.machines, MACHINE: Machine(MACHINE, **entry.model_dump(exclude_none=True))}
    own = replace(base, machines=catalogue)
    asked = wire.Submission(spec=json.dumps(without_nothing(spec), ensure_ascii=False), base="/nowhere")
    runs = Runs(own, database, backend, lambda: 1.0, Nobody())  # type: ignore[arg-type]
    run = runs.submit(LOCAL, asked, uuid.uuid4().hex).id
    world = World(database, backend, Controller(own, database, backend, lambda: 1.0), run)
    for number in range(1, len(STEPS) + 1):
        seen = world.passes(2)
        assert seen.status is not Status.FAILED, (seen.message, spec, machine)
        world.end(number, Result.SUCCESS, **(FOUND if number == 1 else {}))
    return run


class Nobody:
    def set(self) -> None:
        """Nobody waits for news."""


def without_nothing(value: Any) -> Any:
    """Without the fields that are not said."""
    if isinstance(value, dict):
        return {key: without_nothing(each) for key, each in value.items() if each is not None}
    return type(value)(map(without_nothing, value)) if isinstance(value, list | tuple) else value
