"""One schema for the files of a source: what differs between them is settled, told of, or refused.

a column or nested field that a file lacks   null in its rows, with a warning
whole numbers here, decimals there           decimals
numbers of a CSV or XLSX here, text there    text, as it stands in the file
anything else                                a fault that names both files
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from polars._typing import PolarsDataType
from polars.datatypes import DataTypeClass

from orchestrator.data.report import Example, Finding, counted
from orchestrator.data.rows import ROW, Rows
from orchestrator.errors import DataError, Fault

MAX_FAULTS = 20


@dataclass(frozen=True)
class FileRows:
    """The rows of one file; `name` is what faults call it."""

    name: str
    rows: Rows


def common_schema(files: Sequence[FileRows]) -> pl.Schema:
    """The schema that holds for all files; raises DataError with every column that has none."""
    faults: list[Fault] = []
    schema: dict[str, pl.DataType] = {}
    for column in dict.fromkeys(column for file in files for column in file.rows.schema):
        try:
            schema[column] = _common(column, files)
        except _Clash as clash:
            faults.append(clash.fault)
    if faults:
        raise DataError(faults[:MAX_FAULTS])
    return pl.Schema(schema)


def fitted(rows: Rows, schema: pl.Schema, offset: int) -> pl.LazyFrame:
    """The rows in the columns of `schema`, counted from `offset` + 1."""
    if rows.schema == schema and not offset:
        return rows.frame
    columns = [
        _fit(pl.col(column), rows.schema[column], wanted).alias(column)
        if column in rows.schema
        else pl.lit(None, wanted).alias(column)
        for column, wanted in schema.items()
    ]
    return rows.frame.select((pl.col(ROW) + offset).cast(pl.UInt32), *columns)


def missing_columns(files: Sequence[FileRows], schema: pl.Schema) -> list[Finding]:
    """A warning for each column that some files lack."""
    fix = "name the column alike in every file, or leave the files out that do not belong"
    findings = []
    for column in schema:
        without = [file for file in files if column not in file.rows.schema]
        if without:
            more = f" and {counted(len(without) - 1, 'more file')}" if len(without) > 1 else ""
            what = f"{without[0].name}{more} has no column `{column}`: it is empty for these rows"
            count = sum(file.rows.count for file in without)
            first = tuple(Example(file.name, 1, field=column) for file in without[:5])
            findings.append(Finding("missing_column", "warn", count, what, fix, first))
    return findings


class _Clash(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def _common(column: str, files: Iterable[FileRows]) -> pl.DataType:
    """The type of a column in all files; two that differ by plain numbers alone are text."""
    there = [file for file in files if column in file.rows.schema]
    types = {file.rows.schema[column]: file for file in reversed(there)}
    if len(types) == 1:
        return next(iter(types))
    plain = [file for file in there if file.rows.plain_numbers]
    if plain and all(isinstance(file.rows.schema[column], pl.String) for file in there if file not in plain):
        return pl.String()
    first, *others = there
    found = first.rows.schema[column]
    for other in others:
        wanted = other.rows.schema[column]
        if (merged := _merged(found, wanted)) is None:
            what = f"`{column}` is {_said(wanted)} in {other.name}, {_said(found)} in {first.name}"
            fix = "write the same kind of value in every file, or leave files out that do not belong"
            raise _Clash(Fault(what, fix, file=other.name, path=column))
        found = merged
    return found


def _merged(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    """A type that holds the values of both without loss, None where there is none."""
    if one == other or isinstance(other, pl.Null):
        return one
    if isinstance(one, pl.Null):
        return other
    if isinstance(one, pl.List) and isinstance(other, pl.List):
        inner = _merged(_made(one.inner), _made(other.inner))
        return inner and pl.List(inner)
    if isinstance(one, pl.Struct) and isinstance(other, pl.Struct):
        return _merged_struct(one, other)
    if one.is_numeric() and other.is_numeric():
        whole = one.is_integer() and other.is_integer()
        return pl.Int64() if whole and pl.UInt64 not in (one, other) else None if whole else pl.Float64()
    texts = (pl.String, pl.Categorical, pl.Enum)
    return pl.String() if isinstance(one, texts) and isinstance(other, texts) else None


def _merged_struct(one: pl.Struct, other: pl.Struct) -> pl.DataType | None:
    fields, others = _fields(one), _fields(other)
    merged = {
        name: _merged(fields.get(name, pl.Null()), others.get(name, pl.Null()))
        for name in dict.fromkeys((*fields, *others))
    }
    whole = {name: dtype for name, dtype in merged.items() if dtype is not None}
    return pl.Struct(whole) if len(whole) == len(merged) else None


def _fit(value: pl.Expr, have: pl.DataType, want: pl.DataType) -> pl.Expr:
    """A value in another type; nested fields that are not there become null."""
    if have == want:
        return value
    if isinstance(have, pl.List) and isinstance(want, pl.List):
        return value.list.eval(_fit(pl.element(), _made(have.inner), _made(want.inner)))
    if isinstance(have, pl.Struct) and isinstance(want, pl.Struct):
        fields = list(_fitted_fields(value, _fields(have), _fields(want)))
        return pl.when(value.is_not_null()).then(pl.struct(fields))
    return value.cast(want)


def _fitted_fields(
    value: pl.Expr, have: Mapping[str, pl.DataType], want: Mapping[str, pl.DataType]
) -> Iterator[pl.Expr]:
    for name, dtype in want.items():
        there = name in have
        field = _fit(value.struct.field(name), have[name], dtype) if there else pl.lit(None, dtype)
        yield field.alias(name)


def _fields(dtype: pl.Struct) -> dict[str, pl.DataType]:
    return {field.name: _made(field.dtype) for field in dtype.fields}


def _made(dtype: PolarsDataType) -> pl.DataType:
    return dtype() if isinstance(dtype, DataTypeClass) else dtype


def _said(dtype: pl.DataType) -> str:
    """A type in the words of the one who wrote the file."""
    if dtype.is_numeric():
        return "a number"
    if dtype.is_temporal():
        return "a date or time"
    names = {pl.String: "text", pl.Boolean: "true or false", pl.List: "a list", pl.Struct: "an object"}
    return next((said for kind, said in names.items() if isinstance(dtype, kind)), f"of type {dtype}")
