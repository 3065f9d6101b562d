"""Turns before those of the templates, from a column of pairs (asked, answered), as Alpaca's data has them.

They stand behind a system message and count as what they are: questions and answers.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from orchestrator.data.checks import MESSAGES, RowCheck, blank
from orchestrator.data.compiled import TEXT_TYPES, CompiledMapping, no_column
from orchestrator.data.rows import ROW
from orchestrator.data.shapes import EXTRAS
from orchestrator.data.template_values import instance
from orchestrator.errors import Fault

PATH = "mapping.history"
_HISTORY, _BROKEN = "history", "broken history"


def history_faults(column: str, schema: pl.Schema) -> list[Fault]:
    """What keeps a column from being read as pairs."""
    if column not in schema:
        return [no_column(PATH, column, schema)]
    if holds_pairs(schema[column]):
        return []
    what = f"the column holds {schema[column]}, not pairs of texts"
    return [Fault(what, 'give a list such as [["a question", "its answer"]]', path=PATH, value=column)]


def holds_pairs(dtype: pl.DataType) -> bool:
    """Whether values of a type are lists of lists of texts, as far as some are there."""
    pair = instance(dtype.inner) if isinstance(dtype, pl.List) else dtype
    text = instance(pair.inner) if isinstance(pair, pl.List) else pair
    return isinstance(text, pl.Null) or (isinstance(pair, pl.List) and isinstance(text, TEXT_TYPES))


def with_history(compiled: CompiledMapping, column: str, dtype: pl.DataType) -> CompiledMapping:
    """With the turns of a column that `holds_pairs`, carried from the first step on."""
    if not (isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.List)):
        return compiled
    first, *others = compiled.steps
    asked, answered = (pl.element().list.get(at, null_on_oob=True).cast(pl.String) for at in (0, 1))
    turns = pl.concat_list(
        _turn("user", asked, compiled.carried), _turn("assistant", answered, compiled.carried)
    )
    whole = (pl.element().list.len() == 2) & ~blank(asked).fill_null(True) & ~blank(answered).fill_null(True)
    pairs = pl.col(column)
    carried = (
        pairs.list.eval(turns.explode(empty_as_null=False)).alias(_HISTORY),
        (~pairs.list.eval(whole.fill_null(False)).list.all()).fill_null(False).alias(_BROKEN),
    )
    return replace(
        compiled,
        checks=(_whole_pairs(column), *compiled.checks),
        columns=compiled.columns | {column},
        steps=((*first, *carried), *others, (_joined().alias(MESSAGES), pl.exclude(ROW, MESSAGES, _HISTORY))),
    )


def _turn(role: str, text: pl.Expr, carried: tuple[str, ...]) -> pl.Expr:
    nothing = (pl.lit(None, EXTRAS[name]).alias(name) for name in carried)
    return pl.struct(pl.lit(role).alias("role"), text.alias("content"), *nothing)


def _joined() -> pl.Expr:
    """The messages with the turns in front of them, behind a system message that opens them."""
    messages, turns = pl.col(MESSAGES), pl.col(_HISTORY)
    systems = (messages.list.first().struct.field("role") == "system").cast(pl.Int64).fill_null(0)
    opened = pl.concat_list(messages.list.head(systems), turns, messages.list.slice(systems))
    return pl.when(turns.list.len() > 0).then(opened).otherwise(messages)


def _whole_pairs(column: str) -> RowCheck:
    what = "a turn of the history is no pair of a question and its answer"
    fix = 'give pairs such as ["a question", "its answer"], neither of them empty'
    return RowCheck("history_not_pairs", "red", what, fix, pl.col(_BROKEN), column)
