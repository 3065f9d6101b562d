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
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from orchestrator import __version__
from orchestrator.contract import Manifest, Store, dataset_key, read_manifest, share_folder
from orchestrator.data.analysis import MAX_RED_SHARE, Analysis, Say, analyse, refuse
from orchestrator.data.content_digest import content_digest
from orchestrator.data.entries import Entry
from orchestrator.data.inputs import Inputs
from orchestrator.data.recall import DATA_VERSION, Summary, remember
from orchestrator.data.report import Report, counted
from orchestrator.data.sources import Source
from orchestrator.data.split import TRAIN, VALIDATION
from orchestrator.data.verdicts import ROW_GROUP_ROWS

DESCRIPTION = "dataset.json"


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
        "mapping": inputs.spec.mapping.digest,
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


def _counted_splits(description: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{split} {counted(figures['rows'], 'row')} of {counted(figures['tokens'], 'token')}"
        for split, figures in description["splits"].items()
    )


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"
