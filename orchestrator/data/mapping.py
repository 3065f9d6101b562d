"""Mappings compiled: how a row becomes messages, and what is checked of it, as one lazy Polars plan.

    messages       texts from templates, in their order; a system message that comes out blank is left out
    conversation   a column that holds the messages, as OpenAI (role, content) or ShareGPT (from, value)
                   write them, or as the JSON text of such a list

Roles of the data are mapped by `ROLES`, and by the spec's own `roles` before that. A call of a function
(`function_call`) stays what it is, the text of an assistant message: this version carries no tools.
"""

from __future__ import annotations

import json
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from orchestrator.data.checks import (
    MESSAGES,
    TWO_SYSTEMS,
    UNKNOWN_ROLES,
    RowCheck,
    blank,
    conversation_checks,
    template_checks,
)
from orchestrator.data.rows import ROW
from orchestrator.data.template import Template, TemplateFault, compile_condition, compile_template
from orchestrator.errors import Fault, SpecError
from orchestrator.spec.faults import suggestion
from orchestrator.spec.models import Conversation, Mapping, MessageTemplate

ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}
_FORMS = (("role", "content"), ("from", "value"))
_TEXTS = (pl.String, pl.Categorical, pl.Enum, pl.Null)
_OTHERS = "other fields"
_PARSED = pl.List(pl.Struct({"role": pl.String(), "content": pl.String(), _OTHERS: pl.String()}))


@dataclass(frozen=True)
class CompiledMapping:
    """A mapping for rows of one schema, `where` left to the caller of `apply`.

    `columns` are those of the source that are read.
    """

    checks: tuple[RowCheck, ...]
    columns: frozenset[str]
    steps: tuple[tuple[pl.Expr, ...], ...]
    where: pl.Expr | None = None

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """From rows of the source: `axo_row`, `messages`, `unknown roles` (a list) and `check <n>`, one
        Boolean for each of `checks`; only rows that `where` keeps."""
        frame = rows if self.where is None else rows.filter(self.where)
        for step in self.steps:
            frame = frame.select(pl.col(ROW), *step)
        checked = [check.when.alias(check_column(number)) for number, check in enumerate(self.checks)]
        return frame.select(ROW, MESSAGES, UNKNOWN_ROLES, *checked)


def check_column(number: int) -> str:
    return f"check {number}"


def compile_mapping(mapping: Mapping, schema: pl.Schema) -> CompiledMapping:
    """Compile a mapping; raises SpecError with every fault of it, each at its path in the spec."""
    faults: list[Fault] = []
    where = _where(mapping.where, schema, faults)
    if mapping.messages is not None:
        compiled = _from_templates(mapping.messages, schema, faults)
    else:
        assert mapping.conversation is not None
        compiled = _from_conversation(mapping.conversation, schema, faults)
    if faults or compiled is None:
        raise SpecError(faults)
    return replace(compiled, where=where)


def _where(source: str | None, schema: pl.Schema, faults: list[Fault]) -> pl.Expr | None:
    if source is None:
        return None
    try:
        return compile_condition(source, schema).holds
    except TemplateFault as error:
        faults += [_at("mapping.where", fault) for fault in error.faults]
        return None


def _from_templates(
    messages: Sequence[MessageTemplate], schema: pl.Schema, faults: list[Fault]
) -> CompiledMapping | None:
    templates: list[Template] = []
    for number, message in enumerate(messages):
        try:
            templates.append(compile_template(message.content, schema))
        except TemplateFault as error:
            faults += [_at(f"mapping.messages[{number}].content", fault) for fault in error.faults]
    if faults:
        return None
    roles = [message.role for message in messages]
    texts = [f"text {number}" for number in range(len(templates))]
    empties = [None if template.constant else f"empty {at}" for at, template in enumerate(templates)]
    rendered = [template.text.alias(text) for template, text in zip(templates, texts, strict=True)]
    rendered += [
        template.empty.alias(empty)
        for template, empty in zip(templates, empties, strict=True)
        if empty is not None
    ]
    known = pl.lit(None, pl.List(pl.String)).alias(UNKNOWN_ROLES)
    return CompiledMapping(
        checks=template_checks(roles, texts, empties),
        columns=frozenset().union(*(template.columns for template in templates)),
        steps=(tuple(rendered), (_joined(roles, texts).alias(MESSAGES), known, pl.exclude(ROW))),
    )


def _joined(roles: Sequence[str], texts: Sequence[str]) -> pl.Expr:
    """The messages as a list: a fixed-width array cut at its head is three times as fast as a choice
    between lists."""
    parts = [
        pl.struct(pl.lit(role).alias("role"), pl.col(text).alias("content"))
        for role, text in zip(roles, texts, strict=True)
    ]
    whole = pl.concat_arr(parts).arr.to_list()
    if roles[0] == "system":
        whole = whole.list.slice(blank(pl.col(texts[0])).cast(pl.Int64))
    return _without_blank_systems(whole) if "system" in roles[1:] else whole


def _without_blank_systems(messages: pl.Expr) -> pl.Expr:
    message = pl.element()
    nothing = (message.struct.field("role") == "system") & blank(message.struct.field("content"))
    return messages.list.filter(~nothing.fill_null(False))


def _from_conversation(
    conversation: Conversation, schema: pl.Schema, faults: list[Fault]
) -> CompiledMapping | None:
    given = (("column", conversation.column), ("system", conversation.system))
    for field, name in given:
        if name is not None and name not in schema:
            faults.append(_no_column(f"mapping.conversation.{field}", name, schema))
    if not isinstance(schema.get(conversation.system or "", pl.String()), _TEXTS):
        what = "the column holds no text"
        faults.append(Fault(what, path="mapping.conversation.system", value=conversation.system))
    if faults:
        return None
    source, dtype = _as_list(conversation, schema[conversation.column])
    names = _role_and_text(conversation, dtype, faults)
    return None if names is None or faults else _conversation(conversation, source, dtype, names)


def _conversation(
    conversation: Conversation, source: pl.Expr, dtype: pl.DataType, names: tuple[str, str]
) -> CompiledMapping:
    column, system = conversation.column, conversation.system
    roles = {**ROLES, **(conversation.roles or {})}
    role = pl.element().struct.field(names[0]).cast(pl.String)
    content = pl.element().struct.field(names[1]).cast(pl.String).fill_null("")
    mapped = role.replace_strict(list(roles), list(roles.values()), default=None, return_dtype=pl.String)
    messages = source.list.eval(pl.struct(mapped.alias("role"), content.alias("content")))
    unknown = source.list.eval(role.filter(~role.is_in(list(roles)))).list.unique(maintain_order=True)
    ignored = [(name, f"has {name}") for name in _other_fields(dtype, names)]
    first = [
        _without_blank_systems(messages).alias(MESSAGES),
        unknown.alias(UNKNOWN_ROLES),
        *(_somewhere(source, name).alias(flag) for name, flag in ignored),
    ]
    steps = (
        [tuple(first)]
        if system is None
        else [(*first, pl.col(system).cast(pl.String).alias("system")), _opened()]
    )
    return CompiledMapping(
        checks=conversation_checks(column, with_system=system is not None, ignored=ignored),
        columns=frozenset({column} if system is None else {column, system}),
        steps=tuple(steps),
    )


def _opened() -> tuple[pl.Expr, ...]:
    """The text of the system column put first, unless the conversation opens with a system message."""
    messages, system = pl.col(MESSAGES), pl.col("system")
    given = ~blank(system).fill_null(True) & messages.is_not_null()
    own = (messages.list.first().struct.field("role") == "system").fill_null(False)
    opening = pl.concat_list(pl.struct(pl.lit("system").alias("role"), system.alias("content")))
    opened = pl.when(given & ~own).then(opening.list.concat(messages)).otherwise(messages)
    return opened.alias(MESSAGES), (given & own).alias(TWO_SYSTEMS), pl.exclude(ROW, MESSAGES)


def _somewhere(messages: pl.Expr, field: str) -> pl.Expr:
    """Whether some message of a row has a value in a field."""
    there = pl.element().struct.field(field).is_not_null()
    return messages.list.eval(there).list.any().fill_null(False)


def _as_list(conversation: Conversation, dtype: pl.DataType) -> tuple[pl.Expr, pl.DataType]:
    """The column as a list of messages; one that holds JSON text is read row by row, in Python."""
    column = pl.col(conversation.column)
    if dtype != pl.String:
        return column, dtype
    forms = _forms(conversation)
    parsed = column.map_batches(
        lambda texts: _parsed(texts, forms), return_dtype=_PARSED, is_elementwise=True
    )
    return parsed, _PARSED


def _parsed(texts: pl.Series, forms: Sequence[tuple[str, str]]) -> pl.Series:
    return pl.Series([_messages_in(text, forms) for text in texts], dtype=_PARSED)


def _messages_in(text: str | None, forms: Sequence[tuple[str, str]]) -> list[dict[str, str | None]] | None:
    """The messages of a JSON text; None where it is broken, or no list of objects with text in them."""
    try:
        value = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        return None
    messages = [_message(message, forms) for message in value]
    return None if None in messages else [message for message in messages if message is not None]


def _message(
    message: MappingOf[str, object], forms: Sequence[tuple[str, str]]
) -> dict[str, str | None] | None:
    names = next((form for form in forms if form[0] in message), forms[0])
    role, content = (message.get(name) for name in names)
    if not isinstance(role, str | None) or not isinstance(content, str | None):
        return None
    others = [name for name, value in message.items() if name not in names and value is not None]
    return {"role": role, "content": content, _OTHERS: ", ".join(others) or None}


def _forms(conversation: Conversation) -> list[tuple[str, str]]:
    """Names that role and text of a message may have: the spec's own where it gives them."""
    forms = [(conversation.role or role, conversation.content or content) for role, content in _FORMS]
    return list(dict.fromkeys(forms))


def _role_and_text(
    conversation: Conversation, dtype: pl.DataType, faults: list[Fault]
) -> tuple[str, str] | None:
    """The fields of a message that hold its role and its text."""
    path, inner = "mapping.conversation.column", getattr(dtype, "inner", None)
    if not isinstance(inner, pl.Struct):
        fix = "name the column with the messages, or map single columns with `messages`"
        faults.append(Fault(f"the column holds {dtype}, not a list of messages", fix, path=path))
        return None
    types = {field.name: field.dtype for field in inner.fields}
    if dtype == _PARSED:
        return "role", "content"
    names = next((form for form in _forms(conversation) if all(name in types for name in form)), None)
    if names is None:
        what = "the messages have no fields that are known as role and text"
        fix = f"name them with `role:` and `content:`; the fields are {', '.join(types)}"
        faults.append(Fault(what, fix, path=path))
        return None
    for name in names:
        if not isinstance(types[name], _TEXTS):
            what = f"the field `{name}` of the messages holds {types[name]}, not text"
            faults.append(Fault(what, "give plain text; lists of parts are not read", path=path))
    return names


def _other_fields(dtype: pl.DataType, names: tuple[str, str]) -> list[str]:
    inner = getattr(dtype, "inner", None)
    return [field.name for field in getattr(inner, "fields", ()) if field.name not in names]


def _no_column(path: str, name: str, schema: pl.Schema) -> Fault:
    near = suggestion(name, schema.names())
    fix = f"did you mean `{near}`?" if near else f"the columns are {', '.join(schema.names())}"
    return Fault("there is no such column", fix, path=path, value=name)


def _at(path: str, fault: Fault) -> Fault:
    """A template's fault at its path in the spec; its place inside the template goes into the words."""
    column = f", column {fault.column}" if fault.column else ""
    inside = f"line {fault.line}{column} of the template" if fault.line else None
    why = "; ".join(part for part in (fault.why, inside) if part) or None
    return replace(fault, path=path, line=None, column=None, why=why)
