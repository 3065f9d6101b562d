"""Messages from templates, in their order; a system message that comes out blank is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from orchestrator.data.checks import MESSAGES, blank, template_checks
from orchestrator.data.compiled import CompiledMapping
from orchestrator.data.rows import ROW
from orchestrator.data.shapes import EXTRAS
from orchestrator.data.template import Template, TemplateFault, compile_template
from orchestrator.errors import Fault
from orchestrator.spec.models import MessageTemplate


def from_templates(
    messages: Sequence[MessageTemplate], schema: pl.Schema, faults: list[Fault], *, slow: bool
) -> CompiledMapping | None:
    """Messages from templates; `slow` allows those that run row by row."""
    templates: list[Template] = []
    for number, message in enumerate(messages):
        path = f"mapping.messages[{number}].content"
        try:
            templates.append(compile_template(message.content, schema, path if slow else None))
        except TemplateFault as error:
            faults += [at_path(path, fault) for fault in error.faults]
    if faults:
        return None
    texts = [f"text {number}" for number in range(len(templates))]
    empties = [None if template.constant else f"empty {at}" for at, template in enumerate(templates)]
    rendered = [template.text.alias(text) for template, text in zip(templates, texts, strict=True)]
    rendered += [
        template.empty.alias(empty)
        for template, empty in zip(templates, empties, strict=True)
        if empty is not None
    ]
    return CompiledMapping(
        checks=template_checks([message.role for message in messages], texts, empties),
        columns=frozenset().union(*(template.columns for template in templates)),
        steps=(tuple(rendered), (_joined(messages, texts).alias(MESSAGES), pl.exclude(ROW))),
        out=(MESSAGES,),
        carried=("weight",) if _weighted(messages) else (),
        slow=tuple(template.slow for template in templates if template.slow is not None),
    )


def at_path(path: str, fault: Fault) -> Fault:
    """A template's fault at its path in the spec; its place inside the template goes into the words."""
    column = f", column {fault.column}" if fault.column else ""
    inside = f"line {fault.line}{column} of the template" if fault.line else None
    why = "; ".join(part for part in (fault.why, inside) if part) or None
    return replace(fault, path=path, line=None, column=None, why=why)


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
