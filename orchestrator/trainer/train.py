"""The child's program: runs Axolotl, or the evaluation, in this process.

`python -m orchestrator.trainer.train <order.json>`; the signal handler stands before heavy imports.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from orchestrator.trainer.device import require
from orchestrator.trainer.endings import Ending, Phase, from_exception, success
from orchestrator.trainer.handover import Order
from orchestrator.trainer.ranks import Ranks
from orchestrator.trainer.session import Session, begin

COLLECTIVE_SECONDS = 1800  # what transformers gives a collective call where `ddp_timeout` is not set
_PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str]) -> NoReturn:
    session = begin(Order.read(Path(arguments[0])), Ranks.of(os.environ))
    session.listen()
    _die_with_parent(session.order.parent)
    try:
        require(session.plan.device)
        ending = _evaluate(session) if session.plan.step == "evaluate" else _train(session)
    except BaseException as error:
        traceback.print_exc()
        ending = from_exception(error, session.phase)
        with contextlib.suppress(OSError):
            session.record.flush()
    session.leave(ending)


def merged_config(config: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """The launch's config with the attempt's overlay over it; plugins are added, not replaced."""
    plugins = [*(config.get("plugins") or []), *(overlay.get("plugins") or [])]
    return {**config, **overlay, "plugins": plugins}


def _train(session: Session) -> Ending:
    cfg = _load_config(session)
    _run_axolotl(cfg)
    if not session.ranks.first:
        return success(f"Trained {session.step} steps; rank 0 commits the adapter.")
    manifest = _commit(session)
    return success(f"Trained {session.step} steps; the adapter is {manifest.size} bytes.")


def _load_config(session: Session) -> Any:
    import yaml
    from axolotl.cli.config import load_cfg

    session.phase = Phase.CONFIG
    config = yaml.safe_load(Path("axolotl.yaml").read_bytes())
    overlay = yaml.safe_load(Path("overlay.yaml").read_bytes())
    if on_cpu := session.ranks.size > 1 and session.plan.device == "cpu":
        _ask_no_gpu()
    session.ranks.join(
        session.plan.device, timedelta(seconds=config.get("ddp_timeout") or COLLECTIVE_SECONDS)
    )
    merged = Path(f"merged-{session.ranks.rank}.yaml")
    merged.write_text(yaml.safe_dump(merged_config(config, overlay), sort_keys=False))
    cfg = load_cfg(str(merged))
    if on_cpu:
        cfg.device_map = None  # Axolotl maps each rank to a GPU of its number
    if not session.plugged:
        raise RuntimeError("Axolotl did not load the service's plugin")
    return cfg


def _ask_no_gpu() -> None:
    """With several ranks, Axolotl asks the CUDA driver how GPUs reach each other, though there be none."""
    import axolotl.utils.trainer

    axolotl.utils.trainer.check_cuda_p2p_ib_support = lambda: True


def _run_axolotl(cfg: Any) -> None:
    from axolotl.cli.args import TrainerCliArgs
    from axolotl.cli.train import do_train

    do_train(cfg, TrainerCliArgs())


def _commit(session: Session) -> Any:
    from orchestrator.trainer.commit import commit_adapter

    return commit_adapter(session, Path("output"))


def _evaluate(session: Session) -> Ending:
    from orchestrator.trainer.evaluate import evaluate

    session.facts.clear()
    session.facts.update(evaluate(session.plan, session.order.work, lambda text: print(text, flush=True)))
    return success("Evaluated.")


def _die_with_parent(parent: int) -> None:
    """A child whose parent is gone holds a device that the next attempt needs."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
