"""An Excel sheet as rows: the first row names the columns, and cells are what a CSV of the sheet would hold.

A sheet has 1,048,576 rows at most and is read whole, which bounds memory. A date is written as
`2026-01-31`, with its time where it has one; of a formula the value counts that Excel saved with it. Rows
without a value are no rows. The line of a row is its number in the sheet.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from orchestrator.data.csv_rows import name_faults, plain_columns
from orchestrator.data.report import Finding
from orchestrator.data.rows import ROW, Rows, fresh, refuse_own_column
from orchestrator.errors import DataError, Fault

_MIDNIGHT = " 00:00:00"
_DATE = rf"^\d{{4}}-\d\d-\d\d{_MIDNIGHT}$"


def read_xlsx(path: Path, name: str, scratch: Path, sheet: str | None = None) -> Rows:
    """Rows of a sheet, of the first one where `sheet` names none; raises DataError with the row of what is
    wrong, OSError where scratch space cannot be written."""
    import fastexcel

    with _translated(name):
        book = fastexcel.read_excel(path)
        chosen, notes = _chosen(book, name, sheet)
        cells = book.load_sheet(chosen, header_row=None, skip_rows=0, dtypes="string").to_polars()
    filled = cells.with_row_index("line", offset=1).filter(
        pl.any_horizontal(pl.exclude("line").is_not_null())
    )
    if len(filled) < 2:
        what = f"the sheet `{chosen}` has no rows below its header"
        raise DataError([Fault(what, _other(book, chosen), file=name)])
    lines = array("Q", filled["line"][1:])
    table = _named(filled.drop("line"), name, filled["line"][0])
    columns = table.columns
    target = fresh(scratch)
    table.write_parquet(target, compression="zstd", compression_level=1)
    texts = pl.scan_parquet(target, glob=False).with_row_index(ROW, offset=1)
    count, _, types = plain_columns(texts, columns)
    numbers = [pl.col(column).cast(dtype) for column, dtype in types.items() if dtype != pl.String]
    return Rows(
        texts.with_columns(numbers),
        pl.Schema(types),
        count,
        lambda rows: {row: lines[row - 1] for row in rows},
        plain_numbers=True,
        notes=notes,
    )


@contextmanager
def _translated(name: str) -> Iterator[None]:
    import fastexcel

    try:
        yield
    except (fastexcel.FastExcelError, OSError) as error:
        why = str(error).strip().splitlines()[0]
        fix = "save it again in Excel; it may be cut short or locked by a password"
        raise DataError([Fault("the workbook cannot be read", fix, why, file=name)]) from error


def _chosen(book: Any, name: str, sheet: str | None) -> tuple[str, tuple[Finding, ...]]:
    names: list[str] = book.sheet_names
    if sheet is not None:
        if sheet not in names:
            fix = f"its sheets are {', '.join(names)}"
            raise DataError([Fault("the workbook has no such sheet", fix, file=name, value=sheet)])
        return sheet, ()
    if not names:
        raise DataError([Fault("the workbook has no sheet", "give one that holds rows", file=name)])
    if len(names) == 1:
        return names[0], ()
    what = f"{name} has {len(names)} sheets, and only the first is read: {', '.join(names)}"
    fix = "name the one you mean: `{source: .., sheet: ..}`"
    return names[0], (Finding("other_sheets", "warn", 0, what, fix),)


def _other(book: Any, chosen: str) -> str:
    others = [name for name in book.sheet_names if name != chosen]
    return f"name another sheet: {', '.join(others)}" if others else "give a sheet that holds rows"


def _named(filled: pl.DataFrame, name: str, line: int) -> pl.DataFrame:
    """The rows below the first under the names that it gives; columns without any value are left out."""
    columns = [column for column in filled.columns if filled[column].null_count() < len(filled)]
    header = [filled[column][0] or "" for column in columns]
    if faults := name_faults(header, name, line):
        raise DataError(faults)
    refuse_own_column(header, name)
    below = filled[1:]
    return pl.DataFrame(
        [_without_midnight(below[column]).alias(new) for column, new in zip(columns, header, strict=True)]
    )


def _without_midnight(values: pl.Series) -> pl.Series:
    """Dates without their time, where none of them has one."""
    there = values.drop_nulls()
    dates = not there.is_empty() and there.str.contains(_DATE).all()
    return values.str.strip_suffix(_MIDNIGHT) if dates else values
