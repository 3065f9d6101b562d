"""Where the node's parts lie on this machine, and what they are called. One node per machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

KUBERNETES = "1.36.3"
NODE = "axo-node"
GPUS = int(os.environ.get("AXO_CLUSTER_GPUS") or 2)

BRIDGE = "axo0"
ADDRESS = "10.87.0.1"  # the node's own, at which pods find this machine
PODS = "10.87.0.0/24"
SERVICES, FIRST_SERVICE = "10.88.0.0/24", "10.88.0.1"
API_PORT = 26443

HOME = Path(os.environ.get("AXO_CACHE") or Path.home() / ".cache" / "axo") / "cluster"
PROGRAMS = HOME / "programs"
IMAGES = HOME / "images"  # containerd's store; it outlives `down`
STATE = HOME / "state"  # everything else, gone with `down`
KEYS = STATE / "keys"
LOGS = STATE / "logs"
AUDIT = LOGS / "audit.log"  # each request of the service's account, and what it was answered
PIDS = STATE / "pids"
SOCKET = STATE / "containerd.sock"
KUBECONFIG = STATE / "kubeconfig"


class ClusterError(Exception):
    """The cluster cannot be had here; the message says why and what to do."""


def wait_for(what: str, ready: Callable[[], bool], seconds: float) -> None:
    """Ask until it is so.

    Raises:
        ClusterError: it is not, after so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what} within {seconds:.0f} s; its log is in {LOGS}")
        time.sleep(0.1)
