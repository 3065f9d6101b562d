"""Launches whose program is hostile_code.py, and what that finds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml
from cluster_world import KubernetesLab
from reachable import Places
from waiting import wait

from orchestrator.backends import LaunchRequest

_PATHS = (
    "/api/v1/namespaces/{0}/secrets",
    "/api/v1/namespaces/{0}/pods",
    "/apis/batch/v1/namespaces/{0}/jobs",
    "/api/v1/nodes",
)


def lay_out_hostile_code(lab: KubernetesLab) -> None:
    """Where the programs of all steps would be."""
    for module in ("steps", "trainer"):
        folder = lab.storage / "code/orchestrator" / module
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").touch()
        shutil.copy(Path(__file__).with_name("hostile_code.py"), folder / "__main__.py")


def launch_hostile(lab: KubernetesLab, launch: LaunchRequest, there: Places, **section: Any) -> None:
    """`there` is what it is to try to reach, `section` goes to the backend's settings."""
    folder = lab.folder(launch)
    kubeconfig = yaml.safe_load(lab.cluster.kubeconfig.read_text())
    (folder / "api").write_text(kubeconfig["clusters"][0]["cluster"]["server"])
    (folder / "paths").write_text(json.dumps([path.format(lab.namespace) for path in _PATHS]))
    (folder / "places").write_text(json.dumps(there))
    lab.backend(**section).launch(launch)


def found(lab: KubernetesLab, launch: LaunchRequest) -> dict[str, Any]:
    report = lab.folder(launch) / "found.json"
    wait(report.exists)
    return dict(json.loads(report.read_text()))
