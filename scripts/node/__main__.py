"""`scripts/cluster`: build, up, down, kueue, policies, status, load, image; and `scripts/helm`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from node import control_plane, images, network, programs, python_image, queues, runtime
from node.keys import make_keys
from node.places import HOME, IMAGES, KUBECONFIG, LOGS, PIDS, STATE, ClusterError
from node.processes import runs, stop

_PARTS = ("kubelet", "containerd", *control_plane.PARTS)
_USAGE = (
    "scripts/cluster build | up | down [--purge] | status | kueue up|down | policies up|down | "
    "load ARCHIVE | image [ARCHIVE]"
)


def main(arguments: Sequence[str]) -> int:
    match arguments:
        case ["build"]:
            programs.check()
            programs.build()
            programs.build_kueue()
            programs.build_policies()
            return 0
        case ["up"]:
            return up()
        case ["down"] | ["down", "--purge"]:
            return down(purge="--purge" in arguments)
        case ["helm"]:
            print(programs.build_helm())
            return 0
        case ["status"]:
            return status()
        case ["kueue", "up"]:
            queues.start_kueue()
            return 0
        case ["kueue", "down"]:
            queues.stop_kueue()
            return 0
        case ["policies", "up"]:
            network.enforce_policies()
            return 0
        case ["policies", "down"]:
            network.let_all_go()
            return 0
        case ["load", archive]:
            images.load(Path(archive))
            return 0
        case ["image", *archive] if len(archive) < 2:
            return image(*map(Path, archive))
    print(_USAGE, file=sys.stderr)
    return 0 if list(arguments) in (["-h"], ["--help"]) else 2


def up() -> int:
    """Every step finds out what is there already; the kubeconfig's path goes to stdout."""
    programs.check()
    programs.build()
    for folder in (STATE, IMAGES, LOGS, PIDS):
        folder.mkdir(parents=True, exist_ok=True)
    make_keys()
    runtime.make_bridge()
    control_plane.start_control_plane()
    runtime.start_node()
    print(KUBECONFIG)
    return 0


def down(*, purge: bool) -> int:
    if STATE.exists():
        network.let_all_go()
        runtime.stop_node()
        for part in control_plane.PARTS:
            stop(part)
        runtime.clear_node()
        shutil.rmtree(STATE)
    if purge:
        shutil.rmtree(HOME, ignore_errors=True)
    return 0


def image(archive: Path | None = None) -> int:
    """The tests' image: into the node, or into an archive; its name goes to stdout."""
    name, content = python_image.make()
    if archive:
        archive.write_bytes(content)
    elif name not in images.names():
        images.load_bytes(content)
    print(name)
    return 0


def status() -> int:
    """0 where all of it runs."""
    for part in _PARTS:
        print(f"{part:24} {'runs' if runs(part) else 'does not run'}")
    print(f"{'kubeconfig':24} {KUBECONFIG if KUBECONFIG.exists() else 'none'}")
    return 0 if all(runs(part) for part in _PARTS) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ClusterError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except subprocess.CalledProcessError as error:
        print(f"{error.cmd[0]} failed: {(error.stderr or b'')!r}", file=sys.stderr)
        sys.exit(1)
