"""A million rows through a three-role template, against a plain Polars scan and sink."""

from __future__ import annotations

import json
import statistics
import time
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from benches._measure import show
from orchestrator.data.mapping import ROW, compile_mapping
from orchestrator.spec.models import Mapping

ROUNDS = 3
ROWS = 1_000_000
MAPPING = {
    "messages": [
        {"role": "system", "content": "Answer in {{ lang }}."},
        {"role": "user", "content": "{{ text | trim }}\n\n{{ context }}"},
        {"role": "assistant", "content": "{{ label }}"},
    ]
}


def main(arguments: Sequence[str]) -> None:
    ArgumentParser(prog="scripts/bench data", description=__doc__).parse_args(arguments)
    with TemporaryDirectory(prefix="axo-bench-data-") as scratch:
        _bench(Path(scratch))


def _bench(folder: Path) -> None:
    source = folder / "rows.jsonl"
    _write_rows(source)
    rows = pl.scan_ndjson(source, row_index_name=ROW)
    mapping = compile_mapping(Mapping.model_validate(MAPPING), rows.collect_schema())
    mapped_rows = mapping.apply(rows).select("messages")
    plain, mapped = [], []
    for _ in range(ROUNDS):
        plain.append(_clock(lambda: pl.scan_ndjson(source).sink_ndjson(folder / "plain.jsonl")))
        mapped.append(_clock(lambda: mapped_rows.sink_ndjson(folder / "mapped.jsonl")))
    print(f"mapping, seconds of wall time, {ROWS:,} rows ({source.stat().st_size / 1e6:.0f} MB of JSONL)")
    show("scan and sink", plain)
    show("three-role template", mapped)
    print(f"  ratio of medians: {statistics.median(mapped) / statistics.median(plain):.2f}")


def _write_rows(path: Path) -> None:
    text = "The parcel that I ordered has not arrived, and nobody answers my letters. " * 8
    with path.open("w") as out:
        for number in range(ROWS):
            language = ("English", "Deutsch", "日本語")[number % 3]
            row = {
                "id": number,
                "text": f"  {text}{number}",
                "label": f"queue {number % 7}",
                "lang": language,
            }
            out.write(json.dumps(row | {"context": text[: number % 200]}, ensure_ascii=False) + "\n")


def _clock(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
