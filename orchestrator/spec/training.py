"""The sections that say what is trained, how long and where: `adapter`, `training`, `compute`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orchestrator.spec.base import Closed, Label, Name, Text

Scheduler = Literal[
    "cosine",
    "linear",
    "constant",
    "constant_with_warmup",
    "cosine_with_restarts",
    "polynomial",
    "inverse_sqrt",
    "warmup_stable_decay",
    "one_cycle",
    "rex",
]
CHECKPOINT_MINUTES = 15.0  # where a spec says nothing of checkpoints


class Adapter(Closed):
    """What is trained: a low-rank adapter, or every weight of the base model."""

    kind: Literal["lora", "qlora", "full"] = Field(
        description="`lora` trains a small adapter, `qlora` one beside a base model in 4 bits, "
        "`full` all weights."
    )
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
    continue_from: Text | None = Field(
        default=None,
        description="An earlier adapter to train on: the id of its run, or its folder; its rank, alpha, "
        "dropout and layers hold.",
    )

    @property
    def low_rank(self) -> bool:
        return self.kind != "full"


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
    scheduler: Scheduler = Field(
        default="cosine", description="How the learning rate falls after the warm-up."
    )
    warmup_ratio: float = Field(default=0.03, ge=0, lt=1, description="Share of all steps spent warming up.")
    min_lr_ratio: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Share of the peak learning rate that is left at the end; 0 if left out.",
    )
    decay_ratio: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of all steps in which warmup_stable_decay falls at the end; 0.1 if left out.",
    )
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
        default=None, ge=1, le=4096, description="Examples on a device at once; chosen when left out."
    )
    packing: bool = Field(default=False, description="Put several short examples into one sequence.")
    streaming: bool = Field(
        default=False,
        description="Cut texts into tokens while training on them; for pre-training, with packing and "
        "max_steps.",
    )
    gradient_checkpointing: bool | None = Field(
        default=None,
        description="Compute activations again rather than keep them; the machine decides if left out.",
    )
    eval_steps: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Steps between evaluations; chosen when left out."
    )
    checkpoint_minutes: float | None = Field(
        default=None,
        gt=0,
        le=10_000,
        description="Minutes between checkpoints; 15 where checkpoint_steps is left out too.",
    )
    checkpoint_steps: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Steps between checkpoints, instead of minutes."
    )
    early_stopping: EarlyStopping | None = Field(default=None, description="End early when eval_loss stalls.")
    seed: int = Field(default=42, ge=0, lt=2**32, description="Seed of initialisation and order.")

    @property
    def checkpoint_seconds(self) -> float | None:
        """Time between checkpoints; None where steps decide."""
        return None if self.checkpoint_steps else (self.checkpoint_minutes or CHECKPOINT_MINUTES) * 60


class Compute(Closed):
    """Where it runs."""

    machine: Name = Field(default="cpu", description="An entry of the operator's catalogue of machines.")
    parallel: Literal["ddp", "fsdp"] | None = Field(
        default=None,
        description="How several devices share the work: `ddp` (each holds the model; what is taken if left "
        "out) or `fsdp` (they share its weights).",
    )
    queue: Name | None = Field(
        default=None,
        description="The queue of a Kubernetes cluster (a LocalQueue of Kueue) that it waits in for its "
        "machine; other backends have none.",
    )
    priority: Name | None = Field(
        default=None,
        description="Who goes first on a Kubernetes cluster: in a queue a WorkloadPriorityClass of Kueue, "
        "else a PriorityClass in the place of the machine's.",
    )
    max_hours: float | None = Field(
        default=None, gt=0, le=10_000, description="Hours of training after which the run is stopped."
    )
