"""What a new user may get wrong: each case has its error, a fix, its exit code, and leaves nothing behind.

Each case starts from the same good spec, data and model, breaks one thing, and calls the command.
"""

from __future__ import annotations

import gzip
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from triage import ROWS, SPEC, axo, axo_here, lay_out, lines

Arrange = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """One thing gone wrong: what breaks it, the command, its exit code, and words it must say; `apart` in a
    process of its own."""

    name: str
    arrange: Arrange
    told: tuple[str, ...]
    command: tuple[str, ...] = ("check", "spec.yaml")
    code: int = 3
    environment: Mapping[str, str] = field(default_factory=dict)
    apart: bool = False


def spec(old: str, new: str) -> Arrange:
    """The spec with one text for another."""

    def arrange(folder: Path) -> None:
        assert old in SPEC
        (folder / "spec.yaml").write_text(SPEC.replace(old, new))

    return arrange


def added(text: str) -> Arrange:
    """The spec with lines of its own at its end."""
    return lambda folder: (folder / "spec.yaml").write_text(SPEC + text + "\n")


def whole(text: str) -> Arrange:
    """Another spec."""
    return lambda folder: (folder / "spec.yaml").write_text(text)


def packed(training: str) -> Arrange:
    return spec("batch_size: 4}", f"batch_size: 4, packing: true, {training}}}")


def data(content: str | bytes, name: str = "tickets.jsonl", entry: str | None = None) -> Arrange:
    """Another data file, which the spec names."""

    def arrange(folder: Path) -> None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        (folder / "spec.yaml").write_text(SPEC.replace("tickets.jsonl", entry or name))

    return arrange


def without(name: str) -> Arrange:
    return lambda folder: (folder / name).unlink()


def nothing(folder: Path) -> None:
    """The mistake is in the command itself."""


def no_template(folder: Path) -> None:
    config = json.loads((folder / "base" / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "base" / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "base" / "chat_template.jinja").unlink(missing_ok=True)


def zipped(folder: Path) -> None:
    with zipfile.ZipFile(folder / "tickets.zip", "w") as archive:
        archive.writestr("readme.md", "no rows here")
    (folder / "spec.yaml").write_text(SPEC.replace("tickets.jsonl", "tickets.zip"))


def settings(text: str) -> Arrange:
    return lambda folder: (folder / "settings.yaml").write_text(text)


WITH_SETTINGS = {"AXO_SETTINGS": "settings.yaml"}
SECRET = "hf_" + "abcdefghijklmnopqrstuvwxyz" * 2
NO_MAPPING_FILE = """\
name: x
base_model: base
dataset: {source: tickets.jsonl}
mapping: maps/no.yaml
"""
TEXTS = "dataset: {source: tickets.jsonl}\nmapping: {text: '{{ text }}'}\n"
HUB = "base_model: nobody/nothing@0123456789abcdef0123456789abcdef01234567"
PLAN = ("plan", "spec.yaml")
SECRET_SOURCE = '{source: {source: "s3://lake/x.csv", secret: lake}}'
NO_WEIGHT = "{source: {source: tickets.jsonl, weight: 0}}"
CASES = [
    # The spec as a file
    Case("no spec", without("spec.yaml"), ("there is no spec", "hint"), code=5),
    Case("data for a spec", data("", "t.csv"), ("data, not a spec", "axo init t.csv"), ("plan", "t.csv")),
    Case("empty spec", whole(""), ("spec.yaml",)),
    Case("spec is a list", whole("- name: x\n"), ("spec.yaml:1",)),
    Case("spec not UTF-8", lambda f: (f / "spec.yaml").write_bytes(b"name: caf\xe9\n"), ("UTF-8",)),
    Case("tabs for indents", spec("  messages:", "\tmessages:"), ("spec.yaml:5", "tab")),
    Case("duplicate key", added("name: again"), ("spec.yaml:9", "name")),
    Case("alias", spec("source: tickets.jsonl", "source: *other"), ("spec.yaml:3",)),
    Case("bracket not closed", spec("0.2}", "0.2"), ("spec.yaml",)),
    Case("secret in it", added(f"description: {SECRET}"), ("Hugging Face token",)),
    # Its fields
    Case("unknown key", spec("batch_size", "batchsize"), ("spec.yaml:8", "did you mean", "batch_size")),
    Case("unknown section", added("trainin: {}"), ("spec.yaml:9", "did you mean `training`")),
    Case(
        "text for a number", spec("sequence_len: 256", "sequence_len: long"), ("whole number", "'long'|long")
    ),
    Case("number for text", spec("name: triage", "name: 7"), ("spec.yaml:1",)),
    Case("out of bounds", spec("validation: 0.2", "validation: 1.5"), ("less than 0.9", "1.5")),
    Case("negative", spec("batch_size: 4", "batch_size: -4"), ("1 or more",)),
    Case("bad name", spec("name: triage", "name: My Triage!"), ("lower case",)),
    Case("missing field", spec("base_model: base\n", ""), ("base_model", "missing")),
    Case("no such method", added("method: magic"), ("sft",)),
    Case("micro batch", spec("batch_size: 4", "batch_size: 4, micro_batch_size: 3"), ("divisor",)),
    Case(
        "evaluation without rows",
        whole(SPEC.replace(", validation: 0.2", "") + "evaluate: {rows: 5}\n"),
        ("held-out rows", "dataset.validation"),
    ),
    Case("unknown machine", added("compute: {machine: gpuu}"), ("did you mean 'gpu'", "machines here")),
    Case("model name with a slash", added("publish: [{mlflow: {model: a/b}}]"), ("slash",)),
    Case("forbidden key", added("axolotl: {plugins: [evil.Plugin]}"), ("axolotl.plugins", "why")),
    Case("key of the service", added("axolotl: {learning_rate: 1.0}"), ("training.learning_rate",)),
    Case("misspelt Axolotl key", added("axolotl: {learning_rte: 1.0}"), ("learning_rate",)),
    # The mapping
    Case("mapping file missing", whole(NO_MAPPING_FILE), ("maps/no.yaml",)),
    Case(
        "two kinds", spec("mapping:\n", "mapping:\n  conversation: {column: text}\n"), ("exactly one kind",)
    ),
    Case("nothing to train on", spec("role: assistant", "role: user"), ("assistant",)),
    Case("wrong role", spec("role: user", "role: customer"), ("spec.yaml:6", "system")),
    Case("wrong column", spec("{{ queue }}", "{{ queu }}"), ("did you mean", "queue")),
    Case("unknown filter", spec("{{ queue }}", "{{ queue | shout }}"), ("shout", "fix")),
    Case("template not closed", spec("{{ queue }}", "{{ queue"), ("spec.yaml:7",)),
    Case("half a condition", spec("  messages:", "  where: queue ==\n  messages:"), ("a condition over",)),
    Case(
        "where leaves nothing",
        spec("  messages:", "  where: queue == 'none'\n  messages:"),
        ("`where` leaves no row",),
    ),
    # The data
    Case(
        "no such file",
        spec("tickets.jsonl", "tickts.jsonl"),
        ("no such file", "did you mean `tickets.jsonl`"),
    ),
    Case("empty file", data(""), ("empty",)),
    Case("header only", data("text,queue\n", "t.csv"), ("no rows",)),
    Case("broken line", data(lines(ROWS) + '{"text": "no end\n'), ("tickets.jsonl:41",)),
    Case("not an object", data(lines(ROWS) + "[1, 2]\n"), ("tickets.jsonl:41",)),
    Case("Latin-1", data("text,queue\ncafé,x\n".encode("latin-1"), "t.csv"), ("t.csv:2", "Latin-1|latin-1")),
    Case("ragged CSV", data("text,queue\na,b\na,b,c\n", "t.csv"), ("t.csv:3", "header")),
    Case("cut Parquet", data(b"PAR1 and no more", "t.parquet"), ("Parquet",)),
    Case("cut gzip", data(gzip.compress(lines(ROWS).encode())[:60], "t.jsonl.gz"), ("t.jsonl.gz", "fix")),
    Case("zip without rows", zipped, ("tickets.zip",)),
    Case("kind not read", data("hello", "t.pdf"), ("what kind of file", "fix")),
    Case("all rows bad", data(lines([{"text": "x", "queue": None}] * 20)), ("20 of 20",)),
    Case("too many rows bad", data(lines([{"text": "x", "queue": None}] * 5 + ROWS)), ("5 of 45",)),
    Case("one row to split", data(lines(ROWS[:1])), ("cannot be split",)),
    Case("all too long", spec("sequence_len: 256", "sequence_len: 16"), ("no row is left",)),
    # The base model
    Case("no such model", spec("base_model: base", "base_model: bases"), ("spec.yaml:2", "base")),
    Case("no tokenizer", without("base/tokenizer.json"), ("tokenizer", "fix")),
    Case("no chat template", no_template, ("chat template", "fix")),
    Case("no weights", without("base/model.safetensors"), ("weights|safetensors",)),
    Case(
        "hub not reached",
        spec("base_model: base", HUB),
        ("nobody/nothing",),
        apart=True,  # whether the hub may be asked is read once
    ),
    # Methods, adapters, machines
    Case("text for sft", whole(f"name: x\nbase_model: base\n{TEXTS}"), ("pretrain",)),
    Case("messages for pretrain", added("method: pretrain"), ("text",)),
    Case(
        "stream without end",
        whole(f"name: x\nbase_model: base\nmethod: pretrain\n{TEXTS}training: {{streaming: true}}\n"),
        ("max_steps",),
    ),
    Case("rank of all weights", added("adapter: {kind: full, r: 8}"), ("adapter.r", "lora")),
    Case("go on from nothing", added("adapter: {kind: lora, continue_from: nobody}"), ("nobody",)),
    Case("one device to share", added("compute: {machine: cpu, parallel: ddp}"), ("one device",), PLAN),
    Case(
        "GPU attention", added("axolotl: {attn_implementation: flash_attention_2}"), ("eager", "sdpa"), PLAN
    ),
    Case("schedule without steps", packed("scheduler: warmup_stable_decay"), ("max_steps",), PLAN),
    Case("no such secret", spec("{source: tickets.jsonl, validation: 0.2}", SECRET_SOURCE), ("lake",)),
    Case("weight of nothing", spec("{source: tickets.jsonl, validation: 0.2}", NO_WEIGHT), ("weight",)),
    Case("sheet of a CSV", data("text,queue\na,b\n", "t.csv", "{source: t.csv, sheet: x}"), ("sheet",)),
    # What the operator set
    Case("settings not YAML", settings("machines: ["), ("settings.yaml",), environment=WITH_SETTINGS),
    Case("settings key", settings("machine: {}"), ("did you mean `machines`",), environment=WITH_SETTINGS),
    Case(
        "settings value",
        settings("machines: {a: {device: tpu}}"),
        ("settings.yaml:1", "cpu"),
        environment=WITH_SETTINGS,
    ),
    Case(
        "settings file missing",
        nothing,
        ("no-settings.yaml",),
        environment={"AXO_SETTINGS": "no-settings.yaml"},
    ),
    Case("home is a file", nothing, ("AXO_HOME",), environment={"AXO_HOME": "spec.yaml"}),
    Case(
        "wrong Python",
        nothing,
        ("/no/python", "AXO_TRAINER_PYTHON"),
        ("run", "spec.yaml"),
        environment={"AXO_TRAINER_PYTHON": "/no/python"},
    ),
    Case(
        "nowhere to publish",
        added("publish: [{mlflow: {model: x}}]"),
        ("spec.yaml:9", "AXO_MLFLOW_URI"),
        ("run", "spec.yaml"),
    ),
    # The command
    Case("no such command", nothing, ("did you mean 'check'",), ("chek", "spec.yaml"), 2),
    Case("no such option", nothing, ("--strict",), ("check", "spec.yaml", "--strikt"), 2),
    Case("no such format", nothing, ("json",), ("get", "-o", "xml"), 2),
    Case("no spec given", nothing, ("SPEC",), ("check",), 2),
    Case("init of nothing", nothing, ("no-data.csv",), ("init", "no-data.csv", "--stdout")),
    Case("init over a spec", nothing, ("spec.yaml",), ("init", "tickets.jsonl", "--base-model", "base"), 2),
    Case("explain a typo", nothing, ("learning_rate",), ("explain", "learning_rte"), 5),
    Case("pull no run", nothing, ("nobody",), ("pull", "nobody"), 5),
    Case("compare no runs", nothing, ("nobody",), ("compare", "nobody", "noone"), 5),
    Case("clone no run", nothing, ("nobody",), ("clone", "nobody"), 5),
    Case("no such run", nothing, ("nobody", "axo get"), ("get", "nobody"), 5),
    Case("logs of no run", nothing, ("nobody",), ("logs", "nobody"), 5),
    Case("publish no run", nothing, ("nobody",), ("publish", "nobody"), 5),
    Case(
        "serve nowhere",
        nothing,
        ("no.host.invalid:", "listened on"),
        ("serve", "--host", "no.host.invalid"),
        apart=True,  # it would log for this process from then on
    ),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay_out(tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_wrong_is_told(case: Case, folder: Path) -> None:
    case.arrange(folder)
    before = contents(folder)
    done = (axo if case.apart else axo_here)(folder, *case.command, **case.environment)
    assert done.returncode == case.code, done.stderr
    for words in case.told:
        assert re.search(words.replace("(", "\\("), done.stderr), f"{words!r} not in\n{done.stderr}"
    assert contents(folder) == before, "the command left something behind"
    assert not runs(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of the user's, home left out."""
    found = (path for path in folder.rglob("*") if path.is_file() and "home" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def runs(folder: Path) -> list[Path]:
    return list(folder.glob("home/storage/*/*"))
