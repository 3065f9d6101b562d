"""Several sources: each with a mapping and a weight of its own, numbered, drawn and told of as one."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import toy_models

from orchestrator.contract import FileStore
from orchestrator.data.analysis import Analysis, UnfitError, analyse
from orchestrator.data.inputs import Inputs
from orchestrator.data.prepare import prepare
from orchestrator.data.tokens import ChatTokenizer
from orchestrator.errors import DataError, SpecError
from orchestrator.spec.models import Spec


def messages(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def spec(**dataset: Any) -> Spec:
    return Spec.model_validate(
        {"name": "t", "base_model": "m", "dataset": dataset, "mapping": messages("{{ q }}", "{{ a }}")}
    )


def write(folder: Path, name: str, prefix: str, count: int) -> None:
    rows = [{"q": f"{prefix}{number}", "a": f"{prefix}{number}."} for number in range(count)]
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def analysed(folder: Path, wanted: Spec, tokenizer: ChatTokenizer | None = None) -> Analysis:
    return analyse(Inputs.open(wanted, folder, tokenizer), scratch(folder))


def scratch(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix="scratch-", dir=folder))


def asked(analysis: Analysis, split: str = "train") -> list[str]:
    rows = analysis.rows(split).collect().get_column("messages").to_list()
    return [row[0]["content"] for row in rows]


def test_sources_follow_one_another(tmp_path: Path) -> None:
    write(tmp_path, "b.jsonl", "b", 3)
    write(tmp_path, "a.jsonl", "a", 2)
    analysis = analysed(tmp_path, spec(source=["b.jsonl", {"source": "a.jsonl"}]))
    assert asked(analysis) == ["b0", "b1", "b2", "a0", "a1"]
    assert analysis.report.rows == 5


def test_how_rows_lie_in_files_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    write(tmp_path / "whole", "all.jsonl", "r", 40)
    lines = (tmp_path / "whole/all.jsonl").read_text().splitlines(keepends=True)
    for name, part in (("1.jsonl", lines[:7]), ("2.jsonl", lines[7:30]), ("3.jsonl", lines[30:])):
        (tmp_path / name).write_text("".join(part))
    store = FileStore(tmp_path / "storage")
    forms: list[Any] = ["whole/all.jsonl", "[123].jsonl", ["1.jsonl", "[23].jsonl"], "whole"]
    made = [
        prepare(Inputs.open(spec(source=form, validation=0.25), tmp_path, None), store, scratch(tmp_path))
        for form in forms
    ]
    assert len({dataset.digest for dataset in made}) == 1
    assert made[0].description["splits"]["validation"]["rows"] == 10
    assert made[3].reused


def test_each_source_may_have_a_mapping_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", "a", 2)
    (tmp_path / "b.csv").write_text("text,label\nhello,greeting\n,none\n")
    own = messages("Class of {{ text }}?", "{{ label }}")
    analysis = analysed(tmp_path, spec(source=["a.jsonl", {"source": "b.csv", "mapping": own}]))
    assert asked(analysis) == ["a0", "a1", "Class of hello?", "Class of ?"]
    (finding,) = [finding for finding in analysis.report.findings if finding.code == "empty_field"]
    (example,) = finding.examples
    assert (example.file, example.row, example.line) == ("b.csv", 2, 3)
    assert example.field == "dataset.source[1].mapping.messages[0].content"
    with pytest.raises(SpecError) as caught:
        analysed(tmp_path, spec(source=["b.csv", {"source": "a.jsonl", "mapping": messages("{{ x }}", "y")}]))
    assert caught.value.faults[0].path == "mapping.messages[0].content"
    with pytest.raises(SpecError) as caught:
        analysed(
            tmp_path, spec(source=["a.jsonl", {"source": "a.jsonl", "mapping": messages("{{ x }}", "y")}])
        )
    assert caught.value.faults[0].path == "dataset.source[1].mapping.messages[0].content"


@pytest.mark.parametrize(
    ("weight", "times"),
    [(1, {1: 20}), (2, {2: 20}), (0.5, {1: 10}), (2.25, {2: 15, 3: 5}), (0.001, {1: 1}), (1.001, {1: 20})],
)
def test_a_weight_is_how_often_each_row_is_trained(
    tmp_path: Path, weight: float, times: dict[int, int]
) -> None:
    write(tmp_path, "a.jsonl", "a", 20)
    write(tmp_path, "b.jsonl", "b", 5)
    wanted = spec(source=["b.jsonl", {"source": "a.jsonl", "weight": weight}])
    analysis = analysed(tmp_path, wanted)
    rows = asked(analysis)
    counts = Counter(row for row in rows if row.startswith("a"))
    assert Counter(counts.values()) == times
    assert [row for row in rows if row.startswith("b")] == [f"b{number}" for number in range(5)]
    assert analysis.tally.figures("train")["rows"] == len(rows)
    assert not [finding for finding in analysis.report.findings if finding.code == "duplicate_rows"]
    assert asked(analysed(tmp_path, wanted)) == rows


def test_a_weight_is_drawn_by_the_seed(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", "a", 40)
    entry = {"source": "a.jsonl", "weight": 0.5}
    one, two = (asked(analysed(tmp_path, spec(source=entry, split_seed=seed))) for seed in (1, 2))
    assert len(one) == len(two) == 20
    assert one != two
    assert analysed(tmp_path, spec(source=entry)).tally.dropped == {"not_drawn": 20}


def test_held_out_rows_are_never_repeated(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", "a", 20)
    analysis = analysed(tmp_path, spec(source={"source": "a.jsonl", "weight": 3}, validation=0.25))
    train, held_out = asked(analysis), asked(analysis, "validation")
    assert (len(train), len(held_out)) == (45, 5)
    assert len(set(held_out)) == 5
    assert not set(train) & set(held_out)


def test_counts_and_forecast_are_of_the_rows_as_often_as_they_are_trained(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = toy_models.MODELS["chatml"].write(tmp_path_factory.mktemp("chatml") / "model")
    tokenizer = ChatTokenizer.load(model)
    write(tmp_path, "a.jsonl", "a", 10)
    once = analysed(tmp_path, spec(source="a.jsonl"), tokenizer).tally.figures("train")
    thrice = analysed(tmp_path, spec(source={"source": "a.jsonl", "weight": 3}), tokenizer).tally.figures(
        "train"
    )
    for figure in ("rows", "tokens", "trained_tokens"):
        assert thrice[figure] == 3 * once[figure]
    assert thrice["lengths"] == once["lengths"]


def test_rows_that_stand_in_two_sources_are_told(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", "a", 3)
    write(tmp_path, "b.jsonl", "a", 2)
    write(tmp_path, "c.jsonl", "a", 1)
    analysis = analysed(tmp_path, spec(source=["a.jsonl", "b.jsonl"], validation={"source": "c.jsonl"}))
    findings = {finding.code: finding for finding in analysis.report.findings}
    places = [(example.file, example.row) for example in findings["duplicate_rows"].examples]
    assert places == [("b.jsonl", 1), ("b.jsonl", 2)]
    assert findings["validation_rows_in_training"].examples[0].file == "c.jsonl"


def test_whatever_decides_rows_is_in_the_input_key(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", "a", 3)
    write(tmp_path, "b.jsonl", "b", 3)
    forms: list[Any] = [
        "a.jsonl",
        {"source": "a.jsonl", "weight": 2},
        {"source": "a.jsonl", "mapping": messages("{{ a }}", "{{ q }}")},
        {"source": "a.jsonl", "encoding": "latin-1"},
        ["a.jsonl", "b.jsonl"],
        ["b.jsonl", "a.jsonl"],
    ]
    keys = [Inputs.open(spec(source=form), tmp_path, None).key for form in forms]
    assert len(set(keys)) == len(keys)
    half = {"source": "a.jsonl", "weight": 1.5}
    drawn = {Inputs.open(spec(source=half, split_seed=seed), tmp_path, None).key for seed in (1, 2)}
    assert len(drawn) == 2
    plain = {Inputs.open(spec(source="a.jsonl", split_seed=seed), tmp_path, None).key for seed in (1, 2)}
    assert plain == {keys[0]}


def test_faults_of_all_sources_come_together(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        Inputs.open(
            spec(source=["no.jsonl", {"source": "nor.csv"}], validation={"source": "x"}), tmp_path, None
        )
    paths = [fault.path for fault in caught.value.faults]
    assert paths == ["dataset.source[0]", "dataset.source[1]", "dataset.validation"]
    (tmp_path / "a.jsonl").write_text('{"a": tru}')
    (tmp_path / "b.jsonl").write_text('{"a": fals}')
    with pytest.raises(DataError) as caught:
        analysed(tmp_path, spec(source=["a.jsonl", "b.jsonl"]))
    assert [fault.file for fault in caught.value.faults] == ["a.jsonl", "b.jsonl"]


def test_a_source_full_of_red_rows_stops_the_run_though_others_are_good(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", "a", 1000)
    (tmp_path / "b.jsonl").write_text('{"q": "x", "a": ""}\n')
    with pytest.raises(UnfitError, match="1 of 1 row cannot"):
        analysed(tmp_path, spec(source=["a.jsonl", "b.jsonl"]))


def test_an_encoding_or_a_sheet_is_taken_from_the_entry(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("q,a\ncafé,5 €\n".encode("windows-1252"))
    assert asked(analysed(tmp_path, spec(source={"source": "a.csv", "encoding": "windows-1252"}))) == ["café"]
    (tmp_path / "b.csv").write_bytes("q,a\n猫,x\n".encode("utf-16-le"))
    assert asked(analysed(tmp_path, spec(source={"source": "b.csv", "encoding": "utf-16-le"}))) == ["猫"]
    for entry, what in (
        ({"source": "a.csv", "encoding": "ascii"}, "not ascii"),
        ({"source": "a.csv", "encoding": "utf-16"}, "the file is not utf-16"),
        ({"source": "a.csv", "encoding": "latin-1", "sheet": "x"}, "has no `sheet`"),
    ):
        with pytest.raises(DataError, match=what):
            analysed(tmp_path, spec(source=entry))
