"""Commands whose context is a service elsewhere: what they prove here counts with its machines."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving import serving
from triage import SPEC, axo_here, lay_out

MACHINES = "machines:\n  tower: {device: cpu, memory_gib: 64}\n"


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    folder = tmp_path / "laptop"
    folder.mkdir()
    lay_out(folder)
    (folder / "spec.yaml").write_text(SPEC + "compute: {machine: tower}\n")
    return folder


def test_a_spec_is_proven_with_the_machines_of_the_service(laptop: Path, tmp_path: Path) -> None:
    assert "there is no machine of that name" in axo_here(laptop, "check", "spec.yaml").stderr
    home = tmp_path / "service"
    home.mkdir()
    (home / "settings.yaml").write_text(MACHINES)
    with serving(home) as server:
        assert axo_here(laptop, "login", server.url, "--name", "team").returncode == 0
        assert "tower" in axo_here(laptop, "machines", "-o", "name").stdout.split()
        checked = axo_here(laptop, "check", "spec.yaml")
        assert checked.returncode == 0, checked.stderr
        foreseen = axo_here(laptop, "submit", "spec.yaml", "--dry-run")
        assert "rows:      32, 8 held out" in foreseen.stdout, foreseen.stderr
        run = axo_here(laptop, "submit", "spec.yaml", "-o", "name").stdout.strip()
        (laptop / "spec.yaml").write_text(f"{SPEC.replace('256', '128')}compute: {{machine: tower}}\n")
        changed = axo_here(laptop, "submit", "spec.yaml", "--dry-run", "--diff")
        assert f"spec.yaml against {run} (" in changed.stdout, changed.stderr
        assert "  training.sequence_len: 256 -> 128" in changed.stdout.splitlines()
        here = axo_here(laptop, "plan", "spec.yaml", "--diff")
        assert "  training.sequence_len: 256 -> 128" in here.stdout.splitlines()
        assert "upload://" not in here.stdout
        assert axo_here(laptop, "submit", "spec.yaml", "--diff").returncode == 2
        assert axo_here(laptop, "check", "spec.yaml", "--context", "local").returncode == 3
        looked = axo_here(laptop, "doctor")
        assert (looked.returncode, f"{server.url} answers" in looked.stdout) == (0, True), looked.stdout
        assert "mlflow   " not in looked.stdout, "it is the service that has one, or has not"
    assert axo_here(laptop, "doctor").returncode == 4
    gone = axo_here(laptop, "check", "spec.yaml")
    assert (gone.returncode, "its machines are not known" in gone.stderr) == (3, True)
    assert axo_here(laptop, "get").returncode == 4
