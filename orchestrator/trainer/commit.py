"""What leaves the scratch folder: checkpoints while training, and the adapter at its end."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from orchestrator.contract import ADAPTER, Fenced, Manifest, checkpoint_key, commit_folder
from orchestrator.trainer.cadence import Cadence
from orchestrator.trainer.checkpoints import prune
from orchestrator.trainer.endings import from_exception
from orchestrator.trainer.session import Session

# Weights, configs, the tokenizer and its template: nothing that runs when it is loaded.
_ALLOWED_SUFFIXES = {".safetensors", ".json", ".jinja", ".model"}
_ALLOWED_NAMES = {"merges.txt", "vocab.txt"}
_OWN_FILES = {"trainer_state.json", "tokens_state.json"}


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


def gather_adapter(output: Path, staged: Path, base_model: str | None) -> None:
    """Copy what may leave from Axolotl's output folder, with the base model's true name in it.

    Raises FileNotFoundError when there are no weights.
    """
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    names = {path.name for path in output.iterdir() if path.is_file() and _allowed(path.name)}
    if any(name.startswith("adapter_model") for name in names):
        # After preference training Axolotl saves the base model's weights beside the adapter.
        names = {name for name in names if not name.startswith("model")}
    for name in sorted(names):
        _link(output / name, staged / name)
    if not any(staged.glob("*.safetensors")):
        raise FileNotFoundError(f"Axolotl saved no weights in {output.name}")
    _settle_config(staged / "adapter_config.json", base_model)


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


def _allowed(name: str) -> bool:
    return (Path(name).suffix in _ALLOWED_SUFFIXES or name in _ALLOWED_NAMES) and name not in _OWN_FILES


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _settle_config(path: Path, base_model: str | None) -> None:
    """Axolotl wrote the scratch folder's `model`, which says nothing to whoever loads the adapter; PEFT
    wrote its sets in any order, and the same training shall give the same bytes."""
    if not path.is_file():
        return
    config = json.loads(path.read_bytes())
    if base_model:
        config["base_model_name_or_path"] = base_model
    for name in ("target_modules", "modules_to_save", "exclude_modules"):
        if isinstance(config.get(name), list):
            config[name] = sorted(config[name])
    path.unlink()  # it is a link to Axolotl's own file
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
