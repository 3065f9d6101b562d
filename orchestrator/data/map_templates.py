"""Examples from templates: messages in their order, a system message that comes out blank left out, or one
plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from orchestrator.data.checks import MESSAGES, blank, template_checks, text_checks
from orchestrator.data.compiled import CompiledMapping, Step
from orchestrator.data.rows import ROW
from orchestrator.data.shapes import EXTRAS, TEXT
from orchestrator.data.template import Slow, Template, TemplateFault, compile_template
from orchestrator.data.template_syntax import at_path
from orchestrator.errors import Fault
from orchestrator.spec.mapping import MessageTemplate

TEXT_PATH = "mapping.text"


@dataclass(frozen=True)
class Rendered:
    """Templates over columns: the step that renders them, and the columns that it makes.

    `texts` are the columns with the texts; `empties` those that say whether a field printed in them was
    empty, None for a template without fields; `slow` are the templates that run row by row.
    """

    step: Step
    texts: tuple[str, ...]
    empties: tuple[str | None, ...]
    columns: frozenset[str]
    slow: tuple[Slow, ...]


def render(
    sources: Mapping[str, str], schema: pl.Schema, faults: list[Fault], *, slow: bool
) -> Rendered | None:
    """Compile templates by their paths in the spec; None, with their faults, where one is wrong.

    `slow` allows those that run row by row.
    """
    templates: list[Template] = []
    for path, source in sources.items():
        try:
            templates.append(compile_template(source, schema, path if slow else None))
        except TemplateFault as error:
            faults += [at_path(path, fault) for fault in error.faults]
    if len(templates) < len(sources):
        return None
    texts = tuple(f"text {number}" for number in range(len(templates)))
    empties = tuple(None if template.constant else f"empty {at}" for at, template in enumerate(templates))
    rendered = [template.text.alias(text) for template, text in zip(templates, texts, strict=True)]
    rendered += [
        template.empty.alias(empty)
        for template, empty in zip(templates, empties, strict=True)
        if empty is not None
    ]
    columns = frozenset[str]().union(*(template.columns for template in templates))
    parts = tuple(template.slow for template in templates if template.slow is not None)
    return Rendered(tuple(rendered), texts, empties, columns, parts)


def from_templates(
    messages: Sequence[MessageTemplate], schema: pl.Schema, faults: list[Fault], *, slow: bool
) -> CompiledMapping | None:
    """Messages from templates; `slow` allows those that run row by row."""
    sources = {f"mapping.messages[{number}].content": one.content for number, one in enumerate(messages)}
    rendered = render(sources, schema, faults, slow=slow)
    if rendered is None:
        return None
    return CompiledMapping(
        checks=template_checks([message.role for message in messages], rendered.texts, rendered.empties),
        columns=rendered.columns,
        steps=(rendered.step, (_joined(messages, rendered.texts).alias(MESSAGES), pl.exclude(ROW))),
        out=(MESSAGES,),
        carried=("weight",) if _weighted(messages) else (),
        slow=rendered.slow,
    )


def from_text(source: str, schema: pl.Schema, faults: list[Fault], *, slow: bool) -> CompiledMapping | None:
    """Plain text from one template; `slow` as for messages."""
    rendered = render({TEXT_PATH: source}, schema, faults, slow=slow)
    if rendered is None:
        return None
    (text,), (empty,) = rendered.texts, rendered.empties
    (name,) = TEXT.columns
    return CompiledMapping(
        checks=text_checks(name, empty, TEXT_PATH),
        columns=rendered.columns,
        steps=(rendered.step, (pl.col(text).alias(name), pl.exclude(ROW))),
        out=(name,),
        slow=rendered.slow,
    )


def _joined(messages: Sequence[MessageTemplate], texts: Sequence[str]) -> pl.Expr:
    """The messages as a list: a fixed-width array cut at its head is three times as fast as a choice
    between lists."""
    weighted = _weighted(messages)
    parts = [
        pl.struct(
            pl.lit(message.role).alias("role"),
            pl.col(text).alias("content"),
            *([pl.lit(message.weight, EXTRAS["weight"]).alias("weight")] if weighted else []),
        )
        for message, text in zip(messages, texts, strict=True)
    ]
    whole = pl.concat_arr(parts).arr.to_list()
    roles = [message.role for message in messages]
    if roles[0] == "system":
        whole = whole.list.slice(blank(pl.col(texts[0])).cast(pl.Int64))
    return without_blank_systems(whole) if "system" in roles[1:] else whole


def _weighted(messages: Sequence[MessageTemplate]) -> bool:
    return any(message.weight is not None for message in messages)


def without_blank_systems(messages: pl.Expr) -> pl.Expr:
    message = pl.element()
    nothing = (message.struct.field("role") == "system") & blank(message.struct.field("content"))
    return messages.list.filter(~nothing.fill_null(False))
