"""Places that code in a pod may try to reach, each really there, and the node's NetworkPolicies."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from cluster_parts import Cluster, Object, restricted_pod, script, shipped
from node.places import BRIDGE
from road import host_of_pods
from waiting import wait

# Of nobody: addresses that no other machine has either, put onto the node for as long as a test takes.
INTERNET, METADATA = "203.0.113.9", "169.254.169.254"
SERVICE_PORT = 8520

Places = Mapping[str, tuple[str, str, int]]  # protocol, address, port

_LISTEN = "import socket, time; kept = [socket.create_server(('', n)) for n in {ports}]; time.sleep(3600)"


@contextmanager
def policies() -> Iterator[None]:
    """The cluster's NetworkPolicies in force."""
    script("policies", "up")
    try:
        yield
    finally:
        script("policies", "down")


@contextmanager
def places(cluster: Cluster, namespace: str) -> Iterator[Places]:
    """What there is to reach, by name; storage is what the namespace's policy of k8s/storage.yaml names."""
    host = host_of_pods(cluster.kubeconfig)
    with ExitStack() as stack:
        for address in (INTERNET, METADATA):
            stack.enter_context(_owned(address))
        storage, other = (stack.enter_context(_listening(host)) for _ in range(2))
        service = stack.enter_context(
            _pod(cluster, "axo", f"{namespace}-service", {"app.kubernetes.io/name": "axo"})
        )
        stranger = stack.enter_context(_pod(cluster, "axo", f"{namespace}-stranger", {}))
        launch = {"app.kubernetes.io/component": "launch"}
        neighbour = stack.enter_context(_pod(cluster, namespace, "neighbour", launch))
        names = stack.enter_context(
            _pod(cluster, "kube-system", f"{namespace}-names", {"k8s-app": "kube-dns"}, 53)
        )
        cluster.apply(_storage_policy(namespace, host, storage))
        yield {
            "storage": ("tcp", host, storage),
            "another server of the host": ("tcp", host, other),
            "the host by datagrams": ("udp", host, stack.enter_context(_echoing(host))),
            "the host by its link": ("tcp", f"{_link_address()}%eth0", stack.enter_context(_listening("::"))),
            "the API server": ("tcp", host, _api_port(cluster)),
            "the service": ("tcp", service, SERVICE_PORT),
            "another port of the service": ("tcp", service, SERVICE_PORT + 1),
            "another pod of the service": ("tcp", stranger, SERVICE_PORT),
            "another launch": ("tcp", neighbour, SERVICE_PORT),
            "the name server": ("tcp", names, 53),
            "the internet": ("tcp", INTERNET, stack.enter_context(_listening(INTERNET, 443))),
            "the internet, unencrypted": ("tcp", INTERNET, stack.enter_context(_listening(INTERNET, 80))),
            "metadata": ("tcp", METADATA, stack.enter_context(_listening(METADATA, 80))),
            "metadata, encrypted": ("tcp", METADATA, stack.enter_context(_listening(METADATA, 443))),
        }


@contextmanager
def _owned(address: str) -> Iterator[None]:
    subprocess.run(["ip", "address", "replace", f"{address}/32", "dev", BRIDGE], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "address", "delete", f"{address}/32", "dev", BRIDGE], check=True)


@contextmanager
def _listening(address: str, port: int = 0) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, backlog=100) as listener:
        yield listener.getsockname()[1]


@contextmanager
def _echoing(address: str) -> Iterator[int]:
    """Datagrams are sent back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((address, 0))

        def echo() -> None:
            with contextlib.suppress(OSError):
                while (come := listener.recvfrom(100))[0] != b"over":
                    listener.sendto(*come)

        thread = threading.Thread(target=echo)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.sendto(b"over", listener.getsockname())
            thread.join()


@contextmanager
def _pod(
    cluster: Cluster, namespace: str, name: str, labels: Mapping[str, str], *ports: int
) -> Iterator[str]:
    """The address of a pod that listens."""
    program = _LISTEN.format(ports=list(ports) or [SERVICE_PORT, SERVICE_PORT + 1])
    spec = restricted_pod(cluster.image, ["python", "-c", program], {})
    if ports:  # one that only root may listen on
        spec["securityContext"] = {"runAsUser": 0}
        spec["containers"][0]["securityContext"] = {}
    metadata = {"name": name, "labels": dict(labels)}
    cluster.create("v1", "Pod", {"metadata": metadata, "spec": spec}, namespace)
    try:
        yield str(wait(lambda: _status(cluster, namespace, name).get("podIP"), 60))
    finally:
        cluster.delete("v1", "Pod", name, namespace)


def _status(cluster: Cluster, namespace: str, name: str) -> Mapping[str, Any]:
    return dict((cluster.get("v1", "Pod", name, namespace) or {}).get("status", {}))


def _storage_policy(namespace: str, host: str, port: int) -> Object:
    (policy,) = shipped("storage", namespace)
    (rule,) = policy["spec"]["egress"]
    rule.update(to=[{"ipBlock": {"cidr": f"{host}/32"}}], ports=[{"protocol": "TCP", "port": port}])
    return policy


def _link_address() -> str:
    """The bridge's own in IPv6, which every interface has."""
    said = subprocess.run(
        ["ip", "-json", "-6", "address", "show", "dev", BRIDGE], check=True, capture_output=True
    ).stdout
    return next(str(each["local"]) for each in json.loads(said)[0]["addr_info"] if each["scope"] == "link")


def _api_port(cluster: Cluster) -> int:
    return int(cluster.api.configuration.host.rpartition(":")[2])
