"""Recognise what kind of rows a file holds, and the mapping that makes examples of them.

    form                recognised by                                     becomes
    openai              a list of messages with role and content          conversation
    sharegpt            a list of messages with from and value            conversation
    conversation        a list of messages with other names               conversation, fields and roles named
    turns               a speaker, a text and a conversation's id         turns
    preference          prompt, chosen and rejected                       the chosen answer
    alpaca              instruction and output                            messages
    prompt_completion   a column asked and a column answered, by name     messages
    labels              texts, and a column of few values                 messages, the value being the answer
    text                one column of text                                text, for pre-training
    unknown             none of these                                     a first guess to edit

The names are those under which public data sets are published; where names do not tell, values do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl

from orchestrator.data.map_history import holds_pairs
from orchestrator.data.recognise_columns import Columns, inside, listed, printed
from orchestrator.data.recognise_messages import Talk, find_talk, roles_of, talk_in
from orchestrator.data.recognise_names import (
    ANSWERS,
    CONTEXTS,
    CONVERSATION_ID,
    INPUTS,
    LABELS,
    ORDERS,
    QUESTIONS,
    SAID,
    SPEAKERS,
    SYSTEMS,
    TEXTS,
    TOOLS,
)
from orchestrator.data.tool_calls import may_hold_tools
from orchestrator.spec.mapping import Conversation, Mapping, MessageTemplate, Turns

Form = Literal[
    "openai",
    "sharegpt",
    "conversation",
    "turns",
    "preference",
    "alpaca",
    "prompt_completion",
    "labels",
    "text",
    "unknown",
]
Confidence = Literal["sure", "likely", "guess"]
Method = Literal["sft", "pretrain"]


@dataclass(frozen=True)
class Recognition:
    """What rows were taken for. `why` is a sentence; `notes` are further ones, on what to look at."""

    form: Form
    mapping: Mapping
    method: Method
    confidence: Confidence
    why: str
    notes: tuple[str, ...] = ()


_Form = Callable[[Columns], Recognition | None]

_KNOWN_FIELDS: MappingOf[tuple[str, str], Form] = {
    ("role", "content"): "openai",
    ("from", "value"): "sharegpt",
}
_CHAT_MARKS = ("<|im_start|>", "[INST]", "### Human:", "### Instruction:", "<|start_header_id|>")
_MOST_LABELS = 50
_LONGEST_NAME, _SENTENCE_ENDS = 60, (".", "?", "!")


def recognise(
    schema: pl.Schema, rows: Sequence[MappingOf[str, Any]], answer: str | None = None
) -> Recognition:
    """What rows of a schema are, from their columns and some of them (a hundred are plenty); `answer` is the
    column with the answers, or a field inside one, where somebody knows it.

    Fields inside of columns are looked at where the columns themselves tell nothing. The mapping always
    compiles for the schema.
    """
    columns = Columns(schema, rows)
    fields = inside(columns)
    if answer is not None:
        talked = _talk(columns, answer) if answer in schema else None
        return talked or _answered(columns if answer in schema else fields, answer)
    found = _known(columns, _FORMS) or _known(fields, _BY_TEMPLATES) or _unknown(fields)
    return found if found.confidence == "sure" else replace(found, notes=(*found.notes, *_first_row(columns)))


def _known(columns: Columns, forms: Sequence[_Form]) -> Recognition | None:
    found = (form(columns) for form in forms)
    return next((one for one in found if one is not None), None)


def _talk(columns: Columns, named: str | None = None) -> Recognition | None:
    """A column of messages; `named` is the one that somebody named as that of the answers."""
    talk = talk_in(columns, named) if named else find_talk(columns)
    if talk is None or (not talk.answers if named else columns.plain(talk.column) == "history"):
        return None
    asked, answer = find_talk(columns, QUESTIONS), talk if named else find_talk(columns, ANSWERS)
    behind = answer.column if asked and answer and asked.column != answer.column else None
    talk = asked if asked and behind else talk
    if columns.named(("rejected", "rejectedresponse")) and columns.named(("chosen",)):
        why = "`chosen` and `rejected` are rated answers; the chosen ones are learned"
        return Recognition("preference", _conversation(talk, answer=behind), "sft", "likely", why)
    offered = (name for name, dtype in columns.schema.items() if may_hold_tools(dtype))
    system, tools = columns.named(SYSTEMS, columns.texts), columns.named(TOOLS, offered)
    form = _KNOWN_FIELDS.get((talk.role, talk.content), "conversation")
    why = f"`{talk.column}` holds messages with `{talk.role}` and `{talk.content}`"
    return Recognition(
        form,
        _conversation(talk, system, tools, behind),
        "sft",
        "likely" if talk.guessed or form == "conversation" else "sure",
        why
        + (f"; those of `{behind}` come behind them" if behind else "")
        + (f"; `{system}` opens them" if system else "")
        + (f"; `{tools}` are on offer in them" if tools else ""),
        (*talk.notes, *_rating(columns)),
    )


def _conversation(
    talk: Talk, system: str | None = None, tools: str | None = None, answer: str | None = None
) -> Mapping:
    known = (talk.role, talk.content) in _KNOWN_FIELDS
    return Mapping(
        conversation=Conversation(
            column=talk.column,
            answer=answer,
            role=None if known else talk.role,
            content=None if known else talk.content,
            roles=dict(talk.roles) or None,
            system=system,
        ),
        tools=tools,
    )


def _rating(columns: Columns) -> tuple[str, ...]:
    """A column that says which rows are good ones, as KTO's data has it."""
    ratings = [name for name, dtype in columns.schema.items() if dtype == pl.Boolean]
    if not ratings:
        return ()
    name = columns.named(("label", "rating"), ratings) or ratings[0]
    condition = f"where: {printed(name, columns.schema[name], bare=True)}"
    return (f"`{name}` is true or false: if true marks the good answers, train on them with `{condition}`",)


def _turns(columns: Columns) -> Recognition | None:
    """One turn in each row: a column says to which conversation it belongs, and comes again."""
    content = columns.named(SAID)
    role = columns.named(SPEAKERS)
    ids = [name for name in columns.schema if CONVERSATION_ID.search(columns.plain(name))]
    repeated = [name for name in ids if len(columns.distinct(name)) < len(columns.values(name))]
    if not content or not role or not repeated or role == content:
        return None
    roles, guessed = roles_of(list(dict.fromkeys(str(value) for value in columns.values(role))))
    order = columns.named(ORDERS)
    turns = Turns(conversation=repeated[0], order=order, role=role, content=content, roles=roles or None)
    why = f"`{content}` is said by `{role}`, in conversations told apart by `{repeated[0]}`"
    in_order = f", in the order of `{order}`" if order else ", in the order of the rows"
    notes = (f"which of {listed(list(roles))} is the assistant is a guess",) if guessed else ()
    return Recognition("turns", Mapping(turns=turns), "sft", "likely", why + in_order, notes)


def _preference(columns: Columns) -> Recognition | None:
    chosen, rejected = columns.named(("chosen",)), columns.named(("rejected",))
    asked = columns.named(QUESTIONS, columns.texts)
    if not chosen or not rejected or chosen not in columns.texts or not asked:
        return None
    why = f"`{chosen}` and `{rejected}` are rated answers to `{asked}`; the chosen ones are learned"
    return Recognition("preference", _asked(columns, [asked], chosen), "sft", "likely", why)


def _alpaca(columns: Columns) -> Recognition | None:
    asked = columns.named(("instruction",), columns.texts)
    answer = columns.named(("output", "response", "completion"), columns.answerable)
    if not asked or not answer:
        return None
    more = columns.named(("input", *CONTEXTS), columns.texts)
    named = [name for name in (asked, more, answer) if name]
    mapping = _asked(columns, [asked], answer, optional=[more] if more else [])
    why = f"the columns {listed(named)} are those of Alpaca"
    return Recognition("alpaca", mapping, "sft", "sure", why, _earlier_turns(columns))


def _pair(columns: Columns) -> Recognition | None:
    """A column asked and a column answered, known by their names."""
    answer = columns.called(ANSWERS, columns.answerable)
    texts = [name for name in columns.texts if name != answer]
    asked = columns.called(QUESTIONS, texts)
    inputs = [asked] if asked else columns.all_called(INPUTS, texts)
    if not answer or not inputs:
        return None
    context = columns.named(CONTEXTS, [name for name in texts if name not in inputs])
    both = (columns.plain(inputs[0]), columns.plain(answer)) == ("prompt", "completion")
    mapping = _asked(columns, inputs, answer, before=[context] if context else [])
    why, notes = f"{listed(inputs)} reads as what is asked, `{answer}` as the answer", _earlier_turns(columns)
    return Recognition("prompt_completion", mapping, "sft", "sure" if both else "likely", why, notes)


def _labelled(columns: Columns) -> Recognition | None:
    """Texts and a column of few values."""
    label = columns.called(LABELS, columns.few_valued(_MOST_LABELS)) or columns.only_few_valued(_MOST_LABELS)
    if label is None:
        return None
    texts = [name for name in columns.texts if name != label and columns.plain(name) not in LABELS]
    few = columns.few_valued(_MOST_LABELS)
    telling = [name for name in texts if name not in few] or texts
    inputs = columns.all_called(INPUTS, texts) or columns.longest(telling, 3)
    if not inputs:
        return None
    values = columns.distinct(label)
    why = f"`{label}` has few values ({listed(values[:4], len(values))}), so it reads as the label"
    notes: tuple[str, ...] = ()
    if columns.schema[label].is_integer():
        notes = (f"`{label}` holds numbers: write names in their place, with {{% if {label} == 0 %}}..",)
    known = columns.plain(label) in LABELS or columns.kind(label) in LABELS
    confidence: Confidence = "likely" if known else "guess"
    return Recognition("labels", _asked(columns, inputs, label), "sft", confidence, why, notes)


def _text(columns: Columns) -> Recognition | None:
    """A column of text to go on with pre-training on."""
    alone = columns.texts if len(columns.schema) == 1 else []
    name = columns.named(TEXTS, columns.texts) or (alone[0] if alone else None)
    if name is None:
        return None
    marks = [mark for mark in _CHAT_MARKS if any(mark in value for value in columns.values(name))]
    notes = tuple(f"the texts hold `{mark}`: messages already written out for a model" for mark in marks[:1])
    why = f"`{name}` is the only text" if alone else f"`{name}` reads as plain text"
    return Recognition(
        "text",
        Mapping(text=printed(name, columns.schema[name])),
        "pretrain",
        "likely" if columns.named(TEXTS, [name]) else "guess",
        why,
        notes,
    )


def _answered(columns: Columns, named: str) -> Recognition:
    """A column that somebody named as the answer, asked by those whose names say so, or else by all texts."""
    answer = next(name for name in columns.schema if name == named)
    texts = [name for name in columns.texts if name != answer]
    asked = columns.called(QUESTIONS, texts)
    inputs = [asked] if asked else columns.all_called(INPUTS, texts) or texts[:6]
    if not inputs:
        inputs = [name for name in columns.filled if name != answer][:6]
    context = columns.named(CONTEXTS, [name for name in texts if name not in inputs])
    mapping = _asked(columns, inputs, answer, before=[context] if context else [])
    why = f"`{answer}` was named as the answer to {listed(inputs)}"
    return Recognition("prompt_completion", mapping, "sft", "sure", why)


def _unknown(columns: Columns) -> Recognition:
    """The last column of text as the answer to the others; whatever columns there are, where none is."""
    texts = columns.worded or columns.filled
    if len(texts) < 2:
        why = f"{listed(texts)} is the only text, and there is no column that reads as its answer"
        mapping = Mapping(text=printed(texts[0], columns.schema[texts[0]]))
        return Recognition("unknown", mapping, "pretrain", "guess", why)
    *inputs, answer = texts
    why = "no known columns; the last text is taken for the answer to the others"
    return Recognition("unknown", _asked(columns, inputs[:6], answer), "sft", "guess", why)


def _first_row(columns: Columns) -> tuple[str, ...]:
    """What to say of names that read as a row, or are values too, as those of a table without a header do."""
    odd = [
        name
        for name in columns.schema
        if len(name) > _LONGEST_NAME
        or (name.endswith(_SENTENCE_ENDS) and name.count(" ") > 1)
        or sum(row[name] == name for row in columns.rows) > 1
    ]
    if not odd:
        return ()
    return (f"{listed(odd[:2], len(odd))} reads as a row, not as a name: has the table no line with names?",)


def _asked(
    columns: Columns,
    inputs: Sequence[str],
    answer: str,
    *,
    before: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> Mapping:
    """Messages: a system column if there is one, earlier turns if there are any, the inputs one below the
    other, the answer.

    `before` and `optional` may be empty on some rows, so the template asks for them first.
    """
    schema = columns.schema
    parts = [_if_there(name, schema, after="\n\n") for name in before]
    parts.append("\n\n".join(printed(name, schema[name]) for name in inputs))
    parts += [_if_there(name, schema, before="\n\n") for name in optional]
    system = columns.named(SYSTEMS, [name for name in columns.texts if name not in (*inputs, answer)])
    opening = [MessageTemplate(role="system", content=_if_there(system, schema))] if system else []
    question = MessageTemplate(role="user", content="".join(parts))
    learned = MessageTemplate(role="assistant", content=printed(answer, schema[answer]))
    history = columns.whole(("history",))
    earlier = history if history and holds_pairs(schema[history]) else None
    return Mapping(messages=[*opening, question, learned], history=earlier)


def _earlier_turns(columns: Columns) -> tuple[str, ...]:
    """What to say of a column of earlier turns."""
    history = columns.whole(("history",))
    if history is None:
        return ()
    if holds_pairs(columns.schema[history]):
        return (f"`{history}` has the turns before, as pairs",)
    return (f"`{history}`, the turns before, is not a list of pairs, and not used",)


def _if_there(name: str, schema: pl.Schema, *, before: str = "", after: str = "") -> str:
    field = printed(name, schema[name])
    bare = printed(name, schema[name], bare=True)
    return f"{{% if {bare} %}}{before}{field}{after}{{% endif %}}"


# A template reaches into columns, the other kinds of mappings name whole ones.
_BY_TEMPLATES: tuple[_Form, ...] = (_preference, _alpaca, _pair, _labelled, _text)
_FORMS: tuple[_Form, ...] = (_talk, _turns, *_BY_TEMPLATES)
