"""100,000 rows through one template: compiled, and row by row in the sandboxed child."""

from __future__ import annotations

import gc
import resource
import time
from argparse import ArgumentParser
from collections.abc import Sequence

import polars as pl

from orchestrator.data.template import compile_template

TEMPLATE = "{{ question | trim }}\n\n{{ body | trim }}{% for tag in tags %}, {{ tag }}{% endfor %}"
ONLY_JINJA = TEMPLATE + "{% macro unused() %}{% endmacro %}"


def main(arguments: Sequence[str]) -> None:
    parser = ArgumentParser(prog="scripts/bench templates", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="default 100,000")
    rows = _rows(parser.parse_args(arguments).rows)
    print(f"one template, {len(rows):,} rows of 500 bytes")
    compiled, compiled_cpu, texts = _measured(TEMPLATE, rows)
    slow, slow_cpu, same = _measured(ONLY_JINJA, rows)
    assert texts.equals(same), "the two ways give different texts"
    print(f"  compiled     {compiled:6.2f} s  {compiled_cpu:6.2f} s of processor")
    print(f"  row by row   {slow:6.2f} s  {slow_cpu:6.2f} s of processor")
    print(f"  row by row / compiled: wall {slow / compiled:.0f}, processor {slow_cpu / compiled_cpu:.0f}")


def _rows(count: int) -> pl.DataFrame:
    questions = [f"  what is {number}? " for number in range(count)]
    columns = {"question": questions, "body": ["word " * 95] * count, "tags": [["a", "b", None]] * count}
    return pl.DataFrame(columns).with_row_index("axo_row", 1)


def _measured(source: str, rows: pl.DataFrame) -> tuple[float, float, pl.Series]:
    """Seconds of wall time and of processor, with those of the children, and the texts."""
    began, before = time.perf_counter(), _processor()
    template = compile_template(source, rows.schema, slow="outcome")
    frame = rows.lazy() if template.slow is None else rows.lazy().with_columns(template.slow.outcome)
    texts = frame.select(template.text.alias("text")).collect(engine="streaming").to_series()
    seconds = time.perf_counter() - began
    del template, frame
    gc.collect()  # ends the children, whose time counts from then on
    return seconds, _processor() - before, texts


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
