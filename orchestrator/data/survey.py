"""One pass over a file's bytes: its digest, and what no reader should be asked to guess at."""

from __future__ import annotations

import codecs
import hashlib
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import DataError, Fault

BLOCK_BYTES = 4 * 1024 * 1024
_MARKS = ((codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"))


@dataclass(frozen=True)
class Survey:
    """`sha256` and `size` of the file as it lies there; `bom` where it begins with UTF-8's mark;
    `start` is its first byte that is no white space."""

    sha256: str
    size: int
    bom: bool
    start: bytes


def survey(path: Path, name: str, *, text: bool) -> Survey:
    """Read the file once; `text` says that it must be UTF-8.

    Raises DataError where it is empty, or no UTF-8 although it must be, with line and column.
    """
    digest, size, start = hashlib.sha256(), 0, b""
    check = _Utf8(name) if text else None
    bom = False
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            if size == 0:
                _refuse_wide(block, name, text)
                bom = block.startswith(codecs.BOM_UTF8)
            start = start or block.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
            digest.update(block)
            size += len(block)
            if check:
                check.feed(block)
    if check:
        check.end()
    if not start:
        raise DataError([Fault("the file is empty", fix="give a file that holds rows", file=name)])
    return Survey(digest.hexdigest(), size, bom, start)


def _refuse_wide(block: bytes, name: str, text: bool) -> None:
    for mark, encoding in _MARKS if text else ():
        if block.startswith(mark):
            fix = f"save it as UTF-8, for example `iconv -f {encoding} -t UTF-8`"
            raise DataError([Fault(f"the file is {encoding}, not UTF-8", fix, file=name, line=1)])


class _Utf8:
    """Decodes block by block, and counts so that a bad byte has its line and column."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""
        self._line, self._column = 1, 1

    def feed(self, block: bytes) -> None:
        data = self._rest + block
        try:
            text, used = codecs.utf_8_decode(data, "strict", False)
        except UnicodeDecodeError as error:
            raise self._fault(data, error) from error
        self._move_over(text)
        self._rest = data[used:]

    def end(self) -> None:
        try:
            self._rest.decode()
        except UnicodeDecodeError as error:
            raise self._fault(self._rest, error) from error

    def _move_over(self, text: str) -> None:
        self._line += text.count("\n")
        last = text.rfind("\n")
        self._column = len(text) - last if last >= 0 else self._column + len(text)

    def _fault(self, data: bytes, error: UnicodeDecodeError) -> DataError:
        self._move_over(data[: error.start].decode())
        what, fix = "this byte is not UTF-8", "save the file as UTF-8; it may be Latin-1 or Windows-1252"
        value = f"0x{data[error.start]:02x}"
        return DataError([Fault(what, fix, None, self._name, self._line, self._column, value=value)])
