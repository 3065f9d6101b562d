"""Preparing: which rows are left, what they count, how they are split, and under which names they lie."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import toy_models

from orchestrator.contract import FileStore, dataset_key, read_manifest, verify_folder
from orchestrator.data.analysis import UnfitError, analyse
from orchestrator.data.inputs import Inputs
from orchestrator.data.prepare import Dataset, prepare
from orchestrator.data.report import Finding
from orchestrator.data.tokens import ChatTokenizer
from orchestrator.errors import DataError
from orchestrator.spec.models import Spec

MAPPING = {"messages": [{"role": "user", "content": "{{ q }}"}, {"role": "assistant", "content": "{{ a }}"}]}
Row = dict[str, Any]


@pytest.fixture(scope="session")
def chatml(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return ChatTokenizer.load(toy_models.MODELS["chatml"].write(tmp_path_factory.mktemp("chatml") / "model"))


def write(folder: Path, rows: Iterable[Row], name: str = "rows.jsonl") -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def spec(source: str = "rows.jsonl", **more: Any) -> Spec:
    dataset = {"source": source, **more.pop("dataset", {})}
    return Spec.model_validate(
        {"name": "test", "base_model": "model", "dataset": dataset, "mapping": MAPPING, **more}
    )


class Bench:
    """A folder of data beside a store."""

    def __init__(self, folder: Path, tokenizer: ChatTokenizer) -> None:
        self.folder, self.tokenizer = folder, tokenizer
        self.store = FileStore(folder / "storage")
        self.runs = 0

    def prepare(
        self, wanted: Spec, *, tokenizer: ChatTokenizer | None = None, strict: bool = False
    ) -> Dataset:
        self.runs += 1
        scratch = self.folder / f"scratch-{self.runs}"
        scratch.mkdir()
        inputs = Inputs.open(wanted, self.folder, tokenizer or self.tokenizer)
        return prepare(inputs, self.store, scratch, strict=strict)

    def rows(self, dataset: Dataset, split: str = "train") -> list[list[tuple[str, str]]]:
        folder = self.store.local(dataset_key(dataset.digest))
        assert folder is not None
        column = pl.read_parquet(folder / f"{split}.parquet").get_column("messages").to_list()
        return [[(message["role"], message["content"]) for message in row] for row in column]


@pytest.fixture
def bench(tmp_path: Path, chatml: ChatTokenizer) -> Bench:
    return Bench(tmp_path, chatml)


def numbered(count: int) -> list[Row]:
    return [{"q": f"question {number}", "a": f"answer {number}"} for number in range(count)]


def talk(row: Row) -> list[tuple[str, str]]:
    return [("user", row["q"]), ("assistant", row["a"])]


def found(dataset: Dataset, code: str) -> Finding:
    (finding,) = [finding for finding in dataset.report.findings if finding.code == code]
    return finding


def test_rows_lie_in_storage_in_their_order(bench: Bench) -> None:
    write(bench.folder, numbered(40))
    dataset = bench.prepare(spec())
    assert bench.rows(dataset) == [talk(row) for row in numbered(40)]
    assert verify_folder(bench.store, dataset_key(dataset.digest)) == []
    manifest = read_manifest(bench.store, dataset_key(dataset.digest))
    assert manifest is not None
    assert manifest.kind == "dataset"
    assert [file.path for file in manifest.files] == ["dataset.json", "train.parquet"]


def test_the_content_digest_is_that_of_the_documented_text(bench: Bench) -> None:
    write(bench.folder, [{"q": "é", "a": "x,1:y"}, {"q": "", "a": 'a "b"\r\n'}])
    text = 'fine_tuning_conversation\ntrain 2\nuser:2:é,assistant:5:x,1:y,\nuser:0:,assistant:7:a "b"\r\n,\n'
    assert bench.prepare(spec()).digest == sha256(text.encode()).hexdigest()


def test_the_content_digest_knows_nothing_of_the_file(bench: Bench) -> None:
    rows = numbered(30)
    write(bench.folder, rows)
    (bench.folder / "rows.json").write_text(json.dumps(rows, indent=1))
    frame = pl.DataFrame(rows)
    frame.write_csv(bench.folder / "rows.csv")
    frame.write_parquet(bench.folder / "rows.parquet", row_group_size=7)
    names = ("rows.jsonl", "rows.json", "rows.csv", "rows.parquet")
    made = [bench.prepare(spec(name, dataset={"validation": 0.2})) for name in names]
    assert len({dataset.digest for dataset in made}) == 1
    assert len({dataset.description["input_key"] for dataset in made}) == 4
    write(bench.folder, reversed(rows), "reversed.jsonl")
    assert bench.prepare(spec("reversed.jsonl", dataset={"validation": 0.2})).digest != made[0].digest


def test_nothing_is_prepared_twice(bench: Bench) -> None:
    write(bench.folder, numbered(10))
    first, again = bench.prepare(spec()), bench.prepare(spec())
    assert (first.reused, again.reused) == (False, True)
    assert again.description == first.description
    assert again.facts == first.facts
    bench.store.delete(f"{dataset_key(first.digest)}/MANIFEST.json")
    assert not bench.prepare(spec()).reused


def test_whatever_decides_rows_or_counts_is_in_the_input_key(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write(bench.folder, numbered(10))
    other = ChatTokenizer.load(toy_models.MODELS["gpt"].write(tmp_path_factory.mktemp("gpt") / "model"))
    asked = {
        "messages": [{"role": "user", "content": "{{ q }}?"}, {"role": "assistant", "content": "{{ a }}"}]
    }
    variants = [
        spec(),
        spec(dataset={"validation": 0.2}),
        spec(dataset={"validation": 0.3}),
        spec(dataset={"validation": 0.2, "split_seed": 7}),
        spec(mapping=asked),
        spec(mapping={**MAPPING, "where": "q != 'x'"}),
        spec(training={"sequence_len": 64}),
        spec(axolotl={"train_on_inputs": True}),
    ]
    keys = [Inputs.open(variant, bench.folder, bench.tokenizer).key for variant in variants]
    keys.append(Inputs.open(spec(), bench.folder, other).key)
    write(bench.folder, numbered(11))
    keys.append(Inputs.open(spec(), bench.folder, bench.tokenizer).key)
    assert len(set(keys)) == len(keys)
    write(bench.folder, numbered(10))
    renamed = spec(training={"epochs": 9.0}, description="other words")
    assert Inputs.open(renamed, bench.folder, bench.tokenizer).key == keys[0]


def test_counts_are_those_of_the_tokenizer(bench: Bench) -> None:
    kept = [*numbered(19), {"q": "a question longer than all the others", "a": "x"}]
    write(bench.folder, [*kept, {"q": "long", "a": "word " * 200}, {"q": "red", "a": ""}])
    wanted = spec(training={"sequence_len": 64})
    dataset = bench.prepare(wanted)
    rules = Inputs.open(wanted, bench.folder, bench.tokenizer).rules
    examples = [{"messages": [{"role": r, "content": c} for r, c in talk(row)]} for row in kept]
    counts = bench.tokenizer.count(examples, rules)
    lengths = sorted(one.tokens for one in counts)
    assert dataset.facts == {
        "rows": 20,
        "validation_rows": 0,
        "tokens": sum(lengths),
        "trained_tokens": sum(one.trained for one in counts),
        "longest": lengths[-1],
        "digest": dataset.digest,
    }
    train = dataset.description["splits"]["train"]
    assert train["lengths"]["shortest"] == lengths[0]
    assert train["lengths"]["p95"] == lengths[18]
    assert dataset.description["dropped"] == {"red": 1, "too_long": 1}
    exact = bench.prepare(spec(training={"sequence_len": lengths[-1]}))
    below = bench.prepare(spec(training={"sequence_len": lengths[-1] - 1}))
    assert (exact.facts["rows"], below.facts["rows"]) == (20, 19)
    assert bench.rows(dataset) == [talk(row) for row in kept]
    assert found(dataset, "too_long").examples[0].row == 21


def test_long_rows_are_cut_where_the_spec_says_so(bench: Bench) -> None:
    write(bench.folder, [*numbered(3), {"q": "long", "a": "word " * 200}])
    wanted = spec(training={"sequence_len": 64}, axolotl={"excess_length_strategy": "truncate"})
    dataset = bench.prepare(wanted)
    assert (dataset.facts["rows"], dataset.facts["longest"]) == (4, 64)
    assert found(dataset, "truncated").count == 1


def test_rows_whose_answer_is_cut_off_are_left_out(bench: Bench) -> None:
    write(bench.folder, [*numbered(30), {"q": "x y " * 90, "a": "z"}])
    wanted = spec(training={"sequence_len": 32}, axolotl={"excess_length_strategy": "truncate"})
    dataset = bench.prepare(wanted)
    assert [example.row for example in found(dataset, "no_trained_token").examples] == [31]
    assert dataset.facts["rows"] == 30


def test_rows_that_the_template_refuses_are_red(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    alternating = ChatTokenizer.load(
        toy_models.MODELS["alternating"].write(tmp_path_factory.mktemp("alternating") / "model")
    )
    good = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rows = [{"m": [{**good[0], "content": f"a{number}"}, good[1]]} for number in range(600)]
    for at in (0, 5, 300, *range(560, 582)):
        rows[at] = {"m": [good[0], *rows[at]["m"]]}
    write(bench.folder, rows)
    dataset = bench.prepare(spec(mapping={"conversation": {"column": "m"}}), tokenizer=alternating)
    refused = found(dataset, "template_refused")
    assert (refused.severity, refused.count, dataset.report.red) == ("error", 25, 25)
    assert [example.row for example in refused.examples] == [1, 6, 301, 561, 562]
    assert "alternate" in (refused.examples[0].value or "")
    assert dataset.report.green + dataset.report.yellow + dataset.report.red == 600
    assert dataset.facts["rows"] == 575
    assert all(len(row) == 2 for row in bench.rows(dataset))


def test_few_red_rows_are_left_out_and_many_stop_the_run(bench: Bench) -> None:
    red = {"q": "x", "a": " "}
    write(bench.folder, [*numbered(95), *[red] * 5])
    assert bench.prepare(spec()).facts["rows"] == 95
    write(bench.folder, [*numbered(94), *[red] * 6])
    with pytest.raises(UnfitError, match=r"6 of 100 rows cannot be trained on") as caught:
        bench.prepare(spec())
    assert caught.value.faults[1].row == 95
    assert caught.value.report.red == 6
    write(bench.folder, [red])
    with pytest.raises(UnfitError, match=r"1 of 1 row cannot"):
        bench.prepare(spec())


def test_nothing_left_is_an_error_with_the_reasons(bench: Bench) -> None:
    write(bench.folder, [{"q": "long", "a": "word " * 50}] * 3)
    with pytest.raises(UnfitError, match="no row is left") as caught:
        bench.prepare(spec(training={"sequence_len": 16}))
    assert any("longer than sequence_len" in fault.what for fault in caught.value.faults)
    write(bench.folder, numbered(3))
    with pytest.raises(DataError, match="`where` leaves no row"):
        bench.prepare(spec(mapping={**MAPPING, "where": "q == 'none'"}))


def test_strict_makes_warnings_errors_also_of_what_was_prepared_before(bench: Bench) -> None:
    write(bench.folder, [*numbered(5), numbered(1)[0]])
    with pytest.raises(UnfitError, match="repeat an earlier row"):
        bench.prepare(spec(), strict=True)
    assert found(bench.prepare(spec()), "duplicate_rows").count == 1
    with pytest.raises(UnfitError, match="repeat an earlier row"):
        bench.prepare(spec(), strict=True)
    write(bench.folder, numbered(5))
    assert bench.prepare(spec(), strict=True).facts["rows"] == 5


@pytest.mark.parametrize(("count", "share", "held_out"), [(100, 0.05, 5), (10, 0.01, 1), (2, 0.89, 1)])
def test_a_share_is_held_out(bench: Bench, count: int, share: float, held_out: int) -> None:
    write(bench.folder, numbered(count))
    dataset = bench.prepare(spec(dataset={"validation": share}))
    train, validation = bench.rows(dataset), bench.rows(dataset, "validation")
    assert len(validation) == held_out == dataset.facts["validation_rows"]
    order = [talk(row) for row in numbered(count)]
    assert sorted([*train, *validation]) == sorted(order)
    assert train == [row for row in order if row in train]
    assert validation == [row for row in order if row in validation]


def ranked(row: int, seed: int) -> int:
    """SplitMix64 as its authors write it."""
    mask = 2**64 - 1
    mixed = (seed + row * 0x9E3779B97F4A7C15) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return mixed ^ (mixed >> 31)


def test_the_draw_is_the_documented_one(bench: Bench) -> None:
    write(bench.folder, numbered(50))
    order = sorted(range(1, 51), key=lambda row: ranked(row, 7))
    dataset = bench.prepare(spec(dataset={"validation": 0.1, "split_seed": 7}))
    drawn = [talk(numbered(50)[row - 1]) for row in sorted(order[:5])]
    assert bench.rows(dataset, "validation") == drawn


def test_equal_rows_stay_on_one_side(bench: Bench) -> None:
    write(bench.folder, [numbered(8)[number % 8] for number in range(80)])
    dataset = bench.prepare(spec(dataset={"validation": 0.2}))
    train, validation = bench.rows(dataset), bench.rows(dataset, "validation")
    assert validation
    assert not {str(row) for row in train} & {str(row) for row in validation}


def test_too_few_rows_to_split(bench: Bench) -> None:
    write(bench.folder, numbered(1) * 4)
    with pytest.raises(DataError, match="cannot be split") as caught:
        bench.prepare(spec(dataset={"validation": 0.5}))
    assert caught.value.faults[0].path == "dataset.validation"


def test_held_out_rows_from_a_file_of_their_own(bench: Bench) -> None:
    write(bench.folder, numbered(20))
    held_out = [
        {"q": "question 3", "a": "answer 3"},
        {"q": "question 4", "a": "another"},
        {"q": "new", "a": "x"},
    ]
    (bench.folder / "held-out.csv").write_text("a,q\n" + "".join(f"{r['a']},{r['q']}\n" for r in held_out))
    dataset = bench.prepare(spec(dataset={"validation": "held-out.csv"}))
    assert bench.rows(dataset, "validation") == [talk(row) for row in held_out]
    assert dataset.facts["rows"] == 20
    same, asked = (
        found(dataset, "validation_rows_in_training"),
        found(dataset, "validation_prompts_in_training"),
    )
    assert [(e.file, e.row, e.line) for e in same.examples] == [("held-out.csv", 1, 2)]
    assert [(e.file, e.row, e.line) for e in asked.examples] == [("held-out.csv", 2, 3)]
    assert dataset.report.rows == 23


def test_faults_of_both_files_come_together(bench: Bench) -> None:
    with pytest.raises(DataError) as caught:
        bench.prepare(spec("none.jsonl", dataset={"validation": "neither.csv"}))
    assert [fault.path for fault in caught.value.faults] == ["dataset.source", "dataset.validation"]


def test_without_a_tokenizer_rows_are_judged_and_not_counted(bench: Bench, tmp_path: Path) -> None:
    write(bench.folder, [*numbered(30), {"q": "x", "a": ""}])
    analysis = analyse(Inputs.open(spec(), bench.folder, None), tmp_path)
    assert (analysis.report.rows, analysis.report.red) == (31, 1)
    assert analysis.tally.rows("train") == 30
