"""Mappings compiled: how a row becomes an example, and what is checked of it, as one lazy Polars plan.

    messages       texts from templates                map_templates.py
    conversation   a column that holds the messages    map_conversation.py
    turns          one turn in each row, put together  map_turns.py
    text           plain text from one template        map_templates.py

Any of them may have `where`; those that make messages a column of tools, and the last answer alone trained;
templates a column of earlier turns (map_history.py).
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from orchestrator.data.checks import MESSAGES, slow_check
from orchestrator.data.compiled import CompiledMapping, no_column
from orchestrator.data.map_conversation import from_conversation
from orchestrator.data.map_history import history_faults, with_history
from orchestrator.data.map_templates import from_templates, from_text
from orchestrator.data.map_turns import from_turns
from orchestrator.data.report import Finding
from orchestrator.data.rows import ROW
from orchestrator.data.shapes import EXTRAS
from orchestrator.data.template import Condition, Slow, TemplateFault, compile_condition
from orchestrator.data.template_syntax import at_path
from orchestrator.data.tool_calls import may_hold_tools, read_tools
from orchestrator.data.tool_checks import TOOLS, tool_checks
from orchestrator.defaults import SlowTemplates
from orchestrator.errors import Fault, SpecError
from orchestrator.spec.mapping import Mapping

__all__ = ["CompiledMapping", "compile_mapping", "slow_findings"]

WHERE = "mapping.where"
SLOW_TEMPLATE = "slow_template"
_OF_TURNS = "a condition on turns is never run row by row"


def compile_mapping(
    mapping: Mapping, schema: pl.Schema, slow_templates: SlowTemplates = "allow"
) -> CompiledMapping:
    """Compile a mapping; raises SpecError with every fault of it, each at its path in the spec."""
    faults: list[Fault] = []
    slow = slow_templates == "allow"
    where = _where(mapping, schema, faults, slow=slow)
    compiled = _of_kind(mapping, schema, faults, slow=slow)
    tools = _tools(mapping.tools, schema, faults)
    if mapping.history is not None:
        faults += history_faults(mapping.history, schema)
    if faults or compiled is None:
        raise SpecError(faults)
    if mapping.history is not None:
        compiled = with_history(compiled, mapping.history, schema[mapping.history])
    if mapping.train_on == "last":
        compiled = _trained_at_the_end(compiled)
    if mapping.tools is not None and tools is not None:
        compiled = _with_tools(compiled, mapping.tools, tools)
    return _with_failures(replace(compiled, where=where))


def slow_findings(compiled: CompiledMapping) -> list[Finding]:
    """A warning for each template that runs row by row, with what makes it do so."""
    return [_slow_finding(part) for part in _slow_parts(compiled)]


def _of_kind(
    mapping: Mapping, schema: pl.Schema, faults: list[Fault], *, slow: bool
) -> CompiledMapping | None:
    if mapping.messages is not None:
        return from_templates(mapping.messages, schema, faults, slow=slow)
    if mapping.text is not None:
        return from_text(mapping.text, schema, faults, slow=slow)
    if mapping.turns is not None:
        return from_turns(mapping.turns, mapping.tools, schema, faults)
    assert mapping.conversation is not None
    return from_conversation(mapping.conversation, schema, faults)


def _where(mapping: Mapping, schema: pl.Schema, faults: list[Fault], *, slow: bool) -> Condition | None:
    """The condition; row by row, where `slow` allows it, of rows that stay rows: turns become one."""
    if mapping.where is None:
        return None
    by_row = slow and mapping.turns is None
    try:
        return compile_condition(mapping.where, schema, WHERE if by_row else None)
    except TemplateFault as error:
        told = [replace(each, why=_OF_TURNS) if slow and each.why else each for each in error.faults]
        faults += [at_path(WHERE, fault) for fault in (error.faults if by_row else told)]
        return None


def _tools(column: str | None, schema: pl.Schema, faults: list[Fault]) -> pl.Expr | None:
    if column is None:
        return None
    if column not in schema:
        faults.append(no_column("mapping.tools", column, schema))
        return None
    dtype = schema[column]
    if not may_hold_tools(dtype):
        what = f"the column holds {dtype}, not tools"
        fix = "name a column with a list of tools, or its JSON text"
        faults.append(Fault(what, fix, path="mapping.tools", value=column))
        return None
    return pl.col(column).map_batches(read_tools, return_dtype=pl.String, is_elementwise=True)


def _with_tools(compiled: CompiledMapping, column: str, tools: pl.Expr) -> CompiledMapping:
    """With a column of tools, carried from the first step on."""
    first, *others = compiled.steps
    return replace(
        compiled,
        checks=(*compiled.checks, *tool_checks(column, calls="tool_calls" in compiled.carried)),
        columns=compiled.columns | {column},
        steps=((*first, tools.alias(TOOLS)), *others),
        out=(*compiled.out, TOOLS),
    )


def _trained_at_the_end(compiled: CompiledMapping) -> CompiledMapping:
    """Every assistant message before the last one has the weight 0."""
    carried = tuple(name for name in EXTRAS if name in (*compiled.carried, "weight"))
    message = pl.element().struct
    answers = message.field("role") == "assistant"
    earlier = answers & (answers.cast(pl.Int64).cum_sum(reverse=True) > 1)
    own = message.field("weight") if "weight" in compiled.carried else pl.lit(None, EXTRAS["weight"])
    fields = {name: message.field(name) for name in ("role", "content", *carried) if name != "weight"}
    fields["weight"] = pl.when(earlier).then(pl.lit(0, EXTRAS["weight"])).otherwise(own)
    ordered = [fields[name].alias(name) for name in ("role", "content", *carried)]
    step = (pl.col(MESSAGES).list.eval(pl.struct(ordered)).alias(MESSAGES), pl.exclude(ROW, MESSAGES))
    return replace(compiled, steps=(*compiled.steps, step), carried=carried)


def _with_failures(compiled: CompiledMapping) -> CompiledMapping:
    """With the failures of templates that run row by row carried from the first step on, and checked."""
    parts = _slow_parts(compiled)
    first, *others = compiled.steps
    failures = [part.failure.alias(_failure_column(part)) for part in parts]
    checks = [slow_check(part.name, _failure_column(part)) for part in parts]
    return replace(compiled, steps=((*first, *failures), *others), checks=(*checks, *compiled.checks))


def _slow_parts(compiled: CompiledMapping) -> tuple[Slow, ...]:
    condition = compiled.where.slow if compiled.where else None
    return compiled.slow if condition is None else (condition, *compiled.slow)


def _failure_column(part: Slow) -> str:
    return f"failure of {part.name}"


def _slow_finding(part: Slow) -> Finding:
    named = "; ".join(
        f"{fault.what} (line {fault.line})" if fault.line else fault.what for fault in part.constructs
    )
    fixes = "; ".join(dict.fromkeys(fault.fix for fault in part.constructs if fault.fix))
    what = f"{part.name} runs row by row, many times slower than a compiled template: {named}"
    return Finding(SLOW_TEMPLATE, "warn", 0, what, fixes)
