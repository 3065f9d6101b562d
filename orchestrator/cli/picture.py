"""Pictures made of lines, dots and words, written as SVG or as PNG from the same shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape

import click

from orchestrator.cli.files import naming, write_whole
from orchestrator.errors import SettingsError

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Anchor = Literal["start", "middle", "end"]
INK, PAPER = "#374151", "#ffffff"
_FINER = 3  # a PNG is drawn this much larger, then made smaller: its lines get smooth edges
_SHARPER = 2  # pixels of a PNG for each of the sheet's


@dataclass(frozen=True)
class Line:
    """A course through places (x, y); `opacity` from 0 to 1."""

    places: Sequence[tuple[float, float]]
    colour: str
    width: float = 1.0
    opacity: float = 1.0


@dataclass(frozen=True)
class Dot:
    """A filled circle."""

    x: float
    y: float
    radius: float
    colour: str


@dataclass(frozen=True)
class Words:
    """One line of text; `y` is its base line."""

    x: float
    y: float
    text: str
    anchor: Anchor = "start"
    size: int = 12


Shape = Line | Dot | Words


@dataclass(frozen=True)
class Picture:
    """Shapes on a white sheet, in its units; y grows downwards."""

    title: str
    width: int
    height: int
    shapes: Sequence[Shape]

    def svg(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" font-family="system-ui, sans-serif" '
            f'fill="{INK}" role="img">'
        )
        sheet = f'<rect width="{self.width}" height="{self.height}" fill="{PAPER}"/>'
        shapes = map(_as_svg, self.shapes)
        return "\n".join([head, f"<title>{escape(self.title)}</title>", sheet, *shapes, "</svg>", ""])

    def write(self, file: Path) -> None:
        """Write it as what the file's name says.

        Raises:
            UsageError: that is neither SVG nor PNG.
            SettingsError: a PNG is asked for and Pillow is not there.
        """
        match file.suffix.lower():
            case ".png":
                with naming(file):
                    _as_image(self).save(file)
            case ".svg":
                write_whole(file, self.svg())
            case _:
                raise click.UsageError(
                    f"{file}: give it a name in .svg or .png for a picture, in .csv for figures"
                )


def words_width(text: str, size: int = 12) -> float:
    """About how wide a line of text gets in a common sans-serif font."""
    return 0.56 * size * len(text)


def _as_svg(shape: Shape) -> str:
    match shape:
        case Line(places, colour, width, opacity):
            course = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            stroke = f'stroke="{colour}" stroke-width="{width:g}" opacity="{opacity:g}"'
            return f'<path d="M{course}" fill="none" {stroke}/>'
        case Dot(x, y, radius, colour):
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"/>'
        case Words(x, y, text, anchor, size):
            place = f'x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}"'
            return f"<text {place}>{escape(text)}</text>"


def _as_image(picture: Picture) -> Image.Image:
    try:
        from PIL import Image, ImageDraw
    except ImportError as error:
        raise SettingsError(
            "a PNG needs Pillow, which is not installed",
            hint="pip install 'axo-orchestrator[png]', or give the file a name that ends in .svg",
        ) from error
    scale = _SHARPER * _FINER
    image = Image.new("RGB", (picture.width * scale, picture.height * scale), PAPER)
    draw = ImageDraw.Draw(image, "RGBA")
    for shape in picture.shapes:
        _paint(draw, shape, scale)
    return image.resize((picture.width * _SHARPER, picture.height * _SHARPER), Image.Resampling.LANCZOS)


def _paint(draw: ImageDraw.ImageDraw, shape: Shape, scale: int) -> None:
    from PIL import ImageFont

    match shape:
        case Line(places, colour, width, opacity):
            ink = f"{colour}{round(255 * opacity):02x}"
            course = [(x * scale, y * scale) for x, y in places]
            draw.line(course, fill=ink, width=max(1, round(width * scale)), joint="curve")
        case Dot(x, y, radius, colour):
            draw.circle((x * scale, y * scale), radius * scale, fill=colour)
        case Words(x, y, text, anchor, size):
            font = ImageFont.load_default(size * scale)  # Pillow's own: a server may have no fonts
            side = {"start": "l", "middle": "m", "end": "r"}[anchor]
            draw.text((x * scale, y * scale), text, fill=INK, font=font, anchor=f"{side}s")
