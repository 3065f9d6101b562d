"""Stands where a step's program would, as code that came with a model may: `.. <run folder> <launch>`.

It tries whatever could serve somebody who should not be here, and writes what came of it to `found.json`.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import hmac
import json
import os
import pathlib
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

SECONDS = 12.0  # a first packet may be sent before the node knows whose it is, and again after 1, 3 and 7 s
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


def reached() -> list[str]:
    """Which of the places that the test names are there for this pod, all tried at once."""
    file = RUN / "places"
    named = json.loads(file.read_text()) if file.exists() else {}
    with ThreadPoolExecutor(max(1, len(named))) as trying:
        there = trying.map(lambda place: answers(*place), named.values())
    return sorted(name for name, so in zip(named, there, strict=True) if so)


def answers(protocol: str, address: str, port: int) -> bool:
    """Whether somebody takes a connection there, or sends a datagram back."""
    with contextlib.suppress(OSError):
        if protocol == "tcp":
            socket.create_connection((address, port), timeout=SECONDS).close()
            return True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.settimeout(1)
            for _ in range(int(SECONDS)):
                sender.sendto(b"x", (address, port))
                with contextlib.suppress(TimeoutError):
                    return bool(sender.recv(10))
    return False


def bucket() -> dict[str, int]:
    """What the S3 server answers to each request that the test names, with the keys that open storage."""
    file = RUN / "requests"
    asking: list[str] = json.loads(file.read_text()) if file.exists() else []
    return {request: signed(*request.split()) for request in asking}


def signed(method: str, path: str) -> int:
    """The status of a request that is signed as AWS wants it (signature version 4)."""
    keys = {file.name: file.read_text() for file in pathlib.Path("/secrets/storage").glob("AWS_*")}
    endpoint, region = keys["AWS_ENDPOINT_URL"], keys["AWS_REGION"]
    path, _, query = path.partition("?")
    body = b"mine" if method == "PUT" else b""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": endpoint.partition("://")[2], "x-amz-content-sha256": digest, "x-amz-date": now}
    told = [f"{name}:{value}" for name, value in sorted(headers.items())]
    canonical = "\n".join([method, path, query, *told, "", ";".join(sorted(headers)), digest])
    scope = f"{now[:8]}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4" + keys["AWS_SECRET_ACCESS_KEY"].encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    said = {
        "Credential": f"{keys['AWS_ACCESS_KEY_ID']}/{scope}",
        "SignedHeaders": ";".join(sorted(headers)),
        "Signature": key.hex(),
    }
    headers["authorization"] = f"AWS4-HMAC-SHA256 {', '.join(f'{name}={it}' for name, it in said.items())}"
    url = f"{endpoint}{path}{'?' if query else ''}{query}"
    try:
        request = urllib.request.Request(url, body or None, headers, method=method)
        return int(urllib.request.urlopen(request, timeout=10).status)
    except urllib.error.HTTPError as error:
        return error.code


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
    places = map(pathlib.Path, ("/var/run/secrets", "/run/secrets", "/secrets", "/report"))
    return sorted({str(path.resolve()) for place in places for path in place.rglob("*") if path.is_file()})


def own_token() -> str:
    """The one that it reports with."""
    file = pathlib.Path(os.environ.get("AXO_REPORT_TOKEN", "/none"))
    return file.read_text() if file.exists() else ""


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
    api, paths = (RUN / "api").read_text(), json.loads((RUN / "paths").read_text())
    found = {
        "reached": reached(),
        "bucket": bucket(),
        "user": os.getuid(),
        "status": status(),
        "tokens": tokens(),
        "environment": sorted(
            name for name in os.environ if any(w in name for w in ("TOKEN", "SECRET", "KEY", "PASS"))
        ),
        "api": {path: asked(api, path) for path in paths},
        "api with its token": {path: asked(api, path, own_token()) for path in paths},
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
