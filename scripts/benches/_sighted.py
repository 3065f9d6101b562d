"""A plain watch, as `kubectl get -w` has one: when it was first told of what happens in a namespace."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from kubernetes import client

Seen = dict[str, float]


class PlainWatch:
    """Wall-clock times of Jobs made and complete, of pods running and ended, each by the Job's name."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self.made, self.complete, self.running, self.ended = Seen(), Seen(), Seen(), Seen()
        batch, core = client.BatchV1Api(api), client.CoreV1Api(api)
        for calls, take_in in (
            (lambda **more: batch.list_namespaced_job(namespace, **more), self._job),
            (lambda **more: core.list_namespaced_pod(namespace, **more), self._pod),
        ):
            threading.Thread(target=_follow, args=(calls, take_in), daemon=True).start()

    def wait(self, seen: Seen, name: str, seconds: float = 60.0) -> float:
        """When it was seen, once it is."""
        deadline = time.monotonic() + seconds
        while name not in seen:
            if time.monotonic() > deadline:
                raise SystemExit(f"{name} was not seen within {seconds:.0f} s")
            time.sleep(0.005)
        return seen[name]

    def _job(self, job: dict[str, Any], now: float) -> None:
        name = job["metadata"]["name"]
        self.made.setdefault(name, now)
        conditions = job.get("status", {}).get("conditions") or ()
        if any((each["type"], each["status"]) == ("Complete", "True") for each in conditions):
            self.complete.setdefault(name, now)

    def _pod(self, pod: dict[str, Any], now: float) -> None:
        name = pod["metadata"]["name"].rpartition("-")[0]
        phase = pod.get("status", {}).get("phase")
        if phase == "Running":
            self.running.setdefault(name, now)
        elif phase in ("Succeeded", "Failed"):
            self.ended.setdefault(name, now)


def _follow(calls: Callable[..., Any], take_in: Callable[[dict[str, Any], float], None]) -> None:
    answer = calls(watch=True, _preload_content=False, _request_timeout=(5, 3600))
    rest = b""
    for part in answer.stream(None, decode_content=True):
        *lines, rest = (rest + part).split(b"\n")
        now = time.time()
        for line in filter(None, lines):
            event = json.loads(line)
            if event["type"] in ("ADDED", "MODIFIED"):
                take_in(event["object"], now)
