"""Images in the node's containerd: loading them, and removing what runs of them."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from node import oci
from node.places import PROGRAMS, SOCKET

PAUSE = "axo.test/pause:1"
_CTR = ("ctr", "--address", str(SOCKET), "--namespace", "k8s.io")


def answers() -> bool:
    return SOCKET.exists() and subprocess.run([*_CTR, "version"], capture_output=True).returncode == 0


def names() -> set[str]:
    return set(_ctr("images", "list", "--quiet"))


def load(archive: Path) -> None:
    """Give the node the images of an OCI or Docker archive."""
    subprocess.run([*_CTR, "images", "import", str(archive)], check=True, stdout=subprocess.DEVNULL)


def forget(prefix: str) -> None:
    """Let go of the images whose names begin so, also by the digests that the node itself calls them by; what
    none of the others shares is deleted."""
    contents = {line.split()[0]: line.split()[2] for line in _said("images", "list").splitlines()[1:]}
    gone = {contents[name] for name in contents if name.startswith(prefix)}
    for name, content in contents.items():
        if content in gone and name.startswith((prefix, "sha256:")):
            _ctr("images", "remove", "--sync", name)


def load_bytes(archive: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        file.write(archive)
        file.flush()
        load(Path(file.name))


def pinned(name: str) -> str:
    """An image that the node has, by its digest; from then on the node knows it by that name as well."""
    digest = next(word for word in _ctr("images", "list", f"name=={name}") if word.startswith("sha256:"))
    by_digest = f"{name.rpartition(':')[0]}@{digest}"
    _ctr("images", "tag", "--force", name, by_digest)
    return by_digest


def load_pause() -> None:
    """The image of which each pod's first process is."""
    if PAUSE not in names():
        layer = oci.layer({"/pause": PROGRAMS / "pause"})
        load_bytes(oci.archive(PAUSE, [layer], {"Entrypoint": ["/pause"], "User": "65535:65535"}))


def remove_containers(seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while (tasks := _ctr("tasks", "list", "--quiet")) and time.monotonic() < deadline:
        for task in tasks:
            subprocess.run([*_CTR, "tasks", "delete", "--force", task], capture_output=True)
    for container in _ctr("containers", "list", "--quiet"):
        subprocess.run([*_CTR, "containers", "delete", container], capture_output=True)


def _ctr(*arguments: str) -> Sequence[str]:
    return _said(*arguments).split()


def _said(*arguments: str) -> str:
    return subprocess.run([*_CTR, *arguments], check=True, capture_output=True, text=True).stdout
