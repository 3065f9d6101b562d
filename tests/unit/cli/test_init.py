"""`axo init` and `axo schema`: what is written is fit to run as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import polars as pl
import pytest
import xlsxwriter
from click.testing import CliRunner, Result
from toy_models import MODELS

from orchestrator.cli import axo
from orchestrator.errors import DataError, SpecError
from orchestrator.spec.draft import guessed_length, length_for, name_for
from orchestrator.spec.load import load_spec

TICKETS = [
    {"id": n, "text": f'ticket {n}: it\'s "late"', "queue": ("billing", "sales")[n % 2]} for n in range(60)
]
CHATS = [
    {"conversations": [{"from": "human", "value": f"hi {n}"}, {"from": "gpt", "value": "hello"}]}
    for n in range(60)
]
ANSWER = [{"role": "assistant", "content": "a"}]
ALPACA = [
    {"instruction": f"add {n}", "input": "" if n % 2 else "and one", "output": str(n)} for n in range(60)
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AXO_HOME", str(tmp_path / "home"))
    MODELS["chatml"].write(tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").write_bytes(b"\0" * 64)
    return tmp_path


def lay(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def init(*arguments: str) -> Result:
    return CliRunner().invoke(axo, ["init", *arguments])


BOOK = [{"text": f"Line {n} of a book that goes on and on."} for n in range(60)]


@pytest.mark.parametrize(
    "rows", [TICKETS, CHATS, ALPACA, BOOK], ids=["labels", "sharegpt", "alpaca", "plain text"]
)
def test_what_init_writes_is_fit_to_run_as_it_is(rows: Sequence[Mapping[str, Any]]) -> None:
    done = init(lay("My Data.jsonl", rows), "--base-model", "base")
    assert done.exit_code == 0, done.output
    assert "axo check spec.yaml" in done.stderr
    checked = CliRunner().invoke(axo, ["check", "spec.yaml", "-o", "json"])
    assert checked.exit_code == 0, checked.output
    found = json.loads(checked.stdout)
    assert found["report"]["green"] == 60
    assert found["splits"]["validation"]["rows"] == 6
    assert load_spec(Path("spec.yaml")).spec.name == "my-data"


def test_a_folder_of_data_can_hold_its_own_spec() -> None:
    Path("data").mkdir()
    lay("data/a.jsonl", TICKETS[:30])
    lay("data/b.jsonl", TICKETS[30:])
    done = init("data", "--base-model", "base", "--output", "data/spec.yaml")
    assert done.exit_code == 0, done.output
    checked = json.loads(CliRunner().invoke(axo, ["check", "data/spec.yaml", "-o", "json"]).stdout)
    assert (checked["report"]["rows"], checked["faults"]) == (60, [])


def test_the_spec_names_its_schema_and_tells_what_was_recognised() -> None:
    init(lay("tickets.jsonl", TICKETS))
    lines = Path("spec.yaml").read_text().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=.spec.schema.json"
    assert "Taken for labels" in lines[1]
    assert max(map(len, lines)) <= 100
    schema = json.loads(Path(".spec.schema.json").read_text())
    assert schema["properties"]["base_model"]["description"]
    assert schema == json.loads(CliRunner().invoke(axo, ["schema"]).stdout)


def test_what_is_commented_out_is_true_once_it_is_not() -> None:
    init(lay("tickets.jsonl", TICKETS))
    text = Path("spec.yaml").read_text()
    for line in ("evaluate:", "publish:", "  - mlflow:"):
        assert f"# {line}" in text
        text = text.replace(f"# {line}", line)
    text = text.replace("# where: a_column", "where: queue")
    Path("spec.yaml").write_text(text)
    spec = load_spec(Path("spec.yaml")).spec
    assert (spec.publish[0].mlflow.alias, spec.mapping.where) == ("candidate", "queue is not none")
    assert spec.evaluate is not None


def test_a_spec_that_is_there_is_never_replaced() -> None:
    lay("tickets.jsonl", TICKETS)
    Path("spec.yaml").write_text("mine")
    done = init("tickets.jsonl")
    assert done.exit_code == 2
    assert "spec.yaml is there already" in done.stderr
    assert (Path("spec.yaml").read_text(), Path(".spec.schema.json").exists()) == ("mine", False)


def test_a_spec_elsewhere_names_data_and_model_from_there() -> None:
    lay("tickets.jsonl", TICKETS)
    assert init("tickets.jsonl", "--base-model", "base", "--output", "specs/a/spec.yaml").exit_code == 0
    spec = load_spec(Path("specs/a/spec.yaml")).spec
    assert (spec.dataset.source, spec.base_model) == ("../../tickets.jsonl", "../../base")


def test_stdout_holds_the_spec_and_nothing_is_written() -> None:
    done = init(lay("tickets.jsonl", TICKETS), "--stdout", "--name", "mine")
    assert "name: mine\n" in done.stdout
    assert not Path("spec.yaml").exists()


def test_without_a_terminal_nothing_is_asked() -> None:
    done = init(lay("tickets.jsonl", TICKETS))
    assert (done.exit_code, "base_model is a first choice" in done.stderr) == (0, True)


def test_a_terminal_is_asked_for_the_base_model(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(question: str, default: str, err: bool) -> str:
        asked.append(question)
        return "base"

    monkeypatch.setattr("orchestrator.cli.init.can_ask", lambda: True)
    monkeypatch.setattr(click, "prompt", answer)
    init(lay("tickets.jsonl", TICKETS))
    assert len(asked) == 1
    assert load_spec(Path("spec.yaml")).spec.base_model == "base"


def test_a_source_that_is_not_there_leaves_nothing_behind() -> None:
    done = init("tickts.jsonl")
    assert isinstance(done.exception, DataError)
    assert not Path("spec.yaml").exists()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("data/Support_Tickets.jsonl.gz", "support-tickets"),
        ("hf://org/My.Data@main/config/train", "my-data"),
        ("hf://org/tickets/config/train", "tickets"),
        ("s3://bucket/rows/*.parquet", "rows"),
        ("日本.csv", "fine-tune"),
        ("folder/", "folder"),
    ],
)
def test_a_run_is_named_after_its_source(source: str, name: str) -> None:
    assert name_for(source) == name


@pytest.mark.parametrize(("characters", "tokens"), [(0, 256), (576, 256), (579, 512), (10**6, 4096)])
def test_the_longest_row_fits_the_sequence(characters: int, tokens: int) -> None:
    assert guessed_length(characters).tokens == tokens


@pytest.mark.parametrize(
    ("lengths", "positions", "tokens", "why"),
    [
        ([250], None, 256, "the only row has 250"),
        ([3, 250], None, 256, "the longest of 2 rows has 250"),
        ([3, 257], 4096, 512, "has 257"),
        ([3, 900], 512, 512, "of 2 rows looked at, 1 is longer"),
        ([10] * 99 + [9_000], None, 4096, "of 100 rows looked at, 1 is longer"),
        ([10] * 90 + [9_000] * 10, None, 16384, "has 9,000"),
        ([10] * 90 + [99_000] * 10, None, 32768, "10 are longer"),
        ([10] * 90 + [9_000] * 10, 8000, 8000, "10 are longer"),
    ],
)
def test_a_sequence_is_as_long_as_rows_and_model_ask_for(
    lengths: list[int], positions: int | None, tokens: int, why: str
) -> None:
    found = length_for("sft", lengths, positions)
    assert (found.tokens, why in found.why) == (tokens, True)


def test_texts_are_cut_so_their_length_does_not_matter() -> None:
    assert length_for("pretrain", [10**6], None).tokens == 2048
    assert length_for("pretrain", [10**6], 1024).tokens == 1024


MESSY: Mapping[str, list[dict[str, Any]]] = {
    "empty answers": [{"question": f"q{n}", "answer": f"a{n}" if n % 3 else " "} for n in range(60)],
    "no answers": [{"question": f"q{n}", "answer": n if n % 3 else None} for n in range(60)],
    "empty texts": [{"text": f"line {n}" if n % 3 else None} for n in range(60)],
    "all the same": [{"question": "q", "answer": "a"}] * 60,
    "one row": [{"question": "q", "answer": "a"}],
    "long rows": [{"question": f"q{n} " * 400, "answer": "a"} for n in range(60)],
    "some longer than the model": [
        {"question": f"q{n} " * (3000 * (n % 2)), "answer": "a"} for n in range(60)
    ],
    "numbers only": [{"left": n, "right": n + 1} for n in range(60)],
    "parts": [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": f"q{n}"}]}, *ANSWER]}
        for n in range(60)
    ],
}


@pytest.mark.parametrize("rows", MESSY.values(), ids=MESSY)
def test_what_is_written_of_messy_data_is_not_refused(rows: list[dict[str, Any]]) -> None:
    done = init(lay("data.jsonl", rows), "--base-model", "base")
    assert done.exit_code == 0, done.output
    checked = CliRunner().invoke(axo, ["check", "spec.yaml", "-o", "json"])
    assert checked.exit_code == 0, checked.output
    assert load_spec(Path("spec.yaml")).spec.training.sequence_len <= 4096
    dropped = json.loads(checked.stdout)["dropped"]
    assert ("left out" in done.stderr) == ("too_long" in dropped)
    assert ("`where` leaves out 20 of 60" in done.stderr) == ("where:" in _uncommented(Path("spec.yaml")))


def _uncommented(path: Path) -> str:
    return "".join(line.split("#")[0] + "\n" for line in path.read_text().splitlines())


REFUSED: Mapping[str, tuple[list[dict[str, Any]], tuple[str, ...], str]] = {
    "no answer at all": ([{"question": f"q{n}", "answer": ""} for n in range(9)], (), "cannot be trained on"),
    "unknown roles": (
        [{"messages": [{"role": f"r{n % 3}", "content": "x"}]} for n in range(9)],
        (),
        "cannot be trained on",
    ),
    "every row too long": (
        [{"question": f"q{n} " * 6000, "answer": "a"} for n in range(3)],
        (),
        "4,096 tokens",
    ),
    "a base without template": (CHATS, ("--base-model", "plain"), "no chat template"),
    "no name": (CHATS, ("--name", "No Name"), "name"),
}


@pytest.mark.parametrize(("rows", "options", "words"), REFUSED.values(), ids=REFUSED)
def test_what_check_would_refuse_is_told_and_not_written(
    rows: list[dict[str, Any]], options: tuple[str, ...], words: str
) -> None:
    MODELS["chatml"].write(Path("plain"))
    (Path("plain") / "model.safetensors").write_bytes(b"\0" * 64)
    (Path("plain") / "chat_template.jinja").unlink()
    done = init(lay("data.jsonl", rows), "--base-model", "base", *options)
    assert isinstance(done.exception, SpecError)
    assert words in str(done.exception)
    assert not Path("spec.yaml").exists()


def test_the_draft_of_what_is_refused_can_be_printed() -> None:
    rows, _, _ = REFUSED["no answer at all"]
    done = init(lay("data.jsonl", rows), "--base-model", "base", "--stdout")
    assert isinstance(done.exception, SpecError)
    assert "mapping:" in done.stdout


VERDICTS = [{"remark": f"remark {n}", "finding": f"finding {n}", "note": f"note {n}"} for n in range(60)]


def test_a_label_whose_name_ends_in_a_known_word_is_no_guess() -> None:
    rows = [{"Ticket ID": n, "Ticket Text": f"text {n}", "Assigned Queue": f"q{n % 3}"} for n in range(60)]
    done = init(lay("data.jsonl", rows), "--base-model", "base")
    assert "taken for labels (likely): `Assigned Queue`" in done.stderr
    asked, answered = load_spec(Path("spec.yaml")).spec.mapping.messages or ()
    assert asked.content == "{{ row['Ticket Text'] }}"
    assert answered.content == "{{ row['Assigned Queue'] }}"


def test_a_table_without_a_header_is_noted() -> None:
    Path("data.csv").write_text("".join(f"How is {n}?,It is {n}.\n" for n in range(60)))
    done = init("data.csv", "--base-model", "base")
    assert "has the table no line with names?" in done.stderr


@pytest.mark.parametrize(
    ("rows", "items"),
    [
        ({"data": [{"q": "a", "a": "b"}]}, ".data[]"),
        ({"version": 1, "rows": [{"q": "a"}] * 3}, ".rows[]"),
        ({"meta": {"version": 2}, "data": {"items": [{"q": "a", "tags": [{"t": 1}]}] * 3}}, ".data.items[]"),
        ({f"t{n}": {"q": f"a {n}", "a": "b"} for n in range(3)}, ".[]"),
    ],
)
def test_rows_that_lie_inside_one_object_are_told(rows: Mapping[str, Any], items: str) -> None:
    Path("data.json").write_text(json.dumps(rows))
    done = init("data.json", "--base-model", "base")
    assert isinstance(done.exception, DataError)
    assert "the file is one object, and its rows" in str(done.exception)
    assert f"jq -c '{items}' data.json" in str(done.exception)


def test_an_export_in_latin_1_and_another_language() -> None:
    rows = [
        f'"{n}";"2024-03-{n % 28 + 1:02}";"Paket {n} ist verspätet";"{("Rechnung", "Lieferung")[n % 2]}";'
        f'"{"hoch" if n % 2 else ""}"\n'
        for n in range(60)
    ]
    text = '"Nr.";"Erstellt am";"Betreff";"Kategorie";"Priorität"\n' + "".join(rows)
    Path("export.csv").write_bytes(text.encode("latin-1"))
    told = str(init("export.csv", "--base-model", "base").exception)
    assert "`axo init` --encoding latin-1" in told
    done = init("export.csv", "--base-model", "base", "--encoding", "latin-1")
    assert done.exit_code == 0, done.output
    assert "has the table no line with names?" not in done.stderr
    spec = load_spec(Path("spec.yaml")).spec
    asked, answered = spec.mapping.messages or ()
    assert (asked.content, answered.content) == ("{{ Betreff }}", "{{ Kategorie }}")
    assert CliRunner().invoke(axo, ["check", "spec.yaml"]).exit_code == 0
    assert init("export.csv", "--encoding", "latin-99").exit_code == 2


def test_a_sheet_can_be_named() -> None:
    with xlsxwriter.Workbook("book.xlsx") as book:
        pl.DataFrame({"note": ["nothing"]}).write_excel(book, worksheet="first")
        pl.DataFrame(TICKETS).write_excel(book, worksheet="tickets")
    done = init("book.xlsx", "--base-model", "base", "--sheet", "tickets")
    assert done.exit_code == 0, done.output
    assert "source: {source: book.xlsx, sheet: tickets}" in Path("spec.yaml").read_text()


def test_a_title_above_the_names_is_told_once() -> None:
    Path("title.csv").write_text("Export of May\n" + "a,b,c\n" * 30)
    with xlsxwriter.Workbook("title.xlsx") as book:
        sheet = book.add_worksheet()
        for number, row in enumerate([["Export of May"], ["a", "b", "c"], ["1", "2", "3"]]):
            sheet.write_row(number, 0, row)
    told = [str(init(f"title.{kind}", "--base-model", "base").exception) for kind in ("csv", "xlsx")]
    assert told[0].startswith("title.csv:1: the first line has 1 field, and the rows below have 3")
    assert told[1].startswith("title.xlsx:1: this line names 1 of 3 columns")
    assert [one.count("fix:") for one in told] == [1, 1]


def test_faults_that_differ_in_their_place_alone_are_not_all_told() -> None:
    Path("data.json").write_text(json.dumps([[f"q {n}", "a"] for n in range(30)]))
    done = init("data.json", "--base-model", "base")
    assert isinstance(done.exception, DataError)
    assert len(done.exception.faults) == 20
    assert str(done.exception).count("the row is not an object") == 3
    assert "and the same in 17 more places" in str(done.exception)


def test_a_table_whose_names_are_values_too_is_noted() -> None:
    Path("data.csv").write_text("".join(f"parcel {n},{('billing', 'sales')[n % 2]}\n" for n in range(60)))
    done = init("data.csv", "--base-model", "base")
    assert "`billing` reads as a row, not as a name" in done.stderr


def test_one_conversation_is_a_row() -> None:
    Path("data.json").write_text(json.dumps(CHATS[0]))
    assert init("data.json", "--base-model", "base").exit_code == 0


def test_conversations_are_counted_not_their_turns() -> None:
    rows = [{"chat_id": n // 2, "role": ("user", "assistant")[n % 2], "text": f"t{n}"} for n in range(60)]
    assert init(lay("data.jsonl", rows), "--base-model", "base").exit_code == 0
    spec = load_spec(Path("spec.yaml")).spec
    assert (spec.mapping.turns is not None, spec.dataset.validation) == (True, None)


def test_an_answer_that_is_named_is_the_answer() -> None:
    done = init(lay("data.jsonl", VERDICTS), "--base-model", "base", "--answer", "finding")
    assert done.exit_code == 0, done.output
    asked, answered = load_spec(Path("spec.yaml")).spec.mapping.messages or ()
    assert (asked.content, answered.content) == ("{{ remark }}\n\n{{ note }}", "{{ finding }}")
    done = init("data.jsonl", "--stdout", "--answer", "findin")
    assert (done.exit_code, "did you mean 'finding'" in done.stderr) == (2, True)


def test_an_answer_that_would_be_a_guess_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(question: str, **_: Any) -> str:
        asked.append(question)
        return "finding"

    monkeypatch.setattr("orchestrator.cli.init.can_ask", lambda: True)
    monkeypatch.setattr(click, "prompt", answer)
    init(lay("data.jsonl", VERDICTS), "--base-model", "base")
    assert asked == ["Column with the answers"]
    mapping = load_spec(Path("spec.yaml")).spec.mapping
    assert mapping.messages is not None
    assert mapping.messages[-1].content == "{{ finding }}"
    init(lay("known.jsonl", TICKETS), "--base-model", "base", "--stdout")
    assert len(asked) == 1


def test_the_schema_of_the_settings_knows_machines() -> None:
    schema = json.loads(CliRunner().invoke(axo, ["schema", "settings"]).stdout)
    assert "machines" in schema["properties"]
    done = CliRunner().invoke(axo, ["schema", "--output", "s.json"])
    assert (done.stdout, json.loads(Path("s.json").read_text())["title"]) == ("", "Spec")
