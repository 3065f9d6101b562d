"""The program of the sandboxed child: renders rows with real Jinja, within limits that the kernel keeps.

`python -I -m orchestrator.data.template_child`, with an empty environment. It needs Jinja and the standard
library, nothing else. On stdin come frames, each four bytes of length (big endian) and UTF-8 text:

    first       {"source", "condition", "columns", "forms"}: what to render, and how a row is written
    then        rows, one JSON array of values to a line, in the order of `columns`

On stdout goes one JSON line for the template, `["ready"]`, and one for each row, as soon as it is done:

    ["text", text, empty]     rendered; `empty` where something printed was missing or empty
    ["failed", message]       this row cannot be rendered
    ["limit", message]        a limit was met; the child ends

`forms` say of each column where dates lie in it: null for nowhere, "date", "datetime", a list with the form
of the elements, an object with those of the fields.

Limits. A row (or the template itself) that takes more than `ROW_SECONDS` of processor time ends the child
by SIGPROF; `ALL_SECONDS` end it by SIGXCPU; `MEMORY_BYTES` bound its address space, `TEXT_CHARACTERS` the
text of a row. No file or socket can be opened, no process started: no file descriptor is left to give.
"""

from __future__ import annotations

import codecs
import contextlib
import datetime as dt
import json
import pprint
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any

import jinja2.debug

from orchestrator.data.template_reference import Rendered, renderer, shape

ROW_SECONDS = 1.0
ALL_SECONDS = 3600
MEMORY_BYTES = 256 * 1024 * 1024
TEXT_CHARACTERS = 16 * 1024 * 1024
STANDARD_STREAMS = 3
LONGEST_MESSAGE = 300
# Jinja loads these when it needs them, which is when no file can be opened any more.
LATE = (pprint, jinja2.debug, codecs.lookup("unicode_escape"))

Form = str | list[Any] | dict[str, Any] | None


def main() -> None:
    """Render what comes on stdin until it ends."""
    limit()
    frames = _frames(sys.stdin.buffer)
    task = json.loads(next(frames))
    render = _guarded(partial(renderer, task["source"], condition=task["condition"]))
    if not callable(render):
        _say(render)
        return
    _say(["ready"])
    for frame in frames:
        for line in frame.split("\n"):
            answer = _guarded(partial(_answer, render, task, line))
            _say(answer)
            if answer[0] == "limit":
                return
        signal.setitimer(signal.ITIMER_PROF, 0)


def limit() -> None:
    """Bind this process to the limits above; none of them can be lifted again."""
    _set(resource.RLIMIT_AS, MEMORY_BYTES)
    _set(resource.RLIMIT_CPU, ALL_SECONDS)
    _set(resource.RLIMIT_NOFILE, STANDARD_STREAMS)
    _set(resource.RLIMIT_FSIZE, 0)
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_NPROC, 0)


def _set(kind: int, value: int) -> None:
    # macOS knows no limit of the address space: there the other limits must do.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(kind, (value, value))


def _frames(stream: IO[bytes]) -> Iterator[str]:
    while head := stream.read(4):
        yield stream.read(int.from_bytes(head, "big")).decode()


def _guarded(work: Callable[[], Any]) -> Any:
    """What some work gives, within a row's time; an answer instead where it fails."""
    signal.setitimer(signal.ITIMER_PROF, ROW_SECONDS)
    try:
        return work()
    except MemoryError:
        return ["limit", f"it needs more than {MEMORY_BYTES // 1024**2} MiB of memory"]
    except RecursionError:
        return ["failed", "it calls itself without end"]
    except Exception as error:
        return ["failed", _told(error)]


def _answer(render: Callable[[dict[str, Any]], Rendered], task: dict[str, Any], line: str) -> list[Any]:
    values = zip(task["columns"], task["forms"], json.loads(line), strict=True)
    rendered = render({name: shape(revived(value, form)) for name, form, value in values})
    if len(rendered.text) > TEXT_CHARACTERS:
        return ["limit", f"its text has more than {TEXT_CHARACTERS:,} characters"]
    rendered.text.encode()
    return ["text", rendered.text, rendered.empty]


def revived(value: Any, form: Form) -> Any:
    """A value with its dates, which JSON carries as text."""
    if value is None or form is None:
        return value
    if form == "date":
        return dt.date.fromisoformat(value)
    if form == "datetime":
        return dt.datetime.fromisoformat(value)
    if isinstance(form, list):
        return [revived(one, form[0]) for one in value]
    assert isinstance(form, dict)
    return {name: revived(one, form.get(name)) for name, one in value.items()}


def _told(error: Exception) -> str:
    """What went wrong, and in which line of the template."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
    place = f"line {lines[-1]} of the template: " if lines else ""
    return f"{place}{error}"[:LONGEST_MESSAGE].encode(errors="replace").decode()


def _say(answer: list[Any]) -> None:
    text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    sys.stdout.buffer.write(text.encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
