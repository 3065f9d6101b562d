"""Where the files that ship beside the code are: in the wheel, or at the top of a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped_folder(name: str) -> Path:
    """The folder `name`, such as `axolotl_templates`."""
    in_wheel = _PACKAGE / "_shipped" / name
    return in_wheel if in_wheel.is_dir() else _PACKAGE.parent / name


def templates_folder() -> Path:
    """The folder of Axolotl templates."""
    return shipped_folder("axolotl_templates")
