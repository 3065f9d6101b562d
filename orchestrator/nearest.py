"""The known word that somebody probably meant."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like `word`; None where none is like it."""
    import difflib  # which costs the start of the command line more than all else here

    return next(iter(difflib.get_close_matches(word, sorted(known), n=1)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The beginning of a hint, with a space behind it; empty where no known word is like `word`."""
    near = nearest(word, known)
    return f"did you mean {near!r}? " if near else ""
