"""Draw the course of metrics as an SVG picture, for reports and READMEs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 48, 48
COLOURS = ("#2563eb", "#dc2626", "#059669", "#9333ea")
SMOOTHING = 0.8

Series = Sequence[tuple[int, float]]


def curve_svg(title: str, series: Mapping[str, Series]) -> str:
    """Lines over the optimizer step: each series as it was logged, long ones with a smoothed line on top.

    `series` maps a name to (step, value) pairs in order of step. Values that are not finite are left out.
    """
    finite = {name: [(s, v) for s, v in points if math.isfinite(v)] for name, points in series.items()}
    shown = {name: points for name, points in finite.items() if points}
    if not shown:
        return _document(title, [_text(WIDTH / 2, HEIGHT / 2, "nothing was logged yet", anchor="middle")])
    last = max(step for points in shown.values() for step, _ in points)
    ticks = _ticks(
        min(0.0, min(value for points in shown.values() for _, value in points)),
        max(value for points in shown.values() for _, value in points),
    )
    scale = _Scale(last, ticks[0], ticks[-1])
    body = [*_grid(scale, ticks, last)]
    for index, (name, points) in enumerate(shown.items()):
        body += _line(scale, points, COLOURS[index % len(COLOURS)])
        body += _legend(index, name, COLOURS[index % len(COLOURS)])
    return _document(title, body)


class _Scale:
    """From step and value to a place on the sheet."""

    def __init__(self, last_step: int, low: float, high: float) -> None:
        self._last, self._low, self._span = max(1, last_step), low, (high - low) or 1.0

    def x(self, step: float) -> float:
        return LEFT + step / self._last * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self._low) / self._span * (HEIGHT - TOP - BOTTOM)


def _ticks(low: float, high: float) -> list[float]:
    """Round values from below `low` to above `high`, about five of them."""
    raw = ((high - low) or 1.0) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first = math.floor(low / step)
    count = max(1, math.ceil(high / step) - first)
    return [(first + index) * step for index in range(count + 1)]


def _grid(scale: _Scale, ticks: Sequence[float], last: int) -> list[str]:
    lines = []
    for tick in ticks:
        y = scale.y(tick)
        lines.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e5e7eb"/>')
        lines.append(_text(LEFT - 8, y + 4, f"{tick:g}", anchor="end"))
    for step in _ticks(0.0, float(last)):
        if step <= last:
            lines.append(_text(scale.x(step), HEIGHT - BOTTOM + 20, f"{step:g}", anchor="middle"))
    lines.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "optimizer step", anchor="middle"))
    return lines


def _line(scale: _Scale, points: Series, colour: str) -> list[str]:
    if len(points) < 30:
        dots = [
            f'<circle cx="{scale.x(s):.1f}" cy="{scale.y(v):.1f}" r="3" fill="{colour}"/>' for s, v in points
        ]
        return [_path(scale, points, colour, 1.5, 1.0), *dots]
    return [_path(scale, points, colour, 1, 0.3), _path(scale, _smoothed(points), colour, 2, 1.0)]


def _path(scale: _Scale, points: Series, colour: str, width: float, opacity: float) -> str:
    course = "L".join(f"{scale.x(step):.1f} {scale.y(value):.1f}" for step, value in points)
    return f'<path d="M{course}" fill="none" stroke="{colour}" stroke-width="{width}" opacity="{opacity}"/>'


def _smoothed(points: Series) -> list[tuple[int, float]]:
    """Exponential moving average without the pull of its start (the debiasing of Adam, section 3)."""
    mean, weight, smooth = 0.0, 0.0, []
    for step, value in points:
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        smooth.append((step, mean / weight))
    return smooth


def _legend(index: int, name: str, colour: str) -> list[str]:
    x = LEFT + 8 + index * 150
    return [f'<rect x="{x}" y="32" width="12" height="3" fill="{colour}"/>', _text(x + 18, 37, name)]


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}">{escape(words)}</text>'


def _document(title: str, body: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="system-ui, sans-serif" fill="#374151" role="img">'
    )
    backdrop = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    return "\n".join(
        [
            head,
            f"<title>{escape(title)}</title>",
            backdrop,
            _text(LEFT, 22, title, size=15),
            *body,
            "</svg>",
            "",
        ]
    )
