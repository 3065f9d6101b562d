"""Which functions of the service change files or processes, as their text says; no flow need reach them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from boundaries import SERVICE

ROOMS = (
    "backends/asked.py",
    "backends/local.py",
    "contract/adapter.py",
    "contract/file_store.py",
    "controller/*.py",
    "locks.py",
    "service/*.py",
)
_STEPS = {
    *(
        "unlink",
        "mkdir",
        "makedirs",
        "rmdir",
        "rmtree",
        "symlink_to",
        "hardlink_to",
        "link",
        "touch",
        "rename",
    ),
    *("write_text", "write_bytes", "copyfile", "copytree", "truncate", "chmod", "utime"),
    *("TemporaryDirectory", "mkdtemp", "Popen", "posix_spawn", "kill", "killpg", "create_connection"),
}
_OF_OS = {"os.replace", "os.remove", "os.truncate", "shutil.move"}


def taking_steps() -> set[str]:
    """The qualified names of the functions of the rooms that a run's life goes through."""
    files = [file for room in ROOMS for file in sorted(Path(SERVICE).glob(room))]
    return {name for file in files for name in _within(ast.parse(file.read_text()), "")}


def _within(node: ast.AST, name: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield from _within(child, f"{name}.{child.name}".lstrip("."))
            continue
        if isinstance(child, ast.Call) and _is_step(child):
            yield name
        yield from _within(child, name)


def _is_step(call: ast.Call) -> bool:
    text = ast.unparse(call.func)
    name = text.rpartition(".")[2]
    if name == "open":
        written = ast.unparse(call)
        return "O_CREAT" in written or "'wb'" in written or "'w'" in written or "'a'" in written
    # a path is replaced by one thing; a text by two, a value by named ones
    moves = text.endswith(".replace") and len(call.args) == 1 and not call.keywords
    return name in _STEPS or text in _OF_OS or moves
