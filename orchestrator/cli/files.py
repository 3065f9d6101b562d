"""Files that commands leave to their user: whole or not at all, and named where they cannot be written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal


def write_whole(file: Path, text: str, mode: Literal["w", "x"] = "w") -> None:
    """Write a text as a file, with `x` where none is yet; what cannot be written whole is not left."""
    with naming(file), file.open(mode, encoding="utf-8", newline="") as opened:
        try:
            opened.write(text)
            opened.flush()
        except OSError:
            if file.is_file():
                file.unlink()
            raise


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Have errors of writing name the file, as those of opening it do."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(file)) from error
