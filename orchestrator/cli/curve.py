"""Draw the course of metrics over the optimizer step, for reports and READMEs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from orchestrator.cli.picture import Dot, Line, Picture, Shape, Words, words_width

WIDTH, HEIGHT = 760, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 48, 48
COLOURS = ("#2563eb", "#dc2626", "#059669", "#9333ea", "#d97706", "#0891b2", "#be185d", "#4b5563")
_FEW = 30  # so many points are shown each as a dot; more get a smoothed line
_REACH = 4  # so many points to either side are averaged, or a hundredth of all
_LEGEND_ROW = 18
_GREY = "#e5e7eb"

Series = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Curve:
    """One metric as (step, value) pairs in order of step; `colour` counts through COLOURS.

    A curve without a name has the colour of another one and no entry in the legend; one that is `apart` is
    drawn as dots alone.
    """

    name: str | None
    points: Series
    colour: int
    apart: bool = False


def draw_series(title: str, series: Mapping[str, Series]) -> Picture:
    """Each series, by its name, in a colour of its own."""
    return draw_curves(title, [Curve(name, points, i) for i, (name, points) in enumerate(series.items())])


def draw_curves(title: str, curves: Sequence[Curve]) -> Picture:
    """Lines over the optimizer step as they were logged, long ones with a smoothed line on top.

    Values that are not finite are left out, and so are curves with nothing left.
    """
    finite = [
        replace(curve, points=[(step, value) for step, value in curve.points if math.isfinite(value)])
        for curve in curves
    ]
    shown = [curve for curve in finite if curve.points]
    head = Words(LEFT, 22, title, size=15)
    if not shown:
        nothing = Words(WIDTH / 2, HEIGHT / 2, "nothing was logged yet", "middle")
        return Picture(title, WIDTH, HEIGHT, [head, nothing])
    legend, height = _legend(shown)
    sheet = _sheet(shown, TOP + height, HEIGHT + height)
    lines = [shape for curve in shown for shape in _course(sheet, curve)]
    return Picture(title, WIDTH, HEIGHT + height, [head, *_grid(sheet), *lines, *legend])


@dataclass(frozen=True)
class _Sheet:
    """From step and value to a place: the axes, and where they lie."""

    last_step: int
    ticks: Sequence[float]
    top: int
    bottom: int

    def place(self, step: float, value: float) -> tuple[float, float]:
        low, high = self.ticks[0], self.ticks[-1]
        x = LEFT + step / max(1, self.last_step) * (WIDTH - LEFT - RIGHT)
        return x, self.bottom - (value - low) / (high - low) * (self.bottom - self.top)


def _sheet(curves: Sequence[Curve], top: int, height: int) -> _Sheet:
    values = [value for curve in curves for _, value in curve.points]
    last = max(step for curve in curves for step, _ in curve.points)
    low, high = min(values), max(values)
    return _Sheet(last, _ticks(min(0.0, low) if low < high / 2 else low, high), top, height - BOTTOM)


def _ticks(low: float, high: float) -> list[float]:
    """Round values from below `low` to above `high`, about five of them."""
    raw = ((high - low) or 1.0) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first = math.floor(low / step)
    count = max(1, math.ceil(high / step) - first)
    return [(first + index) * step for index in range(count + 1)]


def _grid(sheet: _Sheet) -> Iterator[Shape]:
    for tick in sheet.ticks:
        _, y = sheet.place(0, tick)
        yield Line([(LEFT, y), (WIDTH - RIGHT, y)], _GREY)
        yield Words(LEFT - 8, y + 4, f"{tick:g}", "end")
    for step in _ticks(0.0, float(sheet.last_step)):
        if step <= sheet.last_step:
            yield Words(sheet.place(step, 0)[0], sheet.bottom + 20, f"{step:g}", "middle")
    yield Words((LEFT + WIDTH - RIGHT) / 2, sheet.bottom + 40, "optimizer step", "middle")


def _course(sheet: _Sheet, curve: Curve) -> list[Shape]:
    colour = COLOURS[curve.colour % len(COLOURS)]
    logged = [sheet.place(step, value) for step, value in curve.points]
    if curve.apart:
        return [Dot(x, y, 4, colour) for x, y in logged]
    if len(logged) < _FEW:
        return [Line(logged, colour, 1.5), *(Dot(x, y, 2, colour) for x, y in logged)]
    smooth = [sheet.place(step, value) for step, value in _smoothed(curve.points)]
    return [Line(logged, colour, 1, 0.3), Line(smooth, colour, 2)]


def _smoothed(points: Series) -> list[tuple[int, float]]:
    """The mean of as many points before a point as after it, fewer towards both ends: looking back alone
    would draw a loss that falls above where it was."""
    sums, last = [0.0, *accumulate(value for _, value in points)], len(points) - 1
    reach = max(_REACH, len(points) // 100)
    smooth = []
    for index, (step, _) in enumerate(points):
        half = min(reach, index, last - index)
        smooth.append((step, (sums[index + half + 1] - sums[index - half]) / (2 * half + 1)))
    return smooth


def _legend(curves: Sequence[Curve]) -> tuple[list[Shape], int]:
    """The names behind their colours, in as many rows as they need; what those rows add to the height."""
    shapes: list[Shape] = []
    x, y = float(LEFT), 37
    for curve in curves:
        if curve.name is None:
            continue
        width = 18 + words_width(curve.name) + 24
        if x > LEFT and x + width > WIDTH - RIGHT:
            x, y = LEFT, y + _LEGEND_ROW
        shapes.append(Line([(x, y - 4), (x + 12, y - 4)], COLOURS[curve.colour % len(COLOURS)], 3))
        shapes.append(Words(x + 18, y, curve.name))
        x += width
    return shapes, y - 37
