"""Prepare a dataset: read, map, check, count, split, and commit it to storage under its content digest.

Two names. The input key is known before any work: the digests of the source files, the mapping, the split,
the tokenizer, the rules of counting and the version of this code; `inputs/<key>.json` in storage says which
dataset came out, so that nothing is prepared twice. The content digest is that of the canonical rows in
their order, whatever file they came from or lie in; `datasets/<digest>/` holds them. Token counts belong to
a preparation (rows x tokenizer x template x length), so those of a spec stand in its `inputs/<key>.json`;
`dataset.json` beside the rows tells of the preparation that wrote them first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from orchestrator import __version__
from orchestrator.contract import Manifest, Store, dataset_key, read_manifest, share_folder
from orchestrator.data.canonical import aligned
from orchestrator.data.content_digest import content_digest
from orchestrator.data.conversation import TrainingRules
from orchestrator.data.lengths import (
    TOKENS,
    TRAINED,
    RowTokenizer,
    training_rules,
    with_counts,
    without_counts,
)
from orchestrator.data.mapping import SLOW_TEMPLATE, compile_mapping, slow_findings
from orchestrator.data.recall import DATA_VERSION, Summary, remember
from orchestrator.data.report import Finding, Report, counted, merged
from orchestrator.data.samples import samples
from orchestrator.data.shapes import TEXT, Shape, shape_of
from orchestrator.data.sources import OpenedSource, Source, open_source, read_source
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
from orchestrator.data.verdicts import ROW_GROUP_ROWS, Judged, judge
from orchestrator.errors import DataError, Fault
from orchestrator.machines import SlowTemplates
from orchestrator.spec.models import Spec

MAX_RED_SHARE = 0.05
SAMPLES = 3
DESCRIPTION = "dataset.json"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Inputs:
    """Everything that decides a dataset; `sources` by the split they feed; no counts without
    a `tokenizer`."""

    spec: Spec
    sources: Mapping[str, OpenedSource]
    tokenizer: RowTokenizer | None
    rules: TrainingRules
    slow_templates: SlowTemplates = "allow"

    @classmethod
    def open(
        cls,
        spec: Spec,
        base: Path,
        tokenizer: RowTokenizer | None,
        slow_templates: SlowTemplates = "allow",
    ) -> Inputs:
        """Open the sources of a spec; raises DataError with the faults of all of them."""
        names = {TRAIN: spec.dataset.source}
        if isinstance(spec.dataset.validation, str):
            names[VALIDATION] = spec.dataset.validation
        sources: dict[str, OpenedSource] = {}
        faults: list[Fault] = []
        for split, name in names.items():
            try:
                field = "dataset.source" if split == TRAIN else "dataset.validation"
                sources[split] = open_source(name, base, field)
            except DataError as error:
                faults += error.faults
        if faults:
            raise DataError(faults)
        return cls(spec, sources, tokenizer, training_rules(spec), slow_templates)

    @property
    def shape(self) -> Shape:
        return shape_of(self.spec.mapping)

    @property
    def piece(self) -> int | None:
        """The tokens of the longest piece that texts are trained in; None for what is trained whole."""
        return self.rules.sequence_len if self.shape == TEXT and self.tokenizer else None

    @property
    def mapping_digest(self) -> str:
        return _digest(self.spec.mapping.model_dump(mode="json"))

    @property
    def key(self) -> str:
        """SHA-256 of all that decides rows and counts."""
        held_out = self.spec.dataset.validation
        return _digest(
            {
                "sources": {split: source.key for split, source in self.sources.items()},
                "mapping": self.mapping_digest,
                "shape": self.shape.name,
                "split": [held_out, self.spec.dataset.split_seed] if isinstance(held_out, float) else None,
                "tokenizer": self.tokenizer.digest if self.tokenizer else None,
                "rules": asdict(self.rules),
                "versions": {"data": DATA_VERSION, "polars": pl.__version__},
            }
        )


class UnfitError(DataError):
    """The rows cannot be trained on; `report` says of all of them why."""

    def __init__(self, faults: Sequence[Fault], report: Report) -> None:
        super().__init__(faults)
        self.report = report


@dataclass(frozen=True)
class Analysis:
    """Rows mapped, judged, counted and split, not yet written. `parts` are by the file they came from."""

    inputs: Inputs
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


@dataclass(frozen=True)
class Dataset:
    """A dataset in storage: its content digest, and the description of the preparation asked for."""

    digest: str
    description: Mapping[str, Any]
    reused: bool

    @property
    def report(self) -> Report:
        return Report.from_dict(self.description["report"])

    @property
    def facts(self) -> dict[str, Any]:
        """What planning a launch needs to know."""
        return facts_of(self.description["splits"], self.digest)


def facts_of(splits: Mapping[str, Mapping[str, Any]], digest: str) -> dict[str, Any]:
    """What planning a launch needs to know of a dataset's splits, as a preparation counted them; its rows
    are those that are trained on, which for plain text are pieces."""
    train, held_out = splits[TRAIN], splits.get(VALIDATION)
    return {
        "rows": train.get("pieces", train["rows"]),
        "validation_rows": held_out.get("pieces", held_out["rows"]) if held_out else 0,
        "tokens": train["tokens"],
        "trained_tokens": train["trained_tokens"],
        "longest": train["lengths"]["longest"],
        "digest": digest,
    }


def prepare(
    inputs: Inputs,
    storage: Store,
    scratch: Path,
    *,
    strict: bool = False,
    max_red_share: float = MAX_RED_SHARE,
    say: Say = lambda text: None,
) -> Dataset:
    """Prepare the dataset of a spec and commit it, or find what was prepared of the same input before.

    Raises:
        DataError: the data cannot be read or trained on; `strict` makes every warning an error.
        SpecError: the mapping does not fit the columns.
        OSError: storage or scratch cannot be written.
    """
    key = inputs.key
    if before := _prepared_before(storage, key):
        say(f"the same input was prepared before: dataset {before.digest}")
        refuse(before.report, inputs.slow_templates, strict=strict, max_red_share=max_red_share)
        return before
    analysis = analyse(inputs, scratch, strict=strict, max_red_share=max_red_share, say=say)
    folder = scratch / "dataset"
    summary = analysis.summary()
    description = write(analysis, summary, folder)
    digest = description["digest"]
    if read_manifest(storage, dataset_key(digest)) is None:
        share_folder(storage, folder, dataset_key(digest), Manifest("dataset", (), facts={"content": digest}))
    storage.write(_record_key(key), _json(description))
    remember(storage, key, summary)
    say(f"dataset {digest}: {_counted_splits(description)}")
    return Dataset(digest, description, reused=False)


def analyse(
    inputs: Inputs,
    scratch: Path,
    *,
    strict: bool = False,
    max_red_share: float = MAX_RED_SHARE,
    say: Say = lambda text: None,
) -> Analysis:
    """Everything but writing; files of its own go into `scratch`. Raises as `prepare` does."""
    parts = _judged(inputs, scratch, say)
    for part in parts:
        refuse(part.report, strict=False, max_red_share=max_red_share)
    parts = [
        _with_lengths(part, inputs, scratch / f"counts-{number}.csv", say)
        for number, part in enumerate(parts)
    ]
    report = merged([part.report for part in parts])
    refuse(report, strict=False, max_red_share=max_red_share)
    same = [repeats(part) for part in parts]
    parts = _split(inputs, parts, same, report)
    found = [finding for part, again in zip(parts, same, strict=True) for finding in duplicates(part, again)]
    found += overlaps(parts[0], parts[-1]) if len(parts) > 1 else []
    report = report.with_findings([*found, *_of_tokenizer(inputs)])
    refuse(report, strict=strict, max_red_share=max_red_share)
    return Analysis(inputs, tuple(parts), report, tally((part.rows for part in parts), inputs.piece))


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


def write(analysis: Analysis, summary: Summary, folder: Path) -> dict[str, Any]:
    """Write the Parquet files and `dataset.json` of an analysis; what the latter says."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {split: folder / f"{split}.parquet" for split in analysis.splits}
    for split, path in files.items():
        rows = analysis.rows(split)
        rows.sink_parquet(
            path, compression="zstd", compression_level=1, row_group_size=ROW_GROUP_ROWS, maintain_order=True
        )
    digest = content_digest(files, analysis.inputs.shape)
    text = _json(_description(analysis, summary, digest))
    (folder / DESCRIPTION).write_bytes(text)
    description: dict[str, Any] = json.loads(text)
    return description


def _judged(inputs: Inputs, scratch: Path, say: Say) -> list[Judged]:
    parts: list[Judged] = []
    for split, opened in inputs.sources.items():
        say(f"reading {opened.name} ({opened.size / 1e6:,.1f} MB)")
        source = read_source(opened, scratch)
        mapping = compile_mapping(inputs.spec.mapping, source.schema, inputs.slow_templates)
        part = judge(source, mapping, scratch / f"mapped-{split}.parquet")
        report = part.report
        say(f"{counted(report.rows, 'row')}: {_counted_verdicts(report)}")
        if not report.rows:
            fix = "change the condition, or look at the values of its columns"
            raise DataError([Fault("`where` leaves no row", fix, file=source.name, path="mapping.where")])
        parts.append(part if parts else replace(part, report=report.with_findings(slow_findings(mapping))))
    return parts


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


def _description(analysis: Analysis, summary: Summary, digest: str) -> dict[str, Any]:
    inputs = analysis.inputs
    held_out, tokenizer = inputs.spec.dataset.validation, inputs.tokenizer
    return {
        "version": 1,
        "name": inputs.sources[TRAIN].title,
        "digest": digest,
        "shape": inputs.shape.name,
        "sources": [
            _provenance(split, part.source)
            for split, part in zip(inputs.sources, analysis.parts, strict=True)
        ],
        "mapping": inputs.mapping_digest,
        "split": {"validation": held_out, "seed": inputs.spec.dataset.split_seed},
        "splits": summary.splits,
        "dropped": summary.dropped,
        "tokenizer": {"digest": tokenizer.digest, "exact": tokenizer.exact} if tokenizer else None,
        "rules": asdict(inputs.rules),
        "report": summary.report.to_dict(),
        "input_key": inputs.key,
        "versions": {"axo": __version__, "data": DATA_VERSION, "polars": pl.__version__},
    }


def _provenance(split: str, source: Source) -> dict[str, Any]:
    """Where rows came from: the files as they lay there, and the rows in them."""
    files = [
        {"name": file.name, "sha256": file.survey.sha256, "bytes": file.survey.size}
        for file in source.opened.files
    ]
    return {"split": split, "name": source.name, "files": files, "rows": source.count}


def _prepared_before(storage: Store, key: str) -> Dataset | None:
    """What was prepared of the same input, where its rows still lie in storage whole."""
    try:
        description = json.loads(storage.read(_record_key(key)))
    except FileNotFoundError:
        return None
    digest = description["digest"]
    there = read_manifest(storage, dataset_key(digest)) is not None
    return Dataset(digest, description, reused=True) if there else None


def _record_key(key: str) -> str:
    return f"inputs/{key}.json"


def _counted_verdicts(report: Report) -> str:
    return f"{report.green:,} green, {report.yellow:,} yellow, {report.red:,} red"


def _counted_splits(description: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{split} {counted(figures['rows'], 'row')} of {counted(figures['tokens'], 'token')}"
        for split, figures in description["splits"].items()
    )


def _digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"
