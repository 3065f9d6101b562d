"""A row is judged alone as among others: its example, its verdicts, its hashes and what is told of it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from orchestrator.data.mapping import compile_mapping
from orchestrator.data.rows import ROW
from orchestrator.data.secrets_in_rows import secret_findings
from orchestrator.data.sources import open_source, read_source
from orchestrator.data.verdicts import Judged, judge
from orchestrator.spec.mapping import Mapping

ROWS = 16
SEEDS = range(max(1, int(os.environ.get("AXO_PROVE", "1")) // 200))
TEXTS = [
    None,
    "",
    " \t",
    "a",
    "b\n",
    "ß👩\u200d🚀",
    '{"name": "f", "arguments": {}}',
    "AKIA" + "ABCD1234" * 2,
]
ROLES = ["user", "assistant", "user", "gpt", "system", "tool", "tool_call", "odd", None]
CALLS = [None, None, "", "[]", "[1]", '[{"name": "f", "arguments": "{}"}]', '{"name": "f"}']
MESSAGE = {"role": pl.String, "content": pl.String, "weight": pl.Float64, "tool_calls": pl.String}
SCHEMA = pl.Schema(
    {
        "q": pl.String(),
        "a": pl.String(),
        "s": pl.String(),
        "b": pl.Boolean(),
        "offered": pl.String(),
        "said": pl.List(pl.Struct(MESSAGE)),
        "written": pl.String(),
        "before": pl.List(pl.List(pl.String)),
    }
)
ASKED = [{"role": "user", "content": "{{ q }}"}, {"role": "assistant", "content": "{{ a | trim }}"}]
SYSTEM, WEIGHED = {"role": "system", "content": "{{ s }}"}, {**ASKED[0], "weight": 1}
MAPPINGS: list[dict[str, Any]] = [
    {"messages": [SYSTEM, *ASKED], "history": "before", "tools": "offered"},
    {"messages": [WEIGHED, SYSTEM, *ASKED, *ASKED], "where": "b", "train_on": "last"},
    {"conversation": {"column": "said"}},
    {"conversation": {"column": "said", "system": "s"}, "tools": "offered", "train_on": "last"},
    {"conversation": {"column": "written", "roles": {"odd": "user"}}, "where": "q == a or q | length > 1"},
    {"text": "{% if b %}{{ q | replace('a', s) }}{% endif %}", "where": "said"},
]


class Chance(Random):
    """Rows with all that is odd in them; each seed has others."""

    def row(self) -> dict[str, Any]:
        return {
            "q": self.choice(TEXTS),
            "a": self.choice(TEXTS),
            "s": self.choice(TEXTS),
            "b": self.choice([True, False, None]),
            "offered": self.choice([None, "", "[]", "x", '[{"name": "f"}]']),
            "said": self.choice([None, *[self.said()] * 9]),
            "written": self.choice([None, "", "null", "[1]", "[", *[json.dumps(self.said())] * 9]),
            "before": self.choice([None, [None], *[[self.choices(TEXTS, k=2)]] * 3, [["a"], ["b", "c"]]]),
        }

    def said(self) -> list[dict[str, Any]]:
        messages = [
            {
                "role": self.choice(ROLES),
                "content": self.choice(TEXTS),
                "weight": self.choice([None, None, 0.0, 1.0, 0.5]),
                "tool_calls": self.choice(CALLS),
            }
            for _ in range(self.randrange(5))
        ]
        return messages + self.choice([[], [{**dict.fromkeys(MESSAGE), "role": "assistant", "content": "c"}]])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("raw", MAPPINGS, ids=range(len(MAPPINGS)))
def test_a_row_is_judged_alone_as_among_others(tmp_path: Path, raw: dict[str, Any], seed: int) -> None:
    chance, mapping = Chance(seed), Mapping.model_validate(raw)
    rows = [chance.row() for _ in range(ROWS)]
    whole = judged(mapping, rows, tmp_path / "whole")
    alone = [judged(mapping, [row], tmp_path / str(number)) for number, row in enumerate(rows)]
    found = pl.concat(one.rows.with_columns(pl.col(ROW) + number) for number, one in enumerate(alone))
    assert found.collect().to_dicts() == whole.rows.collect().to_dicts()
    assert sum(map(told, alone), Counter()) == told(whole)


def judged(mapping: Mapping, rows: Sequence[dict[str, Any]], folder: Path) -> Judged:
    """Rows of a file that is read row by row."""
    folder.mkdir()
    pl.DataFrame(rows, schema=SCHEMA).write_parquet(folder / "rows.parquet", row_group_size=1)
    source = read_source(open_source("rows.parquet", folder), folder)
    return judge(source, compile_mapping(mapping, source.schema), folder / "mapped.arrow")


def told(of: Judged) -> Counter[str]:
    """How many rows are of each verdict, and how many each finding is about."""
    counts = Counter({"rows": of.report.rows, "red": of.report.red, "yellow": of.report.yellow})
    for finding in [*of.report.findings, *secret_findings(of)]:
        counts[finding.code] += finding.count
    return counts
