"""The container of a launch: what is sent to the engine to create it, as data.

/storage      the run's folder to write to, and to read what the step reads
/scratch      the launch's own disk, since the root file system is read-only
/secrets      the named secrets that preparing fetches with
/inputs       the folder of a spec that was submitted on this very machine
/reports      the folder of the socket that training reports to, and /report-token what it does so with
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from orchestrator.backend_sections import DockerSection
from orchestrator.backends import LaunchRequest, ReportTo
from orchestrator.contract import REPORT_TOKEN, REPORT_URL, run_key
from orchestrator.errors import BackendError
from orchestrator.machines import GIB

HOME, RUN, LAUNCH, STEP = "axo.home", "axo.run", "axo.launch", "axo.step"
FILLED = ("models", "datasets", "adapters", "inputs")  # the folders of storage that preparing fills

_STORAGE, _SCRATCH, _SECRETS, _INPUTS = "/storage", "/scratch", "/secrets", "/inputs"
_REPORTS, _TOKEN = "/reports", "/report-token"
_SHARED_MEMORY = 8 * GIB  # for tensors between processes; it counts against the memory limit
_PROCESSES = 4096
_LOG = {"max-size": "16m", "max-file": "2"}


@dataclass(frozen=True)
class Place:
    """What this machine gives a launch: the service's home, a folder of the launch's own below it, and the
    user and group that the container runs as."""

    home: Path
    folder: Path
    user: int
    group: int

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"


def container_request(launch: LaunchRequest, section: DockerSection, place: Place) -> dict[str, Any]:
    """The body of the engine's `create`; the same for the same arguments.

    Raises:
        BackendError: its storage is no folder of this machine.
    """
    preparing = launch.step == "prepare"
    module = "orchestrator.steps" if preparing else "orchestrator.trainer"
    return {
        "Image": section.service_image if preparing else section.trainer_image,
        "Entrypoint": ["python", "-m", module],
        "Cmd": [f"file://{_STORAGE}/{run_key(launch.run)}", str(launch.launch)],
        "User": f"{place.user}:{place.group}",
        "WorkingDir": _SCRATCH,
        "Env": [f"{name}={value}" for name, value in _environment(launch).items()],
        "Labels": {
            HOME: str(place.home),
            RUN: launch.run,
            LAUNCH: str(launch.launch),
            STEP: launch.step,
        },
        "HostConfig": {
            "NetworkMode": section.network if preparing else "none",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": _PROCESSES,
            "ShmSize": _SHARED_MEMORY,
            "Tmpfs": {"/tmp": "mode=1777,size=1g"},
            "Mounts": list(_mounts(launch, place)),
            "LogConfig": {"Type": "json-file", "Config": _LOG},
            **_share_of_machine(launch),
        },
    }


def storage_folder(storage: str) -> Path:
    """The folder of a storage URL.

    Raises:
        BackendError: it is none of this machine.
    """
    url = urlsplit(storage)
    if url.scheme != "file":
        raise BackendError(
            f"containers cannot reach the storage {storage}: training has no network",
            hint="let AXO_STORAGE be a folder of this machine",
        )
    return Path(unquote(url.path))


def report_socket(report: ReportTo) -> Path:
    """The socket that launches report to; its folder is mounted, since a service makes its socket anew."""
    return Path(unquote(urlsplit(report.url).path))


def written_keys(launch: LaunchRequest) -> Sequence[str]:
    """The folders of storage that the launch writes to."""
    return [run_key(launch.run), *(FILLED if launch.step == "prepare" else ())]


def _environment(launch: LaunchRequest) -> Mapping[str, str]:
    """Where programs may write what they insist on writing; the root file system is read-only."""
    common = {
        **launch.machine.thread_variables(),
        "AXO_SCRATCH": _SCRATCH,
        "TMPDIR": _SCRATCH,
        "HOME": _SCRATCH,
        "HF_HOME": f"{_SCRATCH}/huggingface",
        "TRITON_CACHE_DIR": f"{_SCRATCH}/triton",
        "TORCHINDUCTOR_CACHE_DIR": f"{_SCRATCH}/inductor",
        "PYTHONUNBUFFERED": "1",
    }
    if launch.report:
        socket = report_socket(launch.report)
        common |= {REPORT_URL: f"unix://{_REPORTS}/{socket.name}", REPORT_TOKEN: _TOKEN}
    if launch.step != "prepare":
        return common
    inputs = {"AXO_INPUTS": _INPUTS} if launch.inputs else {}
    return {**common, "AXO_HOME": f"{_SCRATCH}/axo", "AXO_SECRETS": _SECRETS, **inputs}


def _mounts(launch: LaunchRequest, place: Place) -> Iterator[dict[str, Any]]:
    yield _bind(place.scratch, _SCRATCH)
    top = storage_folder(launch.storage)
    for key in written_keys(launch):
        yield _bind(top / key, f"{_STORAGE}/{key}")
    for key in launch.reads:
        yield _bind(top / key, f"{_STORAGE}/{key}", read_only=True)
    if launch.secrets:
        yield _bind(place.secrets, _SECRETS, read_only=True)
    if launch.inputs:
        yield _bind(Path(launch.inputs), _INPUTS, read_only=True)
    if launch.report and launch.report.token:
        yield _bind(report_socket(launch.report).parent, _REPORTS, read_only=True)
        yield _bind(launch.report.token, _TOKEN, read_only=True)


def _bind(source: Path, target: str, *, read_only: bool = False) -> dict[str, Any]:
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": read_only}


def _share_of_machine(launch: LaunchRequest) -> dict[str, Any]:
    """Its GPUs, processors and memory; swap would only hide that memory ran out."""
    machine, share = launch.machine, dict[str, Any]()
    if machine.cpus is not None:
        share["NanoCpus"] = round(machine.cpus * 1e9)
    if machine.host_memory_gib is not None:
        share["Memory"] = share["MemorySwap"] = round(machine.host_memory_gib * GIB)
    if machine.device == "gpu":
        share["DeviceRequests"] = [{"Count": machine.devices, "Capabilities": [["gpu"]]}]
    return share
