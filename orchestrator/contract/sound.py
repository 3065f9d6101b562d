"""What may be believed of the numbers that training code writes: those that a database can hold."""

from __future__ import annotations

MAX_STEP = 2**31 - 1
_LATEST = 1e11  # seconds since 1970
_LARGEST = 10**300  # of whole figures, which become floats


def is_whole(value: object, least: int = 0) -> bool:
    """A number of steps, of an attempt, of a process."""
    return type(value) is int and least <= value <= MAX_STEP


def is_time(value: object) -> bool:
    """Seconds since 1970."""
    return isinstance(value, int | float) and type(value) is not bool and 0 <= value <= _LATEST


def is_figure(value: object) -> bool:
    """A value of a metric, infinite and none at all (NaN) too."""
    return type(value) is float or (type(value) is int and abs(value) < _LARGEST)
