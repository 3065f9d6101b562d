"""What a client submits, and what a run of it would be."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from orchestrator.spec.base import Name
from orchestrator.wire.base import MAX_SPEC_CHARACTERS, Asked, Told

IdempotencyKey = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")]
UploadAddress = Annotated[str, StringConstraints(max_length=4096)]


class Submission(Asked):
    """A spec to run, exactly as it was written, and what its relative paths mean."""

    spec: str = Field(
        max_length=MAX_SPEC_CHARACTERS,
        description="The spec's YAML text, as written.",
        examples=["name: triage\nbase_model: org/model@revision\n..."],
    )
    file: str = Field(
        default="spec.yaml", max_length=1000, description="What the spec is called in what is said of it."
    )
    mappings: dict[str, str] = Field(
        default={}, max_length=100, description="The texts of the mapping files that it names."
    )
    base: str | None = Field(
        default=None,
        max_length=4096,
        description="The folder that relative paths start from; only for a service on the same machine.",
    )
    uploads: dict[str, UploadAddress] = Field(
        default={},
        max_length=2000,
        description="What places of the client's machine stand for, by their fields: addresses of uploads.",
        examples=[{"dataset.source": f"upload://{'0' * 64}/tickets.csv"}],
    )
    go_on: bool = Field(
        default=False, description="Go on with an unfinished run of this very spec, where there is one."
    )


class CloneAsked(Asked):
    """A run to be submitted once more, with some fields of its spec changed."""

    name: Name = Field(description="Name of the new run.", examples=["triage-2"])
    changes: dict[str, Annotated[str, StringConstraints(max_length=10_000)]] = Field(
        default={},
        max_length=100,
        description="New values by their fields, as YAML.",
        examples=[{"training.learning_rate": "1e-4"}],
    )


class Plan(Told):
    """What a run of a submission would be; `estimate` is None for a base model of an unknown kind."""

    name: str
    spec_digest: str
    splits: dict[str, dict[str, Any]] = Field(description="Rows, tokens and lengths of each split.")
    forecast: dict[str, Any] | None = None
    steps: int
    steps_exact: bool
    micro_batch_size: int
    accumulation: int
    save_steps: int | None = None
    eval_steps: int | None = None
    estimate: dict[str, Any] | None = Field(default=None, description="Memory, time and price.")
    remedies: list[dict[str, Any]] = Field(default=[], description="What to change where it does not fit.")
    publish: list[str] = Field(default=[])
    config: dict[str, Any] = Field(description="The Axolotl config.")
    config_text: str = Field(description="The same, as the YAML that a launch reads.")
    request: dict[str, Any] = Field(
        default={},
        description="What the backend would send to start training: a command, a container or a Job.",
    )
    refused: str | None = Field(
        default=None,
        description="Why the backend would not take that launch now, or could not be asked; null where it "
        "would: a cluster is asked by a server dry run, admission and all.",
    )
    against: str | None = Field(default=None, description="The run that `changes` are told against.")
    changes: dict[str, dict[str, list[Any]]] = Field(
        default={},
        description="Old and new value of what differs from that run, by section (spec, dataset, config, "
        "estimate) and field; null where one side has none.",
    )
