"""Everything that decides a dataset, opened, and the key that names it before any work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import polars as pl

from orchestrator.data.conversation import TrainingRules
from orchestrator.data.entries import Entry, entry_keys
from orchestrator.data.lengths import RowTokenizer, training_rules
from orchestrator.data.recall import DATA_VERSION
from orchestrator.data.shapes import TEXT, Shape, shape_of
from orchestrator.data.sources import open_source
from orchestrator.data.split import TRAIN, VALIDATION
from orchestrator.defaults import SlowTemplates
from orchestrator.errors import DataError, Fault, FaultsError
from orchestrator.spec.models import SourceEntry, Spec, WeightedEntry


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


def _named(spec: Spec) -> Iterator[tuple[str, str, SourceEntry]]:
    """The sources of a spec: the split that each feeds, and the field that it stands in."""
    for field, source in spec.dataset.training:
        yield TRAIN, field, source
    if spec.dataset.held_out:
        yield VALIDATION, *spec.dataset.held_out


def _digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
