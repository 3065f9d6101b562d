"""Messages from a table with one turn in each row: rows of one conversation are put together, in their order.

A conversation counts as one row from here on: it stands where its first row stands, and its verdicts name
that row. Roles and calls of tools are read as those of a column of messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from orchestrator.data.checks import RowCheck
from orchestrator.data.compiled import TEXT_TYPES, CompiledMapping, Grouping, no_column
from orchestrator.data.map_conversation import Fields, compiled_messages
from orchestrator.data.rows import ROW
from orchestrator.errors import Fault
from orchestrator.spec.mapping import Conversation, Turns

_TURNS, _NO_ID, _SAME_ORDER = "turns", "no conversation", "same order"
_PATH = "mapping.turns"


def from_turns(
    turns: Turns, tools: str | None, schema: pl.Schema, faults: list[Fault]
) -> CompiledMapping | None:
    """`tools` is the column of tools, of which each conversation has the first that is there."""
    found = list(_faults(turns, schema))
    faults += found
    if found:
        return None
    # ShareGPT's names, under which a turn may be a call of a tool.
    fields = Fields("from", "value", {"from": pl.String(), "value": pl.String()})
    read = Conversation(column=turns.content, roles=turns.roles, system=turns.system)
    compiled = compiled_messages(read, pl.col(_TURNS), fields)
    first, *others = compiled.steps
    checks = _checks(turns)
    columns = {turns.conversation, turns.order, turns.role, turns.content, turns.system, tools}
    return replace(
        compiled,
        checks=(*checks, *compiled.checks),
        columns=frozenset(name for name in columns if name is not None),
        steps=((*first, *(pl.col(name) for name in _flags(turns))), *others),
        grouping=_grouping(turns, tools),
    )


def _grouping(turns: Turns, tools: str | None) -> Grouping:
    said = pl.struct(
        pl.col(turns.role).cast(pl.String).alias("from"), pl.col(turns.content).cast(pl.String).alias("value")
    )
    order = [ROW] if turns.order is None else [turns.order, ROW]
    given = dict.fromkeys(name for name in (turns.system, tools) if name is not None)
    flags = [pl.col(turns.conversation).first().is_null().alias(_NO_ID)]
    if turns.order is not None:
        flags.append((pl.col(turns.order).n_unique() < pl.len()).alias(_SAME_ORDER))
    return Grouping(
        turns.conversation,
        (
            said.sort_by(order, nulls_last=True).alias(_TURNS),
            *(pl.col(name).drop_nulls().first() for name in given),
            *flags,
        ),
    )


def _flags(turns: Turns) -> list[str]:
    return [_NO_ID] if turns.order is None else [_NO_ID, _SAME_ORDER]


def _checks(turns: Turns) -> list[RowCheck]:
    checks = [
        RowCheck(
            "missing_conversation",
            "red",
            "turns belong to no conversation",
            "fill in the column, or leave such rows out with `where`",
            pl.col(_NO_ID),
            turns.conversation,
        )
    ]
    if turns.order is not None:
        what = "turns of a conversation have the same place in its order; they stand as in the file"
        fix = "name a column that tells their order, or leave `order` out"
        checks.append(RowCheck("turns_of_same_order", "yellow", what, fix, pl.col(_SAME_ORDER), turns.order))
    return checks


def _faults(turns: Turns, schema: pl.Schema) -> Iterator[Fault]:
    named = turns.model_dump(
        include={"conversation", "order", "role", "content", "system"}, exclude_none=True
    )
    for field, name in named.items():
        path = f"{_PATH}.{field}"
        if name not in schema:
            yield no_column(path, name, schema)
        elif field in ("content", "system") and not isinstance(schema[name], TEXT_TYPES):
            yield Fault("the column holds no text", "name a column of text", path=path, value=name)
        elif schema[name].is_nested():
            what = f"the column holds {schema[name]}, not one value in each row"
            yield Fault(what, "name a column of plain values", path=path, value=name)
