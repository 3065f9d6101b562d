"""What makes this machine a node: a bridge for pods, containerd, the kubelet, and claimed GPUs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from node import images
from node.control_plane import ask
from node.places import (
    ADDRESS,
    BRIDGE,
    GPUS,
    IMAGES,
    KEYS,
    KUBECONFIG,
    NODE,
    PODS,
    PROGRAMS,
    SOCKET,
    STATE,
    wait_for,
)
from node.processes import start, stop
from node.programs import network_plugins

_CGROUP = "axo"
# Pods reach this machine and each other, and nothing else.
_WALL = ("FORWARD", "-i", BRIDGE, "!", "-o", BRIDGE, "-j", "DROP")
# `restrict_oom_score_adj`: without CAP_SYS_RESOURCE runc may not lower a score, and every pod fails.
_CONTAINERD = """\
version = 2
root = "{images}"
state = "{state}/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{state}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
disable_apparmor = true
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"
cni = {{ bin_dir = "{plugins}", conf_dir = "{state}/network" }}
"""


def make_bridge() -> None:
    """The node's own address; the API server listens there, so it comes first."""
    links = json.loads(_said("ip", "-json", "link", "show"))
    if not any(link["ifname"] == BRIDGE for link in links):
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
        _run("ip", "address", "add", f"{ADDRESS}/{PODS.split('/')[1]}", "dev", BRIDGE)
    _run("ip", "link", "set", BRIDGE, "up")
    if subprocess.run(["iptables", "-w", "-C", *_WALL], capture_output=True).returncode:
        _run("iptables", "-w", "-I", *_WALL)


def start_node() -> None:
    """Returns once pods can be started."""
    _write("network/10-axo.conflist", json.dumps(_pod_network()))
    text = _CONTAINERD.format(
        images=IMAGES, state=STATE, socket=SOCKET, pause=images.PAUSE, plugins=network_plugins()
    )
    start("containerd", ["containerd", "--config", _write("containerd.toml", text)])
    wait_for("containerd did not answer", lambda: images.answers(), 30)
    images.load_pause()
    for hierarchy in _hierarchies():
        _make_group(hierarchy)
    _write("resolv.conf", "")
    config = _write("kubelet.json", json.dumps(_kubelet()))
    start(
        "kubelet",
        [
            PROGRAMS / "kubelet",
            f"--config={config}",
            f"--kubeconfig={KEYS / 'kubelet.kubeconfig'}",
            f"--hostname-override={NODE}",
            f"--node-ip={ADDRESS}",
            f"--root-dir={STATE / 'kubelet'}",
            f"--cert-dir={KEYS}",
        ],
    )
    wait_for("the node was not ready", _ready, 90)
    _claim_gpus()


def stop_node() -> None:
    """The kubelet first, so that nothing is started again; then every container and its parents."""
    stop("kubelet")
    if images.answers():
        images.remove_containers()
    stop("containerd")
    for pid in _left_shims():
        os.kill(pid, signal.SIGKILL)


def clear_node() -> None:
    """Mounts, groups, bridge and wall: what the kernel still holds of a stopped node."""
    for place in _mounts():
        subprocess.run(["umount", "--lazy", place], capture_output=True)
    for hierarchy in _hierarchies():
        _remove_group(hierarchy / _CGROUP)
    if shutil.which("iptables"):
        subprocess.run(["iptables", "-w", "-D", *_WALL], capture_output=True)
    if shutil.which("ip"):
        subprocess.run(["ip", "link", "delete", BRIDGE], capture_output=True)


def _pod_network() -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "dataDir": str(STATE / "addresses"),
        "ranges": [[{"subnet": PODS, "rangeStart": ADDRESS.rpartition(".")[0] + ".10"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True, "ipam": addresses}
    return {"cniVersion": "0.4.0", "name": "axo", "plugins": [bridge]}


def _kubelet() -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "readOnlyPort": 0,
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(KEYS / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(KEYS / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(KEYS / "kubelet-server.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{_CGROUP}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "resolvConf": str(STATE / "resolv.conf"),
        "podLogsDir": str(STATE / "pod-logs"),
        "volumePluginDir": str(STATE / "volume-plugins"),
        "makeIPTablesUtilChains": False,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,  # images were loaded by hand and could not be pulled again
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "2s",  # what is written into a Secret is in its pods by then, not in a minute
        "maxPods": 200,
    }


def _ready() -> bool:
    node = json.loads(ask(f"/api/v1/nodes/{NODE}") or "{}")
    conditions = node.get("status", {}).get("conditions", [])
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


def _claim_gpus() -> None:
    """GPUs in the node's books, as a device plugin would enter them; no pod is given one."""
    change = json.dumps({"status": {"capacity": {"nvidia.com/gpu": str(GPUS)}}})
    kubectl = (PROGRAMS / "kubectl", "--kubeconfig", KUBECONFIG, "patch", "node", NODE)
    _run(*map(str, kubectl), "--subresource=status", "--type=merge", "-p", change)


def _hierarchies() -> Iterator[Path]:
    """One for each controller: cgroup v1."""
    for folder in sorted(Path("/sys/fs/cgroup").iterdir()):
        if folder.is_dir() and not folder.is_symlink() and (folder / "cgroup.procs").exists():
            yield folder


def _make_group(hierarchy: Path) -> None:
    """The group that holds all pods; the kubelet wants to find it."""
    group = hierarchy / _CGROUP
    group.mkdir(exist_ok=True)
    for name in ("cpuset.cpus", "cpuset.mems"):  # a new set is empty, and nothing could run in it
        if (hierarchy / name).exists():
            (group / name).write_text((hierarchy / name).read_text())


def _remove_group(group: Path) -> None:
    deadline = time.monotonic() + 5
    for folder, _, _ in os.walk(group, topdown=False):
        while Path(folder).exists():
            try:
                os.rmdir(folder)
            except OSError:  # its last process is only just leaving
                if time.monotonic() > deadline:
                    return
                time.sleep(0.05)


def _left_shims() -> Iterator[int]:
    """Parents of containers that outlived their containerd; ours alone, by its socket."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"containerd-shim-runc-v2") and str(SOCKET).encode() in words:
            yield int(folder.name)


def _mounts() -> list[str]:
    """Below our state, the innermost first."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    places = [line.split()[1].encode().decode("unicode_escape") for line in lines]
    return [place for place in reversed(places) if place.startswith(f"{STATE}/")]


def _write(name: str, text: str) -> Path:
    path = STATE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
