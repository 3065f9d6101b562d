"""What training on prepared rows will come to: optimizer steps, and tokens seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.optimizer_steps import packed_steps, unpacked_steps
from orchestrator.spec.training import Training


@dataclass(frozen=True)
class Forecast:
    """`steps` are optimizer steps, `exact` False where packing decides them; `tokens` are those seen in all
    epochs together, padding not counted; of a stream, those of full sequences."""

    steps: int
    exact: bool
    tokens: int


def forecast(lengths: Sequence[int], training: Training) -> Forecast:
    """What training on rows of these lengths, in tokens, comes to under a spec's settings."""
    if training.streaming and training.max_steps:
        full = training.max_steps * training.batch_size * training.sequence_len
        return Forecast(training.max_steps, True, full)
    if training.packing:
        steps = packed_steps(
            lengths,
            training.epochs,
            sequence_len=training.sequence_len,
            micro_batch=training.micro_batch_size or 1,
            accumulation=training.batch_size // (training.micro_batch_size or 1),
        )
    else:
        steps = unpacked_steps(len(lengths), training.epochs, training.batch_size, 1)
    planned = min(steps, training.max_steps or steps)
    tokens = round(sum(lengths) * training.epochs * planned / max(steps, 1))
    return Forecast(planned, not training.packing or planned < steps, tokens)
