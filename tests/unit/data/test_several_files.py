"""Several files as one source: a stable order, one schema, and every row found again in its own file."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from orchestrator.data.rows import ROW
from orchestrator.data.sources import Source, open_source, read_source
from orchestrator.errors import DataError, Fault


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def read(folder: Path, name: str) -> Source:
    return read_source(open_source(name, folder.parent), folder.parent / "scratch")


def faults(folder: Path, name: str) -> tuple[Fault, ...]:
    with pytest.raises(DataError) as caught:
        read(folder, name)
    return caught.value.faults


def write(folder: Path, name: str, *rows: object) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def rows(source: Source) -> list[dict[str, object]]:
    return source.frame.drop(ROW).collect().to_dicts()


def test_a_folder_is_its_data_files_in_the_order_of_their_names(folder: Path) -> None:
    write(folder, "b.jsonl", {"n": 3}, {"n": 4})
    write(folder, "a.jsonl", {"n": 1}, {"n": 2})
    (folder / "c.csv").write_text("n\n5\n")
    (folder / "README.txt").write_text("about the data")
    (folder / "LICENSE").write_text("free")
    (folder / ".hidden.jsonl").write_text("junk")
    write(folder, "below/d.jsonl", {"n": 9})
    source = read(folder, "data")
    assert rows(source) == [{"n": n} for n in (1, 2, 3, 4, 5)]
    assert source.frame.collect()[ROW].to_list() == [1, 2, 3, 4, 5]
    places = source.places([2, 3, 5])
    assert {row: (place.file, place.row, place.line) for row, place in places.items()} == {
        2: ("data/a.jsonl", 2, 2),
        3: ("data/b.jsonl", 1, 1),
        5: ("data/c.csv", 1, 2),
    }
    assert [file.name for file in source.opened.files] == ["data/a.jsonl", "data/b.jsonl", "data/c.csv"]


def test_a_folder_of_texts(folder: Path) -> None:
    (folder / "b.txt").write_text("two\n")
    (folder / "a.txt").write_text("one\n\n")
    assert rows(read(folder, "data")) == [{"text": "one"}, {"text": "two"}]


def test_a_pattern_goes_down_where_it_says_so(folder: Path) -> None:
    write(folder, "x/b.jsonl", {"n": 2})
    write(folder, "a.jsonl", {"n": 1})
    write(folder, "a.json", {"n": 7})
    assert rows(read(folder, "data/**/*.jsonl")) == [{"n": 1}, {"n": 2}]
    assert rows(read(folder, "data/*.jsonl")) == [{"n": 1}]
    assert rows(read(folder, "data/a.json*")) == [{"n": 7}, {"n": 1}]


def test_what_is_not_there_is_told_with_what_is(folder: Path) -> None:
    write(folder, "below/train.jsonl", {"n": 1})
    (fault,) = faults(folder, "data")
    assert ("data/**/*.jsonl" in (fault.fix or ""), fault.path) == (True, "dataset.source")
    write(folder, "train.jsonl", {"n": 1})
    (fault,) = faults(folder, "data/trian*.json")
    assert (fault.what, fault.fix) == ("no file matches this pattern", "did you mean `train.jsonl`?")
    (fault,) = faults(folder, "nowhere/*.jsonl")
    assert "there is no folder" in (fault.fix or "")


def test_faults_of_all_files_come_together(folder: Path) -> None:
    write(folder, "a.jsonl", {"n": 1})
    (folder / "b.jsonl").write_text('{"n": 1}\n{"n": tru}\n')
    (folder / "c.csv").write_text("n,m\n1,2,3\n")
    found = faults(folder, "data")
    assert [(fault.file, fault.line) for fault in found] == [("data/b.jsonl", 2), ("data/c.csv", 2)]
    (folder / "d.jsonl").write_bytes(b'{"n": "\xe9"}')
    (folder / "e.jsonl").write_bytes(b"")
    assert [fault.file for fault in faults(folder, "data")] == ["data/d.jsonl", "data/e.jsonl"]


def test_what_a_file_lacks_is_empty_there_with_a_warning(folder: Path) -> None:
    write(folder, "a.jsonl", {"q": "x", "meta": {"lang": "fr", "by": "me"}, "turns": [{"r": "u", "w": 1}]})
    write(folder, "b.jsonl", {"q": "y", "meta": {"by": None, "lang": "de"}, "turns": [{"r": "u"}]})
    write(folder, "c.jsonl", {"q": "z", "extra": 1.5}, {"q": "", "extra": 2})
    source = read(folder, "data")
    assert rows(source) == [
        {"q": "x", "meta": {"lang": "fr", "by": "me"}, "turns": [{"r": "u", "w": 1}], "extra": None},
        {"q": "y", "meta": {"lang": "de", "by": None}, "turns": [{"r": "u", "w": None}], "extra": None},
        {"q": "z", "meta": None, "turns": None, "extra": 1.5},
        {"q": "", "meta": None, "turns": None, "extra": 2.0},
    ]
    assert dict(source.frame.drop(ROW).collect_schema()) == dict(source.schema)
    notes = {example.field: note for note in source.notes for example in note.examples}
    assert set(notes) == {"meta", "turns", "extra"}
    assert (notes["meta"].severity, notes["meta"].count) == ("warn", 2)
    assert notes["meta"].message == "data/c.jsonl has no column `meta`: it is empty for these rows"
    assert notes["extra"].message == (
        "data/a.jsonl and 1 more file has no column `extra`: it is empty for these rows"
    )


def test_numbers_that_differ_in_kind_become_one(folder: Path) -> None:
    write(folder, "a.jsonl", {"n": 1, "m": {"n": None}, "l": []})
    write(folder, "b.jsonl", {"n": 1.5, "m": {"n": 2}, "l": [0.5]})
    assert rows(read(folder, "data")) == [
        {"n": 1.0, "m": {"n": None}, "l": []},
        {"n": 1.5, "m": {"n": 2}, "l": [0.5]},
    ]


def test_a_table_cut_into_files_reads_as_it_does_whole(folder: Path) -> None:
    values = ["7", "1.5", "007", "x", ""]
    (folder / "whole.csv").write_text("a,b\n" + "".join(f"{value},1\n" for value in values))
    for number, value in enumerate(values):
        (folder / f"part-{number}.csv").write_text(f"a,b\n{value},1\n")
    whole, parts = read(folder, "data/whole.csv"), read(folder, "data/part-*.csv")
    assert rows(parts) == rows(whole)
    assert parts.schema == whole.schema


def test_kinds_that_do_not_go_together_are_faults(folder: Path) -> None:
    write(folder, "a.jsonl", {"q": "x", "n": 1, "m": {"k": [1]}, "ok": True})
    write(folder, "b.jsonl", {"q": ["x"], "n": "1", "m": {"k": ["1"]}, "ok": True})
    found = faults(folder, "data")
    assert [(fault.file, fault.path) for fault in found] == [("data/b.jsonl", p) for p in ("q", "n", "m")]
    assert found[0].what == "`q` is a list in data/b.jsonl, text in data/a.jsonl"
    assert found[1].what == "`n` is text in data/b.jsonl, a number in data/a.jsonl"


def test_numbers_of_a_table_are_text_beside_text(folder: Path) -> None:
    (folder / "a.csv").write_text("n\n7\n")
    write(folder, "b.jsonl", {"n": "x"})
    assert rows(read(folder, "data")) == [{"n": "7"}, {"n": "x"}]
    pl.DataFrame({"n": [1]}).write_parquet(folder / "c.parquet")
    (fault,) = faults(folder, "data")
    assert (fault.file, fault.path) == ("data/b.jsonl", "n")


def test_blank_lines_of_a_table_have_no_number(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("q,a\n1,x\n,\n\n2,y\n")
    (tmp_path / "b.csv").write_text("q,a\n3,z\n")
    source = read_source(open_source("*.csv", tmp_path), tmp_path / "scratch")
    assert source.frame.collect()[ROW].to_list() == [1, 2, 3]
    assert {row: (at.file, at.line) for row, at in source.places([1, 2, 3]).items()} == {
        1: ("a.csv", 2),
        2: ("a.csv", 5),
        3: ("b.csv", 2),
    }
