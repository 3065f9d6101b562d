"""Every snippet of the documentation is run as its reader would run it, page by page."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from docs_pages import PAGES, ROOT, page_name, run_page, snippets


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_snippets_of_a_page_do_what_it_says(
    page: Path, tiny_model: Path, trainer_python: str, tmp_path: Path
) -> None:
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    if page.name != "tutorial.md":  # which makes its own
        (tmp_path / "tiny-base").symlink_to(tiny_model)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "AXO_HOME": str(tmp_path / "home"),
        "AXO_MLFLOW_URI": "",
        "MLFLOW_TRACKING_URI": "",
        "AXO_TRAINER_PYTHON": trainer_python,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    assert run_page(page, tmp_path, environment) == sum(snippet.runs for snippet in snippets(page))
