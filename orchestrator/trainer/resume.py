"""Going on from a checkpoint as if there had been no stop."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from transformers import EarlyStoppingCallback


@dataclass(frozen=True)
class RandomState:
    """Every generator that this process's training draws from, at one moment."""

    python: Any
    numpy: Any
    cpu: Any
    device: Any  # None without a GPU

    @classmethod
    def now(cls) -> RandomState:
        device = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
        return cls(random.getstate(), numpy.random.get_state(), torch.random.get_rng_state(), device)

    def restore(self) -> None:
        random.setstate(self.python)
        numpy.random.set_state(self.numpy)
        torch.random.set_rng_state(self.cpu)
        if self.device is not None:
            torch.cuda.set_rng_state(self.device)


def prepare_resume(trainer: Any, control: Any, *, evaluation_due: bool) -> None:
    """Called when training begins, with the checkpoint's model, optimizer and state loaded.

    transformers restores neither the patience of early stopping nor the place of the best
    checkpoint, and would train one step more on a checkpoint that is finished.
    """
    _restore_early_stopping(trainer)
    _locate_best(trainer)
    if evaluation_due:
        _evaluate(trainer)
    if finished(trainer):
        control.should_training_stop = True


def guard_epochs(trainer: Any) -> None:
    """Let no epoch begin once training is to stop.

    The loop in transformers asks for that only after a step; when a checkpoint is finished there is
    none to take, and the loop goes straight to its end (best model loaded, adapter saved).
    """
    run_epoch = trainer._run_epoch

    def guarded(**arguments: Any) -> None:
        if not trainer.control.should_training_stop:
            run_epoch(**arguments)

    trainer._run_epoch = guarded


def keep_best(trainer: Any) -> None:
    """Save whenever an evaluation is the best so far: the checkpoint that is loaded at the end, or
    fetched after a stop, must exist, whatever cadence the others have."""
    determine = trainer._determine_best_metric

    def saving(*arguments: Any, **named: Any) -> bool:
        best = bool(determine(*arguments, **named))
        if best:
            trainer.control.should_save = True
        return best

    if trainer.args.load_best_model_at_end:
        trainer._determine_best_metric = saving


def finished(trainer: Any) -> bool:
    """All steps are done, or early stopping has said so: no step is left to train."""
    state = trainer.state
    return state.global_step >= state.max_steps or any(
        callback.early_stopping_patience_counter >= callback.early_stopping_patience
        for callback in _early_stopping(trainer)
    )


def _restore_early_stopping(trainer: Any) -> None:
    saved = trainer.state.stateful_callbacks.get("EarlyStoppingCallback")
    saved = saved[0] if isinstance(saved, list) else saved
    for callback in _early_stopping(trainer):
        if saved:
            callback.early_stopping_patience_counter = saved["attributes"]["early_stopping_patience_counter"]


def _locate_best(trainer: Any) -> None:
    """The state names the best checkpoint by a path of the attempt that wrote it."""
    state = trainer.state
    if state.best_global_step:
        folder = Path(trainer.args.output_dir) / f"checkpoint-{state.best_global_step}"
        state.best_model_checkpoint = str(folder) if folder.is_dir() else None


def _evaluate(trainer: Any) -> None:
    """Run the evaluation that the stop skipped, from the random state it would have had.

    transformers loads the checkpoint's random state after this, when the first batch is drawn; it
    must then be the state after the evaluation.
    """
    state = trainer.state
    trainer._load_rng_state(str(Path(trainer.args.output_dir) / f"checkpoint-{state.global_step}"))
    metrics = trainer._evaluate(None, None)
    if trainer._determine_best_metric(metrics, None):
        _locate_best(trainer)
    after = RandomState.now()
    trainer._load_rng_state = lambda _: after.restore()


def _early_stopping(trainer: Any) -> list[Any]:
    return [each for each in trainer.callback_handler.callbacks if isinstance(each, EarlyStoppingCallback)]
