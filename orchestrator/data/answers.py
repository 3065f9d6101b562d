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
from orchestrator.data.verdicts import ANSWER, PROMPT, Judged, examples

SAMPLE_ROWS = 1_000
MOST_CLASSES = 20
# So many rows are compared with one another at once.
PART_ROWS = 4_000_000
# A class has come so often before it is called one.
LEAST_TIMES = 5
_TEXT, _TIMES = "text", "times"


def answer_findings(judged: Judged) -> list[Finding]:
    """Findings on the last messages of rows that are kept; none where they are of many kinds, or texts."""
    if MESSAGES not in judged.rows.collect_schema():
        return []
    kept = judged.rows.filter(pl.col(REASON).is_null()).select(ROW, PROMPT, ANSWER)
    first = kept.head(SAMPLE_ROWS).collect(engine="streaming")
    if not _are_classes(first[ANSWER].n_unique(), len(first)):
        return []
    found = kept.group_by(ANSWER).agg(pl.col(ROW).min(), pl.len().alias(_TIMES)).collect(engine="streaming")
    rows = int(found[_TIMES].sum())
    if not _are_classes(len(found), rows):
        return []
    classes = _with_texts(judged, found)
    if len(classes) == 1:
        return [_all_the_same(classes[_TEXT][0], rows)]
    return [_classes(classes, rows), *_contradictions(judged, kept, rows)]


def _with_texts(judged: Judged, classes: pl.DataFrame) -> pl.DataFrame:
    """The `text` of each class, from the first row that has it, and its `times`; the largest class first."""
    last = pl.col(MESSAGES).list.last().struct.field("content").alias(_TEXT)
    first = judged.rows.filter(pl.col(ROW).is_in(classes[ROW].implode())).select(ROW, last)
    texts = first.head(len(classes)).collect(engine="streaming")
    joined = classes.join(texts, on=ROW, how="inner").select(_TEXT, _TIMES)
    return joined.sort(_TIMES, _TEXT, descending=[True, False])


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
    answers = pl.col(ANSWER)
    prompts = (
        kept.drop_nulls(PROMPT)
        .group_by(PROMPT)
        .agg(pl.col(ROW).min(), pl.len().alias("rows"), several=answers.min() != answers.max())
    )
    torn = in_parts(prompts.filter("several"), PROMPT, rows, PART_ROWS)
    if torn.is_empty():
        return []
    first = [(row, None) for row in torn[ROW].sort().head(MAX_EXAMPLES)]
    what = "rows have a prompt that has another answer elsewhere"
    fix = "decide for one answer, or tell in the prompt what makes the difference"
    found = examples(judged.source, first, None)
    return [Finding("prompt_with_several_answers", "warn", int(torn["rows"].sum()), what, fix, found)]
