"""Every odd file is either read right or refused with its place; nothing is guessed at in silence."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.data.rows import ROW
from orchestrator.data.sources import Source, file_bytes, open_source, read_source
from orchestrator.errors import DataError, Fault


def read(folder: Path, name: str, data: str | bytes) -> Source:
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_source(open_source(name, folder), folder / "scratch")


def faults(folder: Path, name: str, data: str | bytes) -> tuple[Fault, ...]:
    with pytest.raises(DataError) as caught:
        read(folder, name, data)
    return caught.value.faults


def rows(source: Source) -> list[dict[str, object]]:
    return source.frame.drop(ROW).collect().to_dicts()


LATE = 3000  # past what a reader looks at when it infers types from the first rows


def test_jsonl_schema_holds_for_all_rows(tmp_path: Path) -> None:
    lines = [json.dumps({"a": 1})] * LATE + [json.dumps({"a": 2.5, "late": {"key": ["x"]}})]
    source = read(tmp_path, "rows.jsonl", "\n".join(lines))
    assert source.count == LATE + 1
    assert dict(source.schema) == {
        "a": pl.Float64,
        "late": pl.Struct({"key": pl.List(pl.String)}),
    }
    assert rows(source)[-1] == {"a": 2.5, "late": {"key": ["x"]}}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('\ufeff{"a":1}\n{"a":2}\n', [{"a": 1}, {"a": 2}]),
        ('{"a":"x\\ud83d\\ude00"}', [{"a": "x😀"}]),
        ('{"a":1}\r\n\r\n{"b":"é"}\r\n', [{"a": 1, "b": None}, {"a": None, "b": "é"}]),
        ('{"a":null}\n{"a":{"b":null}}', [{"a": None}, {"a": {"b": None}}]),
        ('{"a":"a\\": 1, \\"a\\": 2"}', [{"a": 'a": 1, "a": 2'}]),
        ('{"a":"1234567890123456789012"}', [{"a": "1234567890123456789012"}]),
        ('{"a":9223372036854775807}', [{"a": 2**63 - 1}]),
    ],
)
def test_jsonl_reads(tmp_path: Path, data: str, expected: list[dict[str, object]]) -> None:
    assert rows(read(tmp_path, "rows.jsonl", data)) == expected


@pytest.mark.parametrize(
    ("data", "what", "line", "path"),
    [
        ('{"a":1}\n\n{"a":tru\n', "not valid JSON", 3, None),
        ('{"a":1} {"a":2}\n', "not valid JSON", 1, None),
        ('{"a":1}\n{"a":NaN}\n', "no JSON value", 2, None),
        ('{"a":1}\n{"a":-Infinity}\n', "no JSON value", 2, None),
        ('{"a":"x"}\n\n{"a":"x","a":"y"}\n', "stands twice", 3, "a"),
        ('{"a":"x"}\n{"a":"x","a":null}\n', "stands twice", 2, "a"),
        ('{"m":[{"r":"x"},{"r":"y","r":"z"}]}', "stands twice", 1, "r"),
        ('{"a":"x"}\n{"a":"\\ud83d"}\n', "half of a surrogate pair", 2, "a"),
        ('{"a":"x"}\n{"a":"\\udc00 x"}\n', "half of a surrogate pair", 2, "a"),
        ('{"m":[{"c":"x"},{"c":"\\uD83D"}]}', "half of a surrogate pair", 1, "m[].c"),
        ('{"a":9223372036854775808}', "more than 64 bits", 1, None),
        ('{"a":1}\n{"a": -92233720368547758080}', "more than 64 bits", 2, None),
        ('{"a":"x"}\n{"a":"y"}\n{"a":3}', "holds a number here, text in other rows", 3, "a"),
        ('{"a":1}\n{"a":2}\n{"a":"x"}', "holds text here, a number in other rows", 3, "a"),
        ('{"a":"x"}\n{"a":"y"}\n{"a":["z"]}', "holds a list here", 3, "a"),
        ('{"a":"x"}\n{"a":"y"}\n{"a":{"b":1}}', "holds an object here", 3, "a"),
        ('{"a":"x"}\n{"a":true}\n{"a":"y"}', "holds a boolean here", 2, "a"),
        ('{"a":["x"]}\n{"a":["x", 1, "y"]}', "holds a number here", 2, "a[]"),
        ('{"m":[{"c":"x"}]}\n{"m":[{"c":"x"},{"c":[{"t":"y"}]}]}', "holds a list here", 2, "m[].c"),
        ('{"a":1}\n5\n', "not an object", 2, None),
    ],
)
def test_jsonl_names_the_line(tmp_path: Path, data: str, what: str, line: int, path: str | None) -> None:
    found = faults(tmp_path, "rows.jsonl", data)
    assert [(fault.file, fault.line, fault.path) for fault in found if what in fault.what] == [
        ("rows.jsonl", line, path)
    ]
    assert all(fault.fix for fault in found)


def test_a_trap_far_down_is_found(tmp_path: Path) -> None:
    good = json.dumps({"a": "x", "m": [{"role": "user", "content": 'say "a": 1'}]})
    bad = '{"a":"x","m":[{"role":"user","role":"assistant","content":"y"}]}'
    (fault,) = faults(tmp_path, "rows.jsonl", "\n".join([good] * LATE + [bad] + [good] * 10))
    assert (fault.line, fault.row, fault.path) == (LATE + 1, LATE + 1, "role")


@given(st.lists(st.fixed_dictionaries({"k": st.text(max_size=8), "v": st.text(max_size=8)}), min_size=1))
def test_texts_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[dict[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("texts")
    data = "\n".join(json.dumps(row, ensure_ascii=len(row["k"]) % 2 == 0) for row in wanted)
    assert rows(read(folder, "rows.jsonl", data)) == wanted


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.json", '[{"a":1},\n {"a":2}]\n', [{"a": 1}, {"a": 2}]),
        ("a.json", '{\n "a": {"b": "x"}\n}', [{"a": {"b": "x"}}]),
        ("a.json", '{"a":1}\n{"a":2}\n', [{"a": 1}, {"a": 2}]),
        ("a.json", '{"a":1}', [{"a": 1}]),
        ("a.jsonl", '[{"a":1},{"b":2}]', [{"a": 1, "b": None}, {"a": None, "b": 2}]),
    ],
)
def test_json_reads(tmp_path: Path, name: str, data: str, expected: list[dict[str, object]]) -> None:
    assert rows(read(tmp_path, name, data)) == expected


@pytest.mark.parametrize(
    ("data", "what", "line", "row"),
    [
        ('[{"a":1},\n{"a":2,"a":3}]', "stands twice", 2, 2),
        ('[{"a":1},\n\n{"a":2]', "not valid JSON", 3, 2),
        ('[{"a":1}\n{"a":2}]', "not valid JSON", 2, 1),
        ('[{"a":1}]\n x', "not valid JSON", 2, 1),
        ('[{"a":1},\n5]', "not an object", 2, 2),
        ('[{"a":1},\n{"a":2},\n{"a":"x"}]', "holds text here", 3, 3),
        ('[{"a":"\\ud83d"}]', "half of a surrogate pair", 1, 1),
    ],
)
def test_json_names_the_line(tmp_path: Path, data: str, what: str, line: int, row: int) -> None:
    found = faults(tmp_path, "rows.json", data)
    assert [(fault.line, fault.row) for fault in found if what in fault.what] == [(line, row)]


def test_json_array_without_rows(tmp_path: Path) -> None:
    assert "empty" in faults(tmp_path, "rows.json", "[]")[0].what


@pytest.mark.parametrize(
    ("data", "schema"),
    [
        ("a,b\n1,x\n-20,y\n", {"a": pl.Int64, "b": pl.String}),
        ("a,b\n1.5,0.25\n2.0,-3.75\n", {"a": pl.Float64, "b": pl.Float64}),
        ("a,b\n01,1.50\n2,2.25\n", {"a": pl.String, "b": pl.String}),
        ("a,b\n+1,1e3\n2,2.5\n", {"a": pl.String, "b": pl.String}),
        ("a,b\n12345678901234567890,true\n1,false\n", {"a": pl.String, "b": pl.String}),
        ("a,b\n,1\n2,\n", {"a": pl.Int64, "b": pl.Int64}),
        ('a,b\n"",x\n2,y\n', {"a": pl.String, "b": pl.String}),
        ("a,b\n,x\n,y\n", {"a": pl.String, "b": pl.String}),
    ],
)
def test_csv_columns_are_numbers_only_where_nothing_is_lost(
    tmp_path: Path, data: str, schema: dict[str, object]
) -> None:
    source = read(tmp_path, "rows.csv", data)
    assert dict(source.schema) == schema
    assert dict(source.frame.drop(ROW).collect_schema()) == schema


@given(st.lists(st.from_regex(r"-?[0-9]{1,9}(\.[0-9]{1,8})?", fullmatch=True), min_size=1, max_size=4))
def test_csv_numbers_are_written_as_they_stood(
    tmp_path_factory: pytest.TempPathFactory, values: list[str]
) -> None:
    source = read(
        tmp_path_factory.mktemp("numbers"), "rows.csv", "a,b\n" + "".join(f"{v},x\n" for v in values)
    )
    assert [str(row["a"]) for row in rows(source)] == values


@given(
    st.lists(
        st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=6)] * 2),
        min_size=1,
    )
)
def test_csv_texts_come_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("texts")
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(["a", "b"])
        writer.writerows(wanted)
    source = read_source(open_source("rows.csv", folder), folder / "scratch")
    assert [tuple(str(value) for value in row.values()) for row in rows(source)] == wanted


@pytest.mark.parametrize(
    ("data", "what", "line", "row"),
    [
        ("a,b,c\n1,2,3\n1,2\n", "2 fields, the header 3", 3, 2),
        ("a,b\n1,2,3\n", "3 fields, the header 2", 2, 1),
        ('a,b\n"x\ny",1\n1,"2\n3,4\n', "not closed", 4, 2),
        ('a,b\n1,"x"y\n', "not closed", 2, 1),
        ('a,b\n1,x\n2,5" pipe\n3,6 pipe\n', "a quote stands in a field", 3, 2),
        ('a,"b\n1,2\n', "not closed", 1, None),
        ("\na,b\n1,2\n", "first line is blank", 1, None),
        ("a,a\n1,2\n", "two columns", 1, None),
        ("a,\n1,2\n", "no name", 1, None),
        ("a,b\n", "no rows", None, None),
        (b"a,b\n1,x\n2,\xe9\n", "not UTF-8", 3, None),
        (b"a\x00,\x00b\x00\n\x00", "utf-16-le", 1, None),
        ("  \n", "empty", None, None),
    ],
)
def test_csv_names_the_line(
    tmp_path: Path, data: str | bytes, what: str, line: int | None, row: int | None
) -> None:
    found = faults(tmp_path, "rows.csv", data)
    assert [(fault.file, fault.line, fault.row) for fault in found if what in fault.what] == [
        ("rows.csv", line, row)
    ]


@pytest.mark.parametrize("block", [1, 3, 7, 1000])
def test_a_byte_that_is_not_utf8_has_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(file_bytes, "BLOCK_BYTES", block)
    for data, line, column in ((b"a\n\xc3\xa9,\xe9\n", 2, 3), (b"\xff", 1, 1), (b"a,b\n1,\xe2\x82", 2, 3)):
        (fault,) = faults(tmp_path, "rows.csv", data)
        assert (fault.line, fault.column) == (line, column)
    assert rows(read(tmp_path, "rows.csv", "a,b\né,😀\n")) == [{"a": "é", "b": "😀"}]


def test_csv_with_a_mark_and_blank_lines(tmp_path: Path) -> None:
    source = read(tmp_path, "rows.csv", '\ufeffa,b\n1,"x, ""y"""\n\n2,z\n')
    assert rows(source) == [{"a": 1, "b": 'x, "y"'}, {"a": 2, "b": "z"}]
    assert source.count == 2


def test_csv_with_very_many_columns(tmp_path: Path) -> None:
    """A value in any one of them makes a row; 3,001 take a second."""
    count = 3001
    lines = [",".join(f"c{number}" for number in range(count)), "," * (count - 1)]
    lines += ["," * at + "7" + "," * (count - 1 - at) for at in (0, 1500, count - 1)]
    source = read(tmp_path, "rows.csv", "\n".join(lines) + "\n")
    found = [{name: value for name, value in row.items() if value is not None} for row in rows(source)]
    assert found == [{"c0": 7}, {"c1500": 7}, {"c3000": 7}]


def test_a_table_as_excel_exports_it(tmp_path: Path) -> None:
    data = '\ufeffsep=;\r\nNr;Frage;;Antwort;\r\n1;"a\r\nb";;x, y;\r\n;;;;\r\n2;c;;z;\r\n'
    source = read(tmp_path, "rows.csv", data)
    assert rows(source) == [
        {"Nr": 1, "Frage": "a\r\nb", "Antwort": "x, y"},
        {"Nr": 2, "Frage": "c", "Antwort": "z"},
    ]
    assert {row: place.line for row, place in source.places([1, 2]).items()} == {1: 3, 2: 6}


@pytest.mark.parametrize(
    ("data", "what", "line"),
    [
        ("sep=;\na;b;\n1;2;3\n", "no name", 2),
        ("sep=;\na;b;\n1;2;\n1\n", "1 field, the header 3", 4),
        ("sep=;\na;a\n1;2\n", "two columns", 2),
        ("sep=;\n", "no header", None),
        (";;\n1;2;3\n", "names 0 of 3 columns", 1),
        (";;\n;;\n", "names 0 of 3 columns", 1),
    ],
)
def test_what_is_wrong_in_a_table_of_excel(tmp_path: Path, data: str, what: str, line: int | None) -> None:
    found = faults(tmp_path, "rows.csv", data)
    assert [fault.line for fault in found if what in fault.what] == [line], found


@pytest.mark.parametrize(
    ("name", "data", "lines"),
    [
        ("a.jsonl", '\n{"a":1}\n\n{"a":2}\n{"a":3}', {1: 2, 3: 5}),
        ("a.jsonl", '{"a":1}\n{"a":2}\n{"a":3}', {1: 1, 3: 3}),
        ("a.json", '[\n{"a":1}, {"a":2},\n{"a":3}]', {1: 2, 3: 3}),
        ("a.csv", 'a,b\n"x\ny",1\nz,2\nu,3\n', {1: 2, 3: 5}),
    ],
)
def test_rows_know_their_lines(tmp_path: Path, name: str, data: str, lines: dict[int, int]) -> None:
    source = read(tmp_path, name, data)
    assert {row: place.line for row, place in source.places([1, 3]).items()} == lines


def test_parquet_keeps_its_schema(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": ["01"], "m": [[{"role": "user", "content": "x"}]]})
    frame.write_parquet(tmp_path / "rows.parquet")
    source = read_source(open_source("rows.parquet", tmp_path), tmp_path / "scratch")
    assert source.schema == frame.schema
    assert source.frame.collect().to_dicts() == [{ROW: 1, **frame.to_dicts()[0]}]


def test_parquet_that_is_none(tmp_path: Path) -> None:
    assert "Parquet" in faults(tmp_path, "rows.parquet", "PAR1 and then nothing")[0].what


@pytest.mark.parametrize(
    ("name", "what"), [("a.parquet", "no Parquet file"), ("a.xlsx", "no Excel workbook")]
)
def test_noise_by_the_name_of_a_table_is_no_text_in_another_encoding(
    tmp_path: Path, name: str, what: str
) -> None:
    (fault,) = faults(tmp_path, name, b"\x90\x00\xe9\xff" * 50)
    assert what in fault.what


def test_a_column_with_our_name_is_refused(tmp_path: Path) -> None:
    for name, data in (
        ("a.jsonl", '{"axo_row":1}'),
        ("a.csv", "axo_row,b\n1,2\n"),
        ("a.json", '[{"axo_row":1}]'),
    ):
        assert faults(tmp_path, name, data)[0].path == ROW
    pl.DataFrame({ROW: [1]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="row numbers"):
        read_source(open_source("a.parquet", tmp_path), tmp_path / "scratch")


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("tikets.csv", "did you mean `tickets.csv`?"),
        ("nowhere/tickets.csv", "no folder"),
    ],
)
def test_a_file_that_cannot_be_opened(tmp_path: Path, name: str, fix: str) -> None:
    (tmp_path / "tickets.csv").write_text("a\n1\n")
    (tmp_path / "notes.txt").write_text("a\n1\n")
    with pytest.raises(DataError) as caught:
        open_source(name, tmp_path, "dataset.validation")
    (fault,) = caught.value.faults
    assert fault.path == "dataset.validation"
    assert fix in (fault.fix or "")


def test_a_file_name_is_no_pattern(tmp_path: Path) -> None:
    assert rows(read(tmp_path, "rows[1].jsonl", '{"a":1}')) == [{"a": 1}]
    assert rows(read(tmp_path, "rows*.csv", "a,b\n1,2\n")) == [{"a": 1, "b": 2}]
