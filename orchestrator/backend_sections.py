"""The backends that launches run on, and the sections of the settings file that say how; the local one needs
none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from orchestrator.spec.base import Closed, Label, Name

REQUESTS_PER_SECOND = 20.0  # about what a cluster's service level counts on for writes
Image = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^\S+$")]


class DockerSection(Closed):
    """How launches run as containers of a Docker engine that shares the service's file system."""

    service_image: Image = Field(description="Image of preparing: this package.")
    trainer_image: Image = Field(description="Image of training and evaluating: Axolotl and this package.")
    host: Label | None = Field(
        default=None,
        description="Where the engine listens, such as unix:///run/docker.sock; DOCKER_HOST else.",
    )
    network: Label = Field(
        default="bridge", description="The network that preparing fetches through; training has none."
    )
    user: int = Field(
        default=65532, ge=1, le=2**31, description="Who launches run as where the service runs as root."
    )
    grace_seconds: float = Field(
        default=120.0, ge=0, le=3600, description="Time to leave once asked to, before it is killed."
    )


class KubernetesSection(Closed):
    """How launches run as Jobs of a cluster, in one namespace."""

    namespace: Name = Field(description="The namespace that launches run in.")
    service_image: Image = Field(description="Image of preparing: this package.")
    trainer_image: Image = Field(description="Image of training and evaluating: Axolotl and this package.")
    storage_claim: Label | None = Field(
        default=None,
        description="The volume claim that holds storage, where that is no bucket; launches and the service "
        "mount it at one place.",
    )
    secrets: tuple[Name, ...] = Field(
        default=(), strict=False, max_length=100, description="Secrets of the namespace that specs may name."
    )
    queues: tuple[Name, ...] = Field(
        default=(),
        strict=False,
        max_length=100,
        description="LocalQueues of Kueue in the namespace that specs may name.",
    )
    priorities: tuple[Name, ...] = Field(
        default=(), strict=False, max_length=100, description="Priority classes that specs may name."
    )
    requests_per_second: float = Field(
        default=REQUESTS_PER_SECOND,
        gt=0,
        le=1000,
        description="Requests to the cluster's API server, at most; what comes faster waits.",
    )
    job: Path | None = Field(
        default=None,
        strict=False,
        description="A Job of your own for launches to be laid over; k8s/job.yaml else.",
    )
    context: Label | None = Field(
        default=None, description="The kubeconfig's context; the current one, or the pod's own account, else."
    )
