"""Stands where a step's program would, as code that came with a model may: `.. <run folder> <launch>`.

It tries whatever could serve somebody who should not be here, and writes what came of it to `found.json`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request

RUN = pathlib.Path(sys.argv[-2].removeprefix("file://"))
STORAGE = RUN.parents[1]
ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")


def asked(address: str, path: str, token: str = "") -> int:
    """What an address answers, by its status; 0 where nobody does."""
    careless = ssl.create_default_context()
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(
        address + path, headers={"Authorization": f"Bearer {token}"} if token else {}
    )
    try:
        return int(urllib.request.urlopen(request, timeout=5, context=careless).status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def written(path: str) -> bool:
    with contextlib.suppress(OSError):
        pathlib.Path(path).write_text("mine")
        return True
    return False


def read(path: pathlib.Path) -> bool:
    with contextlib.suppress(OSError):
        path.read_bytes()
        return True
    return False


def tokens() -> list[str]:
    """Every file that could be a credential."""
    places = (pathlib.Path("/var/run/secrets"), pathlib.Path("/run/secrets"), pathlib.Path("/secrets"))
    return sorted({str(path.resolve()) for place in places for path in place.rglob("*") if path.is_file()})


def status() -> dict[str, str]:
    """What the kernel lets this process do."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    said = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {name: said[name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp")}


def climbed() -> bool:
    """Whether a link in the run's own folder leads to another's."""
    link = RUN / "climbing"
    with contextlib.suppress(FileExistsError):
        link.symlink_to(STORAGE / "runs/neighbour/secret.txt")
    return read(link)


def main() -> None:
    api = (RUN / "api").read_text()
    found = {
        "user": os.getuid(),
        "status": status(),
        "tokens": tokens(),
        "environment": sorted(
            name for name in os.environ if any(w in name for w in ("TOKEN", "SECRET", "KEY", "PASS"))
        ),
        "api": {path: asked(api, path) for path in json.loads((RUN / "paths").read_text())},
        "writes": [
            path for path in ("/x", "/etc/x", "/opt/x", "/usr/x", "/tmp/x", f"{STORAGE}/x") if written(path)
        ],
        "own": written(f"{RUN}/own"),
        "read only": not written(f"{STORAGE}/models/shared/x")
        and read(STORAGE / "models/shared/config.json"),
        "storage": sorted(str(p.relative_to(STORAGE)) for p in STORAGE.glob("*/*")),
        "neighbour": read(STORAGE / "runs/neighbour/secret.txt"),
        "climbed": climbed(),
        "processes": len([p for p in pathlib.Path("/proc").iterdir() if p.name.isdigit()]),
        "devices": sorted(p.name for p in pathlib.Path("/dev").iterdir() if p.is_block_device()),
        "raw": raw(),
    }
    (RUN / ".found").write_text(json.dumps(found))
    (RUN / ".found").replace(RUN / "found.json")
    time.sleep(600)


def raw() -> bool:
    """Whether it could listen to what others send."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP):
        return True
    return False


if __name__ == "__main__":
    main()
