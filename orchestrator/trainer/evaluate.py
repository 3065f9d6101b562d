"""The evaluate step: the base model against the finished adapter, on held-out rows nobody trained on.

Both are measured on the same rows and in two ways:

- *loss*: the cross entropy of the assistant turns, summed over every trained token of every row and
  divided by their number. Axolotl itself marks the tokens, so this is its `eval_loss`, but for one
  thing: Axolotl averages the means of its batches, and this is the mean over the tokens. The two are
  equal where one batch holds the whole validation set.
- *exact match*: the model answers in place of a row's last assistant turn, greedily and with no
  penalty, and the answer counts when it equals that turn's content (`held_out.exact_match`).

Weights are read from safetensors only, no code of a model is ever run, and nothing is fetched. On a
GPU both models are in bfloat16, also where the adapter was trained on a quantized base.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from orchestrator.contract import ContractError, LaunchPlan
from orchestrator.trainer.held_out import IGNORED, Question, exact_match, questions, read_rows

SAMPLES = 10
SHOWN_CHARACTERS = 300
# A batch's logits are tokens × vocabulary: 4096 × 150,000 take 1.2 GB in bfloat16, 2.5 GB in float32.
LOSS_BATCH_TOKENS = 4096
GENERATION_BATCH_TOKENS = 65_536


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
    task, kind = Task.of(plan), adapter_kind(work / "adapter")
    rows = read_rows(work / "dataset" / "validation.parquet", task.rows, task.seed)
    report(f"evaluate: tokenizing {len(rows)} held-out rows")
    tokenizer = _tokenizer(work / "model")
    asked = questions(rows, tokenizer, task.sequence_len)
    if not asked:
        raise ContractError(f"none of the {len(rows)} held-out rows can be evaluated")
    measured = {}
    for name, model in _models(work, kind, plan.device):
        measured[name] = _measure(model, tokenizer, asked, task, _prefixed(report, f"evaluate: {name}"))
        del model  # its memory is needed for the next one
    found = facts(asked, measured["base"], measured["adapter"])
    return {**found, "skipped": len(rows) - len(asked), "seconds": round(time.monotonic() - began, 3)}


def adapter_kind(folder: Path) -> Literal["peft", "full"]:
    """What an adapter folder holds. Raises ContractError when it is neither, or not in safetensors."""
    if (folder / "adapter_config.json").is_file():
        # Without this file peft would look for a pickle in its place.
        if not (folder / "adapter_model.safetensors").is_file():
            raise ContractError("the adapter has no adapter_model.safetensors")
        return "peft"
    if (folder / "config.json").is_file():
        return "full"
    raise ContractError("the adapter folder holds neither adapter_config.json nor config.json")


def batches(lengths: Sequence[int], rows: int, tokens: int) -> list[list[int]]:
    """Indices of `lengths`, longest first, in batches of at most `rows` rows and `tokens` padded tokens.

    Longest first, so that memory runs out at the start or not at all. A row longer than `tokens` has a
    batch of its own.
    """
    made: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if made and len(made[-1]) < min(rows, tokens // max(1, lengths[made[-1][0]])):
            made[-1].append(index)
        else:
            made.append([index])
    return made


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


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _models(work: Path, kind: Literal["peft", "full"], device: str) -> Iterator[tuple[str, Any]]:
    """The base model, then the adapted one: two states of one load, or two loads one after the other."""
    base = _load(work / "model", device)
    yield "base", base
    if kind == "peft":
        from peft import PeftModel

        adapted = PeftModel.from_pretrained(base, work / "adapter", torch_device=str(base.device))
        yield "adapter", adapted.eval()
        return
    stops = base.generation_config.eos_token_id
    del base
    _free_memory()
    full = _load(work / "adapter", device)
    full.generation_config.eos_token_id = stops  # both models stop at the same tokens
    yield "adapter", full


def _load(folder: Path, device: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    if device == "gpu" and not torch.cuda.is_available():
        raise ContractError("the plan is for a GPU, and this machine has none")
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.bfloat16 if device == "gpu" else torch.float32,
        device_map="auto" if device == "gpu" else None,  # over all GPUs there are
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    return model.eval()


def _free_memory() -> None:
    import torch

    gc.collect()
    torch.cuda.empty_cache()


def _measure(
    model: Any, tokenizer: Any, asked: Sequence[Question], task: Task, said: Callable[[str], None]
) -> Measured:
    import torch

    with torch.inference_mode():
        loss, tokens = _loss(model, asked, task)
        said(f"loss {loss:.4f} over {tokens} tokens")
        return Measured(loss, tokens, _answers(model, tokenizer, asked, task, said))


def _loss(model: Any, asked: Sequence[Question], task: Task) -> tuple[float, int]:
    """Mean cross entropy in nats over all trained tokens, and their number."""
    from torch.nn.functional import cross_entropy

    total, count = 0.0, 0
    for batch in batches([len(question.tokens) for question in asked], task.batch_size, LOSS_BATCH_TOKENS):
        tokens = _padded([asked[index].tokens for index in batch], 0, "right", model.device)
        labels = _padded([asked[index].labels for index in batch], IGNORED, "right", model.device)
        mask = _padded([[1] * len(asked[index].tokens) for index in batch], 0, "right", model.device)
        logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits[:, :-1]
        trained = labels[:, 1:] != IGNORED
        # Only the trained positions are raised to float32: all of them would not fit with a large vocabulary.
        losses = cross_entropy(logits[trained].float(), labels[:, 1:][trained], reduction="sum")
        total, count = total + losses.item(), count + int(trained.sum())
    return total / count, count


def _answers(
    model: Any, tokenizer: Any, asked: Sequence[Question], task: Task, said: Callable[[str], None]
) -> list[str]:
    settings = _generation(model, tokenizer, task.max_new_tokens)
    answers = [""] * len(asked)
    lengths = [len(question.prompt) + task.max_new_tokens for question in asked]
    done = 0
    for batch in batches(lengths, task.batch_size, GENERATION_BATCH_TOKENS):
        prompts = [asked[index].prompt for index in batch]
        tokens = _padded(prompts, settings.pad_token_id, "left", model.device)
        mask = _padded([[1] * len(prompt) for prompt in prompts], 0, "left", model.device)
        generated = model.generate(input_ids=tokens, attention_mask=mask, generation_config=settings)
        for index, answer in zip(batch, generated[:, tokens.shape[1] :].tolist(), strict=True):
            answers[index] = _text(tokenizer, answer, settings.eos_token_id)
        done += len(batch)
        said(f"{done}/{len(asked)}")
    return answers


def _generation(model: Any, tokenizer: Any, max_new_tokens: int) -> Any:
    """Greedy settings of ours; a model's own sampling and penalties are left out on purpose."""
    from transformers import GenerationConfig

    own = model.generation_config.eos_token_id
    stops = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])} - {None}
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        use_cache=True,
        eos_token_id=sorted(stops),
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(stops, default=0),
    )
    # `generate` fills what is not set from the model's own settings, such as a repetition penalty.
    model.generation_config = settings
    return settings


def _text(tokenizer: Any, tokens: Sequence[int], stops: Sequence[int]) -> str:
    end = next((place for place, token in enumerate(tokens) if token in stops), len(tokens))
    text: str = tokenizer.decode(tokens[:end], skip_special_tokens=True)
    return text


def _padded(rows: Sequence[Sequence[int]], value: int, side: Literal["left", "right"], device: Any) -> Any:
    import torch

    width = max(len(row) for row in rows)
    fill = [[value] * (width - len(row)) for row in rows]
    filled = [[*pad, *row] if side == "left" else [*row, *pad] for row, pad in zip(rows, fill, strict=True)]
    return torch.tensor(filled, device=device)
