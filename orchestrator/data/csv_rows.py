"""CSV as rows: every column is text, but for columns that hold nothing other than plain numbers.

A column is of numbers only where each of its values is written as the number itself would be written:
`7` and `-1.5` are, `007`, `+1`, `1.50`, `1e3` and `12345678901234567890` make the column text. So nothing
that a template prints ever differs from what stands in the file. An empty cell is null, `""` an empty text;
a line with nothing in it, or with separators alone, is no row. As Excel exports them, tables may begin with a
line `sep=;`, and columns in which nothing stands need no name: they are left out.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import islice
from operator import or_
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from orchestrator.data.report import counted, cut
from orchestrator.data.rows import ROW, Rows, refuse_own_column
from orchestrator.errors import DataError, Fault

MAX_FAULTS = 20
_SEVERAL = 3  # rows that, all alike, make the first line the odd one
_WHOLE = r"^(?:0|-?[1-9][0-9]{0,17})$"
_DECIMAL = r"^-?(?:0|[1-9][0-9]{0,7})\.(?:0|[0-9]{0,6}[1-9])$"
_SMALL = r"^-?0\.000"  # the number would be written with an exponent
_CELL_CHARACTERS = 2**31 - 1
_SAID = re.compile(r"\ufeff?sep=([,;\t|])\r?\n?", re.IGNORECASE)


def read_csv(path: Path, name: str, separator: str = ",") -> Rows:
    """Rows of a table with a header; raises DataError with the line of what is wrong."""
    line, header = _header(path, name, separator)
    refuse_own_column(header, name)
    try:
        texts = pl.scan_csv(
            path,
            glob=False,
            separator=separator,
            infer_schema=False,
            skip_lines=line - 1,
        )
        texts = _without_nameless(texts, header, name, line)
        columns = texts.collect_schema().names()
        texts = texts.filter(_filled(columns)).with_row_index(ROW, offset=1)
        count, short, types = plain_columns(texts, columns)
    except PolarsError as error:
        why = str(error).strip().splitlines()[0]
        fallback = [Fault("the file cannot be read as CSV", _quote(separator), why, name)]
        raise DataError(_row_faults(path, name, separator) or fallback) from error
    if short and (faults := _row_faults(path, name, separator)):
        raise DataError(faults)
    if not count:
        raise DataError(
            [Fault("the file has a header and no rows", "give a file that holds rows", file=name)]
        )
    schema = pl.Schema(types)
    numbers = [pl.col(column).cast(dtype) for column, dtype in types.items() if dtype != pl.String]
    return Rows(
        texts.with_columns(numbers),
        schema,
        count,
        lambda rows: _lines_of(path, rows, separator),
        plain_numbers=True,
    )


def said_separator(first: str) -> str | None:
    """The separator that the first line of a table says in Excel's way, where it does."""
    said = _SAID.fullmatch(first)
    return said[1] if said else None


def plain_columns(texts: pl.LazyFrame, columns: list[str]) -> tuple[int, bool, dict[str, pl.DataType]]:
    """The number of rows, whether some may have too few fields, and what each column holds."""
    figures = texts.select(
        pl.len().alias("rows"),
        pl.col(columns[-1]).null_count().alias("short"),
        *(_all_match(column, _WHOLE).alias(f"whole {number}") for number, column in enumerate(columns)),
        *(_decimals(column).alias(f"decimal {number}") for number, column in enumerate(columns)),
    )
    found = figures.collect(engine="streaming").row(0, named=True)
    types: dict[str, pl.DataType] = {
        column: pl.Int64()
        if found[f"whole {number}"]
        else pl.Float64()
        if found[f"decimal {number}"]
        else pl.String()
        for number, column in enumerate(columns)
    }
    return found["rows"], found["short"] > 0, types


def _filled(columns: list[str]) -> pl.Expr:
    """False for a blank line; with one column alone it may as well be an empty cell.

    Terms are paired, and pairs of pairs: Polars takes the square of the time for a chain of them.
    """
    if len(columns) == 1:
        return pl.lit(True)
    terms = [pl.col(column).is_not_null() for column in columns]
    while len(terms) > 1:
        terms = [reduce(or_, terms[at : at + 2]) for at in range(0, len(terms), 2)]
    return terms[0]


def _all_match(column: str, pattern: str) -> pl.Expr:
    value = pl.col(column)
    return value.str.contains(pattern).all() & value.is_not_null().any()


def _decimals(column: str) -> pl.Expr:
    return _all_match(column, _DECIMAL) & ~pl.col(column).str.contains(_SMALL).any()


def _header(path: Path, name: str, separator: str) -> tuple[int, list[str]]:
    """The line of the header, and the names in it: one of them at least, and none twice."""
    try:
        line, header, _ = next(_records(path, separator))
    except StopIteration:
        raise DataError([Fault("the file has no header", "give a file that holds rows", file=name)]) from None
    except _BrokenQuotes as broken:
        raise DataError([_broken(name, broken, None)]) from broken
    if not header:
        fix = "begin the file with the names of the columns"
        raise DataError([Fault("the first line is blank", fix, file=name, line=line)])
    named = [column for column in header if column]
    if faults := name_faults(named or header, name, line):
        raise DataError(faults)
    return line, header


def _without_nameless(texts: pl.LazyFrame, header: list[str], name: str, line: int) -> pl.LazyFrame:
    """The table without columns that have neither name nor value.

    Raises DataError where one without a name has values.
    """
    columns = texts.collect_schema().names()
    nameless = [column for column, named in zip(columns, header, strict=False) if not named]
    if nameless and texts.select(pl.any_horizontal(pl.col(nameless).is_not_null().any())).collect().item():
        raise DataError(name_faults(header, name, line))
    return texts.drop(nameless)


def name_faults(header: list[str], name: str, line: int) -> list[Fault]:
    """Columns without a name, and names that come twice; of a line that names few, that it may be a title."""
    nameless = [number for number, column in enumerate(header, 1) if not column]
    if 2 * len(nameless) > len(header):
        what = f"this line names {len(header) - len(nameless)} of {len(header)} columns"
        fix = "if it is a title, delete what stands above the names of the columns; else name every column"
        return [Fault(what, fix, file=name, line=line)]
    twice = [column for column, times in Counter(header).items() if times > 1 and column]
    return [
        Fault("a column has no name", "name every column in this line", file=name, line=line, column=number)
        for number in nameless
    ] + [
        Fault("two columns have this name", "rename one of them", file=name, line=line, path=column)
        for column in twice
    ]


def _row_faults(path: Path, name: str, separator: str) -> list[Fault]:
    """Rows with too few or too many fields or with stray quotes, each with its line: the slow, exact pass."""
    faults: list[Fault] = []
    widths = set[int]()
    records, row = _records(path, separator), 0
    whole, many = _record(separator), _quote(separator)
    stray = 'quote the whole field, and write the quote inside it twice: ""'
    header = next(records)[1]
    wanted, one = len(header), _has_one(header)
    try:
        for line, record, raw in records:
            if not one and not raw.strip(separator):
                continue
            row += 1
            if len(faults) >= MAX_FAULTS:
                break
            widths.update([len(record)] if record else [])
            if record and len(record) != wanted:
                what, fix = f"the row has {counted(len(record), 'field')}, the header {wanted}", many
            elif '"' in raw and not whole.fullmatch(raw):
                what, fix = "a quote stands in a field that is not quoted", stray
            else:
                continue
            faults.append(Fault(what, fix, file=name, line=line, row=row, value=cut(raw)))
    except _BrokenQuotes as broken:
        faults.append(_broken(name, broken, row + 1))
    if row >= _SEVERAL and len(widths) == 1 and (width := widths.pop()) > wanted:
        what = f"the first line has {counted(wanted, 'field')}, and the rows below have {width}"
        fix = "the first line must name the columns: put one with names there, in the place of a title"
        return [Fault(what, fix, file=name, line=1)]
    return faults


def _broken(name: str, broken: _BrokenQuotes, row: int | None) -> Fault:
    fix = 'write a quote inside a quoted field twice: ""'
    why = str(broken.__cause__)
    return Fault("a quoted field is not closed properly", fix, why, file=name, line=broken.line, row=row)


def _record(separator: str) -> re.Pattern[str]:
    """Records whose quotes stand where they may."""
    field, mark = rf'(?:"(?:[^"]|"")*"|[^"{separator}\r\n]*)', re.escape(separator)
    return re.compile(f"{field}(?:{mark}{field})*")


def _quote(separator: str) -> str:
    named = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}[separator]
    return f"quote fields that hold {named} or line ends"


class _BrokenQuotes(Exception):
    """A record that cannot be read; `line` is where it begins."""

    def __init__(self, line: int) -> None:
        super().__init__(f"record in line {line}")
        self.line = line


def _records(path: Path, separator: str) -> Iterator[tuple[int, list[str], str]]:
    """The header and the records, each with the line it begins in and its text."""
    csv.field_size_limit(_CELL_CHARACTERS)
    with path.open(encoding="utf-8", newline="") as file:
        taken: list[str] = []
        above = said_separator(file.readline()) is not None
        file.seek(0)
        reader = csv.reader(_taking(islice(file, int(above), None), taken), delimiter=separator, strict=True)
        while True:
            line = reader.line_num + 1 + above
            taken.clear()
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise _BrokenQuotes(line) from error
            yield line, record, "".join(taken).rstrip("\r\n")


def _taking(lines: Iterable[str], taken: list[str]) -> Iterator[str]:
    """The lines, each put into `taken` as it goes by."""
    for line in lines:
        taken.append(line)
        yield line


def _lines_of(path: Path, rows: frozenset[int], separator: str) -> dict[int, int]:
    last, found = max(rows, default=0), {}
    records = _records(path, separator)
    one = _has_one(next(records)[1])
    lines = (line for line, _, raw in records if one or raw.strip(separator))
    for row, line in enumerate(islice(lines, last), 1):
        if row in rows:
            found[row] = line
    return found


def _has_one(header: list[str]) -> bool:
    """Whether one column alone has a name: its blank lines are rows."""
    return sum(map(bool, header)) == 1
