"""The examples of docs/templates.md are true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from orchestrator.data.template import compile_template, render_reference
from orchestrator.data.template_filters import FILTERS
from orchestrator.data.template_lists import LIST_FILTERS
from orchestrator.data.template_texts import METHODS

PAGE = (Path(__file__).parents[3] / "docs/templates.md").read_text()
ROW = json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0])
COMPILED, SLOW = (
    re.findall(r"^\| [^|`]+ \| `(.+)` \| `(.+)` \|$", part, re.MULTILINE)
    for part in PAGE.split("## What runs row by row")
)


@pytest.mark.parametrize(("cell", "text"), [*COMPILED, *SLOW])
def test_an_example_gives_its_text_the_way_the_page_says(cell: str, text: str) -> None:
    source = cell.replace(r"\|", "|")
    frame = pl.DataFrame([ROW]).with_row_index("axo_row", 1)
    ready = compile_template(source, frame.schema, slow="slow")
    assert (ready.slow is not None) == ((cell, text) in SLOW)
    rows = frame.with_columns(ready.slow.outcome) if ready.slow else frame
    assert rows.with_columns(ready.text.alias("text"))["text"].to_list() == [text]
    assert render_reference(source, ROW) == text


def test_the_page_names_every_compiled_filter_and_method() -> None:
    assert len(COMPILED) > 15
    assert len(SLOW) > 5
    named = set(re.findall(r"\w+", PAGE.partition("Filters: ")[2].partition("## What runs")[0]))
    assert {*FILTERS, *LIST_FILTERS, *METHODS} - {"d"} <= named
