"""What is checked of calls of tools, and of the tools on offer.

A call must have a name and arguments that are an object, else the trainer would stop; it should be of a tool
on offer and be answered by a tool message right behind it, which answers nothing else.
"""

from __future__ import annotations

import polars as pl

from orchestrator.data.checks import MESSAGES, RowCheck
from orchestrator.data.tool_calls import UNREADABLE, tool_names

TOOLS = "tools"


def call_checks(column: str) -> tuple[RowCheck, ...]:
    """The checks of messages that may have calls."""
    message = pl.element().struct
    calls, role = message.field("tool_calls"), message.field("role")
    function = pl.element().struct.field("function").struct
    broken = function.field("name").is_null() | function.field("arguments").is_null()
    called, answers = calls.is_not_null(), role == "tool"
    answered = (called | answers).shift()
    follows = answers.shift(-1)
    return (
        RowCheck(
            "tool_call_unreadable",
            "red",
            "a call has no name, or arguments that are no JSON object",
            'give each call as {"name": .., "arguments": {..}}',
            _some(calls.list.eval(broken).list.any()),
            f"{column}[].tool_calls",
        ),
        RowCheck(
            "tool_message_without_call",
            "yellow",
            "a tool message does not follow a call",
            "put each answer of a tool right behind its call",
            _some(answers & ~answered.fill_null(False)),
            column,
        ),
        RowCheck(
            "tool_call_without_answer",
            "yellow",
            "a call is followed by no tool message",
            "put the answer of the tool right behind its call",
            _some(called & ~follows.fill_null(True)),
            column,
        ),
    )


def tool_checks(column: str, *, calls: bool) -> tuple[RowCheck, ...]:
    """The checks of a column of tools; `calls` says that the messages may have calls."""
    unreadable = RowCheck(
        "tools_unreadable",
        "red",
        "the tools are no list of definitions",
        'give a list such as [{"name": .., "parameters": {..}}], or its JSON text',
        (pl.col(TOOLS) == UNREADABLE).fill_null(False),
        column,
    )
    return (unreadable, _not_offered(column)) if calls else (unreadable,)


def _not_offered(column: str) -> RowCheck:
    offered = (
        pl.col(TOOLS)
        .fill_null("")
        .map_batches(tool_names, return_dtype=pl.List(pl.String), is_elementwise=True)
    )
    missing = _called_names().list.set_difference(offered)
    return RowCheck(
        "tool_not_offered",
        "yellow",
        "a call is of a tool that is not on offer",
        "add its definition to the tools of the row",
        (missing.list.len() > 0).fill_null(False),
        column,
        missing.list.sort().list.join(", "),
    )


def _called_names() -> pl.Expr:
    name = pl.element().struct.field("function").struct.field("name")
    names = pl.element().struct.field("tool_calls").list.eval(name)
    return pl.col(MESSAGES).list.eval(names.explode()).list.drop_nulls()


def _some(condition: pl.Expr) -> pl.Expr:
    return pl.col(MESSAGES).list.eval(condition.fill_null(False)).list.any().fill_null(False)
