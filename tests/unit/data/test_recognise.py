"""Files of every usual shape are taken for what they are, with a mapping that makes good rows of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from orchestrator.data.mapping import compile_mapping
from orchestrator.data.recognise import Recognition, recognise
from orchestrator.data.sources import open_source, read_source

REAL_DATA = Path(__file__).parents[4] / "shared" / "data" / "real"


def recognised(rows: list[dict[str, Any]]) -> Recognition:
    frame = pl.DataFrame(rows, infer_schema_length=None)
    found = recognise(frame.schema, rows)
    if found.mapping.text is None:
        compile_mapping(found.mapping, frame.schema)
    return found


def templates(found: Recognition) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in found.mapping.messages or ()]


def talk(role: str, content: str, *said: tuple[str, str]) -> list[dict[str, str]]:
    return [{role: who, content: what} for who, what in said]


ASKED = [("user", "a"), ("assistant", "b")]
MESSAGES = talk("role", "content", *ASKED)
SHAREGPT = talk("from", "value", ("human", "a"), ("gpt", "b"))


@pytest.mark.parametrize(
    ("tools", "named"),
    [(None, "tools"), ("[]", "tools"), ([{"name": "f"}], "tools"), (3, None), (True, None)],
)
def test_a_column_named_as_that_of_tools(tools: Any, named: str | None) -> None:
    assert recognised([{"messages": MESSAGES, "tools": tools}]).mapping.tools == named


@pytest.mark.parametrize(
    ("row", "form", "confidence", "fields"),
    [
        ({"messages": MESSAGES}, "openai", "sure", {"column": "messages"}),
        ({"id": "1", "messages": MESSAGES, "source": "x"}, "openai", "sure", {"column": "messages"}),
        ({"dialog": MESSAGES, "system": "s"}, "openai", "sure", {"column": "dialog", "system": "system"}),
        ({"messages": json.dumps(MESSAGES)}, "openai", "sure", {"column": "messages"}),
        ({"conversations": SHAREGPT}, "sharegpt", "sure", {"column": "conversations"}),
        ({"conversation": json.dumps(SHAREGPT)}, "sharegpt", "sure", {"column": "conversation"}),
        (
            {"conversations": SHAREGPT, "system": "s"},
            "sharegpt",
            "sure",
            {"column": "conversations", "system": "system"},
        ),
        (
            {"completion": MESSAGES[1:], "prompt": MESSAGES[:1]},
            "openai",
            "sure",
            {"column": "prompt", "answer": "completion"},
        ),
        (
            {"prompt": MESSAGES[:1], "chosen": MESSAGES[1:], "rejected": MESSAGES[1:]},
            "preference",
            "likely",
            {"column": "prompt", "answer": "chosen"},
        ),
        (
            {"turns": talk("speaker", "text", ("customer", "a"), ("agent", "b"))},
            "conversation",
            "likely",
            {
                "column": "turns",
                "role": "speaker",
                "content": "text",
                "roles": {"customer": "user", "agent": "assistant"},
            },
        ),
        (
            {"log": talk("who", "said", ("Ann", "a"), ("Bob", "b"))},
            "conversation",
            "likely",
            {"column": "log", "role": "who", "content": "said", "roles": {"Ann": "user", "Bob": "assistant"}},
        ),
        (
            {"messages": talk("role", "content", ("User", "a"), ("Assistant", "b"))},
            "openai",
            "sure",
            {"column": "messages", "roles": {"User": "user", "Assistant": "assistant"}},
        ),
        (
            {"prompt": "a", "chosen": MESSAGES, "rejected": MESSAGES},
            "preference",
            "likely",
            {"column": "chosen"},
        ),
    ],
)
def test_columns_of_messages(row: dict[str, Any], form: str, confidence: str, fields: dict[str, Any]) -> None:
    found = recognised([row] * 3)
    assert (found.form, found.method, found.confidence) == (form, "sft", confidence)
    assert found.mapping.conversation is not None
    assert found.mapping.conversation.model_dump(exclude_none=True) == fields


@pytest.mark.parametrize(
    ("row", "form", "confidence", "user", "assistant"),
    [
        (
            {"instruction": "a", "input": "", "output": "b"},
            "alpaca",
            "sure",
            "{{ instruction }}{% if input %}\n\n{{ input }}{% endif %}",
            "{{ output }}",
        ),
        ({"instruction": "a", "output": "b"}, "alpaca", "sure", "{{ instruction }}", "{{ output }}"),
        (
            {"instruction": "a", "context": "c", "response": "b", "category": "open_qa"},
            "alpaca",
            "sure",
            "{{ instruction }}{% if context %}\n\n{{ context }}{% endif %}",
            "{{ response }}",
        ),
        ({"prompt": "a", "completion": "b"}, "prompt_completion", "sure", "{{ prompt }}", "{{ completion }}"),
        ({"Question": "a", "Answer": "b"}, "prompt_completion", "likely", "{{ Question }}", "{{ Answer }}"),
        (
            {"id": 1, "input": "a", "target": "b"},
            "prompt_completion",
            "likely",
            "{{ input }}",
            "{{ target }}",
        ),
        (
            {"id": "x", "title": "t", "context": "c", "question": "q", "answers": {"text": ["a"], "at": [3]}},
            "prompt_completion",
            "likely",
            "{% if context %}{{ context }}\n\n{% endif %}{{ question }}",
            "{{ answers.text | first }}",
        ),
        (
            {"article": "long", "highlights": "short", "id": "x"},
            "prompt_completion",
            "likely",
            "{{ article }}",
            "{{ highlights }}",
        ),
        (
            {"subject": "s", "body": "b", "answer": "a", "queue": "q"},
            "prompt_completion",
            "likely",
            "{{ subject }}\n\n{{ body }}",
            "{{ answer }}",
        ),
        (
            {"prompt": "a", "chosen": "b", "rejected": "c"},
            "preference",
            "likely",
            "{{ prompt }}",
            "{{ chosen }}",
        ),
        (
            {"User Question": "a", "gold_answer": "b"},
            "prompt_completion",
            "likely",
            "{{ row['User Question'] }}",
            "{{ gold_answer }}",
        ),
        (
            {"emailSubject": "a", "emailBody": "c", "modelResponse": "b"},
            "prompt_completion",
            "likely",
            "{{ emailSubject }}\n\n{{ emailBody }}",
            "{{ modelResponse }}",
        ),
        (
            {"answer": "a", "best_answer": "b", "question": "q"},
            "prompt_completion",
            "likely",
            "{{ question }}",
            "{{ answer }}",
        ),
        (
            {"My question": "a", "for": "b"},
            "unknown",
            "guess",
            "{{ row['My question'] }}",
            "{{ row['for'] }}",
        ),
        ({"de": "Haus", "en": "house"}, "unknown", "guess", "{{ de }}", "{{ en }}"),
    ],
)
def test_columns_of_questions_and_answers(
    row: dict[str, Any], form: str, confidence: str, user: str, assistant: str
) -> None:
    found = recognised([row] * 3)
    assert (found.form, found.method, found.confidence) == (form, "sft", confidence)
    assert templates(found) == [("user", user), ("assistant", assistant)]


TICKET = {"subject": "Late", "items": "a lamp", "customer": {"name": "Ann", "city": "Ulm"}}


@pytest.mark.parametrize(
    ("row", "confidence", "user", "assistant"),
    [
        (
            {"ticket": TICKET, "answer": {"text": "On its way.", "score": 0.5}, "seen": None},
            "likely",
            "{{ ticket.subject }}",
            "{{ answer.text }}",
        ),
        (
            {"data": {"my question": "a", "the answer": "b"}},
            "likely",
            "{{ data['my question'] }}",
            "{{ data['the answer'] }}",
        ),
        (
            {"a b": {"items": "one thing"}, "c": {"d": "another"}, "void": None},
            "guess",
            "{{ row['a b']['items'] }}",
            "{{ c.d }}",
        ),
    ],
)
def test_fields_inside_of_columns(row: dict[str, Any], confidence: str, user: str, assistant: str) -> None:
    found = recognised([row] * 3)
    assert (found.method, found.confidence) == ("sft", confidence)
    assert templates(found) == [("user", user), ("assistant", assistant)]


def test_an_answer_inside_of_a_column_can_be_named() -> None:
    rows = [{"q": {"text": "why"}, "a": {"text": "because", "note": "so"}}]
    found = recognise(pl.DataFrame(rows).schema, rows, "a.note")
    assert templates(found)[-1] == ("assistant", "{{ a.note }}")


@pytest.mark.parametrize(
    ("row", "answer", "mapping"),
    [
        ({"tools": "[]", "messages": MESSAGES}, "messages", {"column": "messages"}),
        ({"id": "x", "conversations": SHAREGPT}, "conversations", {"column": "conversations"}),
        ({"history": MESSAGES, "id": "x"}, "history", {"column": "history"}),
        ({"prompt": MESSAGES[:1], "good": MESSAGES[1:]}, "good", {"column": "prompt", "answer": "good"}),
    ],
)
def test_a_column_of_messages_that_is_named_as_the_answer_is_a_conversation(
    row: dict[str, Any], answer: str, mapping: dict[str, str]
) -> None:
    found = recognise(pl.DataFrame([row]).schema, [row], answer).mapping.conversation
    assert found is not None
    assert found.model_dump(exclude_none=True) == mapping


@pytest.mark.parametrize(
    "answer",
    [
        '[{"type": "PERSON", "text": "Alice"}]',
        [{"name": "Alice", "value": "1"}, {"name": "Bob", "value": "2"}],
        [{"role": "user", "content": "only asked"}],
    ],
)
def test_a_named_list_in_which_no_assistant_speaks_is_an_answer(answer: Any) -> None:
    row = {"input": "Alice met Bob", "output": answer}
    found = recognise(pl.DataFrame([row]).schema, [row], "output").mapping
    assert found.conversation is None
    assert "output" in str(found.messages)


def test_messages_inside_of_a_column_are_no_column_of_messages() -> None:
    assert recognised([{"data": {"messages": MESSAGES}, "text": "a b"}] * 3).mapping.conversation is None


def test_columns_of_figures_are_not_what_is_learned() -> None:
    rows = [{"No.": f"{n:04}", "Frage": "Wo?", "Antwort": "Da.", "Betrag": f"{n},50 €"} for n in range(5)]
    found = recognised(rows)
    assert templates(found) == [("user", "{{ Frage }}"), ("assistant", "{{ Antwort }}")]


def test_a_system_column_of_templates_may_be_empty() -> None:
    found = recognised([{"instruction": "a", "input": "", "output": "b", "system": ""}])
    assert templates(found)[0] == ("system", "{% if system %}{{ system }}{% endif %}")


def test_tables_of_turns() -> None:
    rows = [
        {"Conversation ID": n // 2, "turn": n % 2, "speaker": ("customer", "agent")[n % 2], "text": f"t{n}"}
        for n in range(10)
    ]
    found = recognised(rows)
    assert (found.form, found.method, found.confidence) == ("turns", "sft", "likely")
    assert found.mapping.turns is not None
    assert found.mapping.turns.model_dump(exclude_none=True) == {
        "conversation": "Conversation ID",
        "order": "turn",
        "role": "speaker",
        "content": "text",
        "roles": {"customer": "user", "agent": "assistant"},
    }
    assert recognised(rows[::2]).form != "turns"


TICKETS = [
    {"subject": f"s{n}", "body": f"some long text {n}", "queue": ("billing", "tech")[n % 2]}
    for n in range(40)
]


@pytest.mark.parametrize(
    ("rows", "confidence", "user", "assistant"),
    [
        (TICKETS, "likely", "{{ subject }}\n\n{{ body }}", "{{ queue }}"),
        (TICKETS[:3], "likely", "{{ subject }}\n\n{{ body }}", "{{ queue }}"),
        ([{"text": f"t{n}", "label": n % 2} for n in range(9)], "likely", "{{ text }}", "{{ label }}"),
        ([{"text": f"t{n}", "label": n > 4} for n in range(9)], "likely", "{{ text }}", "{{ label }}"),
        (
            [{"remark": f"some remark {n}", "mood": ("glad", "sad")[n % 2]} for n in range(40)],
            "guess",
            "{{ remark }}",
            "{{ mood }}",
        ),
    ],
)
def test_tables_with_a_label(rows: list[dict[str, Any]], confidence: str, user: str, assistant: str) -> None:
    found = recognised(rows)
    assert (found.form, found.method, found.confidence) == ("labels", "sft", confidence)
    assert templates(found) == [("user", user), ("assistant", assistant)]


@pytest.mark.parametrize(
    ("row", "form", "template"),
    [
        ({"text": "a"}, "text", "{{ text }}"),
        ({"id": "1", "url": "u", "title": "t", "text": "a"}, "text", "{{ text }}"),
        ({"text": "a", "timestamp": "t", "language": "en", "score": 0.5}, "text", "{{ text }}"),
        ({"poem": "a"}, "text", "{{ poem }}"),
        ({"number": 1.5}, "unknown", "{{ number | tojson }}"),
    ],
)
def test_plain_text(row: dict[str, Any], form: str, template: str) -> None:
    found = recognised([row] * 30)
    assert (found.form, found.method) == (form, "pretrain")
    assert found.mapping.text == template


def test_texts_that_are_messages_written_out_are_told() -> None:
    (note,) = recognised([{"text": "### Human: a\n### Assistant: b"}]).notes
    assert "### Human:" in note


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("alpaca_en_demo.json", "alpaca"),
        ("identity.json", "alpaca"),
        ("glaive_toolcall_en_demo.json", "sharegpt"),
        ("kto_en_demo.json", "openai"),
    ],
)
def test_real_files(tmp_path: Path, name: str, form: str) -> None:
    if not REAL_DATA.is_dir():
        pytest.skip(f"no {REAL_DATA.name} data beside the checkout")
    source = read_source(open_source(name, REAL_DATA), tmp_path)
    found = recognise(source.schema, source.frame.head(100).collect().to_dicts())
    assert (found.form, found.confidence) == (form, "sure")
    assert found.mapping.tools == ("tools" if name.startswith("glaive") else None)
    if name.startswith("kto"):
        assert "where: label" in found.notes[0]
