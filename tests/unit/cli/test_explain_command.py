"""`axo explain` as it is run: what it prints, what it says to a name that nothing has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.explain import command
from orchestrator.errors import NotFoundError, SpecError

SPEC = """\
name: s
base_model: org/model@main
dataset: {source: rows.jsonl, validation: 0.1}
mapping: {messages: [{role: assistant, content: x}]}
training:
  learning_rate: 3e-4
  packing: true
compute: {machine: gpu}
"""


def explained(tmp_path: Path, *arguments: str, spec: str | None = None) -> Result:
    if spec is not None:
        (tmp_path / "spec.yaml").write_text(spec)
        arguments = (*arguments, "--spec", str(tmp_path / "spec.yaml"))
    environment = {"AXO_HOME": str(tmp_path / "home"), "COLUMNS": "80"}
    return CliRunner(env=environment).invoke(command, list(arguments), catch_exceptions=True)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("learning_rate", {"value": 3e-4, "source": "training.learning_rate"}),
        ("training.learning_rate", {"value": 3e-4, "source": "{spec}:6"}),
        ("training.epochs", {"value": 3.0, "source": "its default"}),
        ("optimizer", {"value": "adamw_torch_fused", "source": "axolotl_templates/gpu.yaml:8"}),
        ("fsdp_config", {"source": "it is not set, so Axolotl's default holds"}),
    ],
)
def test_a_value_is_told_with_its_place(tmp_path: Path, key: str, shown: dict[str, object]) -> None:
    result = explained(tmp_path, key, "-o", "json", spec=SPEC)
    (told,) = json.loads(result.stdout)
    file = str(tmp_path / "spec.yaml")
    assert told["here"] == {
        name: value.replace("{spec}", file) if isinstance(value, str) else value
        for name, value in shown.items()
    }


def test_the_text_fits_a_terminal(tmp_path: Path) -> None:
    for key in ("attn_implementation", "datasets", "adapter", "eval_sample_packing"):
        text = explained(tmp_path, key, spec=SPEC).stdout
        assert "type:" in text
        assert all(len(line) < 80 for line in text.replace(str(tmp_path), "").splitlines()), text


def test_without_a_key_the_classes_are_listed(tmp_path: Path) -> None:
    heads, *rows = explained(tmp_path).stdout.splitlines()
    assert heads.split() == ["CLASS", "KEYS", "WHAT"]
    assert [row.split()[0] for row in rows] == ["free", "bounded", "owned", "admin", "forbidden"]
    assert "neftune_noise_alpha" in explained(tmp_path, "bounded").stdout


def test_a_name_that_nothing_has_is_not_found(tmp_path: Path) -> None:
    error = explained(tmp_path, "learning_rte").exception
    assert isinstance(error, NotFoundError)
    assert error.exit_code == 5
    assert error.hint == "did you mean `axo explain learning_rate`?"


def test_a_spec_with_faults_is_told_so(tmp_path: Path) -> None:
    wrong = SPEC.replace("machine: gpu", "machine: gpus")
    error = explained(tmp_path, "optimizer", spec=wrong).exception
    assert isinstance(error, SpecError)
    assert error.faults[0].line == 8
