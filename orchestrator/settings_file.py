"""The operator's settings file: machines, and what is allowed; closed, every fault told at once.

backend: docker
docker: {service_image: "axo-service:0.1", trainer_image: "axo-trainer:0.1"}
machines:
  a100-4: {device: gpu, devices: 4, gpu: A100-80GB, memory_gib: 80, price_per_hour: 12.8}
slow_templates: forbid
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from orchestrator import defaults
from orchestrator.access_section import AccessSection
from orchestrator.backend_sections import DockerSection, KubernetesSection
from orchestrator.defaults import BackendName, SlowTemplates
from orchestrator.machines import MACHINES, Machine
from orchestrator.reports_section import ReportsSection
from orchestrator.spec.base import Closed, Label, Name, broken_rule
from orchestrator.spec.file import read_file

_Selected = Annotated[str, StringConstraints(max_length=253)]


class Toleration(Closed):
    """A taint that a launch does not mind, as Kubernetes writes it."""

    key: _Selected = Field(description="The taint's key.")
    operator: Literal["Exists", "Equal"] = Field(default="Exists", description="How it is compared.")
    value: _Selected | None = Field(default=None, description="Its value, for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Its effect; all of them where none is named."
    )


class MachineEntry(Closed):
    """A machine as the settings file describes it."""

    device: Literal["cpu", "gpu"] = Field(description="What computes.")
    devices: int = Field(
        default=Machine.devices,
        ge=1,
        le=64,
        description="GPUs of one node, or processes that share its processor.",
    )
    gpu: Label | None = Field(default=None, description="Kind of the GPUs, such as A100-80GB.")
    memory_gib: float | None = Field(default=None, gt=0, le=100_000, description="Memory of one device, GiB.")
    price_per_hour: float | None = Field(
        default=None, ge=0, le=1_000_000, description="Price of an hour of the whole machine."
    )
    tokens_per_second: float | None = Field(
        default=None, gt=0, le=1e12, description="Tokens that the whole machine trains in a second."
    )
    cpus: float | None = Field(
        default=None,
        gt=0,
        le=10_000,
        description="Processors that a launch gets in a container, and threads that its processes share.",
    )
    host_memory_gib: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        description="Main memory that a launch gets, GiB; it is ended where it outgrows that.",
    )
    scratch_gib: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000,
        description="Disk of the node that a launch may fill on Kubernetes, GiB.",
    )
    gpu_resource: _Selected = Field(
        default=Machine.gpu_resource,
        description="What Kubernetes calls its GPUs, such as nvidia.com/mig-3g.40gb.",
    )
    node_selector: dict[Label, _Selected] = Field(
        default={}, max_length=50, description="Labels of the Kubernetes nodes that have it."
    )
    tolerations: tuple[Toleration, ...] = Field(
        default=(),
        strict=False,
        max_length=20,
        description="Taints of those nodes that do not keep a launch away.",
    )
    priority: Name | None = Field(
        default=None, description="PriorityClass of launches: who gives way when the cluster is full."
    )
    sentence: Annotated[str, StringConstraints(max_length=200)] = Field(
        default="", description="What people should know who choose it."
    )

    @model_validator(mode="after")
    def _a_processor_is_no_gpu(self) -> Self:
        if self.device == "cpu" and self.gpu:
            raise broken_rule("a machine with device cpu has no gpu", "set device: gpu, or remove it", "gpu")
        return self


class Uploads(Closed):
    """Bounds on what clients upload."""

    file_gib: float = Field(
        default=defaults.FILE_GIB, gt=0, le=10_000, description="GiB of the largest file."
    )
    project_gib: float = Field(
        default=defaults.FILES_OF_A_PROJECT_GIB,
        gt=0,
        le=1_000_000,
        description="GiB of all files of a project.",
    )


class RetentionSection(Closed):
    """How long the files of temporary runs are kept."""

    temporary_days: float = Field(
        default=defaults.TEMPORARY_DAYS,
        ge=0,
        le=36_500,
        description="Days from a temporary run's end until its files go.",
    )
    warning_days: float = Field(
        default=defaults.WARNING_DAYS,
        ge=0,
        le=365,
        description="Days between the warning, an event, and that; never fewer.",
    )


class RoomSection(Closed):
    """How much of storage, disks and database may be taken."""

    project_gib: float | None = Field(
        default=None,
        gt=0,
        le=1e9,
        description="GiB that runs, uploads and datasets of a project may take, before new ones are refused; "
        "any number by default.",
    )
    free_gib: float = Field(
        default=defaults.FREE_GIB,
        ge=0,
        le=1e6,
        description="GiB of the service's disks that stay free: launches wait for it.",
    )
    points_per_run: int = Field(
        default=defaults.POINTS_PER_RUN,
        ge=1000,
        le=1_000_000_000,
        description="Points of metrics (one value of one metric at one step) that are kept of a run. "
        "What comes after them stays in the run's record in storage alone; an event says so.",
    )


class Stalls(Closed):
    """Training that makes no progress."""

    shown_minutes: float = Field(
        default=defaults.STALL_SHOWN_MINUTES,
        gt=0,
        le=100_000,
        description="Minutes without any record of training until a run says that it is stalled; twenty "
        "times its usual time between records, where that is longer.",
    )
    stop_minutes: float | None = Field(
        default=defaults.STALL_STOPPED_MINUTES,
        gt=0,
        le=100_000,
        description="Minutes after that until its launch is stopped, and training goes on from its newest "
        "checkpoint in another; null: never.",
    )

    @property
    def stop_seconds(self) -> float | None:
        return None if self.stop_minutes is None else self.stop_minutes * 60


class SettingsFile(Closed):
    """The settings that are too large for variables of the environment."""

    machines: dict[Name, MachineEntry] = Field(
        default={}, max_length=1000, description="Machines by name; `cpu` and `gpu` are there without it."
    )
    backend: BackendName = Field(
        default=defaults.BACKEND,
        description="Where launches run; its section says how. AXO_BACKEND goes before it.",
    )
    docker: DockerSection | None = Field(default=None, description="How launches run as containers.")
    kubernetes: KubernetesSection | None = Field(
        default=None, description="How launches run as Jobs of a cluster."
    )
    slow_templates: SlowTemplates = Field(
        default=defaults.SLOW_TEMPLATES, description="Whether templates that run row by row may be used."
    )
    launches_per_second: float = Field(
        default=defaults.LAUNCHES_PER_SECOND,
        gt=0,
        le=1000,
        description="How many queued runs are launched in a second, at most.",
    )
    stalls: Stalls = Field(default=Stalls(), description="What becomes of training that makes no progress.")
    uploads: Uploads = Field(default=Uploads(), description="How much clients may upload.")
    retention: RetentionSection = Field(
        default=RetentionSection(), description="How long the files of temporary runs are kept."
    )
    room: RoomSection = Field(
        default=RoomSection(), description="How much of storage and disks may be taken."
    )
    reports: ReportsSection | None = Field(
        default=None, description="Where training tells the service how far it is."
    )
    access: AccessSection = Field(default=AccessSection(), description="Who may ask the service.")

    @property
    def catalogue(self) -> Mapping[str, Machine]:
        """The built-in machines and those of the file; one of a built-in name replaces it."""
        return MACHINES | {
            name: Machine(name, **entry.model_dump(exclude_none=True))
            for name, entry in self.machines.items()
        }


def read_settings_file(file: Path) -> SettingsFile:
    """Read the settings file. Raises as `read_file` does."""
    read = read_file(file, SettingsFile)
    section = read.kubernetes
    if section is None or section.job is None:
        return read
    placed = section.model_copy(update={"job": file.parent.absolute() / section.job})
    return read.model_copy(update={"kubernetes": placed})
