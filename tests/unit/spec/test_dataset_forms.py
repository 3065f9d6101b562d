"""The forms of a source: text, an entry, a list; whatever is wrong is told at its own place."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.spec.load import parse_spec
from orchestrator.spec.models import WeightedEntry

SPEC = """\
name: t
base_model: m
mapping: {messages: [{role: assistant, content: "{{ a }}"}]}
dataset:
"""


def parsed(dataset: str, folder: Path = Path(".")) -> list[tuple[str, WeightedEntry]]:
    spec = parse_spec((SPEC + f"  {dataset}\n").encode(), folder / "spec.yaml").spec
    return list(spec.dataset.training)


def test_text_entry_and_list_mean_the_same() -> None:
    for form in ("a.csv", "{source: a.csv}", "{source: a.csv, weight: 1.0}"):
        assert parsed(f"source: {form}") == [("dataset.source", WeightedEntry(source="a.csv"))]
        assert parsed(f"source: [{form}]") == [("dataset.source[0]", WeightedEntry(source="a.csv"))]


@pytest.mark.parametrize(
    ("dataset", "path", "what", "fix"),
    [
        ("source: {sorce: a}", "dataset.source.sorce", "unknown key", "did you mean `source`?"),
        ("source: {weight: 2}", "dataset.source.source", "is missing", "add `source:`"),
        ("source: [a, {source: b, weight: 0}]", "dataset.source[1].weight", "must be greater than 0", None),
        ("source: [a, {source: b, weight: 2x}]", "dataset.source[1].weight", "must be a number", None),
        ("source: [a, 3]", "dataset.source[1]", "must be text or a section with `source`", None),
        ("source: []", "dataset.source", "must have 1 entries or more", None),
        ("source:", "dataset.source", "a list of them", "give it a value, or remove the key"),
        ("source: {source: a, encoding: klingon}", "dataset.source.encoding", "no encoding has this", None),
        ("source: {source: a, encoding: base64}", "dataset.source.encoding", "no encoding has this", None),
        ("source: {source: a, encoding: rot13}", "dataset.source.encoding", "no encoding has this", None),
        ("source: {source: a, mapping: no.yaml}", "dataset.source.mapping", "no such mapping", "relative"),
        ("source: [{source: a, mapping: {text: x}}]", "dataset.source[0].mapping.text", "pre-training", None),
        ("{source: a, validation: true}", "dataset.validation", "a section with `source`", None),
        ("{source: a, validation: {source: b, weight: 2}}", "dataset.validation.weight", "unknown key", None),
    ],
)  # fmt: skip
def test_faults_stand_at_their_place(dataset: str, path: str, what: str, fix: str | None) -> None:
    with pytest.raises(SpecError) as caught:
        parsed(dataset)
    found = {fault.path: fault for fault in caught.value.faults}
    assert what in found[path].what
    assert (fix or "") in (found[path].fix or "")
    assert found[path].line == 5


def test_an_entry_may_name_a_mapping_file(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("messages:\n  - {role: assistant, content: x}\n")
    ((_, entry),) = parsed("source: [{source: a, mapping: m.yaml}]", tmp_path)
    assert entry.mapping is not None
    assert entry.mapping.messages is not None
    (tmp_path / "m.yaml").write_text("messages:\n  - {role: assistant, contents: x}\n")
    with pytest.raises(SpecError) as caught:
        parsed("source: [{source: a, mapping: m.yaml}]", tmp_path)
    places = {(Path(f.file or "").name, f.line, f.path) for f in caught.value.faults}
    assert ("m.yaml", 2, "dataset.source[0].mapping.messages[0].contents") in places


def test_a_base_model_may_name_a_secret() -> None:
    text = SPEC.replace("base_model: m", "base_model: {source: org/m@v1, secret: hub}") + "  source: a\n"
    spec = parse_spec(text.encode(), Path("spec.yaml")).spec
    assert (spec.model, spec.model_secret) == ("org/m@v1", "hub")
    with pytest.raises(SpecError) as caught:
        parse_spec(text.replace("secret: hub", "token: x").encode(), Path("spec.yaml"))
    assert [(fault.path, fault.line) for fault in caught.value.faults] == [("base_model.token", 2)]
