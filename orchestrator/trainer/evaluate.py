"""The evaluate step: the base model against the finished adapter, on held-out rows nobody trained on.

Both are measured on the same rows and in two ways:

- *loss*: the cross entropy of the assistant turns, summed over every trained token of every row and
  divided by their number. Axolotl itself marks the tokens, so this is its `eval_loss`, but for one
  thing: Axolotl averages the means of its batches, and this is the mean over the tokens. The two are
  equal where one batch holds the whole validation set.
- *exact match*: the model answers in place of a row's last assistant turn, greedily and with no
  penalty, and the answer counts when it equals that turn's content (`held_out.exact_match`).

How models are loaded and asked, `models.py` says.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.contract import ContractError, LaunchPlan
from orchestrator.trainer.held_out import IGNORED, Question, exact_match, questions, read_rows
from orchestrator.trainer.models import Asking, adapter_kind, answers, batches, load_tokenizer, models, padded

SAMPLES = 10
SHOWN_CHARACTERS = 300
# A batch's logits are tokens × vocabulary: 4096 × 150,000 take 1.2 GB in bfloat16, 2.5 GB in float32.
LOSS_BATCH_TOKENS = 4096


@dataclass(frozen=True)
class Task:
    """What a plan's `task` says about an evaluation; `sequence_len` and `max_new_tokens` are in tokens."""

    metrics: Sequence[str] = ("exact_match",)
    rows: int = 200
    max_new_tokens: int = 64
    batch_size: int = 32
    sequence_len: int = 2048
    seed: int = 42

    @classmethod
    def of(cls, plan: LaunchPlan) -> Task:
        """Raises ContractError for a metric that this version does not have."""
        task = cls(**{name: value for name, value in plan.task.items() if name in cls.__dataclass_fields__})
        if unknown := sorted(set(task.metrics) - {"exact_match"}):
            raise ContractError(f"there is no metric called {', '.join(unknown)}; there is exact_match")
        return task


@dataclass(frozen=True)
class Measured:
    """What one model did: its mean loss over `tokens` trained tokens, and its answer to each question."""

    loss: float
    tokens: int
    answers: Sequence[str]


def evaluate(plan: LaunchPlan, work: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Measure the base model in `work/model` and the adapter in `work/adapter` on held-out rows.

    The rows are those of `work/dataset/validation.parquet` that `held_out.chosen_rows` picks, less
    those that cannot be evaluated (`held_out.questions`), which are counted as `skipped`. The adapter
    is a PEFT adapter or full weights. `report` is given a line of progress now and then.

    Returns the facts of the outcome: `rows`, `skipped`, `base` and `adapter` (each `exact_match` from
    0 to 1, `exact_match_count`, `loss` in nats per token, `tokens` it is the mean of), `samples` (up
    to 10, texts cut to 300 characters) and `seconds`.

    Raises:
        ContractError: the plan, the dataset or the adapter cannot be evaluated.
    """
    began = time.monotonic()
    # Before the first heavy import: peft imports bitsandbytes, which fetches kernels from the hub otherwise.
    os.environ["HF_HUB_OFFLINE"] = "1"
    task = Task.of(plan)
    adapter_kind(work / "adapter")  # refused before anything is loaded
    rows = read_rows(work / "dataset" / "validation.parquet", task.rows, task.seed)
    report(f"evaluate: tokenizing {len(rows)} held-out rows")
    tokenizer = load_tokenizer(work / "model")
    asked = questions(rows, tokenizer, task.sequence_len)
    if not asked:
        raise ContractError(f"none of the {len(rows)} held-out rows can be evaluated")
    measured = {}
    for name, model in models(work / "model", work / "adapter", plan.device):
        measured[name] = _measure(model, tokenizer, asked, task, _prefixed(report, f"evaluate: {name}"))
        del model  # its memory is needed for the next one
    found = facts(asked, measured["base"], measured["adapter"])
    return {**found, "skipped": len(rows) - len(asked), "seconds": round(time.monotonic() - began, 3)}


def facts(asked: Sequence[Question], base: Measured, adapter: Measured) -> dict[str, Any]:
    """The scores of both models, and a few answers side by side, as plain JSON values."""
    together = list(zip(asked, base.answers, adapter.answers, strict=True))[:SAMPLES]
    samples = [
        {"prompt": question.asked, "expected": question.expected, "base": of_base, "adapter": of_adapter}
        for question, of_base, of_adapter in together
    ]
    return {
        "rows": len(asked),
        "base": _scores(asked, base),
        "adapter": _scores(asked, adapter),
        "samples": [{name: text[:SHOWN_CHARACTERS] for name, text in sample.items()} for sample in samples],
    }


def _scores(asked: Sequence[Question], measured: Measured) -> dict[str, Any]:
    pairs = zip(asked, measured.answers, strict=True)
    right = sum(exact_match(answer, question.expected) for question, answer in pairs)
    return {
        "exact_match": right / len(asked),
        "exact_match_count": right,
        "loss": measured.loss,
        "tokens": measured.tokens,
    }


def _prefixed(report: Callable[[str], None], prefix: str) -> Callable[[str], None]:
    return lambda said: report(f"{prefix} {said}")


def _measure(
    model: Any, tokenizer: Any, asked: Sequence[Question], task: Task, said: Callable[[str], None]
) -> Measured:
    import torch

    with torch.inference_mode():
        loss, tokens = _loss(model, asked, task)
        said(f"loss {loss:.4f} over {tokens} tokens")
        asking = Asking(task.max_new_tokens, task.batch_size)
        found = answers(model, tokenizer, [question.prompt for question in asked], asking, said)
        return Measured(loss, tokens, [answer.text for answer in found])


def _loss(model: Any, asked: Sequence[Question], task: Task) -> tuple[float, int]:
    """Mean cross entropy in nats over all trained tokens, and their number."""
    from torch.nn.functional import cross_entropy

    total, count = 0.0, 0
    for batch in batches([len(question.tokens) for question in asked], task.batch_size, LOSS_BATCH_TOKENS):
        tokens = padded([asked[index].tokens for index in batch], 0, "right", model.device)
        labels = padded([asked[index].labels for index in batch], IGNORED, "right", model.device)
        mask = padded([[1] * len(asked[index].tokens) for index in batch], 0, "right", model.device)
        logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits[:, :-1]
        trained = labels[:, 1:] != IGNORED
        # Only the trained positions are raised to float32: all of them would not fit with a large vocabulary.
        losses = cross_entropy(logits[trained].float(), labels[:, 1:][trained], reduction="sum")
        total, count = total + losses.item(), count + int(trained.sum())
    return total / count, count
