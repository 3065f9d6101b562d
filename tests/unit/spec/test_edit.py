"""Values changed in a text, and everything else left as it was."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.spec.document import KeyPath, parse_path
from orchestrator.spec.edit import edited
from orchestrator.spec.yaml import read_yaml

TEXT = """\
# a spec, with ä, 東京 and 🙂 before what is changed
name: triage   # the name
dataset: {source: a.csv, validation: 0.1}  # data
training:
  # how fast
  learning_rate: 2e-4  # the peak
  epochs: 3
adapter: {}
publish:
  - mlflow: {model: triage}  # first
  - mlflow:
      model: other
description: |
  two
  lines
evaluate:
"""


def change(path: str, value: str, text: str = TEXT) -> str:
    return edited(text, {parse_path(path): value})


def read(text: str) -> Any:
    document = read_yaml(text.encode(), "x")
    assert not document.faults, (document.faults, text)
    return document.value


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("name", "bold", "name: bold   # the name"),
        ("dataset.validation", "0.25", "dataset: {source: a.csv, validation: 0.25}  # data"),
        ("dataset.split_seed", "7", "dataset: {source: a.csv, validation: 0.1, split_seed: 7}  # data"),
        ("training.learning_rate", "1e-4", "  learning_rate: 1e-4  # the peak"),
        ("training.batch_size", "8", "  batch_size: 8"),
        ("adapter", "{kind: lora, r: 64}", "adapter: {kind: lora, r: 64}"),
        ("adapter.kind", "full", "adapter: {kind: full}"),
        ("publish[0].mlflow.alias", "best", "  - mlflow: {model: triage, alias: best}  # first"),
        ("publish[1].mlflow.model", "third", "      model: third"),
        ("compute.machine", "gpu", "compute: {machine: gpu}"),
        ("evaluate.rows", "9", "evaluate: {rows: 9}"),
        ("description", "yes", 'description: "yes"'),
        ("description", "a: b # c", 'description: "a: b # c"'),
        ("license", "", "license: null"),
        ("license", "'x'", "license: 'x'"),
        ("training.epochs", " 0.5 ", "  epochs: 0.5"),
    ],
)
def test_one_line_changes_or_is_added(path: str, value: str, line: str) -> None:
    text = change(path, value)
    read(text)
    before, after = TEXT.splitlines(), text.splitlines()
    assert line in after
    removed = [each for each in before if each not in after]
    assert len(removed) <= (3 if path == "description" else 1)
    assert [each for each in after if "#" in each and each != line] == [
        each for each in before if "#" in each and each in after
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [("training", "3"), ("publish[7].mlflow.alias", "x"), ("name", "{open"), ("publish.mlflow", "x")],
)
def test_what_cannot_be_changed_is_told(path: str, value: str) -> None:
    with pytest.raises(SpecError) as error:
        change(path, value)
    assert error.value.faults[0].fix


leaves = st.one_of(st.integers(-9, 9), st.booleans(), st.text("ab:#{}[]'\" \n-é🙂", max_size=8))
keys = st.sampled_from(["a", "b", "c"])
trees = st.recursive(
    leaves, lambda inner: st.dictionaries(keys, inner, max_size=3) | st.lists(inner, max_size=3), max_leaves=8
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(keys, trees, min_size=1, max_size=3), st.booleans(), st.data())
def test_any_value_of_any_text_can_be_changed(tree: dict[str, Any], flow: bool, data: st.DataObject) -> None:
    """The text that is read back holds the new value, and everything else is as it was."""
    import yaml

    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True, sort_keys=False)
    places = [path for path, value in leaf_paths(tree, ())]
    if not places:
        return
    path = data.draw(st.sampled_from(places))
    found = read(edited(text, {path: "77"}))
    expected = yaml.safe_load(text)
    parent = expected
    for part in path[:-1]:
        parent = parent[part]
    parent[path[-1]] = 77
    assert found == expected


odd = st.text("ab.[]0{}:#'\"\\\n\t \x00\x15\x92\ufeff\u2028🙂,&*!|>%@`-?", max_size=6)


@given(st.dictionaries(odd, odd, min_size=1, max_size=3))
def test_whatever_a_change_is_called_the_text_stays_yaml(changes: dict[str, str]) -> None:
    """What comes from a request's body may be anything: it is written, or it is a fault."""
    with suppress(SpecError):
        read(edited(TEXT, {parse_path(path): value for path, value in changes.items() if parse_path(path)}))


def leaf_paths(value: Any, path: KeyPath) -> list[tuple[KeyPath, Any]]:
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in leaf_paths(inner, (*path, key))]
    if isinstance(value, list):
        return [found for index, inner in enumerate(value) for found in leaf_paths(inner, (*path, index))]
    return [(path, value)]
