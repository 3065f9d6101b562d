"""Rules over several fields of a spec. All that are broken are told at once, each at its field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from orchestrator.errors import Fault
from orchestrator.spec.models import Spec

_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%")
_FLOORS = ("cosine", "polynomial", "rex", "warmup_stable_decay")  # schedules that can end above zero


def rule_faults(spec: Spec) -> list[Fault]:
    """What is wrong with a spec whose fields are each right; faults have paths, and no places yet."""
    return [fault for rule in _RULES for fault in rule(spec)]


def _held_out_rows(spec: Spec) -> Iterator[Fault]:
    if spec.dataset.validation is not None:
        return
    needs: Mapping[str, object] = {
        "evaluate": spec.evaluate,
        "training.early_stopping": spec.training.early_stopping,
        "training.eval_steps": spec.training.eval_steps,
    }
    for path, value in needs.items():
        if value is not None:
            yield Fault("this needs held-out rows", "set dataset.validation, such as 0.05", path=path)


def _percent(spec: Spec) -> Iterator[Fault]:
    """`10%` is text in YAML, and would be taken for the name of a file."""
    held_out = spec.dataset.validation
    if isinstance(held_out, str) and (percent := _PERCENT.fullmatch(held_out)):
        fix = f"write {float(percent[1]) / 100:g}"
        yield Fault("a share is a number between 0 and 1", fix, path="dataset.validation", value=held_out)


def _method(spec: Spec) -> Iterator[Fault]:
    for path, mapping in spec.mappings:
        if spec.method == "sft" and mapping.text is not None:
            what = "a mapping of text is for pre-training, and this method trains on conversations"
            fix = "map to `messages` or a `conversation`, or set method: pretrain"
            yield Fault(what, fix, path=f"{path}.text")
        if spec.method == "pretrain" and mapping.text is None:
            what = "pre-training goes on with plain text, and this mapping makes conversations"
            fix = "write mapping: {text: ...}, or set method: sft"
            yield Fault(what, fix, path=path)
    if spec.method == "pretrain" and spec.evaluate is not None:
        what = "exact_match compares answers, and plain text has none"
        fix = "remove it; with dataset.validation the loss on held-out text is recorded"
        yield Fault(what, fix, path="evaluate")


def _streaming(spec: Spec) -> Iterator[Fault]:
    """Axolotl's streaming knows no end, and unpacked it forgets what is beyond sequence_len of a text."""
    training, path = spec.training, "training.streaming"
    if not training.streaming:
        return
    if spec.method != "pretrain":
        yield Fault("only plain text is streamed", "remove it, or set method: pretrain", path=path)
    if training.max_steps is None:
        what = "a stream has no end, so the run needs one"
        yield Fault(what, "set training.max_steps", path=path)
    if not training.packing:
        what = "without packing the rest of each text beyond sequence_len would be lost"
        yield Fault(what, "set training.packing: true", path=path)
    if "epochs" in training.model_fields_set:
        what = "max_steps say how far a stream is read, from its beginning again where they are more"
        yield Fault(what, "remove it", path="training.epochs")


def _adapter(spec: Spec) -> Iterator[Fault]:
    adapter = spec.adapter
    if adapter.kind == "full":
        defaults = type(adapter)(kind="full").model_dump()
        for name, value in adapter.model_dump().items():
            if value != defaults[name]:
                fix = "remove it, or set kind: lora"
                yield Fault("kind full has no such field", fix, path=f"adapter.{name}")


def _batch(spec: Spec) -> Iterator[Fault]:
    training = spec.training
    if training.micro_batch_size and training.batch_size % training.micro_batch_size:
        yield Fault(
            f"batch_size {training.batch_size} is not a multiple of micro_batch_size "
            f"{training.micro_batch_size}",
            "make it a divisor of batch_size, or leave it out",
            path="training.micro_batch_size",
        )


def _schedule(spec: Spec) -> Iterator[Fault]:
    training = spec.training
    if training.min_lr_ratio is not None and training.scheduler not in _FLOORS:
        what = f"the schedule {training.scheduler} has no lowest learning rate to set"
        fix = f"remove it, or set scheduler to {', '.join(_FLOORS[:-1])} or {_FLOORS[-1]}"
        yield Fault(what, fix, path="training.min_lr_ratio")
    if training.decay_ratio is not None and training.scheduler != "warmup_stable_decay":
        what = f"the schedule {training.scheduler} has no such phase"
        fix = "remove it, or set scheduler: warmup_stable_decay"
        yield Fault(what, fix, path="training.decay_ratio")
    if training.warmup_ratio + (training.decay_ratio or 0) > 1:
        what = "warm-up and decay together are longer than the run"
        fix = "let warmup_ratio and decay_ratio sum to 1 at most"
        yield Fault(what, fix, path="training.decay_ratio")


def _checkpoints(spec: Spec) -> Iterator[Fault]:
    """Axolotl keeps the best checkpoint only where each checkpoint was evaluated."""
    training = spec.training
    if training.checkpoint_minutes and training.checkpoint_steps:
        fix = "keep one of checkpoint_minutes and checkpoint_steps"
        yield Fault("checkpoints come by time or by steps", fix, path="training.checkpoint_minutes")
    evaluations, checkpoints = training.eval_steps or 1, training.checkpoint_steps or 0
    if training.early_stopping and checkpoints % evaluations:
        yield Fault(
            f"early stopping needs checkpoint_steps to be a multiple of eval_steps ({training.eval_steps})",
            "leave checkpoint_steps out, or make it such a multiple",
            path="training.checkpoint_steps",
        )


_RULES: tuple[Callable[[Spec], Iterator[Fault]], ...] = (
    _percent,
    _method,
    _held_out_rows,
    _streaming,
    _adapter,
    _batch,
    _schedule,
    _checkpoints,
)
