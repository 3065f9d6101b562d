"""Rows read, mapped, judged, counted and split: everything about a dataset but writing it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import polars.selectors as cs

from orchestrator.data.answers import answer_findings
from orchestrator.data.canonical import aligned
from orchestrator.data.compiled import CompiledMapping
from orchestrator.data.entries import Entry, at_mapping, in_words_of, together, weighted
from orchestrator.data.inputs import Inputs
from orchestrator.data.lengths import TOKENS, TRAINED, with_counts, without_counts
from orchestrator.data.mapping import SLOW_TEMPLATE, compile_mapping, slow_findings
from orchestrator.data.recall import Summary
from orchestrator.data.report import Finding, Report, counted, merged
from orchestrator.data.samples import samples
from orchestrator.data.secrets_in_rows import secret_findings
from orchestrator.data.sources import Source, read_source
from orchestrator.data.split import (
    SPLIT,
    TRAIN,
    VALIDATION,
    Repeats,
    drawn,
    duplicates,
    overlaps,
    repeats,
    whole,
)
from orchestrator.data.tally import Tally, tally
from orchestrator.data.template import FORBIDDEN
from orchestrator.data.verdicts import Judged, judge
from orchestrator.defaults import SlowTemplates
from orchestrator.errors import DataError, Fault, SpecError

MAX_RED_SHARE = 0.05
SAMPLES = 3
Say = Callable[[str], None]


class UnfitError(DataError):
    """The rows cannot be trained on; `report` says of all of them why."""

    def __init__(self, faults: Sequence[Fault], report: Report) -> None:
        super().__init__(faults)
        self.report = report


@dataclass(frozen=True)
class Analysis:
    """Rows mapped, judged, counted and split, not yet written.

    `sources` are those of the spec, in its order; `parts` the rows that training comes from and, where they
    have a source of their own, held-out rows.
    """

    inputs: Inputs
    sources: tuple[Source, ...]
    parts: tuple[Judged, ...]
    report: Report
    tally: Tally

    @property
    def splits(self) -> tuple[str, ...]:
        return (TRAIN,) if self.inputs.spec.dataset.validation is None else (TRAIN, VALIDATION)

    def rows(self, split: str) -> pl.LazyFrame:
        """The rows of a split in their order, in the shape's columns."""
        return self._rows(split, self.inputs.shape.columns.names())

    def _rows(self, split: str, names: Sequence[str]) -> pl.LazyFrame:
        columns = cs.by_name(names, require_all=False)
        parts = aligned([part.rows for part in self.parts], self.inputs.shape)
        return pl.concat(part.filter(pl.col(SPLIT) == split).select(columns) for part in parts)

    def summary(self) -> Summary:
        """All that was found but the rows."""
        first = self._rows(TRAIN, [*self.inputs.shape.columns, TOKENS, TRAINED]).head(SAMPLES)
        return Summary(
            report=self.report,
            splits={split: self.tally.figures(split) for split in self.splits},
            dropped=self.tally.dropped,
            lengths=self.tally.lengths(TRAIN),
            samples=samples(first, self.inputs.rules),
            counted=self.inputs.tokenizer is not None,
        )


def analyse(
    inputs: Inputs,
    scratch: Path,
    *,
    strict: bool = False,
    max_red_share: float = MAX_RED_SHARE,
    say: Say = lambda text: None,
) -> Analysis:
    """Everything but writing; files of its own go into `scratch`. Raises as `prepare` does."""
    judged = _judged(inputs, scratch, say)
    for part in judged:
        refuse(part.report, strict=False, max_red_share=max_red_share)
    judged = [
        _with_lengths(part, inputs, scratch / f"counts-{number}.csv", say)
        for number, part in enumerate(judged)
    ]
    report = merged([part.report for part in judged])
    refuse(report, strict=False, max_red_share=max_red_share)
    parts = _by_split(inputs, judged)
    same = [repeats(part) for part in parts]
    parts = _split(inputs, parts, same, report)
    found = [finding for part, again in zip(parts, same, strict=True) for finding in duplicates(part, again)]
    found += overlaps(parts[0], parts[-1]) if len(parts) > 1 else []
    found += answer_findings(parts[0])
    parts[0], of_weights = weighted(parts[0], inputs.of(TRAIN), inputs.spec.dataset.split_seed)
    counts = tally((part.rows for part in parts), inputs.piece)
    found += [*of_weights, *_of_tokenizer(inputs), *_beyond_positions(inputs, counts)]
    report = report.with_findings(found)
    refuse(report, strict=strict, max_red_share=max_red_share)
    sources = tuple(part.source for part in judged if isinstance(part.source, Source))
    return Analysis(inputs, sources, tuple(parts), report, counts)


def refuse(
    report: Report, slow_templates: SlowTemplates = "allow", *, strict: bool, max_red_share: float
) -> None:
    """Raise UnfitError where too many rows are red, or, with `strict`, anything is worth a warning.

    `slow_templates` matters for a report from before the operator forbade them.
    """
    slow = [finding.fault() for finding in report.findings if finding.code == SLOW_TEMPLATE]
    if slow and slow_templates == "forbid":
        raise UnfitError([replace(fault, why=FORBIDDEN) for fault in slow], report)
    faults = [finding.fault() for finding in report.of("error")]
    if report.red and (report.red == report.rows or report.red > max_red_share * report.rows):
        what = f"{report.red:,} of {counted(report.rows, 'row')} cannot be trained on"
        allowed = f"more than {max_red_share:.0%} are red; a few would be left out"
        raise UnfitError([Fault(what, "mend the data or the mapping", allowed), *faults], report)
    warned = [finding.fault() for finding in report.of("warn")]
    if strict and (faults or warned):
        raise UnfitError([*faults, *warned], report)


def _judged(inputs: Inputs, scratch: Path, say: Say) -> list[Judged]:
    """The rows of each entry, judged; raises DataError with what is wrong with any of the files."""
    sources, faults = [], list[Fault]()
    for entry in inputs.entries:
        say(f"reading {entry.opened.name} ({entry.opened.size / 1e6:,.1f} MB)")
        try:
            sources.append(read_source(entry.opened, scratch))
        except DataError as error:
            faults += error.faults
    if faults:
        raise DataError(faults)
    parts: list[Judged] = []
    told: set[str] = set()
    for number, (entry, source) in enumerate(zip(inputs.entries, sources, strict=True)):
        mapping = _compiled(entry, source, inputs.slow_templates)
        part = judge(source, mapping, scratch / f"mapped-{number}.arrow")
        say(f"{counted(part.report.rows, 'row')}: {_counted_verdicts(part.report)}")
        if not part.report.rows:
            fix = "change the condition, or look at the values of its columns"
            where = f"{entry.mapping_field}.where"
            raise DataError([Fault("`where` leaves no row", fix, file=source.name, path=where)])
        slow = slow_findings(mapping) if entry.mapping_field not in told else []
        told.add(entry.mapping_field)
        report = part.report.with_findings([*slow, *secret_findings(part)])
        parts.append(replace(part, report=in_words_of(entry, report)))
    return parts


def _compiled(entry: Entry, source: Source, slow_templates: SlowTemplates) -> CompiledMapping:
    try:
        return compile_mapping(entry.mapping, source.schema, slow_templates)
    except SpecError as error:
        faults = [replace(fault, path=at_mapping(entry, fault.path)) for fault in error.faults]
        raise SpecError(faults) from error


def _by_split(inputs: Inputs, judged: Sequence[Judged]) -> list[Judged]:
    """The rows of all training sources as one, and those of the held-out source if there is one."""
    by_split = {
        split: [part for entry, part in zip(inputs.entries, judged, strict=True) if entry.split == split]
        for split in (TRAIN, VALIDATION)
    }
    return [together(parts, inputs.shape) for parts in by_split.values() if parts]


def _with_lengths(part: Judged, inputs: Inputs, file: Path, say: Say) -> Judged:
    if inputs.tokenizer is None:
        return without_counts(part)
    return with_counts(part, inputs.tokenizer, inputs.rules, file, say)


def _split(inputs: Inputs, parts: list[Judged], same: Sequence[Repeats], report: Report) -> list[Judged]:
    """The parts with their rows split; raises DataError where nothing is left of one."""
    for part, kept in zip(parts, same, strict=True):
        if not kept.rows:
            faults = [finding.fault() for finding in report.findings if finding.severity != "info"]
            nothing = Fault("no row is left to train on", "see what left them out", file=part.source.name)
            raise UnfitError([nothing, *faults], report)
    share = inputs.spec.dataset.validation
    if isinstance(share, float):
        return [drawn(parts[0], same[0], share, inputs.spec.dataset.split_seed)]
    return [whole(part, split) for part, split in zip(parts, (TRAIN, VALIDATION), strict=False)]


def _of_tokenizer(inputs: Inputs) -> list[Finding]:
    """What is worth a warning in the base model's own tokenizer and template."""
    findings, tokenizer = [], inputs.tokenizer
    if tokenizer and not tokenizer.exact:
        what = "the base model's tokenizer is of a class that is not known here: counts are an estimate"
        findings.append(Finding("counts_estimated", "warn", 0, what))
    if tokenizer and not tokenizer.writes_eos and inputs.rules.eot_tokens is None:
        what = "the chat template never writes the end token, so the model does not learn to stop"
        fix = "name the template's own end of a turn: `axolotl: {eot_tokens: [...]}`"
        findings.append(Finding("eos_not_in_template", "warn", 0, what, fix))
    return findings


def _beyond_positions(inputs: Inputs, counts: Tally) -> list[Finding]:
    """Examples longer than the base model was made for: Axolotl only raises the number in its config."""
    most = inputs.positions
    lengths = [counts.lengths(split) for split in (TRAIN, VALIDATION)] if most else []
    longer = sum(each.rows_beyond(most) for each in lengths if most)
    if not longer:
        return []
    what = f"examples are longer than the {most:,} tokens that the base model was made for"
    fix = f"set training.sequence_len to {most}, or take a base model with a longer context"
    return [Finding("beyond_positions", "warn", longer, what, fix)]


def _counted_verdicts(report: Report) -> str:
    return f"{report.green:,} green, {report.yellow:,} yellow, {report.red:,} red"
