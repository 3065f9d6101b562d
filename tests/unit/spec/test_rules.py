"""Rules over several fields: all that are broken are told at once, each at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import Fault, SpecError
from orchestrator.spec.load import parse_spec
from orchestrator.spec.models import Spec

SPEC = """\
name: s
base_model: org/model@main
dataset: {source: rows.jsonl}
mapping: {messages: [{role: assistant, content: x}]}
"""
HELD_OUT = SPEC.replace("rows.jsonl}", "rows.jsonl, validation: 0.1}")


def faults(text: str) -> list[Fault]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text.encode(), Path("spec.yaml"))
    return list(caught.value.faults)


@pytest.mark.parametrize(
    ("section", "path", "fix"),
    [
        ("training: {batch_size: 6, micro_batch_size: 4}", "training.micro_batch_size", "divisor"),
        (
            "training: {scheduler: linear, min_lr_ratio: 0.1}",
            "training.min_lr_ratio",
            "cosine, polynomial, rex or",
        ),
        ("training: {decay_ratio: 0.1}", "training.decay_ratio", "warmup_stable_decay"),
        (
            "training: {scheduler: warmup_stable_decay, warmup_ratio: 0.6, decay_ratio: 0.5}",
            "training.decay_ratio",
            "sum to 1",
        ),
        (
            "training: {checkpoint_minutes: 5, checkpoint_steps: 10}",
            "training.checkpoint_minutes",
            "keep one",
        ),
        (
            "training: {early_stopping: {patience: 2}, eval_steps: 10, checkpoint_steps: 25}",
            "training.checkpoint_steps",
            "multiple",
        ),
        ("method: pretrain", "mapping", "method: sft"),
        ("training: {streaming: true, max_steps: 9, packing: true}", "training.streaming", "pretrain"),
        ("adapter: {kind: full, r: 8}", "adapter.r", "kind: lora"),
    ],
)
def test_a_broken_rule_is_told_at_its_field(section: str, path: str, fix: str) -> None:
    (fault,) = faults(f"{HELD_OUT}{section}\n")
    assert (fault.path, fault.line) == (path, 4 if path == "mapping" else 5)
    assert fix in (fault.fix or "")


def test_all_broken_rules_are_told_at_once() -> None:
    text = (
        SPEC
        + """\
adapter:
  kind: full
  r: 8
  dropout: 0.1
training:
  scheduler: constant
  min_lr_ratio: 0.1
  eval_steps: 5
evaluate: {}
"""
    )
    assert [(fault.path, fault.line) for fault in faults(text)] == [
        ("evaluate", 13),
        ("training.eval_steps", 12),
        ("adapter.r", 7),
        ("adapter.dropout", 8),
        ("training.min_lr_ratio", 11),
    ]


def test_plain_text_is_for_pretraining() -> None:
    text = SPEC.replace("{messages: [{role: assistant, content: x}]}", "{text: x}")
    assert [fault.path for fault in faults(text)] == ["mapping.text"]
    assert parse_spec(f"{text}method: pretrain\n".encode(), Path("spec.yaml")).spec.method == "pretrain"
    wrong = f"{text}method: pretrain\nevaluate: {{}}\ntraining: {{streaming: true, epochs: 2}}\n"
    assert [fault.path for fault in faults(wrong)] == [
        "evaluate",
        "evaluate",
        "training.streaming",
        "training.streaming",
        "training.epochs",
    ]


@pytest.mark.parametrize("kind", ["full", "lora", "qlora"])
def test_a_spec_is_the_same_after_being_stored(kind: str) -> None:
    spec = parse_spec(f"{SPEC}adapter: {{kind: {kind}}}\n".encode(), Path("spec.yaml")).spec
    assert Spec.model_validate(spec.model_dump(mode="json")) == spec


def test_checkpoints_come_by_time_unless_steps_are_named() -> None:
    def seconds(training: str) -> float | None:
        text = f"{SPEC}training: {{{training}}}\n"
        return parse_spec(text.encode(), Path("spec.yaml")).spec.training.checkpoint_seconds

    assert (seconds(""), seconds("checkpoint_minutes: 0.5"), seconds("checkpoint_steps: 9")) == (
        900,
        30,
        None,
    )
