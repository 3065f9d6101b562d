"""Models and what they answer: a base model and its adapter loaded side by side, and asked.

Weights are read from safetensors only, no code of a model is ever run, and nothing is fetched. On a GPU
models are in bfloat16, also where the adapter was trained on a quantized base.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from orchestrator.contract import ContractError

GENERATION_BATCH_TOKENS = 65_536
Kind = Literal["peft", "full"]


@dataclass(frozen=True)
class Answer:
    """What a model said, in how many `tokens`; `whole` says that it ended by itself."""

    text: str
    tokens: int
    whole: bool


@dataclass(frozen=True)
class Asking:
    """How models are asked: greedily at a temperature of 0."""

    max_new_tokens: int
    batch_size: int
    temperature: float = 0.0


def load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def models(model: Path, adapter: Path, device: str) -> Iterator[tuple[str, Any]]:
    """The base model, then the adapted one: two states of one load, or two loads one after the other.

    Raises ContractError as `adapter_kind` does.
    """
    kind = adapter_kind(adapter)
    base = _load(model, device)
    yield "base", base
    if kind == "peft":
        from peft import PeftModel

        adapted = PeftModel.from_pretrained(base, adapter, torch_device=str(base.device))
        yield "adapter", adapted.eval()
        return
    stops = base.generation_config.eos_token_id
    del base
    _free_memory()
    full = _load(adapter, device)
    full.generation_config.eos_token_id = stops  # both models stop at the same tokens
    yield "adapter", full


def answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    asking: Asking,
    said: Callable[[str], None],
) -> list[Answer]:
    """The answer to each prompt of tokens; `said` hears how many there are."""
    settings = _generation(model, tokenizer, asking)
    found: list[Answer] = [Answer("", 0, True)] * len(prompts)
    lengths = [len(prompt) + asking.max_new_tokens for prompt in prompts]
    done = 0
    for batch in batches(lengths, asking.batch_size, GENERATION_BATCH_TOKENS):
        here = [prompts[index] for index in batch]
        tokens = padded(here, settings.pad_token_id, "left", model.device)
        mask = padded([[1] * len(prompt) for prompt in here], 0, "left", model.device)
        generated = model.generate(input_ids=tokens, attention_mask=mask, generation_config=settings)
        for index, answer in zip(batch, generated[:, tokens.shape[1] :].tolist(), strict=True):
            found[index] = _answer(tokenizer, answer, settings.eos_token_id)
        done += len(batch)
        said(f"{done}/{len(prompts)}")
    return found


def adapter_kind(folder: Path) -> Kind:
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


def _load(folder: Path, device: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

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


def _generation(model: Any, tokenizer: Any, asking: Asking) -> Any:
    """Settings of ours; a model's own sampling and penalties are left out on purpose."""
    from transformers import GenerationConfig

    own = model.generation_config.eos_token_id
    stops = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])} - {None}
    settings = GenerationConfig(
        max_new_tokens=asking.max_new_tokens,
        do_sample=asking.temperature > 0,
        use_cache=True,
        eos_token_id=sorted(stops),
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(stops, default=0),
    )
    if asking.temperature > 0:
        settings.update(temperature=asking.temperature, top_k=0, top_p=1.0)
    # `generate` fills what is not set from the model's own settings, such as a repetition penalty.
    model.generation_config = settings
    return settings


def _answer(tokenizer: Any, tokens: Sequence[int], stops: Sequence[int]) -> Answer:
    end = next((place for place, token in enumerate(tokens) if token in stops), len(tokens))
    text: str = tokenizer.decode(tokens[:end], skip_special_tokens=True)
    return Answer(text, end, whole=end < len(tokens))


def padded(rows: Sequence[Sequence[int]], value: int, side: Literal["left", "right"], device: Any) -> Any:
    """Rows of tokens as a tensor, filled with `value` to the longest."""
    import torch

    width = max(len(row) for row in rows)
    fill = [[value] * (width - len(row)) for row in rows]
    filled = [[*pad, *row] if side == "left" else [*row, *pad] for row, pad in zip(rows, fill, strict=True)]
    return torch.tensor(filled, device=device)
