"""Plain text as rows: one for each line that is not blank, in the column `text`."""

from __future__ import annotations

from glob import escape
from pathlib import Path

import polars as pl

from orchestrator.data.rows import ROW, Rows

COLUMN, _LINE = "text", "line"


def read_text(path: Path, name: str) -> Rows:
    lines = pl.scan_lines(escape(str(path)), name=COLUMN, row_index_name=_LINE, row_index_offset=1)
    filled = lines.filter(pl.col(COLUMN).str.strip_chars(" \t\r").str.len_bytes() > 0)
    rows = filled.with_row_index(ROW, offset=1)
    count = filled.select(pl.len()).collect(engine="streaming").item()

    def lines_of(wanted: frozenset[int]) -> dict[int, int]:
        found = rows.filter(pl.col(ROW).is_in(list(wanted))).select(ROW, _LINE)
        return dict(found.collect(engine="streaming").iter_rows())

    return Rows(rows.drop(_LINE), pl.Schema({COLUMN: pl.String()}), count, lines_of)
