"""What an earlier look at the same input found, so that nothing is counted twice.

    inputs/found/<input key>.json    the summary of what was prepared, or only looked at
    inputs/files/<files key>.json    the input key of files known by path, size, time of change and inode

A store of such records may be that of the datasets or a cache on this machine. A record that cannot be read
is one that is not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import polars as pl

from orchestrator import __version__
from orchestrator.contract import Store
from orchestrator.data.lengths import training_rules
from orchestrator.data.report import Report
from orchestrator.data.samples import Sample
from orchestrator.data.sources.find import find_files
from orchestrator.data.tally import Lengths
from orchestrator.errors import DataError
from orchestrator.spec.models import Spec

# Part of every key: raise it when the same input comes out as other rows or other counts.
DATA_VERSION = 8
_MODEL_FILES = ("*.json", "*.jinja", "additional_chat_templates/*")


@dataclass(frozen=True)
class Summary:
    """What a spec's data comes to, its rows left out: all that checks, plans and forecasts are made of.

    `splits` has rows, tokens and lengths of each split, `dropped` the rows left out by reason, `lengths`
    those of the training rows, `samples` the first of them; `counted` False where there was no tokenizer.
    """

    report: Report
    splits: Mapping[str, Mapping[str, Any]]
    dropped: Mapping[str, int]
    lengths: Lengths
    samples: tuple[Sample, ...]
    counted: bool

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), ensure_ascii=False).encode()

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any]) -> Self:
        report, lengths = Report.from_dict(raw["report"]), Lengths(**raw["lengths"])
        samples = tuple(Sample(**{**one, "trained": tuple(one["trained"])}) for one in raw["samples"])
        return cls(**{**raw, "report": report, "lengths": lengths, "samples": samples})


def remember(store: Store, key: str, summary: Summary) -> None:
    """Keep a summary under its input key."""
    store.write(f"inputs/found/{key}.json", summary.to_json())


def remember_files(store: Store, files: str | None, key: str) -> None:
    """Keep the input key that files have, where these have a key of their own."""
    if files is not None:
        store.write(f"inputs/files/{files}.json", json.dumps({"input_key": key}).encode())


def recall(stores: Iterable[Store], key: str) -> Summary | None:
    """The summary under an input key, from the first store that has it."""
    found = (_read(store, f"inputs/found/{key}.json") for store in stores)
    return next((Summary.from_raw(raw) for raw in found if raw is not None), None)


def recall_files(stores: Sequence[Store], files: str | None) -> Summary | None:
    """The summary of files that did not change since."""
    found = (_read(store, f"inputs/files/{files}.json") for store in stores if files is not None)
    keys = [str(raw["input_key"]) for raw in found if raw is not None]
    return next((summary for key in keys if (summary := recall(stores, key))), None)


def files_key(spec: Spec, base: Path, model: Path) -> str | None:
    """A key of spec and files as they lie there, without a look into them; None for sources elsewhere,
    or not there.

    A file counts as the same while its path, size, time of change (ns) and inode are: what `make` and git
    go by.
    """
    names = [(field, entry.source) for field, entry in spec.dataset.entries]
    if any("://" in name for _, name in names):
        return None
    try:
        files = [base / file for field, name in names for file in find_files(name, base, field)]
    except DataError:
        return None
    files += [path for pattern in _MODEL_FILES for path in model.glob(pattern)]
    asked = spec.model_dump(mode="json", include={"dataset", "mapping", "method"})
    rules = asdict(training_rules(spec))
    versions = [__version__, DATA_VERSION, pl.__version__]
    marks = sorted(_mark(path) for path in files if path.is_file())
    return sha256(json.dumps([asked, rules, versions, marks], sort_keys=True).encode()).hexdigest()


def _mark(path: Path) -> list[str | int]:
    stat = path.stat()
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino]


def _read(store: Store, key: str) -> dict[str, Any] | None:
    try:
        raw = json.loads(store.read(key))
    except (OSError, ValueError):
        return None
    return raw if isinstance(raw, dict) else None
