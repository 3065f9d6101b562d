"""Small data sets as people have them: rows of a form, in a file of some kind, and what both are."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import zstandard

Row = Mapping[str, Any]
COUNT = 40
QUEUES = ("billing", "delivery", "returns")
CALL = {"name": "track", "arguments": {"parcel": 7}}
TOOL = {
    "name": "track",
    "description": "Where a parcel is",
    "parameters": {"type": "object", "properties": {}},
}


def _each(make: Callable[[int], Row]) -> list[Row]:
    return [make(number) for number in range(COUNT)]


def _turns() -> list[Row]:
    """A row per turn, two conversations at a time."""
    return [
        {"dialog_id": n, "turn": turn, "role": role, "text": text.format(n)}
        for at in range(0, COUNT, 2)
        for turn, role, text in ((1, "user", "Where is parcel {}?"), (2, "assistant", "In town {}."))
        for n in (at, at + 1)
    ]


FORMS: Mapping[str, list[Row]] = {
    "openai": _each(
        lambda n: {
            "messages": [
                {"role": "user", "content": f"Hi, I am {n}"},
                {"role": "assistant", "content": f"Hello, {n}"},
            ]
        }
    ),
    "openai with parts": _each(
        lambda n: {
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": [{"type": "text", "text": f"Hi, I am {n}"}]},
                {"role": "assistant", "content": f"Hello, {n}"},
            ]
        }
    ),
    "openai with tools": _each(
        lambda n: {
            "messages": [
                {"role": "user", "content": f"Where is parcel {n}?", "tool_calls": None},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "c1",
                            "type": "function",
                            "function": {"name": "track", "arguments": json.dumps({"parcel": n})},
                        }
                    ],
                },
                {"role": "tool", "content": f"town {n}", "tool_calls": None},
                {"role": "assistant", "content": f"It is in town {n}.", "tool_calls": None},
            ],
            "tools": [{"type": "function", "function": TOOL}],
        }
    ),
    "sharegpt": _each(
        lambda n: {
            "conversations": [
                {"from": "human", "value": f"Hi, I am {n}"},
                {"from": "gpt", "value": f"Hello, {n}"},
            ],
            "system": "Be kind.",
        }
    ),
    "sharegpt with tools": _each(
        lambda n: {
            "conversations": [
                {"from": "human", "value": f"Where is parcel {n}?"},
                {"from": "function_call", "value": json.dumps(CALL)},
                {"from": "observation", "value": f"town {n}"},
                {"from": "gpt", "value": f"It is in town {n}."},
            ],
            "tools": json.dumps([TOOL]),
        }
    ),
    "alpaca": _each(
        lambda n: {
            "instruction": f"Add one to {n}",
            "input": "" if n % 2 else "politely",
            "output": str(n + 1),
        }
    ),
    "alpaca with history": _each(
        lambda n: {
            "instruction": "And one more?",
            "output": str(n + 2),
            "history": [[f"Add one to {n}", str(n + 1)]] * (n % 3),
        }
    ),
    "prompt_completion": _each(lambda n: {"prompt": f"{n} and one is", "completion": f" {n + 1}"}),
    "questions": _each(lambda n: {"question": f"What comes after {n}?", "answer": f"It is {n + 1}."}),
    "labels": _each(
        lambda n: {
            "subject": f"Parcel {n}",
            "body": f"It has not come for {n} days.",
            "queue": QUEUES[n % 3],
        }
    ),
    "turns": _turns(),
    "text": _each(lambda n: {"text": f"Line {n} of a long book about parcels, where they go and who waits."}),
}
# What `axo init` says a form was taken for, where that is not its own name.
TAKEN = {
    "openai with parts": "openai",
    "openai with tools": "openai",
    "sharegpt with tools": "sharegpt",
    "alpaca with history": "alpaca",
    "prompt_completion": "prompt completion",
    "questions": "prompt completion",
}


def _jsonl(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _json(rows: Sequence[Row]) -> bytes:
    return json.dumps(rows, ensure_ascii=False, indent=1).encode()


def _separated(rows: Sequence[Row], mark: str = ",") -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=mark)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def _parquet(rows: Sequence[Row]) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(rows).write_parquet(out)
    return out.getvalue()


def _xlsx(rows: Sequence[Row]) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(rows).write_excel(out)
    return out.getvalue()


def _zipped(rows: Sequence[Row]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        half = len(rows) // 2
        archive.writestr("data/a.jsonl", _jsonl(rows[:half]))
        archive.writestr("data/b.jsonl", _jsonl(rows[half:]))
    return out.getvalue()


def _lines(rows: Sequence[Row]) -> bytes:
    return "".join(f"{row['text']}\n" for row in rows).encode()


FILES: Mapping[str, Callable[[Sequence[Row]], bytes]] = {
    "jsonl": _jsonl,
    "json": _json,
    "csv": _separated,
    "tsv": lambda rows: _separated(rows, "\t"),
    "semicolon.csv": lambda rows: _separated(rows, ";"),
    "parquet": _parquet,
    "xlsx": _xlsx,
    "jsonl.gz": lambda rows: gzip.compress(_jsonl(rows)),
    "jsonl.zst": lambda rows: zstandard.compress(_jsonl(rows)),
    "csv.gz": lambda rows: gzip.compress(_separated(rows)),
    "zip": _zipped,
    "bom.csv": lambda rows: b"\xef\xbb\xbf" + _separated(rows),
    "utf-16.csv": lambda rows: _separated(rows).decode().encode("utf-16"),
    "array.jsonl": _json,
    "lines.json": _jsonl,
    "txt": _lines,
    "txt.gz": lambda rows: gzip.compress(_lines(rows)),
}
NESTED = ("jsonl", "json", "parquet", "jsonl.gz", "jsonl.zst", "zip", "array.jsonl", "lines.json")
FLAT = ("csv", "tsv", "semicolon.csv", "parquet", "xlsx", "csv.gz", "bom.csv", "utf-16.csv", "jsonl")


@dataclass(frozen=True)
class Shape:
    """A form in a kind of file; `rows` is how many examples come out."""

    form: str
    kind: str
    rows: int = COUNT

    @property
    def taken(self) -> str:
        return TAKEN.get(self.form, self.form)

    def write(self, folder: Path) -> str:
        """Put the file into the folder; its name."""
        name = f"data.{self.kind}"
        (folder / name).write_bytes(FILES[self.kind](FORMS[self.form]))
        return name


def shapes() -> Iterator[Shape]:
    """Each form in several kinds of file, so that every form and every kind comes up more than once."""
    nested = ("openai", "openai with tools", "sharegpt", "sharegpt with tools")
    flat = ("alpaca", "prompt_completion", "questions", "labels", "turns")
    for at, form in enumerate(nested):
        yield from (Shape(form, NESTED[(at * 3 + step) % len(NESTED)]) for step in range(4))
    for at, form in enumerate(flat):
        yield from (Shape(form, FLAT[(at * 2 + step) % len(FLAT)]) for step in range(4))
    yield from (Shape("openai with parts", "jsonl.gz"), Shape("alpaca with history", "json"))
    yield from (Shape("text", kind) for kind in ("txt", "txt.gz", "jsonl", "csv"))
