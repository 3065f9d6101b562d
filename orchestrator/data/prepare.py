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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from orchestrator import __version__
from orchestrator.contract import Manifest, Store, dataset_key, read_manifest, share_folder
from orchestrator.data.answers import answer_findings
from orchestrator.data.canonical import aligned
from orchestrator.data.compiled import CompiledMapping
from orchestrator.data.content_digest import content_digest
from orchestrator.data.conversation import TrainingRules
from orchestrator.data.entries import Entry, at_mapping, entry_keys, in_words_of, together, weighted
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
from orchestrator.data.secrets_in_rows import secret_findings
from orchestrator.data.shapes import TEXT, Shape, shape_of
from orchestrator.data.sources import Source, open_source, read_source
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
from orchestrator.errors import DataError, Fault, FaultsError, SpecError
from orchestrator.machines import SlowTemplates
from orchestrator.spec.models import SourceEntry, Spec, WeightedEntry

MAX_RED_SHARE = 0.05
SAMPLES = 3
DESCRIPTION = "dataset.json"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Inputs:
    """Everything that decides a dataset; without a `tokenizer` nothing is counted. `positions` are the most
    tokens that the base model was made for, where that is known."""

    spec: Spec
    entries: tuple[Entry, ...]
    tokenizer: RowTokenizer | None
    rules: TrainingRules
    slow_templates: SlowTemplates = "allow"
    positions: int | None = None

    @classmethod
    def open(
        cls,
        spec: Spec,
        base: Path,
        tokenizer: RowTokenizer | None,
        slow_templates: SlowTemplates = "allow",
        positions: int | None = None,
    ) -> Inputs:
        """Open the sources of a spec; raises DataError with the faults of all of them."""
        entries, faults = [], list[Fault]()
        for split, field, source in _named(spec):
            try:
                opened = open_source(source, base, field)
            except FaultsError as error:
                faults += error.faults
            else:
                own = f"{field}.mapping" if source.mapping else "mapping"
                weight = source.weight if isinstance(source, WeightedEntry) else 1.0
                entries.append(Entry(split, field, opened, source.mapping or spec.mapping, own, weight))
        if faults:
            raise DataError(faults)
        return cls(spec, tuple(entries), tokenizer, training_rules(spec), slow_templates, positions)

    def of(self, split: str) -> tuple[Entry, ...]:
        """The entries that feed a split."""
        return tuple(entry for entry in self.entries if entry.split == split)

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
        dataset = self.spec.dataset
        share = dataset.validation if isinstance(dataset.validation, float) else None
        drawn = share is not None or any(entry.weight % 1 for entry in self.entries)
        return _digest(
            {
                "sources": list(entry_keys(self.entries)),
                "shape": self.shape.name,
                "split": [share, dataset.split_seed] if drawn else None,
                "tokenizer": self.tokenizer.digest if self.tokenizer else None,
                "rules": asdict(self.rules),
                "positions": self.positions,
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


def _named(spec: Spec) -> Iterator[tuple[str, str, SourceEntry]]:
    """The sources of a spec: the split that each feeds, and the field that it stands in."""
    for field, source in spec.dataset.training:
        yield TRAIN, field, source
    if spec.dataset.held_out:
        yield VALIDATION, *spec.dataset.held_out


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


def _description(analysis: Analysis, summary: Summary, digest: str) -> dict[str, Any]:
    inputs = analysis.inputs
    held_out, tokenizer = inputs.spec.dataset.validation, inputs.tokenizer
    return {
        "version": 1,
        "name": inputs.entries[0].opened.title,
        "digest": digest,
        "shape": inputs.shape.name,
        "sources": [
            _provenance(entry, source) for entry, source in zip(inputs.entries, analysis.sources, strict=True)
        ],
        "mapping": inputs.mapping_digest,
        "split": {
            "validation": held_out if isinstance(held_out, float) else None,
            "seed": inputs.spec.dataset.split_seed,
        },
        "splits": summary.splits,
        "dropped": summary.dropped,
        "tokenizer": {"digest": tokenizer.digest, "exact": tokenizer.exact} if tokenizer else None,
        "rules": asdict(inputs.rules),
        "report": summary.report.to_dict(),
        "input_key": inputs.key,
        "versions": {"axo": __version__, "data": DATA_VERSION, "polars": pl.__version__},
    }


def _provenance(entry: Entry, source: Source) -> dict[str, Any]:
    """Where rows came from: the files as they lay there, and the rows in them."""
    files = [
        {"name": file.name, "sha256": file.survey.sha256, "bytes": file.survey.size}
        | ({"revision": file.revision} if file.revision else {})
        for file in source.opened.files
    ]
    weight = {} if entry.weight == 1 else {"weight": entry.weight}
    return {"split": entry.split, "name": source.name, "rows": source.count, **weight, "files": files}


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
