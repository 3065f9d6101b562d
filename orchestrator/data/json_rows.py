"""JSONL and JSON as rows: read by Polars, checked exactly wherever Polars would fail or guess."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from glob import escape
from operator import add
from pathlib import Path
from typing import NoReturn

import polars as pl
from polars._typing import PolarsDataType
from polars.datatypes import DataTypeClass
from polars.exceptions import PolarsError

from orchestrator.data.json_exact import ExactReader
from orchestrator.data.json_items import write_items
from orchestrator.data.json_parts import write_parts
from orchestrator.data.rows import ROW, Rows, fresh, refuse_own_column
from orchestrator.errors import DataError, Fault

BATCH = 4096
_LINE, _TEXT, _LIKELY = "line", "text", "likely"

# Every key matches, and so may a quote in a text: too many only cost an exact look. The first counts
# escaped quotes as well, and is three times as fast.
_LIKELY_KEY = r'"\s*:'
_KEY = r'(?:[^\\]|\\\\)"\s*:'
_SURROGATE = r"\\u[dD][89a-fA-F]"
_TEXTS = r'"(?:[^"\\]|\\.)*"\s*'
_LONG_INTEGER = r"[:\[,]\s*-?[0-9]{19}"


def read_json(path: Path, name: str, scratch: Path) -> Rows:
    """Rows of JSON lines, of a JSON array of objects, or of objects one after the other.

    All but JSON lines are written as such into `scratch` first. The schema is that of all rows; blank lines
    are passed over. Raises DataError with the line of what is wrong.
    """
    if _is_lines(path):
        return _read_any_content(path, name, scratch)
    target = fresh(scratch)
    lines = write_items(path, name, target)
    if not lines:
        raise DataError([Fault("the array is empty", "give a file that holds rows", file=name)])
    try:
        rows = _read_any_content(target, name, scratch)
    except DataError as error:
        faults = [replace(fault, line=fault.line and lines[fault.line - 1]) for fault in error.faults]
        raise DataError(faults) from error
    return replace(rows, lines=lambda wanted: {row: lines[row - 1] for row in wanted})


def _is_lines(path: Path) -> bool:
    """Whether a file is read line by line: its first line is no array, and ends as an object does."""
    with path.open(encoding="utf-8") as file:
        first = next((line.strip() for line in file if line.strip()), "")
    return not first.startswith("[") and (first.endswith("}") or not first.startswith("{"))


class _PartedError(DataError):
    """Messages hold a text here, a list of parts there; nothing else is wrong."""


def _read_any_content(path: Path, name: str, scratch: Path) -> Rows:
    """Rows of JSON lines, all contents of messages written as parts where some are texts and some are not."""
    try:
        return _read_lines(path, name)
    except _PartedError:
        parted = fresh(scratch)
        write_parts(path, parted)
    return _read_lines(parted, name)


def _read_lines(path: Path, name: str) -> Rows:
    content = escape(str(path))
    try:
        schema = pl.scan_ndjson(content, infer_schema_length=None).collect_schema()
        if not schema:
            fix = 'write each row as an object: {"column": "value"}'
            raise DataError([Fault("no row has a column", fix, file=name)])
        refuse_own_column(schema, name)
        count, blank = _check(content, name, schema)
    except (PolarsError, OverflowError) as error:
        why = str(error).strip().splitlines()[0]
        unnamed = Fault("the file cannot be read as JSON lines", "write one object per line", why, name)
        _refuse(content, name, [unnamed], error)
    frame = pl.scan_ndjson(content, schema=schema, row_index_name=ROW, row_index_offset=1)
    return Rows(
        frame, schema, count, lambda rows: _lines_of(content, rows) if blank else {r: r for r in rows}
    )


def _check(content: str, name: str, schema: pl.Schema) -> tuple[int, bool]:
    """The number of rows, and whether blank lines lie between them; raises DataError for what Polars
    reads without a word although it has no one meaning."""
    texts = frozenset(_text_fields(schema))
    likely, odd = (_odd(key, texts) for key in (_LIKELY_KEY, _KEY))
    present = pl.scan_ndjson(content, schema=schema).select(present=_present_in_row(schema))
    rows = pl.concat([_lines(content), present], how="horizontal").with_columns(likely.alias(_LIKELY))
    reader, last = ExactReader(name, texts), (0, 0)
    for batch in rows.collect_batches(chunk_size=BATCH, maintain_order=True):
        last = batch.select(_LINE, ROW).row(-1) if len(batch) else last
        # The slower pattern is asked here, not in the plan, of the few that the faster one finds.
        reader.read(_triples(batch.filter(_LIKELY).filter(odd)))
        if reader.full:
            break
    if faults := reader.found():
        _refuse(content, name, faults)
    line, count = last
    return count, line != count


def _odd(key: str, texts: frozenset[str]) -> pl.Expr:
    """Whether a line needs an exact look; `key` is a key's pattern, `texts` are fields that hold text."""
    value = "|".join([_SURROGATE, _LONG_INTEGER, *([_not_text(texts)] if texts else [])])
    line = pl.col(_TEXT).str
    return line.contains(value) | (line.count_matches(key) > pl.col("present"))


def _lines(content: str) -> pl.LazyFrame:
    """Lines that are not blank, with their number in the file and among the rows."""
    lines = pl.scan_lines(content, name=_TEXT, row_index_name=_LINE, row_index_offset=1)
    filled = pl.col(_TEXT).str.strip_chars(" \t\r").str.len_bytes() > 0
    return lines.filter(filled).with_row_index(ROW, offset=1)


def _triples(lines: pl.DataFrame) -> Iterator[tuple[int, int, str]]:
    return lines.select(_LINE, ROW, _TEXT).iter_rows()


def _refuse(content: str, name: str, faults: list[Fault], cause: Exception | None = None) -> NoReturn:
    """Raise with what reading every line exactly finds; with `faults` where it finds nothing."""
    reader = ExactReader(name)
    batches = _lines(content).collect_batches(chunk_size=BATCH, maintain_order=True)
    reader.read(triple for batch in batches for triple in _triples(batch))
    kind = _PartedError if reader.parted else DataError
    raise kind(reader.found() or faults) from cause


def _lines_of(content: str, rows: frozenset[int]) -> dict[int, int]:
    found = _lines(content).filter(pl.col(ROW).is_in(list(rows))).select(ROW, _LINE)
    return dict(found.collect(engine="streaming").iter_rows())


def _present_in_row(schema: pl.Schema) -> pl.Expr:
    """How many keys of a row came out with a value: fewer than the line has where one stands twice."""
    return _total([_present(pl.col(name), dtype) for name, dtype in schema.items()])


def _present(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return value.is_not_null().cast(pl.UInt32) + _inside(value, dtype)


def _inside(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Struct) and dtype.fields:
        parts = [_present(value.struct.field(part.name), _made(part.dtype)) for part in dtype.fields]
        return _total(parts).fill_null(0)
    if isinstance(dtype, pl.List) and _has_keys(_made(dtype.inner)):
        return value.list.eval(_inside(pl.element(), _made(dtype.inner))).list.sum().fill_null(0)
    return pl.lit(0, pl.UInt32)


def _total(parts: list[pl.Expr]) -> pl.Expr:
    return reduce(add, parts, pl.lit(0, pl.UInt32))


def _has_keys(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List):
        return _has_keys(_made(dtype.inner))
    return isinstance(dtype, pl.Struct) and bool(dtype.fields)


def _text_fields(schema: pl.Schema) -> Iterator[str]:
    for name, dtype in schema.items():
        yield from _texts_below(name, dtype)


def _texts_below(path: str, dtype: pl.DataType) -> Iterator[str]:
    if isinstance(dtype, pl.String):
        yield path
    elif isinstance(dtype, pl.Struct):
        for part in dtype.fields:
            yield from _texts_below(f"{path}.{part.name}", _made(part.dtype))
    elif isinstance(dtype, pl.List):
        yield from _texts_below(f"{path}[]", _made(dtype.inner))


def _made(dtype: PolarsDataType) -> pl.DataType:
    return dtype() if isinstance(dtype, DataTypeClass) else dtype


def _not_text(fields: frozenset[str]) -> str:
    """A pattern for a key of a text field that has another value than a text or null."""
    plain = _any_key({path.rpartition(".")[2] for path in fields if not path.endswith("[]")})
    lists = _any_key({path.rstrip("[]").rpartition(".")[2] for path in fields if path.endswith("[]")})
    return rf'{plain}\s*:\s*[-\[{{0-9tf]|{lists}\s*:\s*\[(?:\s*{_TEXTS},)*\s*[^\s"\]]'


def _any_key(names: set[str]) -> str:
    written = {json.dumps(name, ensure_ascii=way)[1:-1] for name in names for way in (True, False)}
    return f'"(?:{"|".join(sorted(map(re.escape, written)))})"' if written else '"axo no such key"'
