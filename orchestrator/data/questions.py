"""What a model is asked, made as a run's mapping makes it: from a prompt, from rows, from held-out rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import nodes
from jinja2.meta import find_undeclared_variables
from polars.exceptions import PolarsError

from orchestrator.data.conversation import tools, turns, without_nulls
from orchestrator.data.mapping import compile_mapping
from orchestrator.data.rows import ROW
from orchestrator.data.shapes import EXAMPLE_COLUMNS
from orchestrator.data.template_syntax import parse
from orchestrator.errors import DataError, Fault
from orchestrator.spec.mapping import Mapping as RowMapping

_ROW = "row"  # what templates call columns by whose names are none of Jinja's


@dataclass(frozen=True)
class Question:
    """The turns before an answer and the tools on offer, or a plain `text` to go on with; `expected` is the
    answer where the data has one, `shown` what stands for it before people."""

    shown: str
    messages: tuple[Mapping[str, Any], ...] = ()
    tools: tuple[Any, ...] = ()
    text: str | None = None
    expected: str | None = None

    def plain(self) -> dict[str, Any]:
        if self.text is not None:
            return {"text": self.text}
        return {"messages": list(self.messages), "tools": list(self.tools) or None}


def of_prompt(mapping: RowMapping, prompt: str) -> Question:
    """A prompt in the place of what the mapping asks.

    It is the one column that the messages before the answer read. Where they read several, it stands for all
    that the user says, and messages that read none stay as they are.
    """
    if mapping.text is not None:
        return Question(prompt, text=prompt)
    before = [(each.role, each.content) for each in mapping.messages or ()][: _answer(mapping)]
    read = set().union(*(columns_of(content) for _, content in before))
    if len(read) == 1 and mapping.history is None:
        (question,) = of_rows(mapping, [{read.pop(): prompt}])
        return Question(prompt, question.messages, expected=None)
    always = [(role, content) for role, content in before if role == "system" and not columns_of(content)]
    example = _constant(always) if always else []
    return Question(prompt, (*example, {"role": "user", "content": prompt}))


def fits(mapping: RowMapping) -> bool:
    """Whether a prompt alone says all that the mapping asks."""
    before = (mapping.messages or ())[: _answer(mapping)]
    return mapping.messages is None or len(set().union(*(columns_of(each.content) for each in before))) <= 1


def of_rows(mapping: RowMapping, rows: Sequence[Mapping[str, Any]]) -> list[Question]:
    """Rows as the mapping asks them; `{"messages": ..}` is a conversation as it is, unless the mapping reads
    a column of that name. A column that no row has is empty, as that of the answer may be.

    Raises:
        DataError: a row is none, or asks nothing.
        SpecError: the mapping does not fit the columns.
    """
    own = mapping.conversation is None or mapping.conversation.column != "messages"
    if own and rows and all("messages" in row for row in rows) and "messages" not in _columns(mapping):
        examples = [dict(row) for row in rows]
    else:
        examples = _mapped(mapping, rows)
    return [_question(example, number) for number, example in enumerate(examples, 1)]


def held_out(file: Path, count: int) -> list[Question]:
    """The first held-out rows of a dataset. Raises DataError where there are none, or of plain text."""
    if not file.is_file():
        raise DataError([Fault("the run held no rows out", "give prompts, or --file")])
    rows = pl.scan_parquet(file, glob=False).head(count).collect().to_dicts()
    if rows and "text" in rows[0]:
        raise DataError([Fault("plain text asks nothing", "give the beginning of a text")])
    return [_question(without_nulls(row), number) for number, row in enumerate(rows, 1)]


def columns_of(source: str) -> set[str]:
    """The columns that a template reads."""
    tree = parse(source)
    named = {
        item.arg.value
        for item in tree.find_all(nodes.Getitem)
        if isinstance(item.node, nodes.Name) and item.node.name == _ROW and isinstance(item.arg, nodes.Const)
    }
    return (find_undeclared_variables(tree) - {_ROW}) | named


def _columns(mapping: RowMapping) -> set[str]:
    templates = [each.content for each in mapping.messages or ()] + ([mapping.text] if mapping.text else [])
    read = set().union(*map(columns_of, templates))
    named = (mapping.tools, mapping.history)
    return read | {name for name in named if name}


def _answer(mapping: RowMapping) -> int:
    """The place of the last answer of a mapping's messages."""
    roles = [each.role for each in mapping.messages or ()]
    return len(roles) - 1 - roles[::-1].index("assistant") if "assistant" in roles else 0


def _constant(messages: Sequence[tuple[str, str]]) -> list[Mapping[str, Any]]:
    made = {"messages": [{"role": role, "content": content} for role, content in messages]}
    made["messages"].append({"role": "assistant", "content": "-"})
    (example,) = _mapped(RowMapping.model_validate(made), [{"nothing": ""}])
    return list(example["messages"][:-1])


def _mapped(mapping: RowMapping, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows as examples; none of them is left out."""
    try:
        frame = pl.from_dicts(list(rows), infer_schema_length=None).with_row_index(ROW, offset=1)
    except (PolarsError, TypeError) as error:
        what, fix = "the rows do not have one form", "give each column the same kind of value in every row"
        raise DataError([Fault(what, fix, str(error).splitlines()[0])]) from error
    missing = _columns(mapping) - set(frame.columns)
    frame = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in sorted(missing))
    schema = pl.Schema({name: dtype for name, dtype in frame.schema.items() if name != ROW})
    compiled = compile_mapping(mapping.model_copy(update={"where": None}), schema)
    made = compiled.apply(frame.lazy()).collect()
    return [
        without_nulls({name: row[name] for name in EXAMPLE_COLUMNS if name in row}) for row in made.to_dicts()
    ]


def _question(example: Mapping[str, Any], number: int) -> Question:
    if example.get("text") is not None:
        return Question(example["text"], text=example["text"])
    said = turns(example, weights=False)
    answer = len(said) - 1 if said[-1]["role"] == "assistant" else len(said)
    before, last = said[:answer], said[answer:]
    asked = [str(turn.get("content") or "") for turn in before if turn["role"] in ("user", "tool")]
    if not before:
        raise DataError([Fault("there is nothing before the answer", "give a question", row=number)])
    expected = str(last[0].get("content") or "") if last else ""
    return Question(
        asked[-1] if asked else "", tuple(before), tuple(tools(example) or ()), None, expected or None
    )


def lines(text: str, name: str) -> Iterator[str | dict[str, Any]]:
    """Prompts, one in each line that is not blank: objects of JSON where the first is one, else texts.

    Raises DataError with the line that is no object.
    """
    filled = [(number, line) for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1) if line.strip()]
    if not filled or not filled[0][1].lstrip().startswith("{"):
        yield from (line for _, line in filled)
        return
    for number, line in filled:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError([Fault("this is not valid JSON", None, str(error), name, number)]) from error
        if not isinstance(row, dict):
            raise DataError([Fault("this is no object", "give each row as one", None, name, number)])
        yield row
