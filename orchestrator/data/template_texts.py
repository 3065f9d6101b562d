"""Filters and methods that make text, as functions from values to values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import groupby

import polars as pl

from orchestrator.data.template_values import WHITESPACE, Refusal, Value, derive, full_text

TEXT, INTEGER = pl.String(), pl.Int64()
# Where str.splitlines() of Python ends a line.
LINE_END = r"\r\n|[\n\r\x0b\x0c\x1c-\x1e\x{85}\x{2028}\x{2029}]"
# What Jinja's `title` takes for the space between words.
BETWEEN_WORDS = "".join(f"\\x{{{ord(one):x}}}" for one in WHITESPACE) + r"\-({\[<"


def title(value: Value) -> Value:
    """The first character of each word in upper case, all others in lower case."""
    words = full_text(value).str.extract_all(f"[{BETWEEN_WORDS}]+|[^{BETWEEN_WORDS}]+")
    word = pl.element()
    titled = pl.concat_str([word.str.slice(0, 1).str.to_uppercase(), word.str.slice(1).str.to_lowercase()])
    return derive("text", words.list.eval(titled).list.join(""), TEXT, value)


def wordcount(value: Value) -> Value:
    """How many runs of letters, digits and `_` there are, by Python's tables."""
    return derive("integer", full_text(value).str.count_matches(_word()).cast(pl.Int64), INTEGER, value)


@cache
def _word() -> str:
    codes = (code for code in range(0x110000) if chr(code).isalnum() or chr(code) == "_")
    runs = [list(run) for _, run in groupby(enumerate(codes), lambda pair: pair[1] - pair[0])]
    return "[" + "".join(f"\\x{{{run[0][1]:x}}}-\\x{{{run[-1][1]:x}}}" for run in runs) + "]+"


def indent(value: Value, space: str, *, first: bool, blank: bool) -> Value:
    """Lines after the first with space before them."""
    lines = (full_text(value) + "\n").str.replace_all(LINE_END, "\n").str.strip_suffix("\n")
    if blank:
        done = lines.str.replace_all("\n", "\n" + space, literal=True)
    else:
        done = lines.str.replace_all(r"\n([^\n])", "\n" + space.replace("$", "$$") + "${1}")
    return derive("text", pl.concat_str([pl.lit(space), done]) if first else done, TEXT, value)


def method(value: Value, name: str, arguments: Sequence[Value]) -> Value:
    """A method of a text, missing where the text is; raises Refusal for what the core does not know."""
    if value.kind == "missing":
        return value
    known = METHODS.get(name) if value.kind == "text" else None
    given = [one.literal for one in arguments if one.known]
    if known is None or len(given) != len(arguments):
        raise Refusal(f"the call `.{name}(..)`", "use a filter: `| lower`, `| replace(..)`", outside=True)
    result = known(value.expr, given)
    if result is None:
        raise Refusal(f"`.{name}(..)` with these arguments", "use a filter", outside=True, word=name)
    if name in ("startswith", "endswith"):
        return derive("boolean", result, pl.Boolean(), value, nullable=value.nullable)
    return derive("text", result, TEXT, value, nullable=value.nullable)


def _stripped(
    strip: Callable[[pl.Expr, str], pl.Expr],
) -> Callable[[pl.Expr, Sequence[object]], pl.Expr | None]:
    def apply(text: pl.Expr, given: Sequence[object]) -> pl.Expr | None:
        match given:
            case []:
                return strip(text, WHITESPACE)
            case [str(characters)] if characters:
                return strip(text, characters)
        return None

    return apply


def _cased(
    change: Callable[[pl.Expr], pl.Expr],
) -> Callable[[pl.Expr, Sequence[object]], pl.Expr | None]:
    return lambda text, given: change(text) if not given else None


def _tested(
    test: Callable[[pl.Expr, str], pl.Expr],
) -> Callable[[pl.Expr, Sequence[object]], pl.Expr | None]:
    def apply(text: pl.Expr, given: Sequence[object]) -> pl.Expr | None:
        match given:
            case [str(part)]:
                return test(text, part)
        return None

    return apply


def _replaced(text: pl.Expr, given: Sequence[object]) -> pl.Expr | None:
    match given:
        case [str(old), str(new)] if old:
            return text.str.replace_all(old, new, literal=True)
    return None


METHODS: Mapping[str, Callable[[pl.Expr, Sequence[object]], pl.Expr | None]] = {
    "strip": _stripped(lambda text, characters: text.str.strip_chars(characters)),
    "lstrip": _stripped(lambda text, characters: text.str.strip_chars_start(characters)),
    "rstrip": _stripped(lambda text, characters: text.str.strip_chars_end(characters)),
    "lower": _cased(lambda text: text.str.to_lowercase()),
    "upper": _cased(lambda text: text.str.to_uppercase()),
    "startswith": _tested(lambda text, part: text.str.starts_with(part)),
    "endswith": _tested(lambda text, part: text.str.ends_with(part)),
    "replace": _replaced,
}
