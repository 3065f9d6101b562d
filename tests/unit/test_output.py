"""How commands print."""

from __future__ import annotations

import math
import re
from xml.dom import minidom

import pytest

from orchestrator.cli.curve import draw_series
from orchestrator.cli.output import fields, sparkline, table
from orchestrator.cli.picture import Line
from orchestrator.cli.shown import estimate_rows
from orchestrator.cli.units import age, duration, short, size
from orchestrator.wire import Figure, RunDetail


def test_a_table_is_aligned_and_shows_blanks() -> None:
    text = table([{"NAME": "a", "STATUS": "succeeded"}, {"NAME": "long-name", "STATUS": ""}])
    assert text.splitlines() == ["NAME        STATUS", "a           succeeded", "long-name   -"]


def test_fields_leave_out_what_is_unknown() -> None:
    assert fields({"name": "x", "message": None, "base model": "y"}) == "name:       x\nbase model: y"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (61, "1m"), (7300, "2h"), (200_000, "2d")]
)
def test_age(seconds: float, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "0:05"), (725, "12:05"), (10_869, "3:01:09"), (-3, "0:00")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.000199, "0.000199"), (9.6049, "9.605"), (-1234.5, "-1,234"), (13_461.2, "13,461"), (2e12, "2e+12")],
)
def test_a_figure_keeps_four_digits(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (108, "108 B"), (1024, "1 KiB"), (5 * 1024**2, "5.0 MiB")]
)
def test_no_file_of_some_bytes_takes_nothing(value: int, text: str) -> None:
    assert size(value) == text


def test_a_sparkline_shows_the_course_at_its_width() -> None:
    assert sparkline([3, 2, 1, 0]) == "█▅▃▁"
    assert sparkline([1.0] * 100, 10) == "▁" * 10
    assert sparkline([]) == ""
    assert len(sparkline(range(1000), 16)) == 16


def test_a_curve_is_well_formed_and_inside_its_sheet() -> None:
    noisy = [(step, 5 / step + (step % 3) / 10) for step in range(1, 200)]
    picture = draw_series(
        "a <run> & more", {"training loss": noisy, "validation loss": [(50, 1.0), (100, 0.5)]}
    ).svg()
    document = minidom.parseString(picture)
    assert document.documentElement.tagName == "svg"
    places = re.findall(r"(-?[\d.]+) (-?[\d.]+)(?=[L\"])", picture)
    assert len(places) > 300
    assert all(0 <= float(x) <= 760 and 0 <= float(y) <= 360 for x, y in places)


def test_a_loss_that_falls_is_smoothed_where_it_was_and_not_behind_it() -> None:
    picture = draw_series("x", {"loss": [(step, 100.0 - step) for step in range(100)]})
    logged, smooth = (
        shape.places for shape in picture.shapes if isinstance(shape, Line) and len(shape.places) == 100
    )
    assert all(abs(a[1] - b[1]) < 0.5 for a, b in zip(logged, smooth, strict=True))


def test_a_curve_of_nothing_says_so() -> None:
    assert "nothing was logged yet" in draw_series("x", {"loss": [(1, math.nan)]}).svg()


@pytest.mark.parametrize(
    ("actual", "at_most", "told"),
    [(74, 160, ("17..160", "in range")), (200, 160, ("17..160", "-92%")), (10, None, ("17", "+70%"))],
)
def test_an_estimate_that_was_a_range_is_held_against_it(
    actual: float, at_most: float | None, told: tuple[str, str]
) -> None:
    figure = Figure(name="seconds", estimate=17, at_most=at_most, actual=actual, error=17 / actual - 1)
    (row,) = estimate_rows(RunDetail.model_construct(estimate_against_actual=[figure]))
    assert (row["ESTIMATE"], row["ERROR"]) == told
