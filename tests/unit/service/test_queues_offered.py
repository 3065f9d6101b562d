"""A spec may name the queues and priorities that the operator offers; without a cluster it may name any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.backend_sections import KubernetesSection
from orchestrator.errors import SpecError
from orchestrator.service.checks import check_machine
from orchestrator.settings import Settings
from orchestrator.spec.load import Loaded, parse_spec

SPEC = """\
name: triage
base_model: org/base@0123abc
dataset: {{source: tickets.jsonl}}
mapping: {{messages: [{{role: assistant, content: "{{{{ queue }}}}"}}]}}
compute: {compute}
"""


def loaded(compute: str) -> Loaded:
    return parse_spec(SPEC.format(compute=compute).encode(), Path("spec.yaml"))


def cluster(**offers: tuple[str, ...]) -> Settings:
    section = KubernetesSection(
        namespace="training", service_image="a", trainer_image="b", storage_claim="axo-storage", **offers
    )
    nowhere = Path("/none")
    return Settings(nowhere, "file:///none", None, nowhere, nowhere, backend="kubernetes", kubernetes=section)


def test_what_is_offered_may_be_named() -> None:
    settings = cluster(queues=("gpus",), priorities=("urgent",))
    check_machine(loaded("{machine: gpu, queue: gpus, priority: urgent}"), settings)
    check_machine(loaded("{machine: gpu}"), settings)


def test_everything_else_is_refused_at_once_with_what_there_is() -> None:
    settings = cluster(queues=("gpus", "spare"))
    with pytest.raises(SpecError) as caught:
        check_machine(loaded("{machine: gpo, queue: gpu, priority: system-node-critical}"), settings)
    told = [(fault.path, fault.line, fault.fix) for fault in caught.value.faults]
    assert told == [
        ("compute.machine", 5, "did you mean 'gpu'? machines here: cpu, gpu"),
        ("compute.queue", 5, "did you mean 'gpus'? queues here: gpus, spare"),
        ("compute.priority", 5, "remove it; the operator offers none"),
    ]


def test_a_backend_without_queues_runs_the_same_spec() -> None:
    elsewhere = replace(cluster(), backend="local")
    check_machine(loaded("{machine: gpu, queue: gpus, priority: urgent}"), elsewhere)
