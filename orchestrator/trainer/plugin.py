"""The Axolotl plugin and its callback: seeds, metrics, stops, commits, and exact resumption.

Axolotl makes the plugin by name (`overlay.yaml`); it works on the child's `session`. Each rule
below answers a way in which Axolotl 0.19.0 with transformers 5.16.1 would otherwise train on other
data after a stop, lose the state of early stopping, or save a partial run as a finished one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate.data_loader
from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback, set_seed

from orchestrator.contract import Cause
from orchestrator.trainer import session as sessions
from orchestrator.trainer.cadence import Cadence
from orchestrator.trainer.commit import commit_checkpoint
from orchestrator.trainer.endings import Phase, failed
from orchestrator.trainer.record import numbers
from orchestrator.trainer.repeats import ignore_repeats
from orchestrator.trainer.resume import RandomState, finished, guard_epochs, keep_best, prepare_resume
from orchestrator.trainer.session import Session
from orchestrator.trainer.streamed import Packing, count_passes, is_streamed

DEFAULT_SEED = 42  # what transformers takes for its own seeding where none is given
NO_ROWS = "Axolotl dropped every row of the dataset: raise the sequence length, or look at what is trained."


class ServicePlugin(BasePlugin):  # type: ignore[misc]
    """What the service adds to Axolotl; one instance per child."""

    def __init__(self) -> None:
        super().__init__()
        self.session = sessions.current()
        self.session.plugged = True
        self.trainer: Any = None
        self.callback: ServiceCallback | None = None
        self.packing = Packing(self.session.ranks)
        _carry_epochs_into_skipped_batches()

    def load_datasets(self, cfg: Any, preprocess: bool = False) -> None:
        """Packing draws its order while data is loaded, and nothing has seeded by then."""
        self.session.phase = Phase.DATA
        self.packing.install()
        _seed(cfg)

    def pre_model_load(self, cfg: Any) -> None:
        """LoRA's first weights are drawn before the trainer's own seeding; also called for a
        reference model."""
        self.session.phase = Phase.MODEL
        _seed(cfg)

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        self.trainer = trainer
        self.session.phase = Phase.READY
        self.session.counts = _counts(cfg, trainer)
        if self.session.counts.get("rows") == 0:
            self.session.leave(failed(Cause.DATA, NO_ROWS))
        if self.session.order.resume_from is not None:
            # Each resume would evaluate again and log a second eval_loss.
            trainer.args.eval_on_start = False
        guard_epochs(trainer)
        keep_best(trainer)
        self._share_out(cfg, trainer)
        packing = None
        if is_streamed(trainer):
            count_passes(trainer)
            packing = self.packing
        self.callback = ServiceCallback(self.session, trainer, packing)
        trainer.add_callback(self.callback)  # the last callback: its word on `control` stands

    def post_train(self, cfg: Any, model: Any) -> None:
        """Called before Axolotl's final save, and again after it: refuse to save a partial run."""
        session, state = self.session, self.trainer.state
        ran_out = self.callback is not None and self.callback.ran_out
        if not finished(self.trainer) and not ran_out:
            short = f"Training ended at step {state.global_step} of {state.max_steps}; nothing is saved."
            session.leave(session.stop_ending() if session.stopping else failed(Cause.CRASHED, short))
        session.facts.update(_result_facts(self.trainer))
        if self.callback:
            session.facts["callback_ms_per_step"] = self.callback.milliseconds_per_step
            session.facts.update(self.callback.cadence.facts)

    def _share_out(self, cfg: Any, trainer: Any) -> None:
        """What several ranks need: each token weighs the same whichever rank trains on it, and Axolotl,
        which writes configs and tokenizer from every rank, writes them into one folder from one only."""
        ranks = self.session.ranks
        if ranks.size == 1:
            return
        trainer.args.average_tokens_across_devices = True
        if not cfg.sample_packing:
            ignore_repeats(trainer, ranks.rank, ranks.size)
        if not ranks.first:
            cfg.output_dir = str(Path(self.session.order.scratch) / f"rank-{ranks.rank}")


class ServiceCallback(TrainerCallback):  # type: ignore[misc]
    """Follows one training run; added last, so that its settings of `control` stand."""

    def __init__(self, session: Session, trainer: Any, packing: Packing | None) -> None:
        self.session, self.trainer = session, trainer
        self.packing = packing  # of a run whose texts are packed while they are read
        self.cadence = Cadence(session.plan.task.get("checkpoint_seconds"))
        self.stopping = False  # agreed: the same on every rank, unlike the session's
        self.ran_out = False  # every epoch was read to its end, with fewer steps than foreseen
        self._evaluation_due = False
        self._before_evaluation: RandomState | None = None
        self._tokens: float | None = None
        self._step_ended = time.perf_counter()
        self._step_seconds = 0.0
        self._spent, self._steps = 0.0, 0  # seconds that steps waited for our callbacks

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        session = self.session
        session.listen()  # Axolotl has just put its own SIGINT handler in place
        session.step, session.total_steps = state.global_step, state.max_steps
        session.record.start(state.global_step, self._start_values(state))
        self._leave_if_told()
        session.begin_training()
        self.cadence.begin()
        _calling_first(self.trainer, "_save_checkpoint", self.cadence.saving)
        if session.order.resume_from is not None:
            prepare_resume(self.trainer, control, evaluation_due=session.order.evaluation_due)
            if self.packing:
                self.packing.resume(self.trainer, self._folder(state))
        self._tokens = _tokens(state)
        self._step_ended = time.perf_counter()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.packing:
            self.packing.begin_pass()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._before_evaluation = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = time.perf_counter()
        self._step_seconds, self._step_ended = now - self._step_ended, now
        self.session.step = state.global_step
        self._steps += 1
        self._decide(control)
        self._spend(now)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.packing:  # batches since the last step count for the next pass's first: no place to stop
            return
        self.ran_out = (
            math.ceil(args.num_train_epochs) <= round(state.epoch) and not control.should_training_stop
        )
        self._decide(control)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not logs or "train_runtime" in logs:  # the closing summary counts this attempt only
            return
        now = time.perf_counter()
        values = numbers(logs)
        if "loss" in values:
            values.update(self._speed(state))
        self.session.record.metrics(state.global_step, values)
        self._spend(now)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self._told():
            return
        if self._before_evaluation:  # as if the evaluation had not begun: it is due at the next start
            self._before_evaluation.restore()
            self._evaluation_due = True
            self.trainer._save_checkpoint(self.trainer.model, None)
            self._commit()
        self.session.leave(self.session.stop_ending())

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._step_ended = time.perf_counter()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.session.committed != state.global_step or self._evaluation_due:
            self._commit()
        self._leave_if_told()
        self._step_ended = time.perf_counter()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        session = self.session
        session.record.flush()
        session.phase = Phase.SAVING
        if session.committed == state.global_step:
            self._leave_if_told()

    @property
    def milliseconds_per_step(self) -> float:
        """What our callbacks cost a step, saving apart."""
        return round(1000 * self._spent / max(1, self._steps), 3)

    def _spend(self, since: float) -> None:
        self._spent += time.perf_counter() - since

    def _told(self) -> bool:
        """Any rank was told to stop. A collective call, since all must leave at the same step."""
        (told,) = self.session.ranks.agree(self.session.stopping)
        self.stopping = self.stopping or told
        return self.stopping

    def _leave_if_told(self) -> None:
        if self._told():
            self.session.leave(self.session.stop_ending())

    def _folder(self, state: Any) -> Path:
        return Path(self.trainer.args.output_dir) / f"checkpoint-{state.global_step}"

    def _commit(self) -> None:
        if self.packing and self.session.ranks.first:
            self.packing.save(self._folder(self.trainer.state))
        commit_checkpoint(self.session, self.trainer, self.cadence, evaluation_due=self._evaluation_due)

    def _decide(self, control: Any) -> None:
        """Told to stop: save now, evaluate at the next start; leaving is up to `on_save`."""
        ranks = self.session.ranks
        told, due = ranks.agree(self.session.stopping, ranks.first and self.cadence.due())
        self.stopping = self.stopping or told
        if self.stopping:
            self._evaluation_due = bool(control.should_evaluate)
            control.should_evaluate, control.should_save, control.should_training_stop = False, True, True
            return
        if due:
            control.should_save = True
        if control.should_evaluate:
            self._before_evaluation = RandomState.now()

    def _speed(self, state: Any) -> dict[str, float]:
        speed = {"step_seconds": self._step_seconds}
        tokens = _tokens(state)
        if tokens is not None and self._step_seconds > 0:
            speed["tokens_per_second"] = (tokens - (self._tokens or 0.0)) / self._step_seconds
        self._tokens = tokens
        return speed

    def _start_values(self, state: Any) -> dict[str, float]:
        return {
            "total_steps": state.max_steps,
            "resumed_from": self.session.order.resume_from or 0,
            **self.session.counts,
        }


def _calling_first(trainer: Any, method: str, call: Callable[[], None]) -> None:
    """Let the trainer call this before a method of its own that no callback comes before."""
    original = getattr(trainer, method)

    def both(*arguments: Any, **named: Any) -> Any:
        call()
        return original(*arguments, **named)

    setattr(trainer, method, both)


def _carry_epochs_into_skipped_batches() -> None:
    """Give accelerate's SkipBatchSampler the `set_epoch` it lacks.

    Resuming inside an epoch wraps the packing sampler in it; without `set_epoch` that sampler keeps
    the batches of another epoch, and rows are repeated and missed.
    """

    def set_epoch(self: Any, epoch: int) -> None:
        if hasattr(self.batch_sampler, "set_epoch"):
            self.batch_sampler.set_epoch(epoch)

    accelerate.data_loader.SkipBatchSampler.set_epoch = set_epoch


def _seed(cfg: Any) -> None:
    set_seed(DEFAULT_SEED if cfg.seed is None else cfg.seed)


def _counts(cfg: Any, trainer: Any) -> dict[str, float]:
    """What Axolotl counted after filtering and splitting; no log line has these figures."""
    counts = {
        "rows": _length(trainer.train_dataset),
        "validation_rows": _length(trainer.eval_dataset),
        "total_num_tokens": cfg.total_num_tokens,
        "total_supervised_tokens": cfg.total_supervised_tokens,
    }
    return {name: int(count) for name, count in counts.items() if count is not None}


def _length(dataset: Any) -> int | None:
    return len(dataset) if hasattr(dataset, "__len__") else None


def _tokens(state: Any) -> float | None:
    """Tokens through the model so far, padding included, where Axolotl counts them."""
    total = getattr(state, "tokens", {}).get("total")
    return None if total is None else float(total)


def _result_facts(trainer: Any) -> dict[str, Any]:
    state = trainer.state
    best = state.best_global_step if trainer.args.load_best_model_at_end else None
    return {
        "stopped_early": state.global_step < state.max_steps,
        "best_step": best or None,
        "best_metric": state.best_metric if best else None,
        "epoch": state.epoch,
    }
