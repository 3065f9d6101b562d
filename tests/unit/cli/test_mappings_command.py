"""`axo mappings`, and specs that name one, with the service of this machine and with one elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from serving import serving
from triage import SPEC, axo_here, lay_out

START, END = SPEC.index("mapping:"), SPEC.index("training:")
TICKETS = """\
messages:
  - {role: user, content: "{{ text }}"}
  - {role: assistant, content: "{{ queue }}"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lay_out(tmp_path)
    (tmp_path / "spec.yaml").write_text(SPEC[:START] + "mapping: tickets\n" + SPEC[END:])
    (tmp_path / "tickets.yaml").write_text(TICKETS)
    return tmp_path


def test_a_mapping_is_pushed_named_shown_and_deleted(folder: Path) -> None:
    assert "no mappings yet" in axo_here(folder, "mappings").stderr
    missing = axo_here(folder, "check", "spec.yaml")
    assert (missing.returncode, "spec.yaml:4:10" in missing.stderr) == (3, True), missing.stderr
    assert "nor the project has a mapping of this name (got tickets)" in missing.stderr
    pushed = axo_here(folder, "mappings", "push", "tickets.yaml")
    assert (pushed.returncode, "`mapping: tickets`" in pushed.stderr) == (0, True), pushed.stderr
    assert axo_here(folder, "mappings", "-o", "name").stdout == "tickets\n"
    assert axo_here(folder, "mappings", "show", "tickets").stdout == TICKETS
    checked = axo_here(folder, "check", "spec.yaml")
    assert (checked.returncode, "40 green" in checked.stdout) == (0, True), checked.stderr
    planned = axo_here(folder, "plan", "spec.yaml", "-o", "json")
    assert json.loads(planned.stdout)["splits"]["train"]["rows"] == 32, planned.stderr
    assert axo_here(folder, "mappings", "delete", "tickets").returncode == 2, "nobody is there to be asked"
    assert axo_here(folder, "mappings", "delete", "tickets", "-y").stdout == "tickets deleted\n"
    assert axo_here(folder, "mappings", "show", "tickets").returncode == 5


def test_what_is_no_mapping_is_refused_at_the_line_of_its_file(folder: Path) -> None:
    (folder / "tickets.yaml").write_text(TICKETS.replace("{{ queue }}", "{{ queue"))
    refused = axo_here(folder, "mappings", "push", "tickets.yaml")
    assert (refused.returncode, "tickets.yaml:3:23, messages[1].content" in refused.stderr) == (3, True), (
        refused.stderr
    )
    (whole,) = axo_here(folder, "mappings", "push", "spec.yaml", "--name", "spec").stderr.split("error: ")[1:]
    assert whole.startswith("spec.yaml:4:1, mapping: this is a whole spec"), whole
    assert len(whole.splitlines()) == 2, whole
    (folder / "My Tickets.yaml").write_text(TICKETS)
    assert "give --name" in axo_here(folder, "mappings", "push", "My Tickets.yaml").stderr
    assert axo_here(folder, "mappings", "push", "My Tickets.yaml", "--name", "tickets").returncode == 0


def test_a_team_shares_a_mapping(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "service"
    home.mkdir()
    with serving(home) as server:
        assert axo_here(folder, "login", server.url, "--name", "team").returncode == 0
        assert axo_here(folder, "mappings", "push", "tickets.yaml").returncode == 0
        submitted = axo_here(folder, "submit", "spec.yaml", "-o", "name")
        assert submitted.returncode == 0, submitted.stderr
        clone = axo_here(folder, "clone", submitted.stdout.strip(), "--stdout")
        assert "\nmapping: tickets\n" in clone.stdout, clone.stderr
        assert axo_here(folder, "mappings", "--context", "local", "-o", "name").stdout == ""
