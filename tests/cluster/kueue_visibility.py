"""Kueue's visibility API for the stand-in: the real API server asks this process for it."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cluster_parts import Cluster, Object
from kueue_stand_in import KueueStandIn
from waiting import wait

from orchestrator.backends.kubernetes.queues import VISIBILITY

_SERVICE, _API_SERVICE = ("v1", "Service"), ("apiregistration.k8s.io/v1", "APIService")
_NAME = f"v1beta2.{VISIBILITY}"


@contextmanager
def visibility(cluster: Cluster, namespace: str, stand_in: KueueStandIn, folder: Path) -> Iterator[None]:
    """Who waits in which queue, served beneath the cluster's own API."""
    key, certificate = folder / "visibility.key", folder / "visibility.crt"
    subject = ["-subj", "/CN=visibility", "-days", "1", "-nodes", "-newkey", "rsa:2048"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *subject, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    address = cluster.address
    with ThreadingHTTPServer((address, 0), _handler(stand_in.waiting)) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = {"type": "ExternalName", "externalName": address}  # there is no kube-proxy on the tests' node
        cluster.create(*_SERVICE, {"metadata": {"name": "visibility"}, "spec": place}, namespace)
        cluster.create(*_API_SERVICE, _api_service(namespace, server.server_port))
        try:
            wait(lambda: _available(cluster))
            yield
        finally:
            cluster.delete(*_API_SERVICE, _NAME)
            server.shutdown()


def _api_service(namespace: str, port: int) -> Object:
    spec = {
        "group": VISIBILITY,
        "version": "v1beta2",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
        "service": {"name": "visibility", "namespace": namespace, "port": port},
    }
    return {"metadata": {"name": _NAME}, "spec": spec}


def _available(cluster: Cluster) -> bool:
    found = cluster.get(*_API_SERVICE, _NAME) or {}
    conditions = (found.get("status") or {}).get("conditions") or ()
    return any((each["type"], each["status"]) == ("Available", "True") for each in conditions)


def _handler(waiting: Callable[[str], list[Object]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.partition("?")[0].split("/")
            answer: Object = {"kind": "APIResourceList", "groupVersion": f"{VISIBILITY}/v1beta2"}
            answer["resources"] = []
            if parts[-1] == "pendingworkloads":
                answer = {"kind": "PendingWorkloadsSummary", "items": _summary(waiting(parts[-2]))}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    return Handler


def _summary(pending: list[Object]) -> list[Object]:
    return [
        {
            "metadata": {key: each["metadata"][key] for key in ("name", "namespace", "ownerReferences")},
            "priority": each["spec"]["priority"],
            "localQueueName": each["spec"]["queueName"],
            "positionInClusterQueue": number,
            "positionInLocalQueue": number,
        }
        for number, each in enumerate(pending)
    ]
