"""Plan a submission in a process of its own, whose memory and time are not the service's.

    python -m orchestrator.planner < asked.json > answer.json

The question has `submission` (a `wire.Submission`) and `project`; the answer `plan` or `error`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from orchestrator import contract, wire
from orchestrator.errors import FaultsError, OrchestratorError
from orchestrator.preview import preview
from orchestrator.service.checks import with_earlier_adapter
from orchestrator.service.packed import with_uploads
from orchestrator.settings import Settings
from orchestrator.spec.load import parse_spec, with_spec
from orchestrator.steps.uploaded import with_uploads_here
from orchestrator.uploads import uploads_key


def plan(asked: wire.Submission, project: str, settings: Settings) -> dict[str, Any]:
    """What a run of the submission would be; raises as `preview` does."""
    loaded = parse_spec(asked.spec.encode(), Path(asked.file), asked.mappings)
    loaded = with_uploads(loaded, asked.uploads)
    uploads = contract.open_store(settings.storage).below(uploads_key(project))
    with TemporaryDirectory(prefix="axo-plan-") as folder:
        base = Path(asked.base) if asked.base else None
        spec, base = with_uploads_here(loaded.spec, base, uploads, Path(folder))
        here = replace(with_spec(loaded, spec), path=base / Path(asked.file).name)
        here = with_earlier_adapter(here, settings, base)
        return {**preview(here, settings, project).to_dict(), "spec_digest": loaded.digest}


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """The plan, or why there is none."""
    try:
        asked = wire.Submission.model_validate(question["submission"])
        return {"plan": plan(asked, question["project"], Settings.from_environment().of(question["project"]))}
    except OrchestratorError as error:
        faults = [asdict(fault) for fault in error.faults] if isinstance(error, FaultsError) else []
        told = {"code": error.code, "message": error.args[0], "hint": error.hint, "faults": faults}
        return {"error": told}


if __name__ == "__main__":
    print(json.dumps(answer(json.load(sys.stdin))))
