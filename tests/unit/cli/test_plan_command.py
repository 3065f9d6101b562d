"""`axo plan`: readable at a glance, what does not fit and what would, what changed since a run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import triage
from triage import axo_here, lay_out

from orchestrator.controller.of_run import run_store
from orchestrator.db import Run, opened
from orchestrator.runs import Status
from orchestrator.spec.load import load_spec

SPEC = triage.SPEC.replace("batch_size: 4}", "batch_size: 4, epochs: 2}")
SETTINGS = """\
machines:
  small: {device: cpu, memory_gib: 0.5, price_per_hour: 0.2}
  large: {device: cpu, memory_gib: 64, price_per_hour: 2, tokens_per_second: 100}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lay_out(tmp_path)
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    return tmp_path


def plan(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return axo_here(folder, "plan", "spec.yaml", *arguments, AXO_SETTINGS=str(folder / "settings.yaml"))


def on_machine(folder: Path, machine: str, **changes: str) -> None:
    text = SPEC + f"compute: {{machine: {machine}}}\n"
    for old, new in changes.items():
        text = text.replace(old, new)
    (folder / "spec.yaml").write_text(text)


def test_a_plan_is_read_at_a_glance(folder: Path) -> None:
    on_machine(folder, "large")
    done = plan(folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) < 80
    assert len(lines) <= 22
    told = " ".join(done.stdout.split())
    for part in (
        "32, 8 held out",
        "steps: 16",
        "of 64.0 GiB",
        "100 tokens/s, as the settings say",
        "adapter",
    ):
        assert part in told


def test_what_is_printed_for_programs_has_the_estimate(folder: Path) -> None:
    on_machine(folder, "large")
    found = json.loads(plan(folder, "-o", "json").stdout)
    foreseen = found["estimate"]
    assert foreseen["fits"] is True
    assert foreseen["rate_source"] == "machine"
    assert foreseen["seconds"] == pytest.approx(15 + foreseen["tokens"] / 100, abs=0.1)
    assert foreseen["price"] == pytest.approx(foreseen["seconds"] / 3600 * 2, abs=1e-3)
    assert sum(v for k, v in foreseen["memory_bytes"].items() if k != "total") == pytest.approx(
        foreseen["memory_bytes"]["total"], abs=5
    )


def test_what_does_not_fit_is_warned_of_and_refused_when_asked(folder: Path) -> None:
    on_machine(folder, "small")
    done = plan(folder)
    assert done.returncode == 0
    assert "does not fit" in done.stdout
    assert "compute.machine: large" in done.stdout
    strict = plan(folder, "--strict")
    assert strict.returncode == 3
    assert strict.stdout == ""
    assert "spec.yaml:9" in strict.stderr
    assert "fix: compute.machine: large" in strict.stderr


def earlier_run(folder: Path) -> Run:
    """A run of the spec as it stands, with the config and the facts that its plan has."""
    found: dict[str, Any] = json.loads(plan(folder, "-o", "json").stdout)
    loaded = load_spec(folder / "spec.yaml")
    run = Run(
        id="triage-abcde",
        name="triage",
        spec_digest=loaded.digest,
        spec=loaded.spec.model_dump(mode="json"),
        spec_text=loaded.text,
        base=str(folder),
        storage=(folder / "home/storage").as_uri(),
        status=Status.SUCCEEDED,
        created=1.0,
        updated=1.0,
        facts={"splits": found["splits"], "estimate": found["estimate"]},
    )
    run_store(run).write("launches/1/axolotl.yaml", found["config_text"].encode())
    with opened(f"sqlite:///{folder / 'home/axo.db'}") as database:
        database.submit(run)
    return run


def test_a_diff_tells_what_changed_since_the_newest_run_of_the_name(folder: Path) -> None:
    on_machine(folder, "large")
    run = earlier_run(folder)
    same = plan(folder, "--diff")
    assert same.returncode == 0, same.stderr
    assert "nothing changed" in same.stdout
    on_machine(folder, "large", **{"epochs: 2": "epochs: 4", "text }}": "text | upper }}"})
    done = plan(folder, "--diff", run.id)
    assert done.returncode == 0, done.stderr
    for part in ("training.epochs: 2.0 -> 4.0", "num_epochs: 2.0 -> 4.0", "steps: 16 -> 32", "{{ text }}"):
        assert part in done.stdout
    changed = json.loads(plan(folder, "--diff", "-o", "json").stdout)["changes"]
    assert changed["spec"]["training.epochs"] == [2.0, 4.0]
    assert changed["estimate"]["steps"] == [16, 32]


def test_a_diff_against_no_run_says_so(folder: Path) -> None:
    assert plan(folder, "--diff").returncode == 5
