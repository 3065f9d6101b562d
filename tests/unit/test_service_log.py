"""The log of a service: a line each, with its time, and not the same one over and over."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from orchestrator.errors import DatabaseError
from orchestrator.service_log import AGAIN_SECONDS, Once, log_to

SHIP = logging.getLogger("orchestrator.controller.ship")


@pytest.fixture
def words() -> Iterator[io.StringIO]:
    words = io.StringIO()
    with logging_to(words):
        yield words


@contextmanager
def logging_to(stream: io.StringIO) -> Iterator[logging.StreamHandler[io.StringIO]]:
    ours = logging.getLogger("orchestrator")
    before, handler = ours.level, log_to(stream)
    yield handler
    logging.getLogger().removeHandler(handler)
    ours.setLevel(before)


def test_a_line_has_its_time_and_its_place(words: io.StringIO) -> None:
    SHIP.warning("connection is bad:\n\tno such file")
    SHIP.info("leads by fence %d", 3)
    first, second = words.getvalue().splitlines()
    assert re.fullmatch(
        r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ warning controller.ship: connection is bad: no such file", first
    )
    assert second.endswith("Z info controller.ship: leads by fence 3")


def test_an_error_of_ours_is_told_in_its_words_and_a_bug_with_its_traceback(words: io.StringIO) -> None:
    for error in (DatabaseError("the database cannot be reached"), KeyError("x")):
        try:
            raise error
        except Exception:
            SHIP.exception("%s failed a turn", type(error).__name__)
    ours, bug, *trace = words.getvalue().splitlines()
    assert ours.endswith("DatabaseError failed a turn: the database cannot be reached")
    assert bug.endswith("KeyError failed a turn")
    assert trace[0].startswith("Traceback")
    assert trace[-1] == "KeyError: 'x'"


def test_what_comes_again_and_again_is_told_once_a_minute() -> None:
    now, words = [0.0], io.StringIO()
    with logging_to(words) as handler:
        handler.filters = [Once(lambda: now[0])]
        for now[0] in (0.0, 4.0, 59.0, AGAIN_SECONDS, 61.0):
            SHIP.warning("MLflow is away")
            SHIP.info("goes on")
        SHIP.warning("MLflow is full")
    told = [line.partition("ship: ")[2] for line in words.getvalue().splitlines()]
    assert [line for line in told if line != "goes on"] == [
        "MLflow is away",
        "MLflow is away (2 more like it before)",
        "MLflow is full",
    ]
    assert told.count("goes on") == 5
