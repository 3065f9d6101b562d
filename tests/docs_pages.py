"""Run the snippets of a page as its reader would: in order, in one folder.

    ```yaml title="spec.yaml"     a file of that name is written
    ```sh                         the commands are run, and must end with 0
    ```sh exit=3                  ... or with the code that is given
    ```text                       lines that the commands before it printed; `...` stands for anything
    ```yaml                       part of a spec: it must be a valid one with what a spec needs besides
    ```                           a picture in characters

What needs a GPU or somebody's server is marked `norun`; a test counts it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from markdown_it import MarkdownIt

from orchestrator.spec.load import parse_spec
from orchestrator.spec.models import Spec

ROOT = Path(__file__).parents[1]
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "reference")
BASE = {
    "name": "part",
    "base_model": "base",
    "dataset": {"source": "rows.jsonl", "validation": 0.1},
    "mapping": {"messages": [{"role": "assistant", "content": "{{ text }}"}]},
}


@dataclass(frozen=True)
class Snippet:
    """One fenced block: its language, what stands behind that, its text, and the line it begins in."""

    language: str
    options: Mapping[str, str]
    text: str
    line: int

    @property
    def runs(self) -> bool:
        return "norun" not in self.options and ("title" in self.options or self.language in ("sh", "text"))

    @property
    def part_of_spec(self) -> bool:
        return self.language == "yaml" and "title" not in self.options


def page_name(page: Path) -> str:
    return page.relative_to(ROOT / "docs").as_posix()


def snippets(page: Path) -> list[Snippet]:
    """The fenced blocks of a page, in order."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    return [
        _snippet(token.info, token.content, token.map[0] + 1) for token in tokens if token.type == "fence"
    ]


def _snippet(info: str, text: str, line: int) -> Snippet:
    language, *words = shlex.split(info) or [""]
    options = dict(word.partition("=")[::2] for word in words)
    return Snippet(language, options, text, line)


def run_page(page: Path, folder: Path, environment: Mapping[str, str]) -> int:
    """Run every snippet of a page in `folder`; how many were run; fails at the first wrong one."""
    printed, ran = "", 0
    for snippet in snippets(page):
        if not snippet.runs:
            continue
        if "title" in snippet.options:
            (folder / snippet.options["title"]).parent.mkdir(parents=True, exist_ok=True)
            (folder / snippet.options["title"]).write_text(snippet.text, encoding="utf-8")
        elif snippet.language == "sh":
            printed = _run(page, snippet, folder, environment)
        else:
            assert matches(snippet.text, printed), _told(page, snippet, printed)
        ran += 1
    return ran


def whole_spec(snippet: Snippet) -> Spec:
    """The part of a spec that a snippet shows, with what a spec needs besides; raises SpecError."""
    part = yaml.safe_load(snippet.text)
    return parse_spec(yaml.safe_dump(BASE | part).encode(), Path("part.yaml")).spec


def _run(page: Path, snippet: Snippet, folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-e", "-c", snippet.text],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == int(snippet.options.get("exit", 0)), _told(page, snippet, done.stdout)
    return done.stdout


def matches(wanted: str, printed: str) -> bool:
    """Whether the lines wanted stand among those printed, in their order; `...` is any text."""
    lines = iter(printed.splitlines())
    patterns = [
        ".*".join(re.escape(part) for part in line.strip().split("..."))
        for line in wanted.splitlines()
        if line.strip() not in ("", "...")
    ]
    return all(any(re.fullmatch(pattern, line.strip()) for line in lines) for pattern in patterns)


def _told(page: Path, snippet: Snippet, printed: str) -> str:
    return f"{page}:{snippet.line}\n{snippet.text}\n--- printed\n{printed[-6000:]}"
