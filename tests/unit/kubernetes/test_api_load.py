"""What a thousand launches cost the API server, and that nothing is asked faster than the operator allows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait

from orchestrator.backend_sections import KubernetesSection
from orchestrator.backends.kubernetes import KubernetesBackend
from orchestrator.backends.kubernetes.pace import WAITED, Pacer
from orchestrator.reasons import Reason
from orchestrator.runs import Phase
from orchestrator.settings import Settings

Object = dict[str, Any]

STORAGE = "file:///srv/axo"
SERVED = {"preferredVersion": {"version": "v1beta2"}}
LACKS_GPUS = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}


class Resting:
    """An API server on which nothing happens any more; it counts what it is asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.asked, self.over = answers, list[str](), threading.Event()

    def get(self, path: str, **query: str) -> Any:
        self.asked.append(path)
        return self.answers[path]

    def stream(self, path: str, silence: float, **query: str) -> Iterator[bytes]:
        self.asked.append(path)
        yield b""
        self.over.wait(60)

    def close(self) -> None:
        self.over.set()


def job(number: int, *, queued: bool) -> Object:
    queue = {"kueue.x-k8s.io/queue-name": "gpus"} if queued else {}
    labels = {"axo/run": f"run-{number}", "axo/launch": "2", **queue}
    metadata = {"name": f"run-{number}-2", "uid": f"u-{number}", "labels": labels}
    return {
        "metadata": {**metadata, "annotations": {"axo/storage": STORAGE}},
        "spec": {"suspend": queued},
        "status": {},
    }


def pod(number: int, *, scheduled: bool) -> Object:
    waits = {"phase": "Pending", "conditions": [LACKS_GPUS]}
    metadata = {"name": f"run-{number}-2-abcde", "creationTimestamp": "2026-11-30T10:00:00Z"}
    return {
        "metadata": metadata,
        "spec": {"containers": [{"name": "step"}]},
        "status": {"phase": "Running"} if scheduled else waits,
    }


def workload(number: int) -> Object:
    metadata = {"name": f"job-run-{number}-2-0a1b2", "labels": {"kueue.x-k8s.io/job-uid": f"u-{number}"}}
    return {"metadata": metadata, "spec": {}, "status": {"conditions": []}}


def full(running: int, waiting: int, queued: int) -> Resting:
    """So many launches of each kind."""
    last = running + waiting
    jobs = [job(n, queued=n >= last) for n in range(last + queued)]
    pods = [pod(n, scheduled=n < running) for n in range(last)]

    def listed(items: list[Object]) -> Object:
        return {"metadata": {"resourceVersion": "1"}, "items": items}

    here = "namespaces/training"
    return Resting(
        {
            f"/apis/batch/v1/{here}/jobs": listed(jobs),
            f"/api/v1/{here}/pods": listed(pods),
            f"/api/v1/{here}/events": listed([]),
            "/apis/kueue.x-k8s.io": SERVED,
            "/apis/visibility.kueue.x-k8s.io": SERVED,
            f"/apis/kueue.x-k8s.io/v1beta2/{here}/workloads": listed(
                [workload(n) for n in range(last, last + queued)]
            ),
            f"/apis/visibility.kueue.x-k8s.io/v1beta2/{here}/localqueues/gpus/pendingworkloads": listed([]),
        }
    )


def test_a_thousand_active_launches_at_rest_ask_less_than_once_a_second() -> None:
    api, now = full(running=700, waiting=200, queued=100), [1000.0]
    section = KubernetesSection(
        namespace="training", service_image="a", trainer_image="b", storage_claim="axo-storage"
    )
    nowhere = Path("/none")
    settings = Settings(nowhere, STORAGE, None, nowhere, nowhere, backend="kubernetes", kubernetes=section)
    backend = KubernetesBackend(settings, api, lambda: now[0])  # type: ignore[arg-type]
    names = [f"run-{number}-2" for number in range(1000)]
    watched = (backend._sight._watched_jobs, backend._sight._watched_pods)
    wait(lambda: all(kind.of(names[0]) is not None for kind in watched))
    seen = [backend.observe(name) for name in names]
    assert [seen[n].phase for n in (0, 899, 999)] == [Phase.RUNNING, Phase.PENDING, Phase.PENDING]
    assert [seen[n].reason for n in (0, 899, 999)] == [None, Reason.UNSCHEDULABLE, Reason.QUEUED]
    api.asked.clear()
    seconds = 15
    for _ in range(2 * seconds):  # as often as the controller looks
        now[0] += 0.5
        for name in names:
            backend.observe(name)
    backend.close()
    assert len(api.asked) / seconds < 1, api.asked


@pytest.mark.parametrize(("per_second", "seconds"), [(1.0, 9.0), (4.0, 1.5), (5.0, 1.0), (20.0, 0.0)])
def test_ten_requests_at_once_take_as_long_as_the_setting_says(per_second: float, seconds: float) -> None:
    now, slept = [0.0], list[float]()

    def sleep(wait: float) -> None:
        slept.append(wait)
        now[0] += wait

    before = WAITED._value.get()
    pacer = Pacer(per_second, lambda: now[0], sleep)
    for _ in range(10):
        pacer.wait()
    assert now[0] == pytest.approx(seconds)
    assert WAITED._value.get() - before == pytest.approx(sum(slept))


def test_a_rest_grants_no_more_than_a_second_of_requests() -> None:
    now = [0.0]

    def sleep(wait: float) -> None:
        now[0] += wait

    pacer = Pacer(5.0, lambda: now[0], sleep)
    now[0] = 1000.0
    for _ in range(10):
        pacer.wait()
    assert now[0] == pytest.approx(1001.0)
