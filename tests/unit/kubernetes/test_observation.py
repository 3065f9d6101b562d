"""What the objects of a cluster say of a launch: those a real one sent, and those one node cannot show."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.kubernetes.observe import STUCK_SECONDS, needs_events, observation
from orchestrator.reasons import Reason
from orchestrator.runs import Observation, Phase

RECORDED = yaml.safe_load(Path(__file__).with_name("recorded.yaml").read_text())
NOW = datetime(2026, 11, 25, 13, 13, tzinfo=UTC).timestamp()
Object = dict[str, Any]

POD: Object = {
    "metadata": {"name": "a-1-x", "namespace": "training", "creationTimestamp": "2026-11-25T13:00:00Z"},
    "status": {"phase": "Running"},
}


def pod(
    *conditions: Object, phase: str = "Running", leaving: str | None = None, code: int | None = None
) -> Object:
    made = copy.deepcopy(POD)
    made["status"].update(phase=phase, conditions=list(conditions))
    if leaving:
        made["metadata"]["deletionTimestamp"] = leaving
    if code is not None:
        made["status"]["containerStatuses"] = [{"name": "step", "state": {"terminated": {"exitCode": code}}}]
    return made


def disrupted(reason: str) -> Object:
    return {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "words"}


def ready(so: bool, of: str = "") -> Object:
    return {"type": f"{of}Ready", "status": str(so)}


def seen(name: str) -> Observation:
    return observation(**RECORDED[name], now=NOW, waits=("", Reason.QUEUED) if name == "suspended" else None)


@pytest.mark.parametrize(
    ("name", "phase", "reason", "words"),
    [
        ("no gpus", Phase.PENDING, Reason.UNSCHEDULABLE, "1 Insufficient nvidia.com/gpu"),
        ("no node", Phase.PENDING, Reason.UNSCHEDULABLE, "didn't match Pod's node affinity/selector"),
        ("no claim", Phase.PENDING, Reason.UNSCHEDULABLE, 'persistentvolumeclaim "none" not found'),
        ("no image", Phase.PENDING, Reason.IMAGE, "axo.test/none:1"),
        ("no secret for a variable", Phase.PENDING, Reason.CONTAINER, 'secret "none" not found'),
        ("no secret to mount", Phase.PENDING, Reason.VOLUME, 'secret "none" not found'),
        ("not admitted", Phase.PENDING, Reason.ADMISSION, 'violates PodSecurity "restricted:latest"'),
        ("quota", Phase.PENDING, Reason.QUOTA, "exceeded quota: none"),
        ("suspended", Phase.PENDING, Reason.QUEUED, ""),
        ("out of memory", Phase.ENDED, Reason.OUT_OF_MEMORY, "more memory than its limit of 128Mi"),
        ("deadline", Phase.ENDED, Reason.DEADLINE, "active longer than specified deadline"),
        ("crashed", Phase.ENDED, None, "its program left with exit code 71: launch 1 as user"),
    ],
)
def test_what_a_real_cluster_said(name: str, phase: Phase, reason: Reason | None, words: str) -> None:
    found = seen(name)
    assert (found.phase, found.reason) == (phase, reason)
    assert words in found.detail


def test_every_recorded_launch_is_read_above() -> None:
    table = test_what_a_real_cluster_said.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {row[0] for row in table} == set(RECORDED)


def test_the_exit_code_is_the_programs_own() -> None:
    assert seen("crashed").exit_code == 71
    assert seen("out of memory").exit_code == 137


@pytest.mark.parametrize(
    ("made", "phase", "reason"),
    [
        (pod(), Phase.RUNNING, None),
        (
            pod(disrupted("PreemptionByScheduler"), leaving="2026-11-25T13:14:00Z"),
            Phase.RUNNING,
            Reason.PREEMPTED,
        ),
        (
            pod(disrupted("EvictionByEvictionAPI"), leaving="2026-11-25T13:14:00Z"),
            Phase.RUNNING,
            Reason.EVICTED,
        ),
        (
            pod(disrupted("DeletionByTaintManager"), leaving="2026-11-25T13:14:00Z"),
            Phase.RUNNING,
            Reason.NODE_LOST,
        ),
        (pod(ready(False), ready(True, "Containers")), Phase.RUNNING, Reason.NODE_LOST),
        (pod(ready(False), ready(False, "Containers")), Phase.RUNNING, None),  # it is ending
        (pod(disrupted("TerminationByKubelet"), phase="Failed"), Phase.PENDING, Reason.EVICTED),
        (pod(disrupted("ByWhoeverComesNext"), phase="Failed"), Phase.PENDING, Reason.EVICTED),
        (pod(phase="Failed", code=75), Phase.PENDING, Reason.RESUMING),
        (pod(phase="Failed", code=70), Phase.RUNNING, None),  # until the Job counts it
        (pod(phase="Succeeded", code=0), Phase.RUNNING, None),
        (pod(phase="Pending"), Phase.PENDING, Reason.STARTING),
        (pod(phase="Unknown"), Phase.UNKNOWN, None),
    ],
)
def test_what_the_newest_pod_says(made: Object, phase: Phase, reason: Reason | None) -> None:
    older = {**pod(phase="Failed"), "metadata": {"creationTimestamp": "2026-11-25T12:00:00Z"}}
    found = observation({}, [made, older], [], NOW)
    assert (found.phase, found.reason) == (phase, reason)


def test_a_pod_evicted_for_what_it_wrote_is_told_from_one_that_its_node_had_no_room_for() -> None:
    """Its Job replaces either; the first would be evicted again and again."""
    evicted = pod(disrupted("TerminationByKubelet"), phase="Failed")
    for words in (
        'Usage of EmptyDir volume "scratch" exceeds the limit "50Gi". ',
        "Pod ephemeral local storage usage exceeds the total limit of containers 50Gi. ",
        'Container step exceeded its local ephemeral storage limit "50Gi". ',
    ):
        evicted["status"]["message"] = words
        replacement = {**pod(), "metadata": {"creationTimestamp": "2026-11-25T13:05:00Z"}}
        found = observation({}, [evicted, replacement], [], NOW)
        assert (found.alive, found.reason, found.detail) == (True, Reason.SCRATCH, words.strip())
    evicted["status"]["message"] = "The node was low on resource: ephemeral-storage. "
    assert observation({}, [evicted], [], NOW).reason is Reason.EVICTED


def test_a_pod_that_should_be_gone_comes_with_the_command_that_releases_it() -> None:
    told = datetime(2026, 11, 25, 13, 0, tzinfo=UTC)
    job = {"metadata": {"deletionTimestamp": "2026-11-25T12:58:00Z"}}
    leaving = pod(disrupted("DeletionByTaintManager"), leaving="2026-11-25T13:00:00Z")
    early = observation(job, [leaving], [], told.timestamp() + STUCK_SECONDS - 1)
    assert early == Observation(Phase.RUNNING, detail="it was told to leave")
    assert observation(job, [leaving], [], told.timestamp() + STUCK_SECONDS) == Observation(
        Phase.RUNNING,
        None,
        "kubectl delete pod a-1-x --namespace training --grace-period=0 --force",
        Reason.STUCK,
    )


def test_a_job_without_a_pod_yet_is_starting() -> None:
    assert observation({}, [], [], NOW) == Observation(Phase.PENDING, reason=Reason.STARTING, resting=True)


def test_a_job_that_only_lets_time_pass_rests_unless_it_has_a_place_in_a_queue() -> None:
    queued = {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}}
    for pods in (
        [],
        [pod(disrupted("TerminationByKubelet"), phase="Failed")],
        [pod(phase="Failed", code=75)],
    ):
        assert observation({}, pods, [], NOW).resting
        assert not observation(queued, pods, [], NOW).resting
    refused = {"reason": "FailedCreate", "message": "exceeded quota"}
    assert not observation({}, [], [refused], NOW).resting
    assert not observation({}, [pod(phase="Pending")], [], NOW).resting


def test_events_are_asked_for_only_where_they_could_say_more() -> None:
    asked = {name for name, parts in RECORDED.items() if needs_events(parts["job"], parts["pods"])}
    nothing_to_say = {"deadline", "out of memory", "crashed", "suspended", "no gpus", "no node", "no claim"}
    assert asked == set(RECORDED) - nothing_to_say
    assert not needs_events({}, [pod()])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.sampled_from(sorted(RECORDED)), st.data())
def test_a_malformed_object_is_read_as_far_as_it_goes(name: str, data: st.DataObject) -> None:
    """Any value of a real object may be anything else: an observation comes of it, never an exception."""
    parts = copy.deepcopy(RECORDED[name])
    spoil(parts, data)
    spoilt = (parts[key] for key in ("job", "pods", "events"))
    job, pods, events = (
        thing if isinstance(thing, kind) else kind()
        for thing, kind in zip(spoilt, (dict, list, list), strict=True)
    )
    assert isinstance(observation(job, pods, events, NOW), Observation)
    assert isinstance(needs_events(job, pods), bool)


def spoil(thing: Any, data: st.DataObject) -> None:
    """Walk down to somewhere, and put something else there."""
    while True:
        keys = list(thing) if isinstance(thing, dict) else list(range(len(thing)))
        key = data.draw(st.sampled_from(keys))
        below = thing[key]
        if not (isinstance(below, (dict, list)) and below) or data.draw(st.integers(0, 3)) == 0:
            thing[key] = data.draw(JSON)
            return
        thing = below
