"""What a model is asked, as a run's mapping makes it of prompts and of rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from orchestrator.data.questions import Question, columns_of, fits, held_out, lines, of_prompt, of_rows
from orchestrator.errors import DataError, SpecError
from orchestrator.spec.mapping import Mapping


def mapping(*templates: tuple[str, str], **more: Any) -> Mapping:
    messages = [{"role": role, "content": content} for role, content in templates]
    return Mapping.model_validate({"messages": messages, **more})


def said(question: Question) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in question.messages]


ONE = mapping(("system", "You route.\n"), ("user", "Ticket: {{ text | trim }}"), ("assistant", "{{ queue }}"))
TWO = mapping(
    ("system", "You route."),
    ("user", "{{ row['The subject'] }}\n{{ body }}"),
    ("assistant", "{{ queue }}"),
    where='queue != "spam"',
)


def test_a_prompt_is_the_one_column_that_is_asked_by() -> None:
    assert fits(ONE)
    assert said(of_prompt(ONE, " late ")) == [("system", "You route."), ("user", "Ticket: late")]


def test_of_several_columns_a_prompt_stands_for_all() -> None:
    assert not fits(TWO)
    assert said(of_prompt(TWO, "late {{ x }}")) == [("system", "You route."), ("user", "late {{ x }}")]


def test_a_system_message_of_the_row_is_not_made_up() -> None:
    made = mapping(("system", "Priority {{ p }}"), ("user", "{{ text }}"), ("assistant", "{{ queue }}"))
    assert said(of_prompt(made, "late")) == [("user", "late")]


def test_rows_are_asked_as_they_were_trained() -> None:
    first, second = of_rows(
        TWO, [{"The subject": "late", "body": "where?"}, {"The subject": "a", "body": "b", "queue": "spam"}]
    )
    assert said(first) == [("system", "You route."), ("user", "late\nwhere?")]
    assert (first.expected, second.expected) == (None, "spam")
    assert (first.shown, second.text) == ("late\nwhere?", None)


@pytest.mark.parametrize(
    "made",
    [ONE, Mapping.model_validate({"conversation": {"column": "chat"}})],
    ids=["templates", "conversation"],
)
def test_messages_are_a_conversation_as_it_is(made: Mapping) -> None:
    chat = [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Three?"},
    ]
    (asked,) = of_rows(made, [{"messages": chat}])
    assert said(asked) == [("user", "One?"), ("assistant", "Two."), ("user", "Three?")]
    assert (asked.shown, asked.expected) == ("Three?", None)


def test_tools_and_calls_come_as_the_template_gets_them() -> None:
    made = Mapping.model_validate({"conversation": {"column": "messages"}, "tools": "tools"})
    call = {"function": {"name": "look", "arguments": '{"city": "Bern"}'}}
    chat = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "sunny"},
        {"role": "assistant", "content": "It is sunny."},
    ]
    (asked,) = of_rows(made, [{"messages": chat, "tools": [{"name": "look", "parameters": {}}]}])
    assert asked.messages[1]["tool_calls"][0]["function"]["arguments"] == {"city": "Bern"}
    assert asked.plain()["tools"] == [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    assert asked.expected == "It is sunny."
    (without,) = of_rows(made, [{"messages": chat[:1]}])
    assert (said(without), without.plain()["tools"]) == ([("user", "Weather?")], None)


def test_plain_text_is_gone_on_with() -> None:
    made = Mapping.model_validate({"text": "{{ title }}: {{ body }}"})
    assert of_prompt(made, "Once").plain() == {"text": "Once"}
    (asked,) = of_rows(made, [{"title": "A", "body": "b"}])
    assert asked.plain() == {"text": "A: b"}


def test_rows_that_do_not_fit_are_told() -> None:
    made = Mapping.model_validate({"conversation": {"column": "chat"}})
    with pytest.raises(SpecError, match="no such column"):
        of_rows(made, [{"talk": "x"}])
    with pytest.raises(DataError, match="nothing before the answer"):
        of_rows(made, [{"chat": [{"role": "assistant", "content": "Two."}]}])
    with pytest.raises(DataError, match="do not have one form"):
        of_rows(ONE, [{"text": "a"}, {"text": {"b": 1}}])


def test_columns_that_a_template_reads() -> None:
    found = columns_of("{% for t in turns %}{{ t.text }}{% endfor %}{{ row['Its name'] }}{{ a.b }}")
    assert found == {"turns", "Its name", "a"}


def test_lines_are_texts_or_rows() -> None:
    assert list(lines("one\n\n two\n", "f")) == ["one", " two"]
    assert list(lines('\n{"a": 1}\n{"a": 2}\n', "f")) == [{"a": 1}, {"a": 2}]
    assert list(lines("one\u2028two\r\nthree", "f")) == ["one\u2028two", "three"]
    assert list(lines('{"a": "1\u2028\x85"}\r\n{"a": 2}', "f")) == [{"a": "1\u2028\x85"}, {"a": 2}]
    for text, line in (('{"a": 1}\n{"a"', 2), ('{"a": 1}\n\n[1]', 3)):
        with pytest.raises(DataError, match=f"f:{line}"):
            list(lines(text, "f"))


def test_held_out_rows_have_the_answer_that_is_expected(tmp_path: Path) -> None:
    file = tmp_path / "validation.parquet"
    chats = [
        [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}] for n in range(3)
    ]
    pl.DataFrame({"messages": chats, "tools": [None, json.dumps([{"name": "f"}]), None]}).write_parquet(file)
    found = held_out(file, 2)
    assert [(each.shown, each.expected, len(each.tools)) for each in found] == [
        ("q0", "a0", 0),
        ("q1", "a1", 1),
    ]
    pl.DataFrame({"text": ["once"]}).write_parquet(file)
    for folder, why in ((tmp_path, "asks nothing"), (tmp_path / "none", "held no rows out")):
        with pytest.raises(DataError, match=why):
            held_out(folder / "validation.parquet", 2)
