"""What a run was submitted with, once more, with some fields of its spec changed."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator import wire
from orchestrator.db import Run
from orchestrator.errors import Fault, SpecError
from orchestrator.spec.document import parse_path
from orchestrator.spec.draft import scalar_text
from orchestrator.spec.edit import edited
from orchestrator.spec.load import Loaded

FILE = "spec.yaml"


def cloned(run: Run, asked: wire.CloneAsked) -> wire.Submission:
    """The submission; its files are those of the run, but where a field of them was changed.

    Raises:
        SpecError: a change is not possible.
    """
    changes = {parse_path(field): value for field, value in asked.changes.items()}
    if () in changes:
        raise SpecError([Fault("a change needs a field", "such as training.epochs", path="changes")])
    text = edited(run.spec_text, {("name",): scalar_text(asked.name), **changes})
    kept = {field: at for field, at in run.uploads.items() if not _touched(field, asked.changes)}
    base = run.base or None
    return wire.Submission(spec=text, file=FILE, mappings=dict(run.mappings), uploads=kept, base=base)


def mappings_beside(loaded: Loaded) -> dict[str, str]:
    """The mappings that a spec names, by their names in it, as a spec called `FILE` finds them."""
    folder = f"{loaded.path.parent}/"
    return {name.removeprefix(folder): text for name, text in loaded.mapping_texts.items()}


def _touched(field: str, changed: Iterable[str]) -> bool:
    """Whether a change is of this field, or of a section around it."""
    return any(field == other or field.startswith((f"{other}.", f"{other}[")) for other in changed) or any(
        other == f"{field}.source" for other in changed
    )
