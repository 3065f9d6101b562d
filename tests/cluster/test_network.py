"""Where each step's packets may go, while the cluster enforces the policies that ship."""

from __future__ import annotations

from dataclasses import replace

from cluster_world import KubernetesLab
from hostile_world import found, launch_hostile, lay_out_hostile_code
from quick_world import own_node
from reachable import Places, places, policies

from orchestrator.backends import LaunchRequest
from orchestrator.contract import StepKind

pytestmark = own_node

NEEDED = {"storage", "the service", "the name server"}
MAY: dict[StepKind, set[str]] = {"prepare": {*NEEDED, "the internet"}, "train": NEEDED, "evaluate": NEEDED}


def test_each_step_reaches_what_it_needs_and_nothing_else(lab: KubernetesLab) -> None:
    lay_out_hostile_code(lab)
    with places(lab.cluster, lab.namespace) as there:
        free = launched(lab, "free", "train", there)
        assert found(lab, free)["reached"] == sorted(there)  # all of it is there, while nobody enforces
        with policies():
            walled = {step: launched(lab, step, step, there) for step in MAY}
            reached = {step: set(found(lab, launch)["reached"]) for step, launch in walled.items()}
    assert reached == MAY


def launched(lab: KubernetesLab, run: str, step: StepKind, there: Places) -> LaunchRequest:
    launch = replace(lab.request(run), step=step)
    launch_hostile(lab, launch, there)
    return launch
