"""Logs as a terminal shows them in the end: progress bars in their last state, in whatever pieces."""

from __future__ import annotations

import pytest

from orchestrator.cli.log_lines import LogReader, newest_lines, shown
from orchestrator.wire import LogPart

BAR = (
    "start\n  0%|  | 0/3\r 33%|# | 1/3\r        \r{'loss': 4.1}\n"
    " 66%|##| 2/3\r100%|##| 3/3\n\r    \r\n\nend\n"
)


def parts(text: str, size: int, attempt: int = 1) -> list[LogPart]:
    return [
        LogPart(
            launch=1, attempt=attempt, offset=at, size=len(text[at : at + size]), text=text[at : at + size]
        )
        for at in range(0, len(text), size)
    ]


def printed(reader: LogReader, read: list[LogPart], *, all_there: bool = True) -> str:
    return "".join(text for _, text in reader.read(read, all_there=all_there))


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_line_that_was_written_over_shows_in_its_last_state(size: int) -> None:
    told = printed(LogReader(None, raw=False), parts(BAR, size))
    assert told == "start\n{'loss': 4.1}\n100%|##| 3/3\n\nend\n"


@pytest.mark.parametrize("size", [1, 7])
def test_raw_logs_are_what_was_printed(size: int) -> None:
    assert printed(LogReader(None, raw=True), parts(BAR, size)) == BAR


def test_what_is_written_over_keeps_the_rest_of_what_was_longer() -> None:
    assert shown("100 of 100\r7") == "700 of 100"
    assert shown("a line of windows\r") == "a line of windows"


def test_a_line_that_goes_on_waits_for_its_rest_in_little_room() -> None:
    reader = LogReader(None, raw=False)
    assert printed(reader, parts("\r 1%|" * 50_000, 5_000), all_there=False) == ""
    assert shown(reader.begun) == " 1%|"
    assert len(reader.begun) < 20
    assert printed(reader, []) == " 1%|\n"


def test_the_last_line_of_a_text_ends_before_the_next_text_begins() -> None:
    reader = LogReader(None, raw=False)
    assert (
        printed(reader, [*parts("killed here", 4), *parts("second\n", 4, attempt=2)])
        == "killed here\nsecond\n"
    )
    assert reader.seen == {"attempt-1": 11, "attempt-2": 7}


def test_a_tail_counts_lines_and_not_the_states_of_a_bar() -> None:
    read = list(
        LogReader(None, raw=False).read([*parts(BAR, 9), *parts("more\n", 9, attempt=2)], all_there=True)
    )
    assert "".join(text for _, text in newest_lines(read, 4)) == "100%|##| 3/3\n\nend\nmore\n"
