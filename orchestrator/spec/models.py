"""The closed models of a spec: every field with a bound and a sentence."""

from __future__ import annotations

import codecs
from io import BytesIO, TextIOWrapper
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag, field_validator

from orchestrator.spec.base import Alias, Closed, Label, Name, Text
from orchestrator.spec.mapping import Mapping
from orchestrator.spec.training import Adapter, Compute, Training


class SourceEntry(Closed):
    """A source with what has to be said of it."""

    source: Text = Field(description="A file, a folder or a pattern such as `data/*.jsonl`, as in text.")
    secret: Name | None = Field(
        default=None, description="The named secret that opens a source elsewhere, such as a bucket."
    )
    sheet: Label | None = Field(
        default=None, description="The sheet of an Excel workbook; the first if left out."
    )
    encoding: Annotated[str, StringConstraints(max_length=40)] | None = Field(
        default=None, description="The encoding of a text that is not UTF-8, such as `latin-1`."
    )
    mapping: Mapping | None = Field(
        default=None, description="How rows of this source become examples; the spec's mapping if left out."
    )

    @field_validator("encoding")
    @classmethod
    def _encoding_of_texts(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                TextIOWrapper(BytesIO(), value)  # refuses what decodes bytes to bytes, or texts to texts
                codecs.getincrementaldecoder(value)().decode(b"")
        except (LookupError, AttributeError, ValueError) as error:
            raise ValueError(
                "no encoding has this name; known are latin-1, windows-1252, gb18030 .."
            ) from error
        return value


class WeightedEntry(SourceEntry):
    """A source of training rows."""

    weight: float = Field(
        default=1.0,
        gt=0,
        le=100,
        description="How many times each row is trained on; 0.5 takes half of the rows, 2.5 each row twice "
        "and half of them once more.",
    )


def _form(value: object) -> str | None:
    """Which form a source is written in; the names are no keys, so no path in a spec can hold them."""
    if isinstance(value, str):
        return "<text>"
    if isinstance(value, dict | Closed):
        return "<entry>"
    if isinstance(value, list):
        return "<list>"
    return "<share>" if isinstance(value, int | float) and not isinstance(value, bool) else None


_One = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[WeightedEntry, Tag("<entry>")],
    Discriminator(_form, "source_type", "must be text or a section with `source`"),
]
_Sources = Annotated[
    Annotated[Text, Tag("<text>")]
    | Annotated[WeightedEntry, Tag("<entry>")]
    | Annotated[list[_One], Field(min_length=1, max_length=1000), Tag("<list>")],
    Discriminator(_form, "source_type", "must be text, a section with `source`, or a list of them"),
]
_HeldOut = Annotated[
    Annotated[float, Field(gt=0, lt=0.9), Tag("<share>")]
    | Annotated[Text, Tag("<text>")]
    | Annotated[SourceEntry, Tag("<entry>")],
    Discriminator(_form, "source_type", "must be a number, text or a section with `source`"),
]


class ModelEntry(Closed):
    """A base model that needs a secret."""

    source: Text = Field(description="A model folder, or a hub id with a revision, as in text.")
    secret: Name | None = Field(
        default=None, description="The named secret whose `token` opens a gated or private model."
    )


_BaseModel = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[ModelEntry, Tag("<entry>")],
    Discriminator(_form, "base_model_type", "must be text or a section with `source`"),
]


class Dataset(Closed):
    """Where rows come from, and which of them are held out."""

    source: _Sources = Field(
        description="A CSV, JSON, JSONL, XLSX, Parquet or text file, packed or not, a folder of them or a "
        "pattern such as `data/*.jsonl`, relative to the spec's folder; `hf://org/name/config/split`, or a "
        "URL such as `s3://bucket/rows.parquet`; an entry that says more of it; or a list of these."
    )
    validation: _HeldOut | None = Field(
        default=None, description="Rows held out from training: a share of the sources, or a source."
    )
    split_seed: int = Field(
        default=42,
        ge=0,
        lt=2**32,
        description="Seed of the draw when validation is a share or a weight has a fraction.",
    )

    @property
    def training(self) -> tuple[tuple[str, WeightedEntry], ...]:
        """The sources of training rows, each with the field that it stands in."""
        if isinstance(self.source, list):
            named = [(f"dataset.source[{number}]", one) for number, one in enumerate(self.source)]
        else:
            named = [("dataset.source", self.source)]
        return tuple(
            (field, one if isinstance(one, WeightedEntry) else WeightedEntry(source=one))
            for field, one in named
        )

    @property
    def held_out(self) -> tuple[str, SourceEntry] | None:
        """The source of held-out rows and the field that it stands in, where they have one of their own."""
        if isinstance(self.validation, SourceEntry):
            return "dataset.validation", self.validation
        if isinstance(self.validation, str):
            return "dataset.validation", SourceEntry(source=self.validation)
        return None

    @property
    def entries(self) -> tuple[tuple[str, SourceEntry], ...]:
        """All its sources, each with the field that it stands in; that of held-out rows is the last."""
        return (*self.training, *([self.held_out] if self.held_out else ()))


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
    base_model: _BaseModel = Field(
        description="A model folder, or a hub id with a revision: `org/name@revision`; an entry with "
        "`source` and `secret` for a gated one."
    )
    dataset: Dataset = Field(description="Where rows come from.")
    mapping: Mapping = Field(description="How a row becomes an example; inline, a file, or a name.")
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
    temporary: bool = Field(
        default=False,
        description="Whether adapter and checkpoints go some days after the end (the operator's "
        "`retention`), with a warning before; a pin keeps them. What is published stays.",
    )

    @property
    def model(self) -> str:
        """The base model's folder or hub id."""
        return self.base_model.source if isinstance(self.base_model, ModelEntry) else self.base_model

    @property
    def model_secret(self) -> str | None:
        """The named secret that opens the base model."""
        return self.base_model.secret if isinstance(self.base_model, ModelEntry) else None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The named secrets that preparing needs: the base model's and those of sources."""
        named = [self.model_secret, *(entry.secret for _, entry in self.dataset.entries)]
        return tuple(sorted({name for name in named if name}))

    @property
    def mappings(self) -> tuple[tuple[str, Mapping], ...]:
        """Every mapping of the spec and the field that it stands in: its own, and those of sources."""
        entries = self.dataset.entries
        own = [(f"{field}.mapping", entry.mapping) for field, entry in entries if entry.mapping]
        return (("mapping", self.mapping), *own)

    @property
    def experiment(self) -> str:
        return self.tracking.experiment or self.name
