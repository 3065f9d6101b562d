"""Formats: what a file holds, by its first bytes where they tell, by its name where they do not.

    content                            read as
    PAR1                               Parquet
    a ZIP archive with a workbook      XLSX
    {..} or [{..  in any text          JSON lines or JSON, unless the name says text and the line is not whole
    a header with , ; tab or |         CSV, where the name says so, says nothing, or says JSON of a table
    anything else under .txt           plain text

The separator of a CSV is the one that its first line says (`sep=;`, as Excel writes it), else the one with
which the first records have equally many fields.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestrator.data.csv_rows import said_separator
from orchestrator.errors import DataError, Fault

Kind = Literal["csv", "json", "parquet", "text", "xlsx"]
KINDS: dict[str, Kind] = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".psv": "csv",
    ".tab": "csv",
    ".text": "text",
    ".tsv": "csv",
    ".txt": "text",
    ".xlsx": "xlsx",
}
HEAD_BYTES = 64 * 1024
ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # an archive, and one without files
# Longer marks first: UTF-32's begins with UTF-16's.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SEPARATORS = {".tsv": "\t,;|", ".tab": "\t,;|", ".psv": "|,;\t"}
_RECORDS = 50
_BINARY: dict[Kind | None, str] = {"parquet": "Parquet file", "xlsx": "Excel workbook"}
# What people give by mistake: how it begins, what it is, and the way out.
_FOREIGN = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the data", "run `git lfs pull`"),
    (b"<!doctype html", "a web page, not data", "download the file itself"),
    (b"<html", "a web page, not data", "download the file itself"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save it as .xlsx"),
    (b"%pdf", "a PDF", "give its text as .txt, or a table"),
    (b"arrow1", "an Arrow file", "save it as Parquet"),
    (b"sqlite format 3", "an SQLite database", "export the table as CSV"),
    (b"\x93numpy", "a NumPy array", "save a table as Parquet"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it, or pack it as zip"),
    (b"rar!", "a RAR archive", "unpack it, or pack it as zip"),
)


@dataclass(frozen=True)
class Format:
    """How a file is read; `separator` is a CSV's, `expected` the kind that its name says, and
    `unusual` that its separator is not the one its name says."""

    kind: Kind
    separator: str = ","
    expected: Kind | None = None
    unusual: bool = False

    @property
    def said(self) -> str:
        names = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
        return {
            "csv": f"a table separated by {names[self.separator]}",
            "json": "JSON",
            "text": "lines of text",
            "parquet": "Parquet",
            "xlsx": "an Excel workbook",
        }[self.kind]


def head_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def mark_of(head: bytes) -> tuple[int, str | None]:
    """The length of the mark (BOM) that a text begins with, and the encoding that it names."""
    return next(((len(mark), name) for mark, name in MARKS if head.startswith(mark)), (0, None))


def is_binary(head: bytes) -> bool:
    """Whether a file that is not compressed is of a kind that has no text."""
    return head.startswith((b"PAR1", *ZIP))


def refuse_foreign(head: bytes, name: str) -> None:
    """Raise DataError for what is no data of ours, as far as its beginning tells."""
    start = head.lstrip()[:40].lower()
    for mark, what, fix in _FOREIGN:
        if start.startswith(mark):
            raise DataError([Fault(f"this is {what}", fix, file=name)])
    if head[257:262] == b"ustar":
        raise DataError([Fault("this is a tar archive", "unpack it, or pack it as zip", file=name)])
    kind = KINDS.get(Path(name).suffix.lower())
    if kind in _BINARY and b"\0" in head and not mark_of(head)[0]:
        what = f"this is no {_BINARY[kind]}, whatever its name says: it begins as none does"
        raise DataError([Fault(what, "write the file again, or name it by what it is", file=name)])


def format_of(name: str, head: bytes, shown: str) -> Format:
    """The format of a file that is not compressed, and UTF-8 where it is text.

    Raises DataError naming `shown` where neither content nor name tell.
    """
    suffix = Path(name).suffix.lower()
    expected = KINDS.get(suffix)
    if head.startswith(b"PAR1"):
        return Format("parquet", expected=expected)
    if head.startswith(ZIP):
        return Format("xlsx", expected=expected)
    refuse_foreign(head, shown)
    if expected == "parquet" and b"\0" in head:
        return Format("parquet", expected=expected)
    return _format_of_text(
        suffix, expected, head.decode("utf-8", "ignore"), whole=len(head) < HEAD_BYTES
    ) or (_unknown(suffix, shown))


def _format_of_text(suffix: str, expected: Kind | None, head: str, *, whole: bool) -> Format | None:
    first = head.lstrip().partition("\n")[0].strip()
    if _is_json(first, head.lstrip()):
        return Format("json", expected=expected)
    separator = said_separator(first) or _separator(
        head if whole else head.rpartition("\n")[0], _SEPARATORS.get(suffix, ",;\t|")
    )
    table = separator is not None and not re.search(r'[{}\[\]]|":', first)
    if expected == "text":
        return Format("text", expected=expected)
    if expected == "csv" or (expected in ("json", "parquet", "xlsx", None) and table):
        usual = _SEPARATORS.get(suffix, ",")[0]
        return Format("csv", separator or usual, expected, separator not in (None, usual))
    return Format("json", expected=expected) if expected == "json" else None


def _is_json(first: str, head: str) -> bool:
    """Whether a text is JSON: its first line is an object, or an array of objects begins."""
    if re.match(r"\[\s*\{\s*[\"}]", head):
        return True
    if not first.startswith("{"):
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return bool(re.match(r'\{\s*"(?:[^"\\]|\\.)*"\s*:', head))


def _separator(head: str, candidates: str) -> str | None:
    """The separator with which the first records have equally many fields, two at least; of several the
    one with most fields, else the one that the header has most of."""
    widths = {separator: _widths(head, separator) for separator in candidates}
    headed = {separator: found for separator, found in widths.items() if found and found[0] > 1}
    even = {separator: found for separator, found in headed.items() if len(set(found)) == 1}
    return max(even or headed, key=lambda separator: headed[separator][0], default=None)


def _widths(head: str, separator: str) -> list[int]:
    """The number of fields of the first records; those of blank lines are left out."""
    widths: list[int] = []
    try:
        for record in csv.reader(head.splitlines(keepends=True), delimiter=separator):
            if record and len(widths) < _RECORDS:
                widths.append(len(record))
    except csv.Error:
        pass
    return widths


def _unknown(suffix: str, shown: str) -> Format:
    what = "neither its name nor its content tell what kind of file this is"
    fix = f"give a file whose name ends in {', '.join(KINDS)}, packed or not"
    raise DataError([Fault(what, fix, file=shown, value=suffix or None)])
