"""A first spec for data that was looked at: measured with the base model's own tokenizer, and mended where
rows do not fit, so that `axo check` has nothing to say against it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.data.lengths import RowTokenizer
from orchestrator.data.look import Look
from orchestrator.data.trial import Trial, try_out
from orchestrator.errors import Fault, FaultsError
from orchestrator.service.checks import check_config, check_machine
from orchestrator.settings import Settings
from orchestrator.spec.draft import LONGEST, Draft, draft_text, length_for
from orchestrator.spec.load import parse_spec
from orchestrator.spec.mapping import Mapping as RowMapping
from orchestrator.staging import resolve_model
from orchestrator.steps.prepare import load_tokenizer

_FIELD = re.compile(r"\{\{ ([^{}|]+) \}\}")


@dataclass(frozen=True)
class FirstSpec:
    """A spec as text, notes on rows that it leaves out, and faults that `axo check` would find in it."""

    text: str
    notes: tuple[str, ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Base:
    """What is known of a base model: its tokenizer, and the most tokens that it has positions for."""

    tokenizer: RowTokenizer | None = None
    positions: int | None = None


def first_spec(draft: Draft, seen: Look, path: Path, settings: Settings) -> FirstSpec:
    """The spec of a draft, to lie at `path`.

    Raises:
        SpecError: the base model is a folder that cannot be used.
    """
    base = read_base(draft, path.parent)

    def tried(mapping: RowMapping) -> Trial:
        longest = base.positions or LONGEST
        return try_out(seen.found, mapping, base.tokenizer, longest, seen.scratch, settings.slow_templates)

    trial, notes = tried(draft.mapping), list[str]()
    if trial.faults and (mapping := with_answers_only(draft.mapping)):
        again = tried(mapping)
        if again.rows and not again.faults:
            left_out = f"{trial.rows - again.rows:,} of {trial.rows:,} rows"
            notes.append(f"`where` leaves out {left_out}: they have no answer")
            draft, trial = replace(draft, mapping=mapping, notes=(*draft.notes, *notes)), again
    if draft.mapping.turns:  # many rows are one example
        draft = replace(draft, rows=trial.rows)
    length = length_for(draft.method, trial.lengths, base.positions) if trial.lengths else None
    if length and length.leaves_out:
        notes.append(f"sequence_len: {length.tokens} {length.why}")
    text = draft_text(replace(draft, length=length, held_out=trial.different != 1))
    faults = _all_too_long(draft, trial, base) or trial.faults
    return FirstSpec(text, tuple(notes), (*faults, *_faults_of(text, path, settings)))


def read_base(draft: Draft, folder: Path) -> Base:
    """A base model that is a folder; of one on the hub nothing is known before it is fetched."""
    if not (folder / draft.base_model).is_dir():
        return Base()
    model = resolve_model(draft.base_model, folder, chat=draft.method == "sft")
    return Base(load_tokenizer(model, draft.mapping), model.positions)


def with_answers_only(mapping: RowMapping) -> RowMapping | None:
    """The mapping on condition that its answer, or its text, is there; None where that is not one field."""
    template = mapping.text or (mapping.messages[-1].content if mapping.messages else "")
    field = _FIELD.fullmatch(template)
    return mapping.model_copy(update={"where": f"{field[1]} | trim"}) if field else None


def _all_too_long(draft: Draft, trial: Trial, base: Base) -> list[Fault]:
    if draft.method != "sft" or not trial.lengths or min(trial.lengths) <= (base.positions or math.inf):
        return []
    what = f"every row is longer than the {base.positions:,} tokens that the base model was made for"
    fix = "take a base model with a longer context, or shorten the rows with `truncate` in the mapping"
    return [Fault(what, fix, path="training.sequence_len")]


def _faults_of(text: str, path: Path, settings: Settings) -> list[Fault]:
    try:
        loaded = parse_spec(text.encode(), path)
        check_machine(loaded, settings)
        check_config(loaded, settings)
    except FaultsError as error:
        return list(error.faults)
    return []
