from __future__ import annotations

from pathlib import Path
from typing import Any

import polars
import pytest

from orchestrator.contract import ContractError
from orchestrator.trainer.held_out import answer_index, chosen_rows, exact_match, prompt_as_trained, read_rows


def test_rows_are_chosen_the_same_everywhere() -> None:
    # Written down, not computed: another order would make old and new scores incomparable.
    assert chosen_rows(10, 5, seed=42) == [3, 4, 1, 2, 6]


def test_more_rows_only_add_to_the_end() -> None:
    assert chosen_rows(1000, 300, seed=7)[:50] == chosen_rows(1000, 50, seed=7)


def test_another_seed_chooses_other_rows() -> None:
    assert chosen_rows(1000, 50, seed=1) != chosen_rows(1000, 50, seed=2)


def test_asking_for_more_rows_than_there_are_gives_each_once() -> None:
    assert sorted(chosen_rows(7, 200, seed=42)) == list(range(7))


@pytest.mark.parametrize(
    ("generated", "expected", "right"),
    [
        ("billing", "billing", True),
        ("  billing\n", "billing", True),
        ("billing", "\tbilling ", True),
        ("Billing", "billing", False),
        ("billing  team", "billing team", False),
        ("billing.", "billing", False),
        ("", "billing", False),
        ("<think>\nmoney\n</think>\n\nbilling", "billing", True),
        ("billing", "<think>money</think>billing", True),
        ("billing <think>money</think>", "billing", False),
        ("<think>never closed billing", "billing", False),
    ],
)
def test_exact_match_forgives_outer_whitespace_and_reasoning_only(
    generated: str, expected: str, right: bool
) -> None:
    assert exact_match(generated, expected) is right


def test_a_prompt_holds_what_the_template_puts_before_every_answer() -> None:
    rendered = "user: hi\nassistant: <think></think>[[the answer goes here]]<end>"
    assert prompt_as_trained("user: hi\nassistant: ", rendered) == "user: hi\nassistant: <think></think>"


def test_a_prompt_is_the_generation_prompt_where_the_render_is_another() -> None:
    assert prompt_as_trained("user: hi\nmodel: ", "hi! [[the answer goes here]]") == "user: hi\nmodel: "
    assert prompt_as_trained("user: hi\nmodel: ", "user: hi\nmodel: left out") == "user: hi\nmodel: "


def test_a_marker_that_a_user_wrote_does_not_cut_the_prompt() -> None:
    rendered = "say [[the answer goes here]]\nmodel: [[the answer goes here]]"
    before = "say [[the answer goes here]]\nmodel: "
    assert prompt_as_trained(before, rendered) == before


def turn(role: str, content: str | None = "text") -> dict[str, Any]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("turns", "index"),
    [
        ([turn("user"), turn("assistant")], 1),
        ([turn("user"), turn("assistant"), turn("user"), turn("assistant"), turn("user")], 3),
        ([turn("user"), turn("assistant"), turn("tool"), turn("assistant", None)], 1),
        ([turn("user"), turn("assistant", " \n")], None),
        ([turn("assistant"), turn("user")], None),
        ([turn("user")], None),
        ([], None),
    ],
)
def test_the_answer_is_the_last_assistant_turn_with_text(
    turns: list[dict[str, Any]], index: int | None
) -> None:
    assert answer_index(turns) == index


def test_chosen_rows_are_read_in_the_chosen_order(tmp_path: Path) -> None:
    path = tmp_path / "validation.parquet"
    polars.DataFrame({"number": range(1000)}).write_parquet(path, row_group_size=64)
    assert [row["number"] for row in read_rows(path, 20, seed=3)] == chosen_rows(1000, 20, seed=3)


def test_a_dataset_without_validation_rows_is_told(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no validation rows"):
        read_rows(tmp_path / "validation.parquet", 20, seed=3)
