"""What is checked of every row: the rules, each with its verdict, as Polars expressions.

    red      nothing can be trained on: the row is left out and reported
    yellow   it trains, but something was empty or odd
    green    everything resolved

Codes are those of OpenAI's cookbook (Chat_finetuning_data_prep) where it has the rule.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from orchestrator.data.template_values import WHITESPACE

MESSAGES = "messages"
UNKNOWN_ROLES = "unknown roles"
TWO_SYSTEMS = "two systems"
BAD_WEIGHT = "bad weight"
PARTS = "parts that are no text"


@dataclass(frozen=True)
class RowCheck:
    """One rule; `when` (Boolean, never null) says of which rows it is broken.

    `field` is where the row or the mapping is at fault; `value` tells from `messages` and `unknown roles`
    what stood there.
    """

    code: str
    verdict: Literal["red", "yellow"]
    message: str
    fix: str
    when: pl.Expr
    field: str | None = None
    value: pl.Expr | None = None


def template_checks(
    roles: Sequence[str], texts: Sequence[str], empties: Sequence[str | None]
) -> tuple[RowCheck, ...]:
    """The checks of messages from templates.

    `texts` are the columns with the rendered texts; `empties` those that say whether a field printed in
    them was empty, None for a template without fields.
    """
    checks: list[RowCheck] = []
    for number, (role, text, empty) in enumerate(zip(roles, texts, empties, strict=True)):
        field = f"mapping.messages[{number}].content"
        if role == "assistant":
            checks.append(_missing_content(blank(pl.col(text)), field))
        if empty is not None:  # of an answer that is blank, red says all there is to say
            partly = pl.col(empty) & ~blank(pl.col(text)) if role == "assistant" else pl.col(empty)
            checks.append(_empty_field(partly, field))
        if role in ("user", "tool"):
            resolved = ~pl.col(empty) if empty is not None else pl.lit(True)
            checks.append(_empty_message(blank(pl.col(text)) & resolved, role, field))
    return (*checks, *_order_of_templates(roles))


def text_checks(text: str, empty: str | None, path: str) -> tuple[RowCheck, ...]:
    """The checks of the column `text`; `empty` says of a row that a field printed in it was empty."""
    nothing = blank(pl.col(text))
    what, fix = "the text is empty, so there is nothing to train on", "leave such rows out with `where`"
    checks = [_red("missing_text", what, fix, nothing, path)]
    return tuple(checks if empty is None else [*checks, _empty_field(pl.col(empty) & ~nothing, path)])


def conversation_checks(
    column: str,
    carried: Sequence[str],
    *,
    with_system: bool,
    ignored: Sequence[tuple[str, str]],
    parts: bool = False,
) -> tuple[RowCheck, ...]:
    """The checks of a column of messages, which have the fields of `carried` beside role and content.

    `ignored` are fields of a message that are not carried, each with the column that says where one is set;
    `parts` says that there is a column with the kinds of the parts that are no text.
    """
    message = pl.element()
    role, content = message.struct.field("role"), message.struct.field("content")
    calls = message.struct.field("tool_calls").is_not_null() if "tool_calls" in carried else pl.lit(False)
    weight = message.struct.field("weight") if "weight" in carried else pl.lit(None, pl.Int64)
    answer = (role == "assistant") & (weight.is_null() | (weight == 1))
    roles = pl.col(MESSAGES).list.eval(role)
    there = (pl.col(MESSAGES).list.len() > 0).fill_null(False)
    answers = roles.list.contains("assistant").fill_null(False)

    def some(condition: pl.Expr) -> pl.Expr:
        return pl.col(MESSAGES).list.eval(condition.fill_null(False)).list.any().fill_null(False)

    repeated = some((role == role.shift()) & role.is_in(["user", "assistant"]))
    checks = [
        _missing_list(~there, column),
        _unknown_role(some(role.is_null()), column),
        _no_answer(there & ~answers & ~some(role.is_null()), column),
        _missing_content(some(answer & blank(content) & ~calls), column),
        _empty_message(some((role != "assistant") & blank(content)), "user, tool or system", column),
        *_order_of_messages(roles, answers, repeated, column),
    ]
    if "weight" in carried:
        untrained = answers & ~some(answer | (weight == 1))
        checks += [_bad_weight(column), _all_weights_zero(untrained, column)]
    checks += [_content_parts(column)] if parts else []
    checks += [_ignored_field(name, pl.col(flag), column) for name, flag in ignored]
    return (*checks, _two_systems(column)) if with_system else tuple(checks)


def slow_check(path: str, failure: str) -> RowCheck:
    """The check of a template that runs row by row; the column `failure` tells where it cannot, and why."""
    what, fix = (
        "the template cannot be rendered",
        "test for it with {% if %}, or leave the row out with `where`",
    )
    there = pl.col(failure)
    return RowCheck("template_failed", "red", what, fix, there.is_not_null(), path, there)


def blank(text: pl.Expr) -> pl.Expr:
    """Whether a text is nothing but white space."""
    return text.str.strip_chars(WHITESPACE).str.len_bytes() == 0


_ODD_ORDERS = {
    "roles_do_not_alternate": "two user or two assistant messages follow each other",
    "last_message_not_assistant": "the last message is not the assistant's, and is not trained",
    "example_missing_user_message": "there is no user message",
    "system_not_first": "a system message does not stand first",
}


def _order_of_templates(roles: Sequence[str]) -> Iterator[RowCheck]:
    """Oddities that lie in the mapping itself, and so in every row."""
    turns = [role for role in roles if role != "system"]
    repeated = any(
        role == before and role in ("user", "assistant") for before, role in itertools.pairwise(turns)
    )
    found = {
        "roles_do_not_alternate": (repeated, "join them into one"),
        "last_message_not_assistant": (turns[-1] != "assistant", "remove it"),
        "example_missing_user_message": ("user" not in turns, "add the question"),
        "system_not_first": ("system" in roles[1:], "put it first"),
    }
    for code, (odd, fix) in found.items():
        if odd:
            yield _odd(code, _ODD_ORDERS[code], fix, pl.lit(True), "mapping.messages")


def _order_of_messages(
    roles: pl.Expr, answers: pl.Expr, repeated: pl.Expr, column: str
) -> Iterator[RowCheck]:
    """Oddities of a row's own messages, whose roles are in the list `roles`."""
    found = {
        "roles_do_not_alternate": (repeated, "join them; some chat templates refuse such a conversation"),
        "last_message_not_assistant": (
            answers & (roles.list.last() != "assistant").fill_null(False),
            "end each conversation with an answer",
        ),
        "example_missing_user_message": (
            answers & ~roles.list.contains("user").fill_null(False),
            "give the question that is answered",
        ),
        "system_not_first": (
            roles.list.slice(1).list.contains("system").fill_null(False),
            "put it first; some chat templates refuse it elsewhere",
        ),
    }
    for code, (odd, fix) in found.items():
        yield _odd(code, _ODD_ORDERS[code], fix, odd, column)


def _missing_list(when: pl.Expr, column: str) -> RowCheck:
    fix = "give each row a list of messages with text"
    return _red("missing_messages_list", "there is no list of messages", fix, when, column)


def _unknown_role(when: pl.Expr, column: str) -> RowCheck:
    what, fix = "a message has a role that is not known", "say what it means: `roles: {<role>: user}`"
    return RowCheck(
        "unrecognized_role", "red", what, fix, when, column, pl.col(UNKNOWN_ROLES).list.join(", ")
    )


def _no_answer(when: pl.Expr, column: str) -> RowCheck:
    what = "no message has the role assistant, so there is nothing to train on"
    fix = "add the answer, or leave the row out with `where`"
    return _red("example_missing_assistant_message", what, fix, when, column)


def _missing_content(when: pl.Expr, field: str) -> RowCheck:
    fix = "fill it in, or leave such rows out with `where`"
    return _red(
        "missing_content", "an assistant message is empty, so there is nothing to train on", fix, when, field
    )


def _empty_field(when: pl.Expr, field: str) -> RowCheck:
    fix = "give a default, such as `{{ field | default('-', true) }}`, or test it with {% if field %}"
    return _odd("empty_field", "a field that the template prints is empty or null", fix, when, field)


def _empty_message(when: pl.Expr, role: str, field: str) -> RowCheck:
    return _odd("empty_message", f"a message ({role}) is empty", "fill it in, or leave it out", when, field)


def _bad_weight(column: str) -> RowCheck:
    what, fix = "a message has a weight that is neither 0 nor 1", "give 1 to train a message, 0 not to"
    return _red("invalid_weight", what, fix, pl.col(BAD_WEIGHT), f"{column}[].weight")


def _all_weights_zero(when: pl.Expr, column: str) -> RowCheck:
    what = "every assistant message has the weight 0, so there is nothing to train on"
    return _red("no_trained_message", what, "leave such rows out", when, f"{column}[].weight")


def _content_parts(column: str) -> RowCheck:
    what = "a message has parts that are no text, and only text is trained on"
    fix = "say in text what they show, or take such rows out"
    kinds = pl.col(PARTS)
    return RowCheck("content_parts", "red", what, fix, kinds.is_not_null(), f"{column}[].content", kinds)


def _ignored_field(name: str, when: pl.Expr, column: str) -> RowCheck:
    what = f"messages have `{name}`, which this version does not carry"
    fix = "write what matters into the text of the message"
    return _odd("message_unrecognized_key", what, fix, when, f"{column}[].{name}")


def _two_systems(column: str) -> RowCheck:
    what = "the conversation has a system message of its own; the system column is not used"
    return _odd("two_systems", what, "remove one of them", pl.col(TWO_SYSTEMS), column)


def _red(code: str, message: str, fix: str, when: pl.Expr, field: str) -> RowCheck:
    return RowCheck(code, "red", message, fix, when, field)


def _odd(code: str, message: str, fix: str, when: pl.Expr, field: str) -> RowCheck:
    return RowCheck(code, "yellow", message, fix, when, field)
