"""Parquet as rows, with its own schema."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from orchestrator.data.rows import ROW, Rows, refuse_own_column
from orchestrator.errors import DataError, Fault


def read_parquet(path: Path, name: str) -> Rows:
    """Rows of a Parquet file; raises DataError where it is none, or empty."""
    try:
        frame = pl.scan_parquet(path, glob=False)
        schema = frame.collect_schema()
        refuse_own_column(schema, name)
        count = frame.select(pl.len()).collect().item()
    except (PolarsError, OSError) as error:
        why = str(error).strip().splitlines()[0]
        fix = "write the file again; it may be cut short"
        raise DataError([Fault("the file cannot be read as Parquet", fix, why, file=name)]) from error
    if not count:
        raise DataError([Fault("the file has no rows", "give a file that holds rows", file=name)])
    return Rows(frame.with_row_index(ROW, offset=1), schema, count, lambda rows: {})
