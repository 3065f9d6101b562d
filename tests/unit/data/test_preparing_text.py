"""Plain text is prepared for pre-training: judged, counted in the pieces it is trained in, and named."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import toy_models

from orchestrator.contract import FileStore, dataset_key
from orchestrator.data.analysis import analyse
from orchestrator.data.conversation import TrainingRules
from orchestrator.data.forecast import forecast
from orchestrator.data.inputs import Inputs
from orchestrator.data.prepare import prepare
from orchestrator.data.shapes import TEXT
from orchestrator.data.text_tokens import TextTokenizer, pieces
from orchestrator.errors import DataError
from orchestrator.spec.models import Spec

TEXTS = ["one", "wq " * 50, "", "two\nlines", None, "wq " * 900]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    return TextTokenizer.load(toy_models.MODELS["bos"].write(tmp_path_factory.mktemp("bos") / "model"))


def inputs(folder: Path, texts: list[str | None], tokenizer: TextTokenizer, **more: Any) -> Inputs:
    (folder / "rows.jsonl").write_text("".join(json.dumps({"t": text}) + "\n" for text in texts))
    wanted = {"name": "test", "base_model": "model", "method": "pretrain", "mapping": {"text": "{{ t }}"}}
    wanted |= {"dataset": {"source": "rows.jsonl"}, "training": {"sequence_len": 16, "batch_size": 2}, **more}
    return Inputs.open(Spec.model_validate(wanted), folder, tokenizer)


def test_texts_are_judged_counted_and_named(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    storage, work = FileStore(tmp_path / "storage"), inputs(tmp_path, TEXTS, tokenizer)
    dataset = prepare(work, storage, tmp_path, max_red_share=0.5)
    folder = storage.local(dataset_key(dataset.digest))
    assert folder is not None
    kept = [text for text in TEXTS if text]
    assert pl.read_parquet(folder / "train.parquet").to_dict(as_series=False) == {"text": kept}
    assert pl.read_parquet_schema(folder / "train.parquet") == TEXT.columns
    text = "".join(f"{len(one.encode())}:{one}\n" for one in kept)
    assert dataset.digest == sha256(f"fine_tuning_text\ntrain {len(kept)}\n{text}".encode()).hexdigest()
    found = {
        finding.code: [example.row for example in finding.examples] for finding in dataset.report.findings
    }
    assert found == {"missing_text": [3, 5], "truncated": [6]}
    assert dataset.description["shape"] == TEXT.name


def test_figures_are_those_of_the_pieces(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    work = inputs(tmp_path, TEXTS, tokenizer)
    summary = analyse(work, tmp_path, max_red_share=0.5).summary()
    counts = tokenizer.count([{"text": text} for text in TEXTS if text], work.rules)
    lengths = sorted(length for one in counts for length in pieces(one.tokens, work.rules))
    figures = summary.splits["train"]
    assert (figures["rows"], figures["pieces"]) == (4, len(lengths))
    assert figures["tokens"] == figures["trained_tokens"] == sum(lengths)
    assert figures["lengths"]["longest"] == 16
    assert figures["lengths"]["shortest"] == lengths[0]
    assert figures["truncated"] == 1
    steps = forecast(summary.lengths, work.spec.training).steps
    assert steps == -(-len(lengths) * 3 // 2)
    dataset = prepare(work, FileStore(tmp_path / "storage"), tmp_path, max_red_share=0.5)
    assert dataset.facts["rows"] == len(lengths)
    (first, *_) = summary.samples
    assert (first.example, first.tokens) == ({"text": "one"}, counts[0].tokens)


def test_pieces_and_the_end_of_a_text(tokenizer: TextTokenizer) -> None:
    rules = TrainingRules(sequence_len=8)
    (short, ended, empty) = tokenizer.count([{"text": "wq"}, {"text": "wq<|eot_id|>"}, {"text": ""}], rules)
    assert short == ended
    assert empty.tokens == 0
    assert list(pieces(17, rules)) == [8, 8]
    assert list(pieces(18, rules)) == [8, 8, 2]


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path: Path) -> None:
    model = toy_models.MODELS["chatml"].write(tmp_path / "model")
    (model / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(DataError, match="no end token"):
        TextTokenizer.load(model)


def test_held_out_text(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    texts: list[str | None] = [f"text {number} " * number for number in range(1, 30)]
    work = inputs(tmp_path, texts, tokenizer, dataset={"source": "rows.jsonl", "validation": 0.2})
    dataset = prepare(work, FileStore(tmp_path / "storage"), tmp_path)
    splits = dataset.description["splits"]
    assert (splits["train"]["rows"], splits["validation"]["rows"]) == (23, 6)
    assert dataset.facts["validation_rows"] == splits["validation"]["pieces"] > 6
