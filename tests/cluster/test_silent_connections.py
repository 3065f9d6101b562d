"""Connections to a real API server that fall silent: half open, as when a firewall has forgotten them."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from cluster_world import KubernetesLab, Recording, sees
from road import road
from waiting import wait

from orchestrator.backends.kubernetes import KubernetesBackend, watch
from orchestrator.runs import Phase, Reason

HANDS = 4
SILENCE = watch.SILENCE_SECONDS if os.environ.get("AXO_PROVE") else 3.0


def test_a_silent_watch_is_found_out_and_what_it_missed_is_seen(
    lab: KubernetesLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The idle connections of several at once have fallen silent with it, and hold nobody up."""
    monkeypatch.setattr(watch, "SILENCE_SECONDS", SILENCE)
    config = yaml.safe_load((tmp_path / "kubeconfig").read_text())
    server = urlsplit(config["clusters"][0]["cluster"]["server"])
    with road(str(server.hostname), server.port or 443) as way, ThreadPoolExecutor(HANDS) as hands:
        way.host = str(server.hostname)
        config["clusters"][0]["cluster"]["server"] = way.url.replace("http:", "https:")
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        api, launch = Recording(), lab.request()
        backend = KubernetesBackend(lab.settings(lambda job: job["spec"].update(suspend=True)), api)
        backend.launch(launch)
        sees(backend, launch, Phase.PENDING, Reason.SUSPENDED)
        wait(lambda: {("jobs", "watch"), ("pods", "watch")} <= set(api.asked))
        list(
            hands.map(lambda _: backend.launches(), range(HANDS))
        )  # by connections that are idle from then on
        way.fall_silent()
        began = time.monotonic()
        lab.cluster.change("batch/v1", "Job", launch.name, {"spec": {"suspend": False}}, lab.namespace)

        def all_see_it() -> bool:
            seen = list(hands.map(backend.observe, [launch.name] * HANDS))
            return all(each.phase is Phase.RUNNING for each in seen)

        wait(all_see_it, SILENCE + 60)
        took = time.monotonic() - began
        backend.close()
    print(f"what a silent watch missed was seen after {took:.1f} s (goal: within {SILENCE + 5:g} s)")
    assert took < SILENCE + 5
