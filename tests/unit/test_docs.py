"""The documentation holds together: reference up to date, links lead somewhere, parts of specs are valid."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import PAGES, ROOT, page_name, snippets, whole_spec

# Snippets that need what a test machine lacks: a GPU, or a server and a run of the reader's own.
NOT_RUN = {
    "tutorial.md": 1,
    "how-to/database.md": 1,
    "how-to/team.md": 2,
    "how-to/results.md": 4,
    "how-to/dead-runs.md": 2,
    "how-to/test-cluster.md": 3,
    "how-to/docker.md": 2,
    "how-to/kubernetes.md": 3,
    "how-to/buckets.md": 4,
}


def test_the_reference_is_what_the_code_says(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts/reference.py", tmp_path], check=True)
    for page in sorted(tmp_path.iterdir()):
        there = (ROOT / "docs/reference" / page.name).read_text()
        assert page.read_text() == there, f"run scripts/reference: {page.name} is not up to date"


def test_every_page_is_in_the_navigation_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tutorial" / "index.html").exists()


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_parts_of_specs_are_valid(page: Path) -> None:
    for snippet in snippets(page):
        if snippet.part_of_spec:
            whole_spec(snippet)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_no_snippet_is_left_out_but_those_counted_here(page: Path) -> None:
    left_out = [snippet for snippet in snippets(page) if "norun" in snippet.options]
    assert len(left_out) == NOT_RUN.get(page_name(page), 0)
