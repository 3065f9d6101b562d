"""What training on prepared rows will come to: optimizer steps, and tokens seen."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.data.tally import Lengths
from orchestrator.optimizer_steps import packed_steps, unpacked_steps
from orchestrator.spec.training import Training

# So many rows are packed for a forecast.
PACKED_ROWS = 5_000


@dataclass(frozen=True)
class Forecast:
    """`steps` are optimizer steps, `exact` False where packing decides them; `tokens` are those seen in all
    epochs together, padding not counted; of a stream, those of full sequences."""

    steps: int
    exact: bool
    tokens: int


def forecast(lengths: Lengths, training: Training) -> Forecast:
    """What training on rows of these lengths comes to under a spec's settings.

    With packing, Axolotl trains exactly max_steps steps where they are set, however many passes that takes.
    """
    if training.streaming and training.max_steps:
        full = training.max_steps * training.batch_size * training.sequence_len
        return Forecast(training.max_steps, True, full)
    rows = lengths.total_rows
    if training.packing:
        steps = _packed_steps(lengths, training)
    else:
        steps = unpacked_steps(rows, training.epochs, training.batch_size, 1)
    ended = training.max_steps is not None and (training.packing or training.max_steps < steps)
    planned = training.max_steps if ended and training.max_steps else steps
    tokens = round(lengths.total_tokens * training.epochs * planned / max(steps, 1))
    return Forecast(planned, ended or not training.packing, tokens)


def _packed_steps(lengths: Lengths, training: Training) -> int:
    """Steps with packing; of many rows, every so-manieth in order of length is packed and stands for all."""
    rows = lengths.total_rows
    every = -(-rows // PACKED_ROWS) or 1
    packed = lengths.at(range(every // 2, rows, every)) or lengths.at(range(rows))
    micro_batch = training.micro_batch_size or 1
    return packed_steps(
        packed,
        training.epochs * rows / max(len(packed), 1),
        sequence_len=training.sequence_len,
        micro_batch=micro_batch,
        accumulation=training.batch_size // micro_batch,
    )
