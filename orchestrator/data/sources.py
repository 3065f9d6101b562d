"""Sources: a CSV, JSON, JSONL or Parquet file becomes rows with a schema that holds for all of them.

    format    read by       odd input
    JSONL     Polars        suspects, found by pattern, are read again exactly; each fault has its line
    JSON      Python        an array of objects, one object, or JSON lines under the name .json
    CSV       Polars        commas, a header, UTF-8; columns of plain numbers are numbers, all others text
    Parquet   Polars        its own schema

The content decides between JSON and JSONL, the name between the others. A mark at the beginning of a
UTF-8 file (BOM) is passed over.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from orchestrator.data.csv_rows import read_csv
from orchestrator.data.json_rows import read_json, read_jsonl
from orchestrator.data.rows import ROW, Rows, refuse_own_column
from orchestrator.data.survey import Survey, survey
from orchestrator.errors import DataError, Fault


@dataclass(frozen=True)
class SourceFile:
    """A file whose bytes were read once; `name` is what the spec calls it."""

    name: str
    path: Path
    survey: Survey


@dataclass(frozen=True)
class Source:
    """A file that was read without faults."""

    name: str
    file: SourceFile
    rows: Rows


def open_source(name: str, base: Path, field: str = "dataset.source") -> SourceFile:
    """The file that a spec names in `field`; `base` is where relative paths start.

    Raises DataError where there is no such file, or it is of no kind that is read, empty, or no UTF-8.
    """
    path = base / name
    if path.is_dir():
        files = _data_files(path)
        fix = f"name one file in it: {', '.join(files[:5])}" if files else "name a file"
        raise DataError([Fault("this is a folder, not a file", fix, path=field, value=name)])
    if not path.is_file():
        raise DataError([Fault("there is no such file", _near(path), path=field, value=name)])
    if path.suffix.lower() not in _READERS:
        fix = f"give a file whose name ends in {', '.join(_READERS)}"
        raise DataError([Fault("this kind of file is not read", fix, path=field, value=name)])
    return SourceFile(name, path, survey(path, name, text=path.suffix.lower() != ".parquet"))


def read_source(file: SourceFile) -> Source:
    """Find the schema of a file and prove all of its rows readable.

    Raises DataError naming the file, and line, row and column of what is wrong.
    """
    return Source(file.name, file, _READERS[file.path.suffix.lower()](file))


def _jsonl(file: SourceFile) -> Rows:
    """JSON lines; an array under this name is read as one."""
    if file.survey.start == b"[" and (rows := read_json(file.path, file.name)):
        return rows
    return read_jsonl(file.path, file.name, bom=file.survey.bom)


def _json(file: SourceFile) -> Rows:
    return read_json(file.path, file.name) or read_jsonl(file.path, file.name, bom=file.survey.bom)


def _csv(file: SourceFile) -> Rows:
    return read_csv(file.path, file.name)


def _parquet(file: SourceFile) -> Rows:
    try:
        frame = pl.scan_parquet(file.path, glob=False)
        schema = frame.collect_schema()
        refuse_own_column(schema, file.name)
        count = frame.select(pl.len()).collect().item()
    except (PolarsError, OSError) as error:
        why = str(error).strip().splitlines()[0]
        fix = "write the file again; it may be cut short"
        raise DataError([Fault("the file cannot be read as Parquet", fix, why, file=file.name)]) from error
    if not count:
        raise DataError([Fault("the file has no rows", "give a file that holds rows", file=file.name)])
    return Rows(frame.with_row_index(ROW, offset=1), schema, count, lambda rows: {})


_READERS: Mapping[str, Callable[[SourceFile], Rows]] = {
    ".csv": _csv,
    ".json": _json,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}


def _near(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder} either; paths start from the spec's folder"
    files = _data_files(folder)
    if close := difflib.get_close_matches(path.name, files, n=1):
        return f"did you mean `{close[0]}`?"
    return f"files there: {', '.join(files[:5])}" if files else f"no data file lies in {folder}"


def _data_files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.suffix.lower() in _READERS)
