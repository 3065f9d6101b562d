"""Several ranks, and rows that do not divide by them: each row is trained once an epoch all the same.

accelerate deals every rank the same number of batches and fills the last ones up with rows of the
epoch's beginning. What they repeat must not weigh: the last step of an epoch is that of one process
with the same micro batch and the same effective batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

IGNORED = -100  # the label that no loss counts


@dataclass(frozen=True)
class Share:
    """What is true of an epoch's end on one rank.

    `rows`: rows of the rank's last batch that are no repeats. `batches`: batches with such rows that the
    last optimizer step has, over the number of ranks; a fraction where ranks have repeats only.
    """

    rows: int
    batches: float


def share(rows: int, batch_size: int, accumulation: int, rank: int, ranks: int) -> Share:
    """The batches of an epoch go round the ranks in turn, as accelerate's BatchSamplerShard deals them."""
    batches = -(-rows // batch_size)
    each = -(-batches // ranks)
    last = (each - 1) * ranks + rank
    before = (-(-each // accumulation) - 1) * accumulation * ranks
    return Share(min(batch_size, max(0, rows - last * batch_size)), (batches - before) / ranks)


def ignore_repeats(trainer: Any, rank: int, ranks: int) -> None:
    """Let repeated rows weigh nothing in this trainer's losses and gradients, in training and evaluation."""
    args = trainer.args
    if not hasattr(trainer.train_dataset, "__len__") or args.dataloader_drop_last:
        return
    mine = share(
        len(trainer.train_dataset),
        args.per_device_train_batch_size,
        args.gradient_accumulation_steps,
        rank,
        ranks,
    )
    validation = trainer.eval_dataset
    judged = share(len(validation), args.per_device_eval_batch_size, 1, rank, ranks) if validation else None
    epochs = _Epochs(trainer, mine, judged)
    trainer.get_batch_samples, trainer.compute_loss = epochs.fetch, epochs.weigh


class _Epochs:
    """Follows a trainer through its epochs and evaluations, to see each one's end."""

    def __init__(self, trainer: Any, mine: Share, judged: Share | None) -> None:
        self._trainer, self._mine, self._judged = trainer, mine, judged
        self._state = trainer.accelerator.gradient_state
        self._get_batch_samples = trainer.get_batch_samples
        self._compute_loss = trainer.compute_loss
        self._last_step = False
        # Where the model divides by the tokens of all ranks, a batch without labels weighs nothing. Else
        # its loss is a mean, of nothing at all.
        self._by_tokens = trainer.model_accepts_loss_kwargs or trainer.compute_loss_func is not None

    def fetch(self, epoch: Iterator[Any], *arguments: Any) -> Any:
        fetched = self._get_batch_samples(self._batches(epoch), *arguments)
        self._last_step = self._state.end_of_dataloader
        return fetched

    def weigh(self, model: Any, inputs: Any, *arguments: Any, **named: Any) -> Any:
        # The trainer itself drops the losses of batches that are repeats as a whole.
        if not model.training and self._state.end_of_dataloader and self._judged and self._judged.rows:
            inputs["labels"][self._judged.rows :] = IGNORED
        loss = self._compute_loss(model, inputs, *arguments, **named)
        if not self._last_step or self._by_tokens or not model.training:
            return loss
        self._trainer.current_gradient_accumulation_steps = self._mine.batches  # divides the loss next
        repeated = self._state.sync_gradients and not self._mine.rows
        return loss * 0.0 if repeated else loss

    def _batches(self, epoch: Iterator[Any]) -> Iterator[Any]:
        for batch in epoch:
            if self._state.end_of_dataloader and (self._mine.rows or self._by_tokens):
                batch["labels"][self._mine.rows :] = IGNORED
            yield batch
