"""The node's programs: Kubernetes and etcd built from their Go modules, the container runtime from Debian."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from node.places import KUBERNETES, PROGRAMS, ClusterError

PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
_HERE = Path(__file__).parent
_KUEUE = "sigs.k8s.io/kueue/cmd/kueue"
_HELM = "helm.sh/helm/v4/cmd/helm"
_PACKAGES = ("containerd", "runc", "containernetworking-plugins", "iptables", "iproute2")
_NETWORK_PLUGINS = ("/opt/cni/bin", "/usr/lib/cni")


def check() -> None:
    """Raises ClusterError where this machine cannot be a node; in CI, missing packages are installed."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise ClusterError("a node needs Linux and root; let KUBECONFIG name a cluster of your own instead")
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        raise ClusterError("this node knows cgroup v1 only; let KUBECONFIG name a cluster, such as kind's")
    if not _runtime_is_there() and os.environ.get("CI") == "true" and shutil.which("apt-get"):
        _apt("update")
        _apt("install", "--no-install-recommends", *_PACKAGES)
    if not _runtime_is_there():
        raise ClusterError(
            "the container runtime is missing: apt-get install --no-install-recommends " + " ".join(_PACKAGES)
        )
    if not built() and not shutil.which("go"):
        raise ClusterError("Go 1.26 or newer is needed to build Kubernetes: https://go.dev/dl")


def built() -> bool:
    return all((PROGRAMS / name).exists() for name in (_kubernetes(), "pause"))


def build() -> None:
    """Build what is absent: about 10 minutes of processor time the first time, and 4 GB of Go's caches.

    A second caller waits for the first.
    """
    with _building():
        _build(_HERE / "pause", "pause")
        _build_kubernetes()


def build_kueue() -> tuple[Path, Path]:
    """Kueue's controller, and what its installation is made of: 6 minutes of processor time at first."""
    with _building():
        _build_kubernetes()
        _build(_HERE / "kueue", _kueue(), package=_KUEUE)
        manifests = PROGRAMS / f"{_kueue()}.json"
        if not manifests.exists():
            _write_manifests(manifests)
    return PROGRAMS / _kueue(), manifests


def build_policies() -> Path:
    """What decides by NetworkPolicies: 2 minutes of processor time at first."""
    with _building():
        _build(_HERE / "policies", _policies())
    return PROGRAMS / _policies()


def build_helm() -> Path:
    """Helm: 3 minutes of processor time at first. It needs neither root nor Kubernetes."""
    if not (PROGRAMS / _helm()).exists() and not shutil.which("go"):
        raise ClusterError("Go 1.26 or newer is needed to build Helm: https://go.dev/dl")
    with _building("helm.lock"):
        _build(_HERE / "helm", _helm(), package=_HELM)
    return PROGRAMS / _helm()


@contextmanager
def _building(name: str = "lock") -> Iterator[None]:
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    with (PROGRAMS / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_kubernetes() -> None:
    _build(_HERE / "kubernetes", _kubernetes(), _version_flags())
    for part in PARTS:
        link = PROGRAMS / part
        if not link.is_symlink() or link.readlink() != Path(_kubernetes()):
            link.unlink(missing_ok=True)
            link.symlink_to(_kubernetes())


def network_plugins() -> str:
    return next(folder for folder in _NETWORK_PLUGINS if Path(folder, "bridge").exists())


def _runtime_is_there() -> bool:
    tools = all(shutil.which(name) for name in ("containerd", "ctr", "runc", "iptables", "ip"))
    return tools and any(Path(folder, "bridge").exists() for folder in _NETWORK_PLUGINS)


def _apt(*arguments: str) -> None:
    patient = "DPkg::Lock::Timeout=300"  # another test may be installing something
    subprocess.run(["apt-get", "-qq", "-o", patient, *arguments], check=True, stdout=subprocess.DEVNULL)


def _write_manifests(place: Path) -> None:
    """What `kubectl apply -k` of its release would send."""
    module = ["go", "mod", "download", "-json", _KUEUE.removesuffix("/cmd/kueue")]
    folder = json.loads(_said(module, _HERE / "kueue"))["Dir"]
    text = _said([str(PROGRAMS / "kubectl"), "kustomize", f"{folder}/config/default"], _HERE)
    place.write_text(json.dumps(list(yaml.safe_load_all(text))))


def _said(command: list[str], place: Path) -> str:
    return subprocess.run(command, cwd=place, check=True, capture_output=True, text=True).stdout


def _kubernetes() -> str:
    """The name of the one program that is all of them, by what it is built from."""
    return _named("kubernetes", "main.go", "go.mod", "go.sum")


def _kueue() -> str:
    return _named("kueue", "go.mod", "go.sum")


def _policies() -> str:
    return _named("policies", "main.go", "go.mod", "go.sum")


def _helm() -> str:
    return _named("helm", "go.mod", "go.sum")


def _named(folder: str, *sources: str) -> str:
    content = b"".join((_HERE / folder / name).read_bytes() for name in sources)
    return f"{folder}-{hashlib.sha256(content).hexdigest()[:12]}"


def _version_flags() -> str:
    """How a build says which release it is; clients and the kubelet compare it."""
    minor = KUBERNETES.split(".")[1]
    values = {"gitVersion": f"v{KUBERNETES}", "gitMajor": "1", "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(f"-X {package}.{key}={value}" for package in packages for key, value in values.items())


def _build(sources: Path, name: str, flags: str = "", package: str = ".") -> None:
    target = PROGRAMS / name
    if target.exists():
        return
    print(f"building {name}; the first time may take minutes", file=sys.stderr, flush=True)
    fresh = target.with_suffix(".new")
    command = [
        "go",
        "build",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags",
        f"-s -w {flags}".strip(),
        "-o",
        str(fresh),
        package,
    ]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
    subprocess.run(command, cwd=sources, env=environment, check=True, stdout=sys.stderr)
    fresh.rename(target)
