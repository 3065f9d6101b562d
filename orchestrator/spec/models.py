"""The closed models of a spec: every field with a bound and a sentence."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$"
ALIAS_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]{0,99}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Alias = Annotated[str, StringConstraints(pattern=ALIAS_PATTERN)]
Role = Literal["system", "user", "assistant", "tool"]


def broken_rule(what: str, fix: str, *at: str | int) -> PydanticCustomError:
    """The error of a rule over several fields: what is wrong, the fix, and the field it shows at."""
    return PydanticCustomError("spec_rule", "{what}", {"what": what, "fix": fix, "at": at})


class Closed(BaseModel):
    """A frozen model that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


class Dataset(Closed):
    """Where rows come from, and which of them are held out."""

    source: Text = Field(description="A CSV, JSON, JSONL or Parquet file, relative to the spec's folder.")
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

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = ("messages", "conversation", "text")
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            raise broken_rule("a mapping has exactly one kind", f"give one of {', '.join(kinds)}")
        if self.messages is not None and not any(message.role == "assistant" for message in self.messages):
            raise broken_rule(
                "no message has the role assistant, so there is nothing to train on",
                "add one, such as {role: assistant, content: ...}",
                "messages",
            )
        return self


class Adapter(Closed):
    """What is trained: a low-rank adapter, or every weight of the base model."""

    kind: Literal["lora", "full"] = Field(description="`lora` trains a small adapter, `full` all weights.")
    r: int = Field(default=16, ge=1, le=512, description="Rank of the adapter's matrices.")
    alpha: int = Field(default=32, ge=1, le=2048, description="Scale of the adapter; the usual is twice r.")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share of adapter inputs dropped in training."
    )
    target_modules: list[Label] | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Layers to adapt; every linear layer if left out.",
    )

    @model_validator(mode="after")
    def _only_lora_has_a_rank(self) -> Self:
        lora_only = sorted(self.model_fields_set - {"kind"})
        if self.kind == "full" and lora_only:
            raise broken_rule("kind full has no such field", "remove it, or set kind: lora", lora_only[0])
        return self


class EarlyStopping(Closed):
    """When training ends before its last step; the best checkpoint is then what is published."""

    patience: int = Field(ge=1, le=1000, description="Evaluations without a lower eval_loss before the end.")


class Training(Closed):
    """How long and how fast."""

    epochs: float = Field(default=3.0, gt=0, le=1000, description="Passes over the training rows.")
    max_steps: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="Optimizer steps at which training ends, if sooner; with packing, always.",
    )
    learning_rate: float = Field(default=2e-4, gt=0, le=1, description="Peak learning rate.")
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = Field(
        default="cosine", description="How the learning rate falls after the warm-up."
    )
    warmup_ratio: float = Field(default=0.03, ge=0, lt=1, description="Share of all steps spent warming up.")
    weight_decay: float = Field(default=0.0, ge=0, le=1, description="Weight decay of AdamW.")
    max_grad_norm: float = Field(
        default=1.0, gt=0, le=1000, description="Gradients are clipped to this norm."
    )
    sequence_len: int = Field(
        default=2048,
        ge=16,
        le=1_048_576,
        description="Tokens of the longest example; longer ones are dropped.",
    )
    batch_size: int = Field(
        default=32, ge=1, le=65_536, description="Examples (packed: sequences) per optimizer step."
    )
    micro_batch_size: int | None = Field(
        default=None, ge=1, le=4096, description="Examples on the device at once; chosen when left out."
    )
    packing: bool = Field(default=False, description="Put several short examples into one sequence.")
    eval_steps: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Steps between evaluations; chosen when left out."
    )
    checkpoint_steps: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Steps between checkpoints; chosen when left out."
    )
    early_stopping: EarlyStopping | None = Field(default=None, description="End early when eval_loss stalls.")
    seed: int = Field(default=42, ge=0, lt=2**32, description="Seed of initialisation and order.")

    @model_validator(mode="after")
    def _micro_divides_batch(self) -> Self:
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise broken_rule(
                f"batch_size {self.batch_size} is not a multiple of micro_batch_size {self.micro_batch_size}",
                "make it a divisor of batch_size, or leave it out",
                "micro_batch_size",
            )
        return self

    @model_validator(mode="after")
    def _best_checkpoint_exists(self) -> Self:
        """Axolotl keeps the best checkpoint only where each checkpoint was evaluated."""
        evaluations, checkpoints = self.eval_steps or 1, self.checkpoint_steps or 0
        if self.early_stopping and checkpoints % evaluations:
            raise broken_rule(
                f"early stopping needs checkpoint_steps to be a multiple of eval_steps ({self.eval_steps})",
                "leave checkpoint_steps out, or make it such a multiple",
                "checkpoint_steps",
            )
        return self


class Compute(Closed):
    """Where it runs."""

    machine: Name = Field(default="cpu", description="An entry of the operator's catalogue of machines.")
    max_hours: float | None = Field(
        default=None, gt=0, le=10_000, description="Hours of training after which the run is stopped."
    )


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
    method: Literal["sft"] = Field(default="sft", description="Supervised fine-tuning.")
    adapter: Adapter = Field(default=Adapter(kind="lora"), description="What is trained.")
    training: Training = Field(default=Training(), description="How long and how fast.")
    axolotl: dict[str, Any] = Field(
        default={}, max_length=100, description="Further Axolotl keys, only those classed free or bounded."
    )
    compute: Compute = Field(default=Compute(), description="Where it runs.")
    evaluate: Evaluate | None = Field(default=None, description="Base against adapter on held-out rows.")
    tracking: Tracking = Field(default=Tracking(), description="Where the run shows in MLflow.")
    publish: list[Target] = Field(default=[], max_length=10, description="Where the adapter is published.")

    @model_validator(mode="after")
    def _mapping_fits_the_method(self) -> Self:
        if self.mapping.text is not None:
            what = "a mapping of text is for pre-training, and this method trains on conversations"
            raise broken_rule(what, "map to `messages` or a `conversation`", "mapping", "text")
        return self

    @model_validator(mode="after")
    def _held_out_rows_where_needed(self) -> Self:
        needs: tuple[tuple[str, ...], ...] = (
            *([("evaluate",)] if self.evaluate else []),
            *([("training", "early_stopping")] if self.training.early_stopping else []),
            *([("training", "eval_steps")] if self.training.eval_steps else []),
        )
        if needs and self.dataset.validation is None:
            raise broken_rule("this needs held-out rows", "set dataset.validation, such as 0.05", *needs[0])
        return self

    @property
    def experiment(self) -> str:
        return self.tracking.experiment or self.name
