"""A first spec for data that was looked at: commented YAML, meant to be read and changed."""

from __future__ import annotations

import json
import math
import re
import textwrap
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from orchestrator.spec.mapping import Mapping as RowMapping

SCHEMA_FILE = ".spec.schema.json"
_LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768)  # of sequences that are drafted
LONGEST = _LENGTHS[-1]
_USUAL = 4096  # beyond it memory is dear, so a few longer rows are left out
_COVERED = 0.99
_PIECE = 2048  # of a text, which is cut
_CHARACTERS_PER_TOKEN = 3  # on the safe side: English has four
_WIDTH = 100
_UNSEEN = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")  # JSON has them as they are, YAML has not
_TEMPLATE_TOKENS = 64  # that a chat template adds to an example


@dataclass(frozen=True)
class Length:
    """The `tokens` of a sequence, why so many (a comment), and whether it leaves rows out."""

    tokens: int
    why: str
    leaves_out: bool = False


@dataclass(frozen=True)
class Draft:
    """What is known when a spec is first written; `longest` is in characters of one row.

    `length` is known where tokens could be counted; `held_out` says that rows can be. `encoding` and
    `sheet` are what was said of the source.
    """

    name: str
    base_model: str
    source: str
    mapping: RowMapping
    method: str
    machine: str
    rows: int
    longest: int
    made_by: str
    taken_for: str
    notes: Sequence[str] = ()
    length: Length | None = None
    held_out: bool = True
    encoding: str | None = None
    sheet: str | None = None

    @property
    def validation(self) -> float | None:
        """The share to hold out: a tenth of few rows, a hundredth of many; none of so few that one
        evaluation says nothing."""
        if self.rows < 50 or not self.held_out:
            return None
        return 0.1 if self.rows < 20_000 else 0.01


def draft_text(draft: Draft) -> str:
    """The spec as text, in lines that fit a screen where the data lets them."""
    return "\n".join([*_head(draft), *_data(draft), *_training(draft), *_end(draft), ""])


def mapping_lines(mapping: RowMapping, indent: str) -> Iterator[str]:
    """What stands under `mapping:`, as block YAML."""
    yield from _lines(mapping.model_dump(mode="json", exclude_defaults=True, exclude_none=True), indent)


def name_for(source: str) -> str:
    """A run's name after its source: `support-tickets` for data/Support_Tickets.jsonl.gz."""
    scheme, _, place = source.rpartition("://")
    parts = PurePath(place.partition("@")[0]).parts
    names = (
        [parts[1]] if scheme == "hf" and len(parts) > 1 else [re.sub(r"\..*", "", p) for p in reversed(parts)]
    )
    slugs = (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48].strip("-") for name in names)
    return next(filter(None, slugs), "fine-tune")


def length_for(method: str, lengths: Sequence[int], positions: int | None) -> Length:
    """A length that rows of these lengths in tokens, shortest first, fit into: all of them, or nearly all of
    long ones; never more than the base model has `positions`."""
    most = positions or LONGEST
    if method != "sft":
        return Length(min(_PIECE, most), "tokens of the pieces that texts are cut into")
    length = _next_length(lengths[-1])
    if length > _USUAL:
        length = max(_USUAL, _next_length(lengths[math.ceil(_COVERED * len(lengths)) - 1]))
    length = min(length, most)
    longer = len(lengths) - bisect_right(lengths, length)
    if longer:
        are = "is" if longer == 1 else "are"
        seen = f"of {len(lengths):,} rows looked at, {longer:,} {are} longer and left out"
        return Length(length, f"tokens; {seen}", leaves_out=True)
    longest = "the only row" if len(lengths) == 1 else f"the longest of {len(lengths):,} rows"
    return Length(length, f"tokens; {longest} has {lengths[-1]:,}")


def guessed_length(longest: int) -> Length:
    """A length that rows of so many characters should fit into."""
    length = min(_USUAL, _next_length(longest // _CHARACTERS_PER_TOKEN + _TEMPLATE_TOKENS))
    return Length(length, "tokens, a guess; longer examples are left out")


def _next_length(tokens: int) -> int:
    return next((length for length in _LENGTHS if length >= tokens), LONGEST)


def scalar_text(value: Any) -> str:
    """A value as YAML reads it back: plain where that is plain text, else as JSON, which is YAML too."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z/][A-Za-z0-9_/.@-]*", value) and not _is_word(value):
        return value
    return _UNSEEN.sub(_escape, json.dumps(value, ensure_ascii=False))


def _escape(unseen: re.Match[str]) -> str:
    return f"\\U{ord(unseen[0]):08x}"


def _head(draft: Draft) -> Iterator[str]:
    yield f"# yaml-language-server: $schema={SCHEMA_FILE}"
    for told in (f"Made by `{draft.made_by}`. {draft.taken_for}", *draft.notes):
        yield from textwrap.wrap(told, _WIDTH, initial_indent="# ", subsequent_indent="#   ")
    yield ""
    yield f"name: {draft.name}"
    yield f"base_model: {scalar_text(draft.base_model)}  # a hub id, best as org/name@commit, or a folder"
    yield ""


def _data(draft: Draft) -> Iterator[str]:
    yield "dataset:"
    yield f"  source: {_source(draft)}"
    if share := draft.validation:
        yield f"  validation: {share}  # this share of the rows is held out, to measure on; or give a file"
    yield ""
    yield "# How a row becomes an example. `axo check` shows what comes out and which rows do not fit."
    yield "mapping:"
    yield from mapping_lines(draft.mapping, "  ")
    if draft.mapping.where is None:
        yield "  # where: a_column is not none  # leaves out the rows of which this is not true"
    yield ""


def _source(draft: Draft) -> str:
    said = {"source": draft.source, "encoding": draft.encoding, "sheet": draft.sheet}
    parts = [f"{key}: {scalar_text(value)}" for key, value in said.items() if value]
    return f"{{{', '.join(parts)}}}" if len(parts) > 1 else scalar_text(draft.source)


def _training(draft: Draft) -> Iterator[str]:
    if draft.method != "sft":
        yield f"method: {draft.method}  # goes on with pre-training: every token is learned"
    yield "adapter: {kind: lora, r: 16, alpha: 32}  # or {kind: full}: all weights"
    yield "training:"
    yield "  epochs: 3"
    yield "  learning_rate: 2e-4  # for lora; ten times lower for all weights"
    length = draft.length or guessed_length(draft.longest)
    yield f"  sequence_len: {length.tokens}  # {length.why}"
    yield f"  batch_size: {_batch(draft.rows)}  # examples per optimizer step, whatever the machine"
    yield ""
    yield f"compute: {{machine: {draft.machine}}}  # `axo machines` lists what there is"
    yield ""


def _end(draft: Draft) -> Iterator[str]:
    if draft.validation and draft.method == "sft":
        yield "# evaluate: {rows: 200}  # base model against adapter on held-out rows, at the end"
    yield "# publish:  # to MLflow's model registry, where AXO_MLFLOW_URI says it is"
    yield f"#   - mlflow: {{model: {draft.name}, alias: candidate}}"


def _batch(rows: int) -> int:
    return 8 if rows < 1_000 else 32


def _lines(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    """A small mapping as block YAML, lists of mappings with their dashes."""
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield f"{indent}{scalar_text(key)}:"
            yield from _lines(inner, f"{indent}  ")
        elif isinstance(inner, list) and inner and isinstance(inner[0], Mapping):
            yield f"{indent}{scalar_text(key)}:"
            for entry in inner:
                first, *rest = _lines(entry, f"{indent}    ")
                yield f"{indent}  - {first.strip()}"
                yield from rest
        else:
            yield f"{indent}{scalar_text(key)}: {scalar_text(inner)}"


def _is_word(text: str) -> bool:
    """Whether some reader of YAML takes this text for something other than text."""
    return text.lower() in ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
