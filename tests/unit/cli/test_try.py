"""`axo try` says what keeps it from asking: no adapter, no base model, no environment, no memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from serving import serving
from stored_run import store_run
from toy_models import MODELS, NO_WEIGHTS

from orchestrator.cli import axo
from orchestrator.errors import ConflictError, OrchestratorError, SettingsError, SpecError
from orchestrator.runs import Status
from orchestrator.trainer import answer

# Asked, it says what it got; that is all that is needed of a trainer here.
ECHO = """\
#!/bin/sh
exec "{python}" -c '
import json, sys
asked = json.load(sys.stdin)
names = ["base", "adapter"] if asked["base"] else ["adapter"]
for name in names:
    for number, prompt in enumerate(asked["prompts"]):
        text = prompt["messages"][-1]["content"] + "\\x1b[2J" * (name == "base")
        said = {"text": text, "tokens": 3, "whole": name == "base"}
        print(json.dumps({"model": name, "prompt": number, **said}))
'
""".replace("{python}", sys.executable)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("AXO_HOME", str(home))
    monkeypatch.setenv("AXO_TRAINER_PYTHON", str(tmp_path / "python"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "python").write_text(ECHO)
    (tmp_path / "python").chmod(0o755)
    MODELS["chatml"].write(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(NO_WEIGHTS)
    store_run(home, "triage-1")
    return home


def tried(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(axo, ["try", "triage", "--base-model", "model", *arguments], input=given)


def refused(*arguments: str) -> OrchestratorError:
    error = CliRunner().invoke(axo, ["try", *arguments]).exception
    assert isinstance(error, OrchestratorError), error
    return error


def test_both_models_answer_side_by_side() -> None:
    shown = tried("late parcel", "paid twice")
    assert shown.exit_code == 0, shown.exception
    assert shown.stdout.splitlines() == [
        "late parcel",
        "  base:    late parcel [2J",
        "  adapter: late parcel (cut at 3 tokens)",
        "",
        "paid twice",
        "  base:    paid twice [2J",
        "  adapter: paid twice (cut at 3 tokens)",
    ]
    assert "loading the base model and the adapter" in shown.stderr
    assert "axo pull triage-1" in shown.stderr
    assert "model is not, byte for byte, the base model" in shown.stderr
    (told,) = json.loads(tried("late", "--no-base", "-o", "json").stdout)
    assert told["messages"] == [{"role": "user", "content": "late"}]
    assert (told["adapter"]["text"], "base" in told) == ("late", False)


def test_prompts_come_from_a_file_or_from_stdin(tmp_path: Path) -> None:
    (tmp_path / "asked.txt").write_text("one\ntwo\n")
    told = json.loads(tried("--file", "asked.txt", "-o", "json").stdout)
    assert [each["prompt"] for each in told] == ["one", "two"]
    rows = '{"text": "late", "queue": "shipping"}\n'
    (row,) = json.loads(tried("--file", "-", "-o", "json", given=rows).stdout)
    assert (row["prompt"], row["expected"]) == ("late", "shipping")


@pytest.mark.parametrize("arguments", [[], ["late", "--held-out", "2"], ["--file", "-"]])
def test_one_kind_of_prompts_is_asked(arguments: list[str]) -> None:
    assert tried(*arguments, given="").exit_code == 2


def test_what_is_missing_is_told(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_run(home, "broken-1", status=Status.FAILED)
    assert isinstance(refused("broken-1", "late", "--base-model", "model"), ConflictError)
    assert "not in storage" in str(refused("triage-1", "--held-out", "2"))
    no_base = refused("triage-1", "late")
    assert isinstance(no_base, SpecError)
    assert "--base-model" in str(no_base.hint)
    monkeypatch.setenv("AXO_TRAINER_PYTHON", sys.executable)
    no_torch = refused("triage-1", "late", "--base-model", "model")
    assert isinstance(no_torch, SettingsError)
    assert "torch" in str(no_torch)
    assert "scripts/setup trainer" in str(no_torch.hint)
    (tmp_path / "python").write_text("#!/bin/sh\nkill -9 $$\n")
    monkeypatch.setenv("AXO_TRAINER_PYTHON", str(tmp_path / "python"))
    assert "lack of memory" in str(refused("triage-1", "late", "--base-model", "model"))
    monkeypatch.setenv("AXO_TRAINER_PYTHON", str(tmp_path / "none"))
    assert "no trainer environment" in str(refused("triage-1", "late", "--base-model", "model"))


def test_of_a_service_elsewhere_prompts_are_asked_here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(home) as server:
        monkeypatch.setenv("AXO_URL", server.url)
        monkeypatch.setenv("AXO_HOME", str(home.parent / "laptop"))
        assert "late" in tried("late").stdout
        assert "lies with the service" in str(refused("triage-1", "--held-out", "2"))


def test_a_model_beyond_this_machines_memory_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model" / "config.json").write_text('{"dtype": "bfloat16"}')
    (tmp_path / "model" / "model.safetensors").write_bytes(b"0" * 1000)
    monkeypatch.setattr(answer, "_free_memory", lambda: 2000)
    answer._refuse_too_large(tmp_path / "model")
    monkeypatch.setattr(answer, "_free_memory", lambda: 1999)
    with pytest.raises(MemoryError, match="are free here"):
        answer._refuse_too_large(tmp_path / "model")
