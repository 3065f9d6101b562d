"""Files as people have them: each kind, encoding, packing and oddity is recognised, and read right."""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import xlsxwriter
import zstandard

from orchestrator.data import json_items
from orchestrator.data.rows import ROW
from orchestrator.data.sources import Source, open_source, read_source, unpack
from orchestrator.errors import DataError, Fault

Row = dict[str, object]
ROWS: list[Row] = [
    {"q": "Où?", "a": "là, là"},
    {"q": "two\tparts; or | three", "a": 'say "x"'},
    {"q": "3", "a": "😀"},
]
TALK = [{"id": n, "meta": {"tags": ["x"]}, "messages": [{"role": "user", "content": "é"}]} for n in range(3)]


def read(folder: Path, name: str, data: bytes) -> Source:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return read_source(open_source(name, folder), folder / "scratch")


def faults(folder: Path, name: str, data: bytes) -> tuple[Fault, ...]:
    with pytest.raises(DataError) as caught:
        read(folder, name, data)
    return caught.value.faults


def rows(source: Source) -> list[Row]:
    return source.frame.drop(ROW).collect().to_dicts()


def jsonl(table: list[Row] = ROWS) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table)


def array(table: list[Row] = ROWS, indent: int | None = None) -> str:
    return json.dumps(table, ensure_ascii=False, indent=indent)


def delimited(separator: str, table: list[Row] = ROWS) -> str:
    return pl.DataFrame(table).write_csv(separator=separator)


def parquet(table: list[Row] = ROWS) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(table).write_parquet(file)
    return file.getvalue()


def xlsx(*sheets: tuple[str, list[Row]], first_row: int = 0) -> bytes:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as book:
        for name, table in sheets:
            sheet = book.add_worksheet(name)
            for number, cells in enumerate(
                [list(table[0]), *(row.values() for row in table)] if table else []
            ):
                sheet.write_row(first_row + number, 0, cells)
    return file.getvalue()


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), data)
    return file.getvalue()


def edited(archive: bytes, member: str, data: bytes) -> bytes:
    """An archive with other bytes in one of its members."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            new.writestr(name, data if name == member else old.read(name))
    return file.getvalue()


def utf(encoding: str, text: str) -> bytes:
    return ("\ufeff" + text).encode(encoding)


NEWER_ZIP = zipped(r_DOT_csv=b"a,b\n").replace(b"PK\1\2\x14\3\x14", b"PK\1\2\x14\3\xff")  # version 25.5
BOOK = xlsx(("One", ROWS))

LINES: list[Row] = [{"text": "Où?"}, {"text": "  two"}, {"text": "3"}]
LINE_TEXT = "Où?\n\n  two\n \n3"

SHAPES: list[tuple[str, Callable[[], bytes], list[Row]]] = [
    ("r.jsonl", lambda: jsonl().encode(), ROWS),
    ("r.ndjson", lambda: jsonl().replace("\n", "\r\n\r\n").encode(), ROWS),
    ("r.json", lambda: array().encode(), ROWS),
    ("r.json", lambda: array(indent=2).encode(), ROWS),
    ("objects.json", lambda: "\n".join(json.dumps(row, indent=1) for row in ROWS).encode(), ROWS),
    ("array.jsonl", lambda: array(indent=1).encode(), ROWS),
    ("lines.json", lambda: jsonl().encode(), ROWS),
    ("lines.txt", lambda: jsonl().encode(), ROWS),
    ("lines.csv", lambda: jsonl().encode(), ROWS),
    ("noending", lambda: jsonl().encode(), ROWS),
    ("array.data", lambda: array().encode(), ROWS),
    ("r.csv", lambda: delimited(",").encode(), ROWS),
    ("r.csv", lambda: delimited(",").replace("\n", "\r\n").encode(), ROWS),
    ("excel.csv", lambda: delimited(";").encode(), ROWS),
    ("tabs.csv", lambda: delimited("\t").encode(), ROWS),
    ("r.tsv", lambda: delimited("\t").encode(), ROWS),
    ("commas.tsv", lambda: delimited(",").encode(), ROWS),
    ("r.psv", lambda: delimited("|").encode(), ROWS),
    ("table.json", lambda: delimited(",").encode(), ROWS),
    ("table.dat", lambda: delimited(";").encode(), ROWS),
    ("one.csv", lambda: b"q\nx\ny\n", [{"q": "x"}, {"q": "y"}]),
    ("r.parquet", parquet, ROWS),
    ("parquet.csv", parquet, ROWS),
    ("nested.parquet", lambda: parquet(TALK), TALK),
    ("nested.json", lambda: array(TALK, indent=1).encode(), TALK),
    ("r.xlsx", lambda: xlsx(("One", ROWS)), [ROWS[0], ROWS[1], ROWS[2]]),
    ("workbook.csv", lambda: xlsx(("One", ROWS)), ROWS),
    ("low.xlsx", lambda: xlsx(("One", ROWS), first_row=3), ROWS),
    ("r.txt", lambda: LINE_TEXT.encode(), LINES),
    ("windows.txt", lambda: LINE_TEXT.replace("\n", "\r\n").encode(), LINES),
    ("mark.txt", lambda: utf("utf-8", LINE_TEXT), LINES),
    ("mark.csv", lambda: utf("utf-8", delimited(",")), ROWS),
    ("mark.jsonl", lambda: utf("utf-8", jsonl()), ROWS),
    ("mark.json", lambda: utf("utf-8", array(indent=1)), ROWS),
    ("wide.csv", lambda: utf("utf-16-le", delimited("\t")), ROWS),
    ("wide.jsonl", lambda: utf("utf-16-be", jsonl()), ROWS),
    ("wide.json", lambda: utf("utf-32-le", array()), ROWS),
    ("wide.txt", lambda: utf("utf-16-le", LINE_TEXT), LINES),
    ("r.jsonl.gz", lambda: gzip.compress(jsonl().encode()), ROWS),
    ("unsaid.jsonl", lambda: gzip.compress(jsonl().encode()), ROWS),
    ("r.csv.zst", lambda: zstandard.compress(delimited(",").encode()), ROWS),
    (
        "frames.csv.zst",
        lambda: b"".join(map(zstandard.compress, delimited(",").encode().splitlines(True))),
        ROWS,
    ),
    ("r.tsv.bz2", lambda: bz2.compress(delimited("\t").encode()), ROWS),
    ("r.json.xz", lambda: lzma.compress(array().encode()), ROWS),
    ("r.parquet.gz", lambda: gzip.compress(parquet()), ROWS),
    ("wide.csv.gz", lambda: gzip.compress(utf("utf-16-le", delimited(","))), ROWS),
    ("r.zip", lambda: zipped(r_DOT_csv=delimited(",").encode()), ROWS),
    (
        "parts.zip",
        lambda: zipped(b_DOT_jsonl=jsonl(ROWS[1:]).encode(), a_DOT_csv=delimited(",", ROWS[:1]).encode()),
        ROWS,
    ),
    ("deep.zip", lambda: zipped(in__r_DOT_jsonl_DOT_gz=gzip.compress(jsonl().encode())), ROWS),
    (
        "junk.zip",
        lambda: zipped(
            r_DOT_csv=delimited(",").encode(), README_DOT_md=b"# x", _DOT_DS_Store=b"x", r_DOT_txt=b"x"
        ),
        ROWS,
    ),
]


@pytest.mark.parametrize(("name", "data", "wanted"), SHAPES, ids=[name for name, _, _ in SHAPES])
def test_shapes(tmp_path: Path, name: str, data: Callable[[], bytes], wanted: list[Row]) -> None:
    source = read(tmp_path, name, data())
    texts = [
        {key: str(value) if isinstance(value, int) else value for key, value in row.items()} for row in wanted
    ]
    found = [
        {key: str(value) if isinstance(value, int) else value for key, value in row.items()}
        for row in rows(source)
    ]
    assert found == texts
    assert source.count == len(wanted)
    assert set(source.frame.collect()[ROW]) == set(range(1, len(wanted) + 1))


@pytest.mark.parametrize(
    ("name", "data", "what", "line"),
    [
        ("r.csv", "q;a\nx;caf\xe9\n".encode("latin-1"), "not UTF-8", 2),
        ("r.csv.gz", gzip.compress("q;a\nx;caf\xe9\n".encode("latin-1")), "not UTF-8", 2),
        ("r.jsonl", "\ufeff{}\n".encode("utf-16-le") + b"\x00\xd8\x00", "not utf-16-le", 2),
        ("r.jsonl", '{"a":"x"}\n'.encode("utf-16-le"), "looks like utf-16-le, without a mark", 1),
        ("r.json", '[{"a":1}]'.encode("utf-32-be"), "looks like utf-32-be, without a mark", 1),
        ("r.jsonl.gz", gzip.compress(jsonl().encode() * 1000)[:-10], "cannot be unpacked", None),
        ("r.jsonl.zst", zstandard.compress(jsonl().encode())[:20] + b"x" * 30, "cannot be unpacked", None),
        ("r.jsonl.bz2", bz2.compress(jsonl().encode())[:20] + b"x" * 30, "cannot be unpacked", None),
        ("r.zip", zipped(r_DOT_csv=b"a,b\n")[:-10], "cannot be unpacked", None),
        ("r.zip", NEWER_ZIP, "cannot be unpacked", None),
        ("r.zip", zipped(), "holds no file", None),
        ("r.tar", b"\0" * 257 + b"ustar\x0000" + b"\0" * 300, "tar archive", None),
        ("r.tar.gz", gzip.compress(b"\0" * 257 + b"ustar\x0000" + b"\0" * 300), "tar archive", None),
        ("r.csv", b"<!DOCTYPE html><html>", "a web page", None),
        ("r.parquet", b"version https://git-lfs.github.com/spec/v1\noid x\n", "Git LFS", None),
        ("r.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook", None),
        ("r.bin", b"just words\n", "neither its name nor its content", None),
        ("r.xlsx", xlsx(("One", [])), "has no rows below its header", None),
        ("r.xlsx", xlsx(("One", [{"a": "x", "": "y"}])), "has no name", 1),
        ("r.xlsx", edited(BOOK, "xl/worksheets/sheet1.xml", b"<sheetData>"), "cannot be read", None),
        ("r.xlsx", edited(BOOK, "xl/workbook.xml", b"<workbook/>"), "has no sheet", None),
        ("r.json", b'[{"a": 1},\n{"a": ' + b"9" * 5000 + b"}]", "more than 64 bits", 2),
        ("r.jsonl", b'{"a": 1}\n{"a": 1e999}\n', "larger than 64 bits", 2),
        ("r.jsonl", b"{}\n{}\n", "no row has a column", None),
        ("r.jsonl", b"\n \n", "empty", None),
        ("r.json.gz", gzip.compress(b""), "empty", None),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told(
    tmp_path: Path, name: str, data: bytes, what: str, line: int | None
) -> None:
    (fault,) = faults(tmp_path, name, data)
    assert what in fault.what
    assert (fault.file, fault.line) == (name, line)
    assert fault.fix


def test_another_encoding_is_told_with_the_text_as_it_would_read(tmp_path: Path) -> None:
    (latin,) = faults(tmp_path, "a.csv", b"q,a\nx,caf\xe9 noir\n")
    assert (latin.line, latin.column) == (2, 6)
    assert "as latin-1 this reads `x,café noir`" in (latin.fix or "")
    (windows,) = faults(tmp_path, "a.csv", b"q,a\nx,5 \x80\n")
    assert "as windows-1252 this reads `x,5 €`" in (windows.fix or "")


def test_a_trap_that_unpacks_without_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "FREE_BYTES", 1000)
    bomb = gzip.compress(b'{"a": "x"}\n' * 100_000)
    (fault,) = faults(tmp_path, "a.jsonl.gz", bomb)
    assert "unpacks to more than" in fault.what
    assert sum(file.stat().st_size for file in (tmp_path / "scratch").iterdir()) <= 200 * len(bomb)


@pytest.mark.parametrize("block", [1, 2, 7, 40, 1000])
def test_json_is_read_alike_in_blocks_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(json_items, "BLOCK_CHARACTERS", block)
    table: list[Row] = [
        {"a": 'x\\"é😀' * 9, "n": -1.5e3, "t": [True, None], "e": {}},
        {"a": "[{", "n": 12, "t": [], "e": {}},
    ]
    wanted = rows(read(tmp_path, "lines.jsonl", jsonl(table).encode()))
    assert rows(read(tmp_path, "a.json", json.dumps(table, indent=3).encode())) == wanted
    assert rows(read(tmp_path, "b.json", json.dumps(table).encode())) == wanted
    (broken,) = faults(tmp_path, "c.json", b'[{"a": 1},\n\n {"a": tru}]')
    assert (broken.line, broken.column, broken.row) == (3, 8, 2)


def test_a_sheet_is_what_its_csv_would_be(tmp_path: Path) -> None:
    table: list[Row] = [
        {"id": 7, "zip": "007", "price": 1.5, "done": True, "note": "a\nb"},
        {"id": 12345678901, "zip": "1", "price": 0.25, "done": False, "note": None},
    ]
    source = read(tmp_path, "a.xlsx", xlsx(("Data", table), ("Notes", ROWS)))
    assert rows(source) == [
        {"id": 7, "zip": "007", "price": 1.5, "done": "true", "note": "a\nb"},
        {"id": 12345678901, "zip": "1", "price": 0.25, "done": "false", "note": None},
    ]
    assert [place.line for place in source.places([1, 2]).values()] == [2, 3]
    (note,) = source.notes
    assert (note.code, note.severity) == ("other_sheets", "warn")


def test_dates_of_a_sheet_are_written_plainly(tmp_path: Path) -> None:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"default_date_format": "yyyy-mm-dd"}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["day", "at"])
        sheet.write_row(1, 0, [datetime.date(2026, 1, 31), datetime.datetime(2026, 1, 31, 8, 30)])
        sheet.write_row(3, 0, [datetime.date(2026, 2, 1), datetime.datetime(2026, 2, 1)])
    source = read(tmp_path, "a.xlsx", file.getvalue())
    assert rows(source) == [
        {"day": "2026-01-31", "at": "2026-01-31 08:30:00"},
        {"day": "2026-02-01", "at": "2026-02-01 00:00:00"},
    ]
    assert {row: place.line for row, place in source.places([1, 2]).items()} == {1: 2, 2: 4}


def test_what_a_name_says_wrong_is_noted(tmp_path: Path) -> None:
    assert [note.message for note in read(tmp_path, "a.csv", b"q;a\nx;y\n").notes] == [
        "a.csv is read as a table separated by semicolons"
    ]
    assert [note.message for note in read(tmp_path, "b.txt", jsonl().encode()).notes] == [
        "b.txt is read as JSON"
    ]
    assert not read(tmp_path, "c.tsv", b"q\ta\nx\ty\n").notes
