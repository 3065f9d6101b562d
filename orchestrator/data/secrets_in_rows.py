"""Secrets in what is trained on: a model learns them by heart, and says them to whoever asks.

Mapping has marked the rows in which a fast pattern is found; these are looked at closely. What is told is the
kind of secret and the row, never the secret.
"""

from __future__ import annotations

from collections import defaultdict

import polars as pl

from orchestrator.data.checks import MESSAGES
from orchestrator.data.report import MAX_EXAMPLES, Finding
from orchestrator.data.rows import ROW
from orchestrator.data.verdicts import SUSPECT, Judged, examples
from orchestrator.spec.secrets import WITH_NEIGHBOUR, find_secret

_PIECES = "pieces"
_FIX = "take it out of the data; where it is real, revoke it"


def secret_findings(judged: Judged) -> list[Finding]:
    """A warning for each kind of secret that texts of the rows hold."""
    if not judged.rows.select(pl.col(SUSPECT).any()).collect(engine="streaming").item():
        return []  # without a look at the texts
    schema = judged.rows.collect_schema()
    marked = judged.rows.filter(pl.col(SUSPECT)).select(ROW, _pieces(schema).alias(_PIECES))
    counts, first = defaultdict[str, int](int), defaultdict[str, list[int]](list)
    for batch in marked.collect_batches(maintain_order=True):
        for row, pieces in batch.iter_rows():
            for kind in {found.kind for piece in pieces if (found := find_secret(piece))}:
                counts[kind] += 1
                if len(first[kind]) < MAX_EXAMPLES:
                    first[kind].append(row)
    return [
        Finding(
            "secret_in_text",
            "warn",
            count,
            f"texts hold what looks like {kind}, and the model would learn it",
            _FIX,
            examples(judged.source, [(row, None) for row in first[kind]], None),
        )
        for kind, count in sorted(counts.items())
    ]


def _pieces(schema: pl.Schema) -> pl.Expr:
    """What may be a secret in a row's texts, each with the character before it."""
    if MESSAGES not in schema:
        return pl.col("text").str.extract_all(WITH_NEIGHBOUR)
    pieces = pl.element().struct.field("content").str.extract_all(WITH_NEIGHBOUR)
    return pl.col(MESSAGES).list.eval(pieces.explode(empty_as_null=False, keep_nulls=False))
