"""A mapping tried on rows of a source before there is a spec: verdicts, and lengths where a tokenizer is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from orchestrator.data.analysis import MAX_RED_SHARE, UnfitError, refuse
from orchestrator.data.conversation import TrainingRules
from orchestrator.data.lengths import TOKENS, RowTokenizer, with_counts, without_counts
from orchestrator.data.mapping import compile_mapping
from orchestrator.data.rows import ROW
from orchestrator.data.sources import Source
from orchestrator.data.split import repeats
from orchestrator.data.verdicts import judge
from orchestrator.defaults import SlowTemplates
from orchestrator.errors import Fault
from orchestrator.spec.mapping import Mapping

# Rows, and bytes of the files they lie in, that are tried at most.
MOST_ROWS, MOST_BYTES = 10_000, 30_000_000
_LEAST_ROWS = 200


@dataclass(frozen=True)
class Trial:
    """What came of `rows` of a source: how many `different` examples, of which lengths in tokens (none
    without a tokenizer), and the faults for which a run would be refused."""

    rows: int
    different: int
    lengths: Sequence[int]
    faults: tuple[Fault, ...]


def try_out(
    source: Source,
    mapping: Mapping,
    tokenizer: RowTokenizer | None,
    longest: int,
    scratch: Path,
    slow_templates: SlowTemplates = "allow",
) -> Trial:
    """Try a mapping on all rows of a small source, and on some of a large one; an example may have `longest`
    tokens.

    Raises:
        SpecError: the mapping does not fit the columns.
    """
    compiled = compile_mapping(mapping, source.schema, slow_templates)
    part = judge(_some(source, mapping), compiled, scratch / "tried")
    if tokenizer is None:
        part = without_counts(part)
    else:
        rules = TrainingRules(sequence_len=longest)
        part = with_counts(part, tokenizer, rules, scratch / "counts", lambda text: None)
    same, report = repeats(part), part.report
    lengths = part.rows.select(pl.col(TOKENS).drop_nulls().sort()).collect(engine="streaming").to_series()
    faults: Sequence[Fault] = ()
    try:
        refuse(report, strict=False, max_red_share=MAX_RED_SHARE)
        if not same.rows:
            faults = [finding.fault() for finding in report.findings if finding.severity != "info"]
    except UnfitError as error:
        faults = error.faults
    return Trial(report.rows, same.rows - same.repeating, lengths.to_list(), tuple(faults))


def _some(source: Source, mapping: Mapping) -> Source:
    """The source with as many of its rows as are tried, from all of it; turns that belong together lie
    near one another, so of those the first."""
    affordable = MOST_BYTES * source.count // max(1, source.opened.size)
    most = min(MOST_ROWS, max(_LEAST_ROWS, affordable))
    if source.count <= most:
        return source
    chosen = pl.col(ROW) <= most if mapping.turns else pl.col(ROW) % -(-source.count // most) == 0
    return replace(source, frame=source.frame.filter(chosen))
