"""Token counts of every row that can be trained on, and what they leave out of training."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from orchestrator.data.conversation import TrainingRules
from orchestrator.data.report import MAX_EXAMPLES, Finding, Severity
from orchestrator.data.rows import ROW
from orchestrator.data.shapes import CONVERSATION
from orchestrator.data.sources import Source
from orchestrator.data.tokens import ChatTokenizer, Counts
from orchestrator.data.verdicts import RED, Judged, examples, verdicts
from orchestrator.errors import DataError
from orchestrator.spec.models import Spec

TOKENS, TRAINED, CUT, REASON = "tokens", "trained", "cut", "reason"
BATCH = 1024
SAY_ROWS = 50_000

TOO_LONG, TOO_SHORT, UNTRAINED, REFUSED = "too_long", "too_short", "no_trained_token", "template_refused"


def training_rules(spec: Spec) -> TrainingRules:
    """The rules that decide counts, from the spec's own keys and those it passes through to Axolotl."""
    names = {name for name in TrainingRules.__dataclass_fields__ if name in spec.axolotl}
    passed: dict[str, Any] = {
        name: tuple(value) if isinstance(value := spec.axolotl[name], list) else value for name in names
    }
    return TrainingRules(**{"sequence_len": spec.training.sequence_len, **passed})


def with_counts(
    judged: Judged, tokenizer: ChatTokenizer, rules: TrainingRules, say: Callable[[str], None]
) -> Judged:
    """The rows with `tokens`, `trained`, `cut` and `reason` (why a row is left out, null where it is not);
    the report with what that found. A row that the chat template refuses becomes red."""
    counts, said = _Counts(), 0
    rows = pl.concat(
        [pl.scan_parquet(judged.mapped, glob=False), judged.index.lazy().select(RED)], how="horizontal"
    )
    read = [name for name in rows.collect_schema() if name in CONVERSATION.columns]
    plan = rows.filter(~pl.col(RED)).select(ROW, *read)
    for batch in plan.collect_batches(chunk_size=BATCH, maintain_order=True):
        counts.add(batch, tokenizer, rules)
        if len(counts.rows) - said >= SAY_ROWS:
            said = len(counts.rows)
            say(f"counted the tokens of {said:,} rows")
    index = judged.index.join(counts.frame(), on=ROW, how="left", maintain_order="left")
    index = index.with_columns(_reason(rules).alias(REASON))
    index = index.with_columns(pl.col(RED) | (pl.col(REASON) == REFUSED).fill_null(False))
    findings = (*judged.report.findings, *_findings(judged.source, index, counts.refused, rules))
    return replace(judged, index=index, report=verdicts(index, findings))


def without_counts(judged: Judged) -> Judged:
    """The same columns where no tokenizer is there to count with."""
    none = [pl.lit(None, pl.UInt32).alias(name) for name in (TOKENS, TRAINED, CUT)]
    columns = [*none, pl.when(RED).then(pl.lit(RED)).alias(REASON)]
    return replace(judged, index=judged.index.with_columns(columns))


@dataclass
class _Counts:
    """Counts of rows in their order; what the template refused has none."""

    rows: array[int] = field(default_factory=lambda: array("I"))
    tokens: array[int] = field(default_factory=lambda: array("I"))
    trained: array[int] = field(default_factory=lambda: array("I"))
    cut: array[int] = field(default_factory=lambda: array("I"))
    refused: dict[int, str] = field(default_factory=dict)

    def add(self, batch: pl.DataFrame, tokenizer: ChatTokenizer, rules: TrainingRules) -> None:
        rows, entries = batch[ROW].to_list(), batch.drop(ROW).to_dicts()
        while rows:
            try:
                counted = tokenizer.count(entries, rules)
            except DataError as error:
                rows, entries = self._without_refused(rows, entries, error)
            else:
                self._keep(rows, counted)
                return

    def frame(self) -> pl.DataFrame:
        columns = {ROW: self.rows, TOKENS: self.tokens, TRAINED: self.trained, CUT: self.cut}
        return pl.DataFrame(
            {name: list(values) for name, values in columns.items()}, schema=dict.fromkeys(columns, pl.UInt32)
        )

    def _keep(self, rows: Sequence[int], counted: Sequence[Counts]) -> None:
        self.rows.extend(rows)
        self.tokens.extend(one.tokens for one in counted)
        self.trained.extend(one.trained for one in counted)
        self.cut.extend(one.cut for one in counted)

    def _without_refused(
        self, rows: list[int], entries: list[Any], error: DataError
    ) -> tuple[list[int], list[Any]]:
        """The batch without the rows that the template refuses; any other fault is raised again."""
        faults = {fault.row: fault for fault in error.faults}
        if None in faults:
            raise error
        for at, fault in faults.items():
            assert at is not None
            self.refused[rows[at - 1]] = fault.why or fault.what
        left = [at for at in range(len(rows)) if at + 1 not in faults]
        return [rows[at] for at in left], [entries[at] for at in left]


def _reason(rules: TrainingRules) -> pl.Expr:
    """Why a row is left out: Axolotl's own rules, and rows that would teach nothing."""
    length = pl.col(TOKENS) + pl.col(CUT)
    return (
        pl.when(pl.col(RED))
        .then(pl.lit(RED))
        .when(pl.col(TOKENS).is_null())
        .then(pl.lit(REFUSED))
        .when(length < rules.min_sample_len)
        .then(pl.lit(TOO_SHORT))
        .when(pl.col(TOKENS) > rules.sequence_len)
        .then(pl.lit(TOO_LONG))
        .when(pl.col(TRAINED) == 0)
        .then(pl.lit(UNTRAINED))
        .otherwise(None)
    )


def _findings(
    source: Source, index: pl.DataFrame, refused: Mapping[int, str], rules: TrainingRules
) -> Iterator[Finding]:
    length, limit = (pl.col(TOKENS) + pl.col(CUT)).cast(pl.String), rules.sequence_len
    reason = pl.col(REASON)
    tokens = "tokens of the whole row"
    yield from _found(
        source,
        index,
        "error",
        REFUSED,
        reason == REFUSED,
        "the chat template refuses the conversation",
        "bring its messages into the order that the base model's template wants",
        refused=refused,
    )
    yield from _found(
        source,
        index,
        "warn",
        TOO_LONG,
        reason == TOO_LONG,
        f"rows longer than sequence_len ({limit:,}) are left out",
        "raise training.sequence_len, or shorten them with `truncate` in the mapping",
        tokens,
        length,
    )
    yield from _found(
        source,
        index,
        "warn",
        TOO_SHORT,
        reason == TOO_SHORT,
        f"rows shorter than {rules.min_sample_len} tokens are left out",
        "leave them out with `where`",
        tokens,
        length,
    )
    yield from _found(
        source,
        index,
        "warn",
        UNTRAINED,
        reason == UNTRAINED,
        "rows without a token to train on are left out",
        "an answer must not be empty once the chat template has trimmed it, nor every weight 0",
        tokens,
        length,
    )
    yield from _found(
        source,
        index,
        "warn",
        "truncated",
        (pl.col(CUT) > 0) & reason.is_null(),
        f"rows are cut to sequence_len ({limit:,})",
        "raise training.sequence_len",
        tokens,
        length,
    )


def _found(
    source: Source,
    index: pl.DataFrame,
    severity: Severity,
    code: str,
    when: pl.Expr,
    message: str,
    fix: str,
    field: str | None = None,
    value: pl.Expr | None = None,
    refused: Mapping[int, str] | None = None,
) -> Iterator[Finding]:
    rows = index.filter(when)
    if rows.is_empty():
        return
    values = pl.lit(None, pl.String) if value is None else value
    first = rows.head(MAX_EXAMPLES).select(ROW, values.alias("value")).rows()
    if refused is not None:
        first = [(row, refused[row]) for row, _ in first]
    yield Finding(code, severity, len(rows), message, fix, examples(source, first, field))
