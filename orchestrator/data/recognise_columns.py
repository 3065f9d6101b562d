"""What can be told of columns from their names, types and some of their values; for recognition."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass

from orchestrator.data.template_values import instance

_TEXT_TYPES = (pl.String, pl.Categorical, pl.Enum)
# Columns that say something about a row, not what is in it.
_ABOUT = re.compile(
    r"(id|uuid|guid|index|url|link|date|time|timestamp|created|updated|language|lang|source|split|hash|sha"
    r"|file|filename|path|version|license|dump|score|model|author|name|email)$"
)
_DATE = re.compile(r"\d{1,4}([-./])\d{1,2}\1\d{1,4}(?!\d)")
_THE_TEXT = ("text", "content", "value", "body")
_FIGURE = re.compile(r"[-+]?[0-9][0-9.,'\s]*[%€$£]?\s*$")
_JINJA_WORDS = frozenset({"true", "false", "none", "row"})


class Field(str):
    """A field inside a column, as `answer.text`; `parts` are the names on the way to it."""

    parts: tuple[str, ...]

    @classmethod
    def at(cls, parts: Sequence[str]) -> Field:
        field = cls(".".join(parts))
        field.parts = tuple(parts)
        return field


@dataclass(frozen=True)
class Columns:
    """Columns of rows, some of which are at hand."""

    schema: pl.Schema
    rows: Sequence[Mapping[str, Any]]

    @cached_property
    def texts(self) -> list[str]:
        """Columns of text, those left out that only say something about a row."""
        found = [name for name, dtype in self.schema.items() if isinstance(dtype, _TEXT_TYPES)]
        return [
            name for name in found if not _ABOUT.search(self.plain(name)) and not self._all(name, _DATE)
        ] or found

    @cached_property
    def filled(self) -> list[str]:
        """Columns that can have a value; all where none can."""
        return [name for name, dtype in self.schema.items() if dtype != pl.Null] or list(self.schema)

    @cached_property
    def worded(self) -> list[str]:
        """Columns of text that do not hold figures alone, such as `0071` and `12,50 €`."""
        return [name for name in self.texts if not self._all(name, _FIGURE)]

    def _all(self, name: str, pattern: re.Pattern[str]) -> bool:
        """Whether each value begins so; False where there is none."""
        values = self.values(name)
        return bool(values) and all(pattern.match(str(value)) for value in values)

    @cached_property
    def answerable(self) -> list[str]:
        """Columns of text, numbers and truths, of lists of texts, and of what SQuAD's answers look like."""
        return [
            name
            for name, dtype in self.schema.items()
            if name in self.texts or dtype.is_numeric() or dtype == pl.Boolean or _first_of(dtype)
        ]

    def plain(self, name: str) -> str:
        """A name as it is compared: `User Prompt` and `user_prompt` are one. A field inside a column goes by
        its own name, or the one around it where it only says that this is the text."""
        *around, own = name.parts if isinstance(name, Field) else (name,)
        return _plain(around[-1] if around and _plain(own) in _THE_TEXT else own)

    def kind(self, name: str) -> str:
        """The last word of a name, which says what it is: `answer` of `gold_answer` and `Gold Answer`."""
        words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+", name)
        return words[-1].lower() if words else ""

    def named(self, names: Sequence[str], among: Iterable[str] | None = None) -> str | None:
        """The column with the first of some names, if one has any of them."""
        found = self.all_named(names, among)
        return min(found, key=lambda name: names.index(self.plain(name)), default=None)

    def whole(self, names: Sequence[str]) -> str | None:
        """As `named`, of whole columns alone."""
        return self.named(names, (name for name in self.schema if not isinstance(name, Field)))

    def all_named(self, names: Sequence[str], among: Iterable[str] | None = None) -> list[str]:
        """Columns with one of some names, in the order of the columns."""
        return [name for name in (self.schema if among is None else among) if self.plain(name) in names]

    def called(self, names: Sequence[str], among: Iterable[str] | None = None) -> str | None:
        """As `named`; where no column has such a name, one whose name ends in such a word."""
        found = [name for name in (self.schema if among is None else among) if self.kind(name) in names]
        return self.named(names, among) or min(
            found, key=lambda name: names.index(self.kind(name)), default=None
        )

    def all_called(self, names: Sequence[str], among: Sequence[str]) -> list[str]:
        """As `all_named`; where no column has such a name, those whose names end in such a word."""
        return self.all_named(names, among) or [name for name in among if self.kind(name) in names]

    def values(self, name: str) -> list[Any]:
        return [value for row in self.rows if (value := row.get(name)) is not None]

    def distinct(self, name: str) -> list[str]:
        return sorted({str(value) for value in self.values(name)})

    def longest(self, names: Sequence[str], count: int) -> list[str]:
        """Those with the longest texts, in the order of the columns."""
        by_length = sorted(names, key=lambda name: -sum(len(str(value)) for value in self.values(name)))
        return [name for name in names if name in by_length[:count]]

    def few_valued(self, most: int) -> list[str]:
        """Columns of short texts, whole numbers or truths whose values come again and again."""
        return [
            name
            for name, dtype in self.schema.items()
            if (isinstance(dtype, _TEXT_TYPES) or dtype.is_integer() or dtype == pl.Boolean)
            and self._repeats(name, most)
        ]

    def only_few_valued(self, most: int) -> str | None:
        """The one column of text that repeats few values, where many rows show that it does: of several the
        one that has one of several in every row."""
        if len(self.rows) < 20 or len(self.texts) < 2:
            return None
        found = [name for name in self.few_valued(most) if name in self.texts]
        full = [name for name in found if all(str(row[name] or "").strip() for row in self.rows)]
        full = [name for name in full if len(self.distinct(name)) > 1]
        return next((names[0] for names in (found, full) if len(names) == 1), None)

    def _repeats(self, name: str, most: int) -> bool:
        values = self.values(name)
        few = len(set(map(str, values))) <= min(most, max(2, len(values) // 2))
        return bool(values) and few and all(len(str(value)) <= 100 for value in values)


def inside(columns: Columns) -> Columns:
    """The fields inside of columns in the place of those columns, at any depth; lists stay whole."""
    found = dict(one for name, dtype in columns.schema.items() for one in _fields((name,), dtype))
    rows = [{field: _value(row, field) for field in found} for row in columns.rows]
    return Columns(pl.Schema(found), rows)


def _fields(parts: tuple[str, ...], dtype: pl.DataType) -> Iterable[tuple[str, pl.DataType]]:
    if not isinstance(dtype, pl.Struct) or not dtype.fields or _first_of(dtype):
        yield (Field.at(parts) if len(parts) > 1 else parts[0]), dtype
        return
    for field in dtype.fields:
        yield from _fields((*parts, field.name), instance(field.dtype))


def _value(row: Mapping[str, Any], name: str) -> Any:
    value: Any = row
    for part in name.parts if isinstance(name, Field) else (name,):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def printed(name: str, dtype: pl.DataType, *, bare: bool = False) -> str:
    """A column as a template prints it; `bare` is the expression alone, without braces and filters."""
    first, *within = name.parts if isinstance(name, Field) else (name,)
    start = first if _usual(first) and first not in _JINJA_WORDS else f"row[{_quoted(first)}]"
    field = start + "".join(map(_step, within))
    return field if bare else f"{{{{ {field}{_filter(dtype)} }}}}"


def _step(name: str) -> str:
    """A step to a field; `.items` and the like would be methods."""
    return f".{name}" if _usual(name) and not hasattr(dict, name) else f"[{_quoted(name)}]"


def _usual(name: str) -> bool:
    return name.isidentifier() and name.isascii() and not keyword.iskeyword(name)


def listed(names: Sequence[str], count: int | None = None) -> str:
    """Names in a sentence; `count` is how many there are, where these are only the first."""
    more = ", .." if count and count > len(names) else ""
    return ", ".join(f"`{name}`" for name in names) + more


def _quoted(name: str) -> str:
    return "'" + name.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _filter(dtype: pl.DataType) -> str:
    if first := _first_of(dtype):
        return first
    plain = isinstance(dtype, _TEXT_TYPES) or dtype.is_integer() or dtype in (pl.Boolean, pl.Null)
    return "" if plain or dtype.is_temporal() else " | tojson"


def _first_of(dtype: pl.DataType | DataTypeClass) -> str | None:
    """How the first text in a list, or in a struct's list `text`, is reached."""
    if isinstance(dtype, pl.List) and isinstance(dtype.inner, _TEXT_TYPES):
        return " | first"
    texts = {field.name: field.dtype for field in dtype.fields} if isinstance(dtype, pl.Struct) else {}
    return f".text{first}" if "text" in texts and (first := _first_of(texts["text"])) else None
