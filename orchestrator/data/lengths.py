"""Token counts of every row that can be trained on, and what they leave out of training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import polars.selectors as cs

from orchestrator.data.checks import RowCheck
from orchestrator.data.conversation import Example, TrainingRules
from orchestrator.data.shapes import EXAMPLE_COLUMNS
from orchestrator.data.text_tokens import MOST_PIECES, TextTokenizer
from orchestrator.data.tokens import Counts
from orchestrator.data.verdicts import RED, Judged, findings, verdicts
from orchestrator.errors import DataError
from orchestrator.spec.models import Spec

TOKENS, TRAINED, CUT, REASON = "tokens", "trained", "cut", "reason"
BATCH = 1024
SAY_ROWS = 50_000

TOO_LONG, TOO_SHORT, UNTRAINED, REFUSED = "too_long", "too_short", "no_trained_token", "template_refused"
REFUSAL = "refusal"
_COUNTS = pl.Schema({TOKENS: pl.UInt32, TRAINED: pl.UInt32, CUT: pl.UInt32, REFUSAL: pl.String})


class RowTokenizer(Protocol):
    """What counts the tokens of rows: a ChatTokenizer those of conversations, a TextTokenizer of texts."""

    exact: bool
    digest: str
    writes_eos: bool

    def count(self, examples: Iterable[Example], rules: TrainingRules) -> list[Counts]: ...


def training_rules(spec: Spec) -> TrainingRules:
    """The rules that decide counts, from the spec's own keys and those it passes through to Axolotl."""
    names = {name for name in TrainingRules.__dataclass_fields__ if name in spec.axolotl}
    passed: dict[str, Any] = {
        name: tuple(value) if isinstance(value := spec.axolotl[name], list) else value for name in names
    }
    return TrainingRules(**{"sequence_len": spec.training.sequence_len, **passed})


def with_counts(
    judged: Judged, tokenizer: RowTokenizer, rules: TrainingRules, file: Path, say: Callable[[str], None]
) -> Judged:
    """The rows with `tokens`, `trained`, `cut` and `reason` (why a row is left out, null where it is not);
    the report with what that found. A row that the chat template refuses becomes red.

    `file` is where the counts are kept.
    """
    examples = judged.rows.select(RED, cs.by_name(EXAMPLE_COLUMNS, require_all=False))
    counts = _counted(examples, tokenizer, rules, file, say)
    whole = not isinstance(tokenizer, TextTokenizer)
    rows = pl.concat([judged.rows, counts], how="horizontal").with_columns(
        _reason(rules, whole=whole).alias(REASON)
    )
    rows = rows.with_columns(pl.col(RED) | pl.col(REFUSAL).is_not_null())
    found = findings(judged.source, rows, _checks(rules) if whole else _text_checks(rules))
    return replace(judged, rows=rows, report=verdicts(rows, [*judged.report.findings, *found]))


def without_counts(judged: Judged) -> Judged:
    """The same columns where no tokenizer is there to count with."""
    none = [pl.lit(None, dtype).alias(name) for name, dtype in _COUNTS.items()]
    reason = pl.when(RED).then(pl.lit(RED)).alias(REASON)
    return replace(judged, rows=judged.rows.with_columns(*none, reason))


def _counted(
    rows: pl.LazyFrame,
    tokenizer: RowTokenizer,
    rules: TrainingRules,
    file: Path,
    say: Callable[[str], None],
) -> pl.LazyFrame:
    """Counts of rows in their order, kept in a file; red rows have none, nor those the template refuses."""
    done = 0
    with file.open("wb") as out:
        for batch in rows.collect_batches(chunk_size=BATCH, maintain_order=True):
            _batch_counts(batch, tokenizer, rules).write_csv(out, include_header=False)
            if done // SAY_ROWS < (done := done + len(batch)) // SAY_ROWS:
                say(f"counted the tokens of {done:,} rows")
    return pl.scan_csv(file, glob=False, has_header=False, schema=_COUNTS)


def _batch_counts(batch: pl.DataFrame, tokenizer: RowTokenizer, rules: TrainingRules) -> pl.DataFrame:
    waiting = batch[RED].not_().arg_true().to_list()
    entries = batch.filter(~pl.col(RED)).drop(RED).to_dicts()
    found: list[tuple[int | None, int | None, int | None, str | None]] = [(None,) * 4] * len(batch)
    while waiting:
        try:
            counted = tokenizer.count(entries, rules)
        except DataError as error:
            refused = _refused(error)
            for at, why in refused.items():
                found[waiting[at]] = (None, None, None, why)
            left = [at for at in range(len(waiting)) if at not in refused]
            waiting, entries = [waiting[at] for at in left], [entries[at] for at in left]
        else:
            for at, one in zip(waiting, counted, strict=True):
                found[at] = (one.tokens, one.trained, one.cut, None)
            break
    return pl.DataFrame(found, schema=_COUNTS, orient="row")


def _refused(error: DataError) -> dict[int, str]:
    """Which of the rows counted together the template refuses, and why; any other fault is raised again."""
    if any(fault.row is None for fault in error.faults):
        raise error
    return {fault.row - 1: fault.why or fault.what for fault in error.faults if fault.row is not None}


def _reason(rules: TrainingRules, *, whole: bool) -> pl.Expr:
    """Why a row is left out: Axolotl's own rules, and rows that would teach nothing.

    `whole` says that a row must fit into one sequence, as a plain text need not.
    """
    length = pl.col(TOKENS) + pl.col(CUT)
    return (
        pl.when(pl.col(RED))
        .then(pl.lit(RED))
        .when(pl.col(TOKENS).is_null())
        .then(pl.lit(REFUSED))
        .when(length < rules.min_sample_len)
        .then(pl.lit(TOO_SHORT))
        .when((pl.col(TOKENS) > rules.sequence_len) & whole)
        .then(pl.lit(TOO_LONG))
        .when(pl.col(TRAINED) == 0)
        .then(pl.lit(UNTRAINED))
        .otherwise(None)
    )


def _checks(rules: TrainingRules) -> Sequence[RowCheck]:
    limit, cut = f"{rules.sequence_len:,}", (pl.col(CUT) > 0) & pl.col(REASON).is_null()
    return (
        RowCheck(
            REFUSED,
            "red",
            "the chat template refuses the conversation",
            "bring its messages into the order that the base model's template wants",
            pl.col(REFUSAL).is_not_null(),
            value=pl.col(REFUSAL),
        ),
        _left_out(
            TOO_LONG,
            f"rows longer than sequence_len ({limit}) are left out",
            "raise training.sequence_len, or shorten them with `truncate` in the mapping",
        ),
        _left_out(
            TOO_SHORT,
            f"rows shorter than {rules.min_sample_len} tokens are left out",
            "leave them out with `where`",
        ),
        _left_out(
            UNTRAINED,
            "rows without a token to train on are left out",
            "an answer must not be empty once the chat template has trimmed it, nor every weight 0",
        ),
        _of_length(
            "truncated", f"rows are cut to sequence_len ({limit})", "raise training.sequence_len", cut
        ),
    )


def _text_checks(rules: TrainingRules) -> Sequence[RowCheck]:
    most = MOST_PIECES * rules.sequence_len
    short = f"texts shorter than {rules.min_sample_len} tokens are left out"
    return (
        _left_out(TOO_SHORT, short, "leave them out with `where`"),
        _of_length(
            "truncated",
            f"of texts longer than {most:,} tokens ({MOST_PIECES} sequences) the rest is lost",
            "cut such texts into several rows, or raise training.sequence_len",
            pl.col(CUT) > 0,
        ),
    )


def _left_out(reason: str, message: str, fix: str) -> RowCheck:
    return _of_length(reason, message, fix, (pl.col(REASON) == reason).fill_null(False))


def _of_length(code: str, message: str, fix: str, when: pl.Expr) -> RowCheck:
    length = (pl.col(TOKENS) + pl.col(CUT)).cast(pl.String)
    return RowCheck(code, "yellow", message, fix, when.fill_null(False), "tokens of the whole row", length)
