"""Templates outside the compiled core, rendered row by row in sandboxed children.

A child (`template_child.py`) is a process of its own, with a clean environment and limits on memory and
time. Rows go to it in frames of at most `FRAME_CHARACTERS`, so memory stays bounded however many there are,
and come back in their order. As many children of a template run side by side as Polars asks for rows at a
time, at most `MOST_CHILDREN`; they end with the object that holds them.

Nothing is raised: a row that cannot be rendered, or meets a limit, has a failure, and a child that met one
is replaced. After `MOST_LIMITS` such rows the template is given up, and all rows after fail too.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from orchestrator.data.rows import ROW
from orchestrator.data.template_child import ALL_SECONDS, ROW_SECONDS, TEXT_CHARACTERS, Form
from orchestrator.data.template_values import column

MOST_CHILDREN = 8
MOST_LIMITS = 5
FRAME_CHARACTERS = 1024 * 1024
FRAME_ROWS = 1000
# Of silence, before a child that answers nothing is killed: many times what its own limits allow.
SILENT_SECONDS = 60
# JSON writes some characters as six.
LONGEST_ANSWER = 8 * TEXT_CHARACTERS
OUTCOME = pl.Struct({"text": pl.String, "empty": pl.Boolean, "failure": pl.String})
ENVIRONMENT = {"LANG": "C.UTF-8", "PATH": os.defpath}
LIMITS = {
    signal.SIGPROF: f"it takes more than {ROW_SECONDS:g} second of processor time",
    signal.SIGXCPU: f"the rows so far took {ALL_SECONDS:,} seconds of processor time",
}

Outcome = tuple[str | None, bool, str | None]


class LimitMet(Exception):
    """The child met a limit and has ended."""


@dataclass(frozen=True)
class Task:
    """What a child renders: the template, the columns that it reads, and where dates lie in them."""

    source: str
    condition: bool
    forms: Mapping[str, Form]

    def text(self) -> str:
        return json.dumps(
            {
                "source": self.source,
                "condition": self.condition,
                "columns": list(self.forms),
                "forms": list(self.forms.values()),
            }
        )


class Child:
    """One sandboxed process with one template."""

    def __init__(self, task: Task) -> None:
        """Start it; raises LimitMet where the template itself cannot be rendered."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "orchestrator.data.template_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
        )
        self._unread = bytearray()
        try:
            self._send(task.text())
            kind, *rest = self._answer()
            if kind != "ready":
                raise LimitMet(rest[0])
        except BaseException:
            self.close()
            raise

    def render(self, rows: Sequence[str]) -> Iterator[Outcome]:
        """The outcomes of rows, each given as the JSON of its values; raises LimitMet."""
        self._send("\n".join(rows))
        for _ in rows:
            kind, *rest = self._answer()
            if kind == "limit":
                raise LimitMet(rest[0])
            yield (rest[0], rest[1], None) if kind == "text" else failed(rest[0])

    def close(self) -> None:
        """End the process; does nothing where it has ended."""
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

    def _send(self, text: str) -> None:
        content = text.encode()
        stdin = self._process.stdin
        assert stdin is not None
        # One that has died says why when its answer is read.
        with contextlib.suppress(BrokenPipeError):
            stdin.write(len(content).to_bytes(4, "big") + content)
            stdin.flush()

    def _answer(self) -> list[Any]:
        while (end := self._unread.find(b"\n")) < 0:
            self._read()
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        answer: list[Any] = json.loads(line)
        return answer

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], SILENT_SECONDS)
        if not ready or len(self._unread) > LONGEST_ANSWER:
            raise LimitMet(f"it gave no answer within {SILENT_SECONDS} seconds")
        block = os.read(stdout.fileno(), 1024 * 1024)
        if not block:
            raise LimitMet(self._end())
        self._unread += block

    def _end(self) -> str:
        """Why the process has ended."""
        code = self._process.wait()
        stderr = self._process.stderr
        assert stderr is not None
        if code >= 0:
            last = stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
            return f"its process left with exit code {code}: {last}"
        killed = signal.Signals(-code)
        return LIMITS.get(killed, f"its process was killed by {killed.name}")


class SlowTemplate:
    """A template as a function of a Series of rows (structs of its columns) to a Series of `OUTCOME`."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._idle: list[Child] = []
        self._places = threading.BoundedSemaphore(MOST_CHILDREN)
        self._met: list[str] = []
        weakref.finalize(self, _close, self._idle)

    def __call__(self, rows: pl.Series) -> pl.Series:
        with self._places:
            outcomes = [outcome for frame in _frames(rows) for outcome in self._rendered(frame)]
        return pl.DataFrame(outcomes, schema=OUTCOME.to_schema(), orient="row").to_struct(rows.name)

    def _rendered(self, frame: Sequence[str]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while len(outcomes) < len(frame) and len(self._met) < MOST_LIMITS:
            outcomes += self._until_limit(frame[len(outcomes) :])
        given_up = f"not rendered, since {MOST_LIMITS} rows met a limit: {self._met[-1]}" if self._met else ""
        return outcomes + [failed(given_up)] * (len(frame) - len(outcomes))

    def _until_limit(self, rows: Sequence[str]) -> list[Outcome]:
        """The outcomes of rows up to one that meets a limit, which is the last."""
        outcomes: list[Outcome] = []
        try:
            with self._child() as child:
                # One by one, so that those before a limit are kept.
                for outcome in child.render(rows):
                    outcomes.append(outcome)
        except LimitMet as error:
            self._met.append(str(error))
            outcomes.append(failed(str(error)))
        return outcomes

    @contextlib.contextmanager
    def _child(self) -> Iterator[Child]:
        child = self._idle.pop() if self._idle else Child(self._task)
        try:
            yield child
        except BaseException:
            child.close()
            raise
        self._idle.append(child)


def failed(message: str) -> Outcome:
    """The outcome of a row that cannot be rendered."""
    return None, False, message


def outcome(task: Task, schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """The outcome of every row of a frame with `axo_row`, as a struct of `OUTCOME`."""
    columns = [column(name, schema[name]).expr.alias(name) for name in task.forms]
    rows = pl.struct(pl.col(ROW), *columns)
    return rows.map_batches(SlowTemplate(task), return_dtype=OUTCOME, is_elementwise=True)


def _frames(rows: pl.Series) -> Iterator[list[str]]:
    frame: list[str] = []
    size = 0
    for text in _written(rows):
        if frame and (len(frame) == FRAME_ROWS or size + len(text) > FRAME_CHARACTERS):
            yield frame
            frame, size = [], 0
        frame.append(text)
        size += len(text)
    if frame:
        yield frame


def _written(rows: pl.Series) -> Iterable[str]:
    encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, default=str).encode
    for _, *values in rows.struct.unnest().iter_rows():
        yield encode(values)


def _close(children: list[Child]) -> None:
    for child in children:
        child.close()
