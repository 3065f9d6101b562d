"""How many steps a run has, and what happens at which of them: the sums of Axolotl 0.19.0."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from orchestrator.machines import Machine
from orchestrator.optimizer_steps import unpacked_steps
from orchestrator.spec.training import Training

_LARGEST_MICRO_BATCH = 8
_TOKENS_AT_ONCE: dict[Literal["cpu", "gpu"], int] = {"cpu": 8192, "gpu": 16384}
DECAY_RATIO = 0.1  # of all steps, where a spec names none
_EVENTS = 10  # about so many evaluations in a run whose spec names no steps


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a prepared dataset under the spec's base model and sequence length.

    `rows` is what training sees, after drops (of plain text, the pieces it is cut into); `tokens` and
    `trained_tokens` are their sums, `longest` the tokens of the longest row, `digest` the content digest
    of the dataset.
    """

    rows: int
    validation_rows: int
    tokens: int
    trained_tokens: int
    longest: int
    digest: str


@dataclass(frozen=True)
class Schedule:
    """The figures of a run. `steps` is None where packing decides it, `save_steps` where time decides,
    `eval_steps` without held-out rows; `decay_steps` only with the schedule that has them."""

    steps: int | None
    max_steps: int | None
    warmup_steps: int | None
    decay_steps: int | None
    micro_batch_size: int
    accumulation: int
    save_steps: int | None
    eval_steps: int | None


def schedule(training: Training, machine: Machine, facts: DatasetFacts) -> Schedule:
    """The figures of a run: micro batch x accumulation x devices is the batch of a step.

    `training.batch_size` is a multiple of the devices (render.py refuses others).
    """
    share = training.batch_size // machine.devices
    micro = training.micro_batch_size or _micro_batch_size(training, share, machine, facts)
    whole = None if training.packing else unpacked_steps(facts.rows, training.epochs, training.batch_size, 1)
    ends_sooner = training.max_steps is not None and (whole is None or training.max_steps < whole)
    steps = training.max_steps if ends_sooner else whole
    save_steps, eval_steps = _cadence(training, steps or _packed_estimate(facts, training))
    decays = training.scheduler == "warmup_stable_decay"
    return Schedule(
        steps=steps,
        max_steps=training.max_steps if ends_sooner else None,
        warmup_steps=int(training.warmup_ratio * steps) if ends_sooner and steps else None,
        decay_steps=math.ceil((training.decay_ratio or DECAY_RATIO) * steps) if decays and steps else None,
        micro_batch_size=micro,
        accumulation=max(1, share // micro),
        save_steps=save_steps,
        eval_steps=eval_steps if facts.validation_rows else None,
    )


def _micro_batch_size(training: Training, share: int, machine: Machine, facts: DatasetFacts) -> int:
    longest = training.sequence_len if training.packing else min(facts.longest, training.sequence_len)
    fitting = _TOKENS_AT_ONCE[machine.device] // max(longest, 1)
    return _largest_divisor(share, min(fitting, _LARGEST_MICRO_BATCH))


def _packed_estimate(facts: DatasetFacts, training: Training) -> int:
    """Roughly the steps of packed training; only for choosing a cadence."""
    sequences = math.ceil(facts.tokens / training.sequence_len)
    return max(1, int(sequences // training.batch_size * training.epochs))


def _cadence(training: Training, steps: int) -> tuple[int | None, int]:
    """Steps between checkpoints, None where time decides, and between evaluations.

    With early stopping each checkpoint is evaluated, and without checkpoint_steps each evaluation has
    its checkpoint, since the best one must be there at the end.
    """
    tenth = math.ceil(steps / _EVENTS)
    if training.checkpoint_steps:
        return training.checkpoint_steps, training.eval_steps or _largest_divisor(
            training.checkpoint_steps, tenth
        )
    evaluations = training.eval_steps or tenth
    return (evaluations if training.early_stopping else None), evaluations


def _largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of `number` that is not above `limit`; 1 at least."""
    return next(divisor for divisor in range(max(1, min(limit, number)), 0, -1) if number % divisor == 0)
