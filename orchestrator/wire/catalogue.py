"""What there is: machines, registries, datasets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orchestrator.wire.base import Told


class Machine(Told):
    """A machine that `compute.machine` of a spec may name; None is not known."""

    name: str = Field(examples=["a100-1"])
    device: Literal["cpu", "gpu"]
    devices: int = Field(default=1, description="GPUs, or processes that share its processor.")
    gpu: str | None = None
    memory_gib: float | None = Field(default=None, description="Memory of one device.")
    price_per_hour: float | None = Field(default=None, description="Of the whole machine.")
    tokens_per_second: float | None = Field(default=None, description="As the operator measured it.")
    sentence: str = ""


class Registry(Told):
    """A place that adapters are published to."""

    kind: Literal["mlflow"] = Field(description="The key of a target in a spec's `publish`.")
    url: str


class Dataset(Told):
    """A prepared dataset that the project holds."""

    digest: str = Field(description="Of its rows, however they lie in files.")
    rows: int
    validation_rows: int = 0
    tokens: int | None = None
    trained_tokens: int | None = None
    size: int | None = Field(default=None, description="Bytes of its files; null where not yet measured.")
    created: float | None = Field(default=None, description="When the first run with it was submitted.")
    used: float = Field(description="When the newest run with it was submitted.")
    runs: list[str] = Field(description="The runs that used it and are not deleted, newest first.")
