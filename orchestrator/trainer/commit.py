"""What leaves the scratch folder: checkpoints while training, and the adapter at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.contract import ADAPTER, Fenced, Manifest, checkpoint_key, commit_folder
from orchestrator.contract.adapter import gather_adapter
from orchestrator.trainer.cadence import Cadence
from orchestrator.trainer.checkpoints import prune
from orchestrator.trainer.endings import from_exception
from orchestrator.trainer.session import Session


def commit_checkpoint(session: Session, trainer: Any, cadence: Cadence, *, evaluation_due: bool) -> None:
    """Commit the folder transformers has just saved, once every rank has written its part of it, and
    go on when it is there. This process leaves when it may not commit. A collective call."""
    session.ranks.wait()
    if session.ranks.first:
        try:
            _commit_checkpoint(session, trainer, evaluation_due)
        except (Fenced, OSError) as error:
            session.leave(from_exception(error, session.phase))
    session.ranks.wait()
    session.step = session.committed = trainer.state.global_step
    cadence.saved()


def commit_adapter(session: Session, output: Path) -> Manifest:
    """Commit the allowed files of a finished run as its adapter.

    Raises:
        Fenced: a later attempt owns the run.
        OSError: storage is full or cannot be written.
        FileNotFoundError: Axolotl saved no weights.
    """
    staged = Path(session.order.scratch) / ADAPTER
    gather_adapter(output, staged, session.plan.base_model)
    facts = {
        **session.facts,
        **session.counts,
        "base_model": session.plan.base_model,
        "total_steps": session.total_steps,
    }
    manifest = Manifest(
        "adapter",
        (),
        step=session.step,
        attempt=session.order.attempt,
        record=session.record.length,
        facts=facts,
    )
    return commit_folder(session.run, staged, ADAPTER, manifest, guard=session.fence)


def _commit_checkpoint(session: Session, trainer: Any, evaluation_due: bool) -> None:
    state = trainer.state
    step = state.global_step
    facts = _checkpoint_facts(trainer, evaluation_due)
    session.record.checkpoint(step, {"evaluation_due": float(evaluation_due)})
    session.record.flush()
    manifest = Manifest(
        "checkpoint", (), step=step, attempt=session.order.attempt, record=session.record.length, facts=facts
    )
    folder = Path(trainer.args.output_dir) / f"checkpoint-{step}"
    commit_folder(session.run, folder, checkpoint_key(step), manifest, guard=session.fence)
    prune(session.run, session.plan.keep_checkpoints, facts["best_step"])


def _checkpoint_facts(trainer: Any, evaluation_due: bool) -> dict[str, Any]:
    state = trainer.state
    best = state.best_global_step if trainer.args.load_best_model_at_end else None
    tokens = getattr(state, "tokens", {}).get("total")
    return {
        "evaluation_due": evaluation_due,
        "devices": trainer.args.world_size,
        "best_step": best or None,
        "best_metric": state.best_metric if best else None,
        "epoch": state.epoch,
        "total_steps": state.max_steps,
        "patience_used": _patience_used(state),
        "tokens": None if tokens is None else int(tokens),
    }


def _patience_used(state: Any) -> int | None:
    """Evaluations without improvement so far, where early stopping is on."""
    saved = state.stateful_callbacks.get("EarlyStoppingCallback")
    saved = saved[0] if isinstance(saved, list) else saved
    return None if saved is None else int(saved["attributes"]["early_stopping_patience_counter"])
