"""What answers look like as a whole: all the same, or classes, with their shares and contradictions.

The first rows tell whether answers are few; only then are all of them looked at.
"""

from __future__ import annotations

import polars as pl

from orchestrator.data.checks import MESSAGES
from orchestrator.data.lengths import REASON
from orchestrator.data.report import MAX_EXAMPLES, Finding, cut
from orchestrator.data.rows import ROW
from orchestrator.data.split import in_parts
from orchestrator.data.verdicts import PROMPT, Judged, examples

SAMPLE_ROWS = 1_000
MOST_CLASSES = 20
# So many rows are compared with one another at once; each part reads all messages again.
PART_ROWS = 4_000_000
# A class has come so often before it is called one.
LEAST_TIMES = 5
_ANSWER, _TIMES = "answer", "times"


def answer_findings(judged: Judged) -> list[Finding]:
    """Findings on the last messages of rows that are kept; none where they are of many kinds, or texts."""
    if MESSAGES not in judged.rows.collect_schema():
        return []
    last = pl.col(MESSAGES).list.last().struct.field("content").alias(_ANSWER)
    kept = judged.rows.filter(pl.col(REASON).is_null()).select(ROW, PROMPT, last)
    first = kept.select(_ANSWER).head(SAMPLE_ROWS).collect(engine="streaming")
    if not _are_classes(first[_ANSWER].n_unique(), len(first)):
        return []
    counts = (
        kept.group_by(_ANSWER).agg(pl.len().alias(_TIMES)).sort(_TIMES, _ANSWER, descending=[True, False])
    )
    classes = counts.collect(engine="streaming")
    rows = int(classes[_TIMES].sum())
    if not _are_classes(len(classes), rows):
        return []
    if len(classes) == 1:
        return [_all_the_same(classes[_ANSWER][0], rows)]
    return [_classes(classes, rows), *_contradictions(judged, kept, rows)]


def _are_classes(answers: int, rows: int) -> bool:
    return answers <= MOST_CLASSES and rows >= LEAST_TIMES * answers


def _all_the_same(answer: str, rows: int) -> Finding:
    what = f"every answer is the same, {cut(answer)!r}: a model learns no more from them than to say it"
    return Finding("answers_all_the_same", "warn", rows, what, "look at the mapping of the answer")


def _classes(classes: pl.DataFrame, rows: int) -> Finding:
    shares = ", ".join(f"{cut(answer)!r} {times / rows:.1%}" for answer, times in classes.iter_rows())
    return Finding("answer_classes", "info", rows, f"the answers are {len(classes)} classes: {shares}")


def _contradictions(judged: Judged, kept: pl.LazyFrame, rows: int) -> list[Finding]:
    """Rows whose prompt, the same word for word, has several classes for an answer."""
    hashed = kept.drop_nulls(PROMPT).select(ROW, PROMPT, pl.col(_ANSWER).hash())
    answers = pl.col(_ANSWER)
    prompts = hashed.group_by(PROMPT).agg(
        pl.col(ROW).min(), pl.len().alias("rows"), several=answers.min() != answers.max()
    )
    torn = in_parts(prompts.filter("several"), PROMPT, rows, PART_ROWS)
    if torn.is_empty():
        return []
    first = [(row, None) for row in torn[ROW].sort().head(MAX_EXAMPLES)]
    what = "rows have a prompt that has another answer elsewhere"
    fix = "decide for one answer, or tell in the prompt what makes the difference"
    found = examples(judged.source, first, None)
    return [Finding("prompt_with_several_answers", "warn", int(torn["rows"].sum()), what, fix, found)]
