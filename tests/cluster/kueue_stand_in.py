"""A stand-in for Kueue on a real cluster: it keeps Kueue's contract for Jobs and the GPUs of a queue.

Its objects are Kueue's (group, version, names, labels, conditions and their messages), so what is tested with
it is how the product reads them, and what the real Job controller makes of being suspended. It knows one
resource, one flavor, one pod for each Job, and the preemption policy LowerPriority.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from cluster_parts import Cluster, Object
from kubernetes.client.exceptions import ApiException
from waiting import wait

from orchestrator.backends.kubernetes.manifest import QUEUE, QUEUE_PRIORITY
from orchestrator.backends.kubernetes.queues import GROUP, OWNER

VERSION = f"{GROUP}/v1beta2"
GPU = "nvidia.com/gpu"
KINDS = {
    "Workload": ("workloads", "Namespaced"),
    "LocalQueue": ("localqueues", "Namespaced"),
    "ClusterQueue": ("clusterqueues", "Cluster"),
    "ResourceFlavor": ("resourceflavors", "Cluster"),
    "WorkloadPriorityClass": ("workloadpriorityclasses", "Cluster"),
}
_DEFINITIONS = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
_OURS = {"axo-test/stand-in": "kueue"}
_SECONDS = 0.1


@contextmanager
def kueue(cluster: Cluster, namespace: str) -> Iterator[KueueStandIn | None]:
    """Kueue for a namespace: the cluster's own where it has it (then nothing is given), else the stand-in."""
    if _is_there(cluster):
        yield None
        return
    for kind in KINDS:
        cluster.apply(_definition(kind))
    wait(lambda: all(_served(cluster, kind) for kind in KINDS))
    stand_in = KueueStandIn(cluster, namespace)
    over = threading.Event()
    thread = threading.Thread(target=stand_in.run, args=(over,), name="kueue", daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        over.set()
        thread.join()
        for plural, _ in KINDS.values():
            cluster.delete(*_DEFINITIONS, f"{plural}.{GROUP}")
        wait(lambda: not cluster.list(*_DEFINITIONS, label="axo-test/stand-in=kueue"))
    assert not stand_in.faults


class KueueStandIn:
    """Goes through the namespace's Jobs and Workloads; `faults` are what it could not do."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self.faults: list[Exception] = []

    def run(self, over: threading.Event) -> None:
        while not over.wait(_SECONDS):
            try:
                self._pass()
            except ApiException as error:
                if error.status not in (404, 409):  # something has changed meanwhile: the next pass sees it
                    self.faults.append(error)

    def waiting(self, queue: str) -> list[Object]:
        """The Workloads that wait in a queue, the next one first."""
        pending = [
            each for each in self._list("Workload") if each["spec"]["queueName"] == queue and _waits(each)
        ]
        return sorted(pending, key=lambda each: (-each["spec"]["priority"], int(each["spec"]["order"])))

    def _pass(self) -> None:
        jobs = {job["metadata"]["uid"]: job for job in self._cluster.list("batch/v1", "Job", self._namespace)}
        workloads = {each["metadata"]["labels"][OWNER]: each for each in self._list("Workload")}
        for uid, job in jobs.items():
            if QUEUE in job["metadata"]["labels"] and uid not in workloads:
                self._take_up(job)
        for uid, workload in workloads.items():
            if uid in jobs:
                self._let_go_of_ended(jobs[uid], workload)
        for queue in {each["spec"]["queueName"] for each in workloads.values()}:
            self._admit_from(queue, jobs)

    def _take_up(self, job: Object) -> None:
        metadata, name = job["metadata"], job["metadata"]["labels"].get(QUEUE_PRIORITY)
        found = self._cluster.get(VERSION, "WorkloadPriorityClass", name) if name else None
        digest = hashlib.sha1(metadata["uid"].encode()).hexdigest()[:5]
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": metadata["name"],
            "uid": metadata["uid"],
            "controller": True,
        }
        body = {
            "metadata": {
                "name": f"job-{metadata['name']}-{digest}",
                "labels": {OWNER: metadata["uid"]},
                "ownerReferences": [owner],
            },
            "spec": {
                "active": True,
                "queueName": metadata["labels"][QUEUE],
                "priority": found["value"] if found else 0,
                "podSets": [{"name": "main", "count": 1, "template": job["spec"]["template"]}],
                "order": int(metadata["resourceVersion"]),  # real Kueue goes by when it was made
            },
        }
        self._cluster.create(VERSION, "Workload", body, self._namespace)

    def _let_go_of_ended(self, job: Object, workload: Object) -> None:
        ends = {each["type"] for each in job["status"].get("conditions") or () if each["status"] == "True"}
        if ends & {"Complete", "Failed"} and not _is(workload, "Finished"):
            self._say(workload, ("Finished", True, "Succeeded" if "Complete" in ends else "Failed", ""))

    def _admit_from(self, queue: str, jobs: Mapping[str, Object]) -> None:
        waiting = self.waiting(queue)
        shut = self._shut(queue)
        for workload in waiting:
            job = jobs.get(workload["metadata"]["labels"][OWNER])
            if job is None:
                continue
            if shut or not workload["spec"]["active"]:
                self._suspend(job, True)
                self._say(workload, ("QuotaReserved", False, "Inadmissible", shut))
            elif not self._admit(workload, job, jobs):
                return  # StrictFIFO: who comes after waits as well

    def _shut(self, queue: str) -> str:
        """Why nothing of a queue may go, in Kueue's words; nothing where it may."""
        local = self._cluster.get(VERSION, "LocalQueue", queue, self._namespace)
        if local is None:
            return f"LocalQueue {queue} doesn't exist"
        if local["spec"].get("stopPolicy", "None") != "None":
            return f"LocalQueue {queue} is inactive"
        return ""

    def _admit(self, workload: Object, job: Object, jobs: Mapping[str, Object]) -> bool:
        """Let it go if its quota is free; else say what it lacks, and take the place of lesser ones."""
        local = self._cluster.get(VERSION, "LocalQueue", workload["spec"]["queueName"], self._namespace)
        assert local is not None
        whole = self._cluster.get(VERSION, "ClusterQueue", local["spec"]["clusterQueue"])
        assert whole is not None
        (flavor,) = whole["spec"]["resourceGroups"][0]["flavors"]
        (quota,) = [int(each["nominalQuota"]) for each in flavor["resources"] if each["name"] == GPU]
        holders = [each for each in self._list("Workload") if _holds(each, jobs)]
        lack = _gpus(workload) + sum(map(_gpus, holders)) - quota
        if lack <= 0:
            self._say(
                workload,
                ("QuotaReserved", True, "QuotaReserved", ""),
                ("Admitted", True, "Admitted", ""),
                *([("Evicted", False, "QuotaReserved", "")] if _is(workload, "Evicted") else []),
            )
            self._suspend(job, False)
            return True
        words = f"insufficient unused quota for {GPU} in flavor {flavor['name']}, {lack} more needed"
        self._say(
            workload,
            ("QuotaReserved", False, "Pending", f"couldn't assign flavors to pod set main: {words}"),
        )
        if whole["spec"].get("preemption", {}).get("withinClusterQueue") == "LowerPriority":
            self._preempt(workload, holders, lack, jobs)
        return False

    def _preempt(
        self, workload: Object, holders: Sequence[Object], lack: int, jobs: Mapping[str, Object]
    ) -> None:
        lesser = [each for each in holders if each["spec"]["priority"] < workload["spec"]["priority"]]
        for victim in sorted(lesser, key=lambda each: (each["spec"]["priority"], -each["spec"]["order"])):
            if lack <= 0:
                return
            lack -= _gpus(victim)
            if _is(victim, "Admitted"):
                words = f"Preempted to accommodate a workload (UID: {workload['metadata']['uid']})"
                self._say(
                    victim,
                    ("Evicted", True, "Preempted", words),
                    ("Preempted", True, "InClusterQueue", words),
                    ("QuotaReserved", False, "Pending", words),
                    ("Admitted", False, "NoReservation", "The workload has no reservation"),
                    ("Requeued", True, "Preempted", words),
                )
                self._suspend(jobs[victim["metadata"]["labels"][OWNER]], True)

    def _say(self, workload: Object, *told: tuple[str, bool, str, str]) -> None:
        """Set conditions, where they are not so already."""
        now = {each["type"]: each for each in workload.get("status", {}).get("conditions", ())}
        new = {
            kind: {"type": kind, "status": str(true), "reason": reason, "message": message}
            for kind, true, reason, message in told
        }
        if {**now, **new} != now:
            workload["status"] = {"conditions": list({**now, **new}.values())}
            name, status = workload["metadata"]["name"], workload["status"]
            self._cluster.change_status(VERSION, "Workload", name, status, self._namespace)

    def _suspend(self, job: Object, suspend: bool) -> None:
        if job["spec"]["suspend"] is not suspend:
            name, what = job["metadata"]["name"], {"spec": {"suspend": suspend}}
            self._cluster.change("batch/v1", "Job", name, what, self._namespace)
            job["spec"]["suspend"] = suspend

    def _list(self, kind: str) -> list[Object]:
        return self._cluster.list(VERSION, kind, self._namespace)


def _definition(kind: str) -> Object:
    plural, scope = KINDS[kind]
    anything = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1beta2", "served": True, "storage": True, "schema": anything}
    return {
        "apiVersion": _DEFINITIONS[0],
        "kind": _DEFINITIONS[1],
        "metadata": {
            "name": f"{plural}.{GROUP}",
            "labels": _OURS,
            "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in for tests"},
        },
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [{**version, "subresources": {"status": {}}}],
        },
    }


def _is_there(cluster: Cluster) -> bool:
    """Whether the cluster has a Kueue that is none of ours."""
    found = cluster.get(*_DEFINITIONS, f"workloads.{GROUP}")
    return found is not None and _OURS.items() - (found["metadata"].get("labels") or {}).items() != set()


def _served(cluster: Cluster, kind: str) -> bool:
    try:
        cluster.list(VERSION, kind)
    except Exception:  # discovery and the API itself lag behind the definition, each in its own way
        return False
    return True


def _is(workload: Object, kind: str) -> bool:
    conditions = workload.get("status", {}).get("conditions", ())
    return any((each["type"], each["status"]) == (kind, "True") for each in conditions)


def _waits(workload: Object) -> bool:
    return not _is(workload, "Admitted") and not _is(workload, "Finished")


def _holds(workload: Object, jobs: Mapping[str, Object]) -> bool:
    """Whether its quota is taken: from being admitted until its pod is gone."""
    job = jobs.get(workload["metadata"]["labels"][OWNER])
    if job is None or _is(workload, "Finished"):
        return False
    leaving = (job["status"].get("active") or 0) + (job["status"].get("terminating") or 0)
    return _is(workload, "Admitted") or (_is(workload, "Evicted") and leaving > 0)


def _gpus(workload: Object) -> int:
    (container,) = workload["spec"]["podSets"][0]["template"]["spec"]["containers"]
    return int(container["resources"]["requests"].get(GPU, 0))
