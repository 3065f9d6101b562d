"""Sources: files of many kinds become rows with one schema that holds for all of them.

    format    read by       odd input
    JSONL     Polars        suspects, found by pattern, are read again exactly; each fault has its line
    JSON      Polars        an array of objects, or objects one after the other; written as JSONL first
    CSV       Polars        a header; commas, tabs, semicolons or bars; plain numbers are numbers, else text
    XLSX      fastexcel     one sheet, as a CSV of it would be
    text      Polars        a row for each line that is not blank
    Parquet   Polars        its own schema

Any of them may lie elsewhere (remote.py, hub.py), and be packed (gzip, zstd, bzip2, xz, zip). A text is
UTF-8, says by its mark (BOM) what else it is, or the spec does. The content decides what a file is where it
can tell (formats.py).
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import polars as pl

from orchestrator.data.csv_rows import read_csv
from orchestrator.data.json_rows import read_json
from orchestrator.data.parquet_rows import read_parquet
from orchestrator.data.report import Finding
from orchestrator.data.rows import Rows
from orchestrator.data.sources.file_bytes import Survey, survey
from orchestrator.data.sources.find import find_files
from orchestrator.data.sources.formats import Format, format_of, head_of, is_binary, mark_of, refuse_foreign
from orchestrator.data.sources.hub import fetch_dataset
from orchestrator.data.sources.reconcile import FileRows, common_schema, fitted, missing_columns
from orchestrator.data.sources.remote import Fetched, cache_folder, fetch_objects, is_remote, without_query
from orchestrator.data.sources.text import as_utf8, refuse_unmarked
from orchestrator.data.sources.unpack import Plain, is_packed, unpacked
from orchestrator.data.text_rows import read_text
from orchestrator.data.xlsx_rows import read_xlsx
from orchestrator.errors import DataError, Fault
from orchestrator.named_secrets import read_secret
from orchestrator.spec.models import SourceEntry

__all__ = [
    "OpenedSource",
    "Place",
    "Source",
    "SourceFile",
    "Survey",
    "Together",
    "open_source",
    "read_source",
]


@dataclass(frozen=True)
class SourceFile:
    """A file whose bytes were read once; `name` is what faults call it, `revision` its store's mark of it."""

    name: str
    path: Path
    survey: Survey
    revision: str | None = None


@dataclass(frozen=True)
class OpenedSource:
    """The files that a spec names as one source, not yet read as rows."""

    name: str
    files: tuple[SourceFile, ...]
    encoding: str | None = None
    sheet: str | None = None

    @property
    def title(self) -> str:
        """A short name: that of the file or folder, without the endings that name formats."""
        last = Path(self.name).name.split(".")[0]
        return last if last and not glob.has_magic(last) else Path(self.name).parent.name or "dataset"

    @property
    def size(self) -> int:
        """Bytes of all files as they lie there."""
        return sum(file.survey.size for file in self.files)

    @property
    def key(self) -> list[object]:
        """What decides its rows: of each file the digest, and how its name ends, which may tell its kind."""
        files = [[file.survey.sha256, "".join(Path(file.name).suffixes[-2:]).lower()] for file in self.files]
        return [files, self.encoding, self.sheet]


@dataclass(frozen=True)
class Place:
    """Where a row stands: rows count from 1 in their file, lines too where the format has lines."""

    file: str
    row: int
    line: int | None


@dataclass(frozen=True)
class Source:
    """Files read without faults, their rows one after the other.

    `frame` has the columns of `schema`, of all rows, and `axo_row`, counted from 1. `notes` are what to know
    of the files though they could be read.
    """

    opened: OpenedSource
    files: tuple[FileRows, ...]
    frame: pl.LazyFrame
    schema: pl.Schema
    notes: tuple[Finding, ...] = ()

    @property
    def name(self) -> str:
        return self.opened.name

    @property
    def count(self) -> int:
        """The number of rows."""
        return sum(file.rows.count for file in self.files)

    def places(self, rows: Iterable[int]) -> dict[int, Place]:
        """Where some rows stand."""
        wanted = sorted(rows)
        found: dict[int, Place] = {}
        before = 0
        for file in self.files:
            own = [row - before for row in wanted if before < row <= before + file.rows.count]
            lines = file.rows.lines(frozenset(own)) if own else {}
            found |= {row + before: Place(file.name, row, lines.get(row)) for row in own}
            before += file.rows.count
        return found


@dataclass(frozen=True)
class Together:
    """Several sources as one, their rows numbered one after the other."""

    sources: tuple[Source, ...]

    @property
    def name(self) -> str:
        return ", ".join(source.name for source in self.sources)

    def places(self, rows: Iterable[int]) -> dict[int, Place]:
        """Where some rows stand."""
        wanted, found, before = list(rows), dict[int, Place](), 0
        for source in self.sources:
            places = source.places(row - before for row in wanted if before < row <= before + source.count)
            found |= {row + before: place for row, place in places.items()}
            before += source.count
        return found


def open_source(source: str | SourceEntry, base: Path, field: str = "dataset.source") -> OpenedSource:
    """The files that a spec names in `field`; `base` is where relative paths start.

    Raises:
        DataError: there are none, or one is empty, or a plain text that is not UTF-8.
        SpecError: a secret is not there.
    """
    entry = source if isinstance(source, SourceEntry) else SourceEntry(source=source)
    files, faults = [], list[Fault]()
    for found in _found(entry, base, field):
        try:
            files.append(_surveyed(found, entry.encoding))
        except DataError as error:
            faults += error.faults
    if faults:
        raise DataError(faults)
    return OpenedSource(without_query(entry.source), tuple(files), entry.encoding, entry.sheet)


def read_source(opened: OpenedSource, scratch: Path) -> Source:
    """Find the schema of a source and prove all of its rows readable.

    What cannot be read where it lies (packed, another encoding, JSON that is not JSON lines) is written into
    `scratch` first, which must live as long as the rows are read.

    Raises:
        DataError: something is wrong, with the file, and line, row and column of it.
        OSError: scratch space is full or cannot be written.
    """
    read, faults = [], list[Fault]()
    for file in opened.files:
        for plain in unpacked(file.name, file.path, scratch):
            try:
                read.append(_read(plain, opened, scratch))
            except DataError as error:
                faults += error.faults
    if faults:
        raise DataError(faults)
    schema, frame = _joined(read)
    notes = (*(note for file in read for note in file.rows.notes), *missing_columns(read, schema))
    return Source(opened, tuple(read), frame, schema, notes)


def _found(entry: SourceEntry, base: Path, field: str) -> list[Fetched]:
    """The files of an entry on this machine; those that lie elsewhere are fetched."""
    if not is_remote(entry.source):
        return [Fetched(name, base / name, None) for name in find_files(entry.source, base, field)]
    fetch = fetch_dataset if entry.source.startswith("hf://") else fetch_objects
    return fetch(entry.source, read_secret(entry.secret, field), cache_folder(), field)


def _surveyed(found: Fetched, encoding: str | None) -> SourceFile:
    """The file with its digest; a plain text without a mark is proven to be UTF-8 in the same pass."""
    name, path = found.name, found.path
    head = head_of(path)
    plain = not (is_packed(path, head) or is_binary(head)) and mark_of(head)[1] in (None, "utf-8")
    if plain and encoding is None:
        refuse_foreign(head, name)
        refuse_unmarked(head, name)
    return SourceFile(name, path, survey(path, name, text=plain and encoding is None), found.revision)


def _read(plain: Plain, opened: OpenedSource, scratch: Path) -> FileRows:
    head = head_of(plain.path)
    binary = is_binary(head)
    path = plain.path if binary else _as_text(plain, head, opened.encoding, scratch)
    found = format_of(plain.inner, head if path == plain.path else head_of(path), plain.name)
    if faults := _not_of(found, binary, opened, plain.name):
        raise DataError(faults)
    rows = _rows(plain.name, path, found, opened.sheet, scratch)
    if found.expected not in (None, found.kind) or found.unusual:
        note = Finding("read_as", "info", 0, f"{plain.name} is read as {found.said}")
        rows = replace(rows, notes=(note, *rows.notes))
    return FileRows(plain.name, rows)


def _as_text(plain: Plain, head: bytes, encoding: str | None, scratch: Path) -> Path:
    """The file as UTF-8 without a mark; what was unpacked is proven to be UTF-8 only now."""
    if not mark_of(head)[1] and encoding is None:
        refuse_foreign(head, plain.name)
        refuse_unmarked(head, plain.name)
        if plain.unpacked:
            survey(plain.path, plain.name, text=True)
    return as_utf8(plain.path, plain.name, head, encoding, scratch)


def _not_of(found: Format, binary: bool, opened: OpenedSource, name: str) -> list[Fault]:
    """What the spec says of a file that is not of its kind."""
    said = f"this is {found.said}"
    wrong = []
    if opened.encoding and binary:
        wrong.append(Fault(f"{said}, which has no `encoding`", "leave `encoding` out", file=name))
    if opened.sheet and found.kind != "xlsx":
        wrong.append(Fault(f"{said}, which has no `sheet`", "leave `sheet` out", file=name))
    return wrong


def _rows(name: str, path: Path, found: Format, sheet: str | None, scratch: Path) -> Rows:
    match found.kind:
        case "csv":
            return read_csv(path, name, found.separator)
        case "json":
            return read_json(path, name, scratch)
        case "parquet":
            return read_parquet(path, name)
        case "text":
            return read_text(path, name)
        case "xlsx":
            return read_xlsx(path, name, scratch, sheet)


def _joined(files: Sequence[FileRows]) -> tuple[pl.Schema, pl.LazyFrame]:
    """The schema and the rows of all files as one, in their order."""
    schema = common_schema(files)
    ends = [0, *accumulate(file.rows.count for file in files)]
    frames = [fitted(file.rows, schema, start) for file, start in zip(files, ends, strict=False)]
    return schema, frames[0] if len(frames) == 1 else pl.concat(frames)
