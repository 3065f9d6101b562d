"""The items of a JSON array, or of objects one after the other, written as JSON lines without holding them.

Memory is that of the longest item and a block. Only white space between tokens can hold a line end (a string
must escape it), so an item becomes one line by blanking those; not a character of a value is touched.
"""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import IO, NoReturn

from orchestrator.data.report import cut
from orchestrator.errors import DataError, Fault

BLOCK_CHARACTERS = 1024 * 1024
_SPACE = " \t\n\r"
# A token that the block's end cuts in two fails at most this far before it; a string fails where it begins.
_CUT = 16
_ONE_LINE = str.maketrans("\n\r", "  ")


def write_items(path: Path, name: str, target: Path) -> array[int]:
    """Write each item of the file into a line of `target`; the lines in which they begin.

    Raises DataError with the line and column at which the JSON breaks.
    """
    lines = array("Q")
    with path.open(encoding="utf-8", newline="") as file, target.open("w", encoding="utf-8") as lined:
        window = _Window(file, name)
        in_array = window.skip() == "["
        if in_array:
            window.move(1)
        while window.skip() not in ("", "]" if in_array else ""):
            lines.append(window.line)
            lined.write(window.item().translate(_ONE_LINE))
            lined.write("\n")
            if in_array and not window.to_next():
                break
        if in_array:
            window.close()
    return lines


class _Window:
    """The part of the text that is being read; `line` and `column` are those of its reading place."""

    def __init__(self, file: IO[str], name: str) -> None:
        self._file, self._name = file, name
        self._decoder = json.JSONDecoder(parse_int=float)  # of any length; its value is not asked for
        self._text, self._at, self._done = "", 0, False
        self.line, self.column, self.row = 1, 1, 0

    def skip(self) -> str:
        """Pass over white space; the character there, nothing at the end."""
        while True:
            at = self._at
            while at < len(self._text) and self._text[at] in _SPACE:
                at += 1
            self.move(at - self._at)
            if at < len(self._text):
                return self._text[at]
            if self._done:
                return ""
            self._more()

    def move(self, count: int) -> None:
        end = self._at + count
        newlines = self._text.count("\n", self._at, end)
        self.line += newlines
        self.column = end - self._text.rfind("\n", self._at, end) if newlines else self.column + count
        self._at = end

    def item(self) -> str:
        """The text of the value that begins here."""
        self.row += 1
        while True:
            try:
                _, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._done or not self._cut_off(error):
                    self._stop(error.pos, error.msg)
            except RecursionError:
                raise DataError([too_deep(self._name, self.line, self.row)]) from None
            else:
                if end < len(self._text) or self._done:
                    text = self._text[self._at : end]
                    self.move(end - self._at)
                    return text
            self._more()

    def to_next(self) -> bool:
        """Pass over the comma to the next item of an array; false where the array ends."""
        there = self.skip()
        if there == ",":
            self.move(1)
            self.skip()
            if self._text[self._at : self._at + 1] == "]":
                self._stop(self._at, "Expecting an item after ','")
        elif there != "]":
            self._stop(self._at, "Expecting ',' or ']'")
        return there == ","

    def close(self) -> None:
        """Pass over the end of the array, after which nothing may stand."""
        if self.skip() != "]":
            self._stop(self._at, "Expecting ']'")
        self.move(1)
        if self.skip():
            self._stop(self._at, "Extra data after the array")

    def _cut_off(self, error: json.JSONDecodeError) -> bool:
        return error.pos >= len(self._text) - _CUT or error.msg.startswith("Unterminated string")

    def _more(self) -> None:
        rest = self._text[self._at :]
        read = self._file.read(max(BLOCK_CHARACTERS, len(rest)))
        self._text, self._at, self._done = rest + read, 0, not read

    def _stop(self, at: int, message: str) -> NoReturn:
        near = self._text[max(0, at - 20) : at + 40]
        self.move(at - self._at)
        raise DataError([_broken(self._name, self.line, self.column, message, self.row, near)])


def too_deep(file: str, line: int, row: int) -> Fault:
    return Fault("the row is nested too deeply", "flatten it", file=file, line=line, row=row)


def _broken(file: str, line: int, column: int, why: str, row: int, near: str) -> Fault:
    what, fix = "this is not valid JSON", "mend the array"
    return Fault(what, fix, why, file, line, column, None, row or None, cut(near))
