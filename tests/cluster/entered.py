"""Ways into a service in a pod of this machine's node, as its manifest and its chart tell people."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from node.places import KUBECONFIG, PROGRAMS

KUBECTL = (str(PROGRAMS / "kubectl"), f"--kubeconfig={KUBECONFIG}")


def in_its_pod(namespace: str, *command: str) -> str:
    """What a command prints that runs beside the service."""
    words = [*KUBECTL, "exec", f"--namespace={namespace}", "deploy/axo", "--container=axo", "--", *command]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def first_key(namespace: str) -> str:
    return in_its_pod(namespace, "axo", "admin", "keys", "create", "ops", "--role=admin").strip()


@contextmanager
def forwarded(namespace: str) -> Iterator[str]:
    """The service's address on this machine, while the pod lives that is behind it now."""
    command = [*KUBECTL, "port-forward", f"--namespace={namespace}", "svc/axo", ":8520"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forwarding:
        assert forwarding.stdout is not None
        try:
            port = re.search(r"127\.0\.0\.1:(\d+)", forwarding.stdout.readline())
            assert port is not None
            yield f"http://127.0.0.1:{port[1]}"
        finally:
            forwarding.terminate()
