"""One way to bring rows of a file into another, in a process of its own: VARIANT SOURCE TARGET.

Prints the seconds of wall time and of processor time that the work took, imports not counted.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Work = Callable[[], object]
Variant = Callable[[Path, Path], Work]

MAPPING = {
    "messages": [
        {"role": "system", "content": "{{ system }}"},
        {"role": "user", "content": "{{ text | trim }}\n\n{{ context | trim }}"},
        {"role": "assistant", "content": "{{ label }}"},
    ]
}


def main() -> None:
    variant, source, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    work = VARIANTS[variant](source, target)
    wall, processor = time.perf_counter(), time.process_time()
    work()
    took = {"seconds": time.perf_counter() - wall, "processor": time.process_time() - processor}
    print(json.dumps(took))


def _pass_through(source: Path, target: Path) -> Work:
    return lambda: _sink(_scan(source), target)


def _mapping(source: Path, target: Path) -> Work:
    """The product's compiled mapping, without what is checked of rows."""
    from orchestrator.data.mapping import compile_mapping
    from orchestrator.data.rows import ROW
    from orchestrator.spec.mapping import Mapping

    def work() -> None:
        rows = _scan(source)
        mapping = compile_mapping(Mapping.model_validate(MAPPING), rows.collect_schema())
        _sink(mapping.apply(rows.with_row_index(ROW, offset=1)).select("messages"), target)

    return work


def _prepare(source: Path, target: Path) -> Work:
    """The product's prepare step but for tokens: digests, checks of the file, verdicts, split, dataset."""
    from orchestrator.contract import FileStore
    from orchestrator.data.inputs import Inputs
    from orchestrator.data.prepare import prepare
    from orchestrator.spec.models import Spec

    scratch = target / "scratch"
    scratch.mkdir(parents=True)
    dataset = {"source": source.name, "validation": 0.05}
    spec = Spec.model_validate({"name": "b", "base_model": "m", "dataset": dataset, "mapping": MAPPING})
    return lambda: prepare(Inputs.open(spec, source.parent, None), FileStore(target / "storage"), scratch)


def _datasets(source: Path, target: Path) -> Work:
    """The same templates row by row with `datasets.map`: what a tool without a compiler does."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment()
    templates = [(one["role"], environment.from_string(one["content"])) for one in MAPPING["messages"]]

    def messages(row: dict[str, Any]) -> dict[str, Any]:
        made = [{"role": role, "content": template.render(row)} for role, template in templates]
        return {"messages": [one for one in made if one["role"] != "system" or one["content"].strip()]}

    return _by_row(messages, source, target)


def _datasets_by_hand(source: Path, target: Path) -> Work:
    """The same messages from a Python function written for these rows, without templates."""

    def messages(row: dict[str, Any]) -> dict[str, Any]:
        asked = f"{row['text'].strip()}\n\n{row['context'].strip()}"
        made = [{"role": "user", "content": asked}, {"role": "assistant", "content": row["label"]}]
        if row["system"].strip():
            made.insert(0, {"role": "system", "content": row["system"]})
        return {"messages": made}

    return _by_row(messages, source, target)


def _by_row(messages: Callable[[dict[str, Any]], dict[str, Any]], source: Path, target: Path) -> Work:
    """Read to Arrow, map in one process, write JSON lines; caches lie beside the target."""
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()

    def work() -> None:
        rows = load_dataset("json", data_files=str(source), split="train", cache_dir=f"{target}.cache")
        rows.map(messages, remove_columns=rows.column_names).to_json(str(target))

    return work


def _scan(source: Path) -> Any:
    import polars as pl

    scan: dict[str, Callable[[Path], pl.LazyFrame]] = {
        ".jsonl": pl.scan_ndjson,
        ".parquet": pl.scan_parquet,
        ".csv": pl.scan_csv,
    }
    return scan[source.suffix](source)


def _sink(rows: Any, target: Path) -> None:
    import polars as pl

    if target.suffix == ".csv":
        # A cell holds no list, so messages are written as the JSON text of an object that holds them.
        there = "messages" in rows.collect_schema()
        (rows.select(pl.struct("messages").struct.json_encode()) if there else rows).sink_csv(target)
    elif target.suffix == ".parquet":
        rows.sink_parquet(target, compression="zstd", compression_level=1)
    else:
        rows.sink_ndjson(target)


VARIANTS: dict[str, Variant] = {
    "pass-through": _pass_through,
    "mapping": _mapping,
    "prepare": _prepare,
    "datasets": _datasets,
    "datasets by hand": _datasets_by_hand,
}


if __name__ == "__main__":
    main()
