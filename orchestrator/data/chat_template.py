"""A model's chat template, rendered as the trainer renders it, in a sandbox with bounds.

The rendering rules are those of transformers 5.16.1 (`utils/chat_template_utils.py`): an immutable
sandbox, blocks trimmed, loop controls, its own `tojson`, `raise_exception`, `strftime_now` and the
`generation` tag. Templates come from model repositories, so they are not trusted: output, template and
repeated text are bounded here; time and memory are bounded by the process that prepares a dataset.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from orchestrator.errors import DataError, Fault

Turn = Mapping[str, object]
Clock = Callable[[], datetime]

MAX_TEMPLATE_CHARACTERS = 1_000_000
MAX_OUTPUT_CHARACTERS = 50_000_000
MAX_REPEATED_CHARACTERS = 10_000_000
MAX_POWER_BITS = 4096


class ChatTemplate:
    """One template, compiled once.

    `variables` are the names every render sees beside messages and tools: the tokenizer's named special
    tokens, then Axolotl's `chat_template_kwargs`. `clock` answers `strftime_now`.
    """

    def __init__(self, source: str, variables: Mapping[str, object], clock: Clock = datetime.now) -> None:
        """Compile `source`; raises DataError where it is no Jinja or too large."""
        self.source = source
        self._template = _compile(source, clock)
        # Jinja would put these together anew at each render, out of a chain of mappings.
        self._shared = {**self._template.globals, **variables}

    def render(
        self,
        messages: Sequence[Turn],
        tools: Sequence[object] | None = None,
        *,
        add_generation_prompt: bool = False,
        real_last_index: int | None = None,
    ) -> str:
        """The text of a conversation; raises DataError with the template's own words where it refuses.

        An empty list of tools is no tools, as in the trainer. `real_last_index` is Axolotl's name for the
        last index of a conversation of which only the first turns are rendered.
        """
        names = {
            **self._shared,
            **({"real_last_index": real_last_index} if real_last_index else {}),
            "messages": messages,
            "tools": tools or None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            context = self._template.new_context(names, shared=True)
            return _joined(self._template.root_render_func(context))
        # A template can raise anything Python can; whatever it is, the trainer would stop on this row too.
        except Exception as error:
            raise DataError([_refused(error)]) from error


def _compile(source: str, clock: Clock) -> jinja2.Template:
    if len(source) > MAX_TEMPLATE_CHARACTERS:
        raise DataError([Fault("the chat template is too large", value=f"{len(source)} characters")])
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: clock().strftime(form)
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        fix = "give the model a chat_template.jinja that is valid Jinja"
        raise DataError([Fault("the chat template cannot be read", fix=fix, why=str(error))]) from error


_DICT_ATTRIBUTES = frozenset(dir(dict))
_PLAIN_HOLDERS = (LoopContext, Namespace)
_PLAIN_VALUES = (bool, int, str)


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with multiplication and powers kept from making huge values out of short templates."""

    intercepted_binops = frozenset({"*", "**"})

    def getattr(self, obj: object, attribute: str) -> object:
        """The sandbox's own answer, quickly for the lookups that make up nearly all of a chat template.

        A key of a plain dict that is no method of dict, and a plain value of `loop` or a namespace, pass the
        sandbox's checks by what they are. All else takes the long way.
        """
        if type(obj) is dict and attribute not in _DICT_ATTRIBUTES:
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if type(obj) in _PLAIN_HOLDERS and not attribute.startswith("_"):
            value = getattr(obj, attribute, None)
            if type(value) in _PLAIN_VALUES:
                return value
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        if operator == "*" and _repeated_length(left, right) > MAX_REPEATED_CHARACTERS:
            raise jinja2.TemplateError("the template repeats a text too often")
        if operator == "**" and _power_bits(left, right) > MAX_POWER_BITS:
            raise jinja2.TemplateError("the template raises a number to too high a power")
        return super().call_binop(context, operator, left, right)


def _repeated_length(left: object, right: object) -> int:
    for sequence, times in ((left, right), (right, left)):
        if isinstance(sequence, str | list | tuple) and isinstance(times, int):
            return len(sequence) * times
    return 0


def _power_bits(base: object, exponent: object) -> int:
    return base.bit_length() * exponent if isinstance(base, int) and isinstance(exponent, int) else 0


class _GenerationTag(Extension):
    """`{% generation %}` marks what the assistant wrote; here, as in training, it only opens a scope."""

    tags = {"generation"}  # noqa: RUF012  (Jinja's own way to name a tag)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_content"), [], [], body).set_lineno(line)

    def _content(self, caller: Macro) -> str:
        return str(caller())


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _joined(parts: Iterable[str]) -> str:
    kept: list[str] = []
    length = 0
    for part in parts:
        length += len(part)
        if length > MAX_OUTPUT_CHARACTERS:
            raise jinja2.TemplateError(f"the template wrote more than {MAX_OUTPUT_CHARACTERS} characters")
        kept.append(part)
    return "".join(kept)


def _refused(error: Exception) -> Fault:
    return Fault(
        "the model's chat template refuses this conversation",
        why=str(error) or type(error).__name__,
        fix="change the mapping so that roles and their order suit the model, or choose another model",
    )
