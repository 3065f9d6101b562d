"""etcd, the API server, the controllers and the scheduler, each a process of this machine."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Mapping

from node.places import ADDRESS, API_PORT, AUDIT, KEYS, PROGRAMS, SERVICES, STATE, wait_for
from node.processes import start

# In the order in which they are stopped.
PARTS = ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")
_ETCD, _ETCD_PEER = "https://127.0.0.1:22379", "https://127.0.0.1:22380"
# A stock cluster's controllers and scheduler ask for no more than 20 and 50 requests a second.
_REQUESTS, _BURST = 300, 600


def start_control_plane() -> None:
    """Returns once pods can be made."""
    start("etcd", [PROGRAMS / "etcd", *_flags(_etcd())])
    (STATE / "audit.json").write_text(json.dumps(_audited()))
    start("kube-apiserver", [PROGRAMS / "kube-apiserver", *_flags(_api_server())])
    wait_for("the API server was not ready", lambda: ask("/readyz") is not None, 90)
    start("kube-controller-manager", [PROGRAMS / "kube-controller-manager", *_flags(_controllers())])
    scheduler = STATE / "scheduler.json"
    scheduler.write_text(json.dumps(_scheduler()))
    start(
        "kube-scheduler", [PROGRAMS / "kube-scheduler", f"--config={scheduler}", "--bind-address=127.0.0.1"]
    )
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    wait_for("the controllers did not begin", lambda: ask(account) is not None, 60)


def ask(path: str) -> bytes | None:
    """What the API server answers the administrator; None where it does not, or refuses."""
    try:
        return tell("GET", path)
    except OSError:
        return None


def tell(method: str, path: str, body: object = None) -> bytes:
    """A request to the API server, as its administrator. Raises OSError where it is away, or refuses."""
    context = ssl.create_default_context(cafile=str(KEYS / "ca.crt"))
    context.load_cert_chain(KEYS / "admin.crt", KEYS / "admin.key")
    direct = urllib.request.ProxyHandler({})
    opener = urllib.request.build_opener(direct, urllib.request.HTTPSHandler(context=context))
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"https://{ADDRESS}:{API_PORT}{path}", data, {"Content-Type": "application/json"}, method=method
    )
    with opener.open(request, timeout=5) as answer:
        return bytes(answer.read())


def _etcd() -> Mapping[str, object]:
    return {
        "name": "node",
        "data-dir": STATE / "etcd",
        "listen-client-urls": _ETCD,
        "advertise-client-urls": _ETCD,
        "listen-peer-urls": _ETCD_PEER,
        "initial-advertise-peer-urls": _ETCD_PEER,
        "initial-cluster": f"node={_ETCD_PEER}",
        "cert-file": KEYS / "etcd.crt",
        "key-file": KEYS / "etcd.key",
        "trusted-ca-file": KEYS / "etcd-ca.crt",
        "client-cert-auth": "true",
        "peer-cert-file": KEYS / "etcd.crt",
        "peer-key-file": KEYS / "etcd.key",
        "peer-trusted-ca-file": KEYS / "etcd-ca.crt",
        "unsafe-no-fsync": "true",  # nobody keeps anything here
        "log-level": "warn",
    }


def _api_server() -> Mapping[str, object]:
    return {
        "bind-address": ADDRESS,
        "advertise-address": ADDRESS,
        "secure-port": API_PORT,
        "service-cluster-ip-range": SERVICES,
        "etcd-servers": _ETCD,
        "etcd-cafile": KEYS / "etcd-ca.crt",
        "etcd-certfile": KEYS / "etcd-client.crt",
        "etcd-keyfile": KEYS / "etcd-client.key",
        "client-ca-file": KEYS / "ca.crt",
        "tls-cert-file": KEYS / "apiserver.crt",
        "tls-private-key-file": KEYS / "apiserver.key",
        "kubelet-certificate-authority": KEYS / "ca.crt",
        "kubelet-client-certificate": KEYS / "apiserver-to-kubelet.crt",
        "kubelet-client-key": KEYS / "apiserver-to-kubelet.key",
        "kubelet-preferred-address-types": "InternalIP",
        "requestheader-client-ca-file": KEYS / "front-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": KEYS / "front-client.crt",
        "proxy-client-key-file": KEYS / "front-client.key",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": KEYS / "accounts.pub",
        "service-account-signing-key-file": KEYS / "accounts.key",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "false",
        "audit-policy-file": STATE / "audit.json",
        "audit-log-path": AUDIT,
        "enable-aggregator-routing": "true",  # to the pods of webhooks: there is no kube-proxy
        "profiling": "false",
    }


def _audited() -> Mapping[str, object]:
    account = {"level": "Metadata", "users": ["system:serviceaccount:axo:axo"]}
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [account, {"level": "None"}],
    }


def _controllers() -> Mapping[str, object]:
    return {
        "kubeconfig": KEYS / "kube-controller-manager.kubeconfig",
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "root-ca-file": KEYS / "ca.crt",
        "service-account-private-key-file": KEYS / "accounts.key",
        "kube-api-qps": _REQUESTS,
        "kube-api-burst": _BURST,
        "profiling": "false",
    }


def _scheduler() -> Mapping[str, object]:
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {
            "kubeconfig": str(KEYS / "kube-scheduler.kubeconfig"),
            "qps": _REQUESTS,
            "burst": _BURST,
        },
    }


def _flags(values: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]
