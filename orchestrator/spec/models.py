"""The closed models of a spec: every field with a bound and a sentence."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from orchestrator.spec.base import Alias, Closed, ColumnName, Label, Name, Text, broken_rule
from orchestrator.spec.training import Adapter, Compute, Training

Role = Literal["system", "user", "assistant", "tool"]


class Dataset(Closed):
    """Where rows come from, and which of them are held out."""

    source: Text = Field(
        description="A CSV, JSON, JSONL, XLSX, Parquet or text file, packed or not, a folder of them or a "
        "pattern such as `data/*.jsonl`; relative to the spec's folder."
    )
    validation: Annotated[float, Field(gt=0, lt=0.9)] | Text | None = Field(
        default=None, description="Rows held out from training: a share of the source, or a file of its own."
    )
    split_seed: int = Field(
        default=42, ge=0, lt=2**32, description="Seed of the draw when validation is a share."
    )


class MessageTemplate(Closed):
    """One message of an example, its content a Jinja template over the row's columns."""

    role: Role = Field(description="Who says it.")
    content: Annotated[str, StringConstraints(max_length=100_000)] = Field(
        description="A Jinja template, such as `{{ subject | trim }}`."
    )
    weight: Literal[0, 1] | None = Field(
        default=None, description="1 trains this message, 0 does not; left out, the assistant's are trained."
    )


class Conversation(Closed):
    """A column that already holds a list of messages, in OpenAI's or ShareGPT's form."""

    column: ColumnName = Field(description="The column that holds the list of messages.")
    role: ColumnName | None = Field(
        default=None, description="The field of a message that names its role; recognised when left out."
    )
    content: ColumnName | None = Field(
        default=None, description="The field of a message that holds its text; recognised when left out."
    )
    roles: dict[Label, Role] | None = Field(
        default=None, max_length=50, description="Roles of the data, each with the role it means."
    )
    system: ColumnName | None = Field(
        default=None, description="A column whose text becomes the system message where it is not empty."
    )


class Mapping(Closed):
    """How a row becomes an example: exactly one of its kinds."""

    messages: list[MessageTemplate] | None = Field(
        default=None, min_length=1, max_length=100, description="Messages from templates over columns."
    )
    conversation: Conversation | None = Field(default=None, description="Messages from a column of messages.")
    text: Text | None = Field(
        default=None, description="A Jinja template of plain text to go on with pre-training on."
    )
    where: Text | None = Field(
        default=None, description="A Jinja condition over the columns; rows that fail it are left out."
    )
    tools: ColumnName | None = Field(
        default=None, description="A column with the tools on offer: a list of definitions, or its JSON text."
    )
    train_on: Literal["all", "last"] = Field(
        default="all", description="Whether all assistant messages of an example are trained, or its last."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = ("messages", "conversation", "text")
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            raise broken_rule("a mapping has exactly one kind", f"give one of {', '.join(kinds)}")
        extra = "tools" if self.tools is not None else "train_on" if self.train_on != "all" else None
        if self.text is not None and extra:
            raise broken_rule("plain text has no messages, so no such field", "remove it", extra)
        if self.messages is not None and not any(message.role == "assistant" for message in self.messages):
            raise broken_rule(
                "no message has the role assistant, so there is nothing to train on",
                "add one, such as {role: assistant, content: ...}",
                "messages",
            )
        if self.messages and not any(
            message.weight == 1 or (message.weight is None and message.role == "assistant")
            for message in self.messages
        ):
            raise broken_rule(
                "every message has the weight 0, so there is nothing to train on",
                "leave the weight of the answer out",
                "messages",
            )
        return self


class Evaluate(Closed):
    """Base against adapter on held-out rows."""

    metrics: list[Literal["exact_match"]] = Field(
        default=["exact_match"], min_length=1, max_length=1, description="What is measured besides the loss."
    )
    rows: int = Field(default=200, ge=1, le=100_000, description="Held-out rows to measure on, at most.")
    max_new_tokens: int = Field(default=64, ge=1, le=4096, description="Longest answer that is generated.")


class Tracking(Closed):
    """Where the run shows in MLflow."""

    experiment: Label | None = Field(
        default=None, description="MLflow experiment; the spec's name if left out."
    )


class MlflowTarget(Closed):
    """A registered model in MLflow."""

    model: Label = Field(description="Registered model that gets a new version.")
    alias: Alias | None = Field(default=None, description="Alias that is moved to the new version.")

    @field_validator("model")
    @classmethod
    def _plain_model_name(cls, value: str) -> str:
        if any(character in value for character in "/:."):
            raise ValueError("an MLflow model name has no slash, colon or dot")
        return value

    @field_validator("alias")
    @classmethod
    def _not_a_version(cls, value: str | None) -> str | None:
        if value and (value == "latest" or (value[0] == "v" and value[1:].isdigit())):
            raise ValueError("MLflow keeps `latest` and names such as v1 for itself")
        return value


class Target(Closed):
    """One place the finished adapter is published to."""

    mlflow: MlflowTarget = Field(description="MLflow's model registry.")


class Spec(Closed):
    """One fine-tuning run, as the user wrote it."""

    name: Name = Field(description="Name of the run: lower case letters, digits and hyphens.")
    description: Annotated[str, StringConstraints(max_length=2000)] | None = Field(
        default=None, description="A sentence for the people who will find the adapter."
    )
    license: Label | None = Field(default=None, description="Licence of the adapter, as an SPDX id.")
    base_model: Text = Field(description="A model folder, or a hub id with a revision: `org/name@revision`.")
    dataset: Dataset = Field(description="Where rows come from.")
    mapping: Mapping = Field(description="How a row becomes an example; inline, or a file of its own.")
    method: Literal["sft", "pretrain"] = Field(
        default="sft",
        description="`sft`: supervised fine-tuning on conversations; `pretrain`: going on with plain text.",
    )
    adapter: Adapter = Field(default=Adapter(kind="lora"), description="What is trained.")
    training: Training = Field(default=Training(), description="How long and how fast.")
    axolotl: dict[str, Any] = Field(
        default={}, max_length=100, description="Further Axolotl keys, only those classed free or bounded."
    )
    compute: Compute = Field(default=Compute(), description="Where it runs.")
    evaluate: Evaluate | None = Field(default=None, description="Base against adapter on held-out rows.")
    tracking: Tracking = Field(default=Tracking(), description="Where the run shows in MLflow.")
    publish: list[Target] = Field(default=[], max_length=10, description="Where the adapter is published.")

    @property
    def experiment(self) -> str:
        return self.tracking.experiment or self.name
