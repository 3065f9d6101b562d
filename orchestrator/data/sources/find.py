"""Files that a spec names: one, all of a folder, or those that a pattern matches, in a stable order."""

from __future__ import annotations

import glob
from pathlib import Path

from orchestrator.data.sources.unpack import data_names
from orchestrator.errors import DataError, Fault
from orchestrator.nearest import nearest

MAX_FILES = 10_000


def find_files(name: str, base: Path, field: str) -> list[str]:
    """The files that `name` means, each as faults call it: a path that starts from `base` where `name` does.

    A folder means the data files in it, not those of folders below; `**` in a pattern goes down. They are
    sorted by their paths. Raises DataError where there is none.
    """
    path = base / name
    if path.is_file():
        return [name]
    if path.is_dir():
        return _bounded(_in_folder(name, path, field), name, field)
    if glob.has_magic(name):
        return _bounded(_matching(name, base, field), name, field)
    raise DataError([Fault("there is no such file", _near(path), path=field, value=name)])


def _in_folder(name: str, folder: Path, field: str) -> list[str]:
    files = _data_files(folder)
    if not files:
        below = any(_data_files(inner) for inner in folder.iterdir() if inner.is_dir())
        fix = (
            f"name what lies below it by a pattern: `{name.rstrip('/')}/**/*.jsonl`"
            if below
            else ("give a folder that holds data files")
        )
        raise DataError([Fault("no data file lies in this folder", fix, path=field, value=name)])
    return [str(Path(name) / file) for file in files]


def _matching(pattern: str, base: Path, field: str) -> list[str]:
    found = glob.glob(pattern, root_dir=base, recursive=True)
    files = sorted(name for name in found if (base / name).is_file())
    if not files:
        folder = base / Path(*(part for part in Path(pattern).parent.parts if not glob.has_magic(part)))
        fix = _near(folder / Path(pattern).name) if folder.is_dir() else f"there is no folder {folder}"
        raise DataError([Fault("no file matches this pattern", fix, path=field, value=pattern)])
    return files


def _bounded(files: list[str], name: str, field: str) -> list[str]:
    if len(files) > MAX_FILES:
        what = f"these are {len(files):,} files; {MAX_FILES:,} are read at most"
        raise DataError([Fault(what, "join them into fewer", path=field, value=name)])
    return files


def _near(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder} either; paths start from the spec's folder"
    files = _data_files(folder)
    if near := nearest(path.name, files):
        return f"did you mean `{near}`?"
    return f"files there: {', '.join(files[:5])}" if files else f"no data file lies in {folder}"


def _data_files(folder: Path) -> list[str]:
    return data_names([file.name for file in folder.iterdir() if file.is_file()])
