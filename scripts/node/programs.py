"""The node's programs: Kubernetes and etcd built from their Go modules, the container runtime from Debian."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from node.places import KUBERNETES, PROGRAMS, ClusterError

PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
_HERE = Path(__file__).parent
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
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    with (PROGRAMS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _build_all()


def _build_all() -> None:
    _build(_HERE / "pause", "pause")
    if not (PROGRAMS / _kubernetes()).exists():
        print("building Kubernetes; the first time takes minutes", file=sys.stderr, flush=True)
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


def _kubernetes() -> str:
    """The name of the one program that is all of them, by what it is built from."""
    sources = b"".join((_HERE / "kubernetes" / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))
    return f"kubernetes-{hashlib.sha256(sources).hexdigest()[:12]}"


def _version_flags() -> str:
    """How a build says which release it is; clients and the kubelet compare it."""
    minor = KUBERNETES.split(".")[1]
    values = {"gitVersion": f"v{KUBERNETES}", "gitMajor": "1", "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(f"-X {package}.{key}={value}" for package in packages for key, value in values.items())


def _build(sources: Path, name: str, flags: str = "") -> None:
    target = PROGRAMS / name
    if target.exists():
        return
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
        ".",
    ]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
    subprocess.run(command, cwd=sources, env=environment, check=True, stdout=sys.stderr)
    fresh.rename(target)
