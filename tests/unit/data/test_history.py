"""Earlier turns in a column of pairs, as Alpaca's data has them, become messages before the templates'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from orchestrator.data.checks import MESSAGES
from orchestrator.data.mapping import compile_mapping
from orchestrator.data.recognise import recognise
from orchestrator.data.sources import open_source, read_source
from orchestrator.data.verdicts import Judged, judge
from orchestrator.errors import SpecError
from orchestrator.spec.mapping import Mapping

SYSTEM = {"role": "system", "content": "{{ system }}"}
ASKED = [{"role": "user", "content": "{{ instruction }}"}, {"role": "assistant", "content": "{{ output }}"}]
PAIRS = [["a", "b"], ["c", "d"]]
EARLIER = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
NOW = [("user", "q"), ("assistant", "w")]


def row(history: Any, system: str = "s") -> dict[str, Any]:
    return {"instruction": "q", "output": "w", "system": system, "history": history}


def judged(folder: Path, rows: list[dict[str, Any]], **mapping: Any) -> Judged:
    (folder / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    source = read_source(open_source("rows.jsonl", folder), folder / "scratch")
    given = Mapping.model_validate({"messages": ASKED, "history": "history", **mapping})
    return judge(source, compile_mapping(given, source.schema), folder / "mapped.arrow")


def said(found: Judged) -> list[list[tuple[str, str]]]:
    column = found.rows.collect().get_column(MESSAGES).to_list()
    return [[(message["role"], message["content"]) for message in one] for one in column]


def test_earlier_turns_stand_behind_the_system_message(tmp_path: Path) -> None:
    rows = [row(PAIRS), row([]), row(None), row(PAIRS, system=" ")]
    found = judged(tmp_path, rows, messages=[SYSTEM, *ASKED])
    opening = [("system", "s")]
    assert said(found) == [[*opening, *EARLIER, *NOW], [*opening, *NOW], [*opening, *NOW], [*EARLIER, *NOW]]
    assert found.report.red == 0


def test_without_a_system_message(tmp_path: Path) -> None:
    found = judged(tmp_path, [row(PAIRS)])
    assert (said(found), found.report.green) == ([[*EARLIER, *NOW]], 1)


@pytest.mark.parametrize("history", [None, []])
def test_a_column_without_any_turn(tmp_path: Path, history: Any) -> None:
    assert said(judged(tmp_path, [row(history)])) == [NOW]


@pytest.mark.parametrize("pair", [["x"], ["x", "y", "z"], ["x", None], ["x", " "], ["", "y"], [], None])
def test_what_is_no_pair_is_red(tmp_path: Path, pair: Any) -> None:
    found = judged(tmp_path, [row(PAIRS), row([*PAIRS, pair])])
    (finding,) = [one for one in found.report.findings if one.code == "history_not_pairs"]
    assert [(example.row, example.field) for example in finding.examples] == [(2, "history")]
    assert (found.report.green, found.report.red) == (1, 1)


def test_weights_and_the_last_answer_alone(tmp_path: Path) -> None:
    asked = [ASKED[0], {**ASKED[1], "weight": 1}]
    found = judged(tmp_path, [row(PAIRS)], messages=asked, train_on="last")
    weights = [message["weight"] for message in found.rows.collect()[MESSAGES][0]]
    assert weights == [None, 0, None, 0, None, 1]


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"history": "histori"}, "did you mean `history`"),
        ({"history": "output"}, "not pairs of texts"),
    ],
)
def test_a_column_that_does_not_fit(tmp_path: Path, mapping: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        judged(tmp_path, [row(PAIRS)], **mapping)
    (fault,) = caught.value.faults
    assert (fault.path, words in str(fault)) == ("mapping.history", True)


@pytest.mark.parametrize(
    ("history", "carried"),
    [(PAIRS, "history"), ([], "history"), (None, "history"), ("a, b", None), (["a"], None)],
)
def test_alpacas_history_is_recognised(history: Any, carried: str | None) -> None:
    rows = [row(history)]
    found = recognise(pl.DataFrame(rows).schema, rows)
    assert (found.form, found.mapping.history) == ("alpaca", carried)
    assert ("not used" in found.notes[0]) == (carried is None)
