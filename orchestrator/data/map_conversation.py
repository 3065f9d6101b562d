"""Messages from a column that holds them: as OpenAI (role, content) or ShareGPT (from, value) write them,
under names of the spec's own, or as the JSON text of such a list. What one says is a text or a list of parts.

Roles of the data are mapped by `ROLES`, and by the spec's own `roles` before that. Calls of tools are carried
as OpenAI has them; a ShareGPT turn `function_call` is one where its text is `{name, arguments}` or a list of
such, and stays the text of an assistant message where it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from orchestrator.data.checks import (
    BAD_WEIGHT,
    MESSAGES,
    PARTS,
    TWO_SYSTEMS,
    UNKNOWN_ROLES,
    blank,
    conversation_checks,
)
from orchestrator.data.compiled import TEXT_TYPES, CompiledMapping, Step, no_column
from orchestrator.data.content_parts import others_of, readable, text_of
from orchestrator.data.map_templates import without_blank_systems
from orchestrator.data.message_json import PARSED, read_messages
from orchestrator.data.rows import ROW
from orchestrator.data.shapes import CALLS, EXTRAS
from orchestrator.data.template_values import instance
from orchestrator.data.tool_calls import read_calls, said_calls
from orchestrator.data.tool_checks import call_checks
from orchestrator.errors import Fault
from orchestrator.spec.mapping import Conversation, Role

ROLES: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
CALLING = ("function_call", "tool_call")
FORMS = (("role", "content"), ("from", "value"))
_LEGACY_CALL = "function_call"
_TEXT_EXTRAS = ("tool_call_id", "name", "reasoning_content")


@dataclass(frozen=True)
class Fields:
    """The fields of a message in the data: its role, its text, and what it may have beside them."""

    role: str
    content: str
    types: Mapping[str, pl.DataType]

    def has(self, name: str) -> bool:
        """Whether a field of this name is there, with a value on some row, and is not role or text."""
        return name not in (self.role, self.content) and self.types.get(name, pl.Null()) != pl.Null

    @property
    def carried(self) -> tuple[str, ...]:
        """What messages of the shape get beside role and content, in the shape's order.

        Turns that are calls, `function_call`, come under other names than `role` alone.
        """
        calls = self.has("tool_calls") or self.has(_LEGACY_CALL) or self.role != "role"
        return tuple(name for name in EXTRAS if self.has(name) or (name == "tool_calls" and calls))


def from_conversation(
    conversation: Conversation, schema: pl.Schema, faults: list[Fault]
) -> CompiledMapping | None:
    given = {"column": conversation.column, "answer": conversation.answer, "system": conversation.system}
    for field, name in given.items():
        if name is not None and name not in schema:
            faults.append(no_column(f"mapping.conversation.{field}", name, schema))
    if not isinstance(schema.get(conversation.system or "", pl.String()), TEXT_TYPES):
        what = "the column holds no text"
        faults.append(Fault(what, path="mapping.conversation.system", value=conversation.system))
    if faults:
        return None
    source, dtype = _as_list(conversation, conversation.column, schema)
    if conversation.answer is not None and not faults:
        answer, answer_dtype = _as_list(conversation, conversation.answer, schema)
        faults += _unlike(conversation, dtype, answer_dtype)
        source, dtype = _behind(source, dtype, answer, answer_dtype)
    fields = _fields(conversation, dtype, faults)
    return None if fields is None or faults else compiled_messages(conversation, source, fields)


def compiled_messages(conversation: Conversation, source: pl.Expr, fields: Fields) -> CompiledMapping:
    """Messages from an expression of lists of messages that have these fields."""
    column, system = conversation.column, conversation.system
    roles = {**ROLES, **(conversation.roles or {})}
    role = pl.element().struct.field(fields.role).cast(pl.String)
    unknown = source.list.eval(role.filter(~role.is_in(list(roles)))).list.unique(maintain_order=True)
    flags = {f"has {name}": _given(name) for name in _not_carried(fields)}
    if fields.has("weight"):
        flags[BAD_WEIGHT] = bad_weight(fields)
    parts = [] if (others := _others(fields)) is None else [source.list.eval(others).list]
    first = [
        without_blank_systems(source.list.eval(message(fields, roles))).alias(MESSAGES),
        unknown.alias(UNKNOWN_ROLES),
        *(source.list.eval(when).list.any().fill_null(False).alias(flag) for flag, when in flags.items()),
        *(kinds.drop_nulls().list.first().alias(PARTS) for kinds in parts),
    ]
    steps: list[Step] = [tuple(first)]
    if system is not None:
        steps = [(*first, pl.col(system).cast(pl.String).alias("system")), opened(fields.carried)]
    ignored = [(name, f"has {name}") for name in _not_carried(fields)]
    return CompiledMapping(
        checks=(
            *conversation_checks(
                column,
                fields.carried,
                with_system=system is not None,
                ignored=ignored,
                parts=bool(parts),
            ),
            *(call_checks(column) if "tool_calls" in fields.carried else ()),
        ),
        columns=frozenset(name for name in (column, conversation.answer, system) if name is not None),
        steps=tuple(steps),
        out=(MESSAGES,),
        carried=fields.carried,
    )


def message(fields: Fields, roles: Mapping[str, Role]) -> pl.Expr:
    """A message of the data (`pl.element()`) as one of the shape's."""
    given = pl.element().struct
    role = given.field(fields.role).cast(pl.String)
    text = _said(fields).fill_null("")
    mapped = role.replace_strict(list(roles), list(roles.values()), default=None, return_dtype=pl.String)
    parts = {"role": mapped, "content": text}
    parts |= {name: given.field(name).cast(pl.String) for name in _TEXT_EXTRAS if fields.has(name)}
    if fields.has("weight"):
        parts["weight"] = _weight(fields)
    if "tool_calls" in fields.carried:
        calling = role.is_in(CALLING) & (mapped == "assistant")
        said = _by_row(pl.when(calling).then(text), said_calls)
        parts["content"] = pl.when(said.is_null()).then(text).otherwise(pl.lit(""))
        parts["tool_calls"] = pl.coalesce(said, *_given_calls(fields))
    return pl.struct(parts[name].alias(name) for name in ("role", "content", *fields.carried))


def bad_weight(fields: Fields) -> pl.Expr:
    """Whether a message of the data has a weight that is neither 0 nor 1."""
    return _given("weight") & _weight(fields).is_null()


def opened(carried: Sequence[str]) -> Step:
    """The text of the column `system` put first, unless the conversation opens with a system message."""
    messages, system = pl.col(MESSAGES), pl.col("system")
    nothing = (pl.lit(None, EXTRAS[name]).alias(name) for name in carried)
    opening = pl.concat_list(pl.struct(pl.lit("system").alias("role"), system.alias("content"), *nothing))
    given = ~blank(system).fill_null(True) & messages.is_not_null()
    own = (messages.list.first().struct.field("role") == "system").fill_null(False)
    whole = pl.when(given & ~own).then(opening.list.concat(messages)).otherwise(messages)
    return whole.alias(MESSAGES), (given & own).alias(TWO_SYSTEMS), pl.exclude(ROW, MESSAGES)


def _said(fields: Fields) -> pl.Expr:
    """What a message of the data says, as text."""
    said, dtype = pl.element().struct.field(fields.content), fields.types[fields.content]
    return text_of(said, dtype) if isinstance(dtype, pl.List) else said.cast(pl.String)


def _others(fields: Fields) -> pl.Expr | None:
    """The kinds of a message's parts that are no text; None where messages have no parts."""
    dtype = fields.types[fields.content]
    if isinstance(dtype, pl.List):
        return others_of(pl.element().struct.field(fields.content), dtype)
    return pl.element().struct.field(PARTS) if fields.has(PARTS) else None


def _given_calls(fields: Fields) -> list[pl.Expr]:
    names = [name for name in ("tool_calls", _LEGACY_CALL) if fields.has(name)]
    return [_by_row(pl.element().struct.field(name), read_calls) for name in names]


def _by_row(values: pl.Expr, read: Callable[[pl.Series], pl.Series]) -> pl.Expr:
    return values.map_batches(read, return_dtype=CALLS, is_elementwise=True)


def _weight(fields: Fields) -> pl.Expr:
    """0 or 1; null for anything else."""
    given = pl.element().struct.field("weight").cast(pl.Float64, strict=False)
    return pl.when(given.is_in([0.0, 1.0])).then(given.cast(EXTRAS["weight"], strict=False))


def _given(name: str) -> pl.Expr:
    return pl.element().struct.field(name).is_not_null()


def _not_carried(fields: Fields) -> list[str]:
    known = (*EXTRAS, _LEGACY_CALL, PARTS)
    return [name for name in fields.types if name not in known and fields.has(name)]


def _as_list(conversation: Conversation, name: str, schema: pl.Schema) -> tuple[pl.Expr, pl.DataType]:
    """A column as a list of messages; one that holds JSON text is read row by row, in Python."""
    column = pl.col(name)
    if schema[name] != pl.String:
        return column, schema[name]
    forms = _forms(conversation)
    parsed = column.map_batches(
        lambda texts: read_messages(texts, forms), return_dtype=PARSED, is_elementwise=True
    )
    return parsed, PARSED


def _unlike(conversation: Conversation, asked: pl.DataType, answer: pl.DataType) -> list[Fault]:
    """What keeps the messages of two columns from being one list."""
    path, known = "mapping.conversation.answer", _types(asked)
    if not _types(answer):
        fix = "name a column with a list of messages, or map single columns with `messages`"
        return [Fault(f"the column holds {answer}, not a list of messages", fix, path=path)]
    fix = "give both columns messages of one form"
    return [
        Fault(
            f"the field `{name}` holds {dtype} here, {known[name]} in `{conversation.column}`", fix, path=path
        )
        for name, dtype in _types(answer).items()
        if pl.Null not in (dtype, known.get(name, pl.Null())) and dtype != known[name]
    ]


def _behind(
    asked: pl.Expr, asked_dtype: pl.DataType, answer: pl.Expr, answer_dtype: pl.DataType
) -> tuple[pl.Expr, pl.DataType]:
    """The messages of two columns as one list, each with the fields of both."""
    first, second = _types(asked_dtype), _types(answer_dtype)
    if not first or not second:
        return asked, asked_dtype
    types = {
        **second,
        **{name: dtype for name, dtype in first.items() if dtype != pl.Null or name not in second},
    }

    def whole(messages: pl.Expr, own: Mapping[str, pl.DataType]) -> pl.Expr:
        given = pl.element().struct
        fields = (given.field(name) if name in own else pl.lit(None) for name in types)
        cast = (field.cast(types[name]).alias(name) for field, name in zip(fields, types, strict=True))
        return messages.list.eval(pl.struct(cast))

    return pl.concat_list(whole(asked, first), whole(answer, second)), pl.List(pl.Struct(types))


def _types(dtype: pl.DataType) -> dict[str, pl.DataType]:
    """The fields of messages in a column of this type; none where it is no list of them."""
    inner = getattr(dtype, "inner", None)
    return (
        {field.name: instance(field.dtype) for field in inner.fields} if isinstance(inner, pl.Struct) else {}
    )


def _forms(conversation: Conversation) -> list[tuple[str, str]]:
    """Names that role and text of a message may have: the spec's own where it gives them."""
    forms = [(conversation.role or role, conversation.content or content) for role, content in FORMS]
    return list(dict.fromkeys(forms))


def _fields(conversation: Conversation, dtype: pl.DataType, faults: list[Fault]) -> Fields | None:
    """The fields of a message; a fault where it has none for role and text, or of types that are not read."""
    path, inner = "mapping.conversation.column", getattr(dtype, "inner", None)
    if not isinstance(inner, pl.Struct):
        fix = "name the column with the messages, or map single columns with `messages`"
        faults.append(Fault(f"the column holds {dtype}, not a list of messages", fix, path=path))
        return None
    types = {field.name: instance(field.dtype) for field in inner.fields}
    if dtype == PARSED:
        return Fields("role", "content", types)
    names = next((form for form in _forms(conversation) if all(name in types for name in form)), None)
    if names is None:
        what = "the messages have no fields that are known as role and text"
        fix = f"name them with `role:` and `content:`; the fields are {', '.join(types)}"
        faults.append(Fault(what, fix, path=path))
        return None
    fields = Fields(*names, types)
    faults += [Fault(what, fix, path=path) for what, fix in _wrong_types(fields)]
    return fields


def _wrong_types(fields: Fields) -> Iterator[tuple[str, str]]:
    """Fields of types that cannot be what their names say, each with the fix."""
    for name in (fields.role, fields.content):
        dtype = fields.types[name]
        if not isinstance(dtype, TEXT_TYPES) and not (name == fields.content and readable(dtype)):
            yield f"the field `{name}` of the messages holds {dtype}, not text", "give plain text"
    for name in filter(fields.has, _TEXT_EXTRAS):
        if not isinstance(fields.types[name], TEXT_TYPES) and not fields.types[name].is_integer():
            yield f"the field `{name}` of the messages holds {fields.types[name]}, not text", "give text"
    weight = fields.types.get("weight", pl.Null())
    if fields.has("weight") and not (weight.is_numeric() or weight == pl.Boolean):
        yield f"the field `weight` of the messages holds {weight}", "give 0 or 1"
    for name in filter(fields.has, ("tool_calls", _LEGACY_CALL)):
        if not isinstance(fields.types[name], pl.String | pl.Struct | pl.List):
            what = f"the field `{name}` of the messages holds {fields.types[name]}, not calls of tools"
            yield what, "give a list of calls, as OpenAI has them, or its JSON text"
