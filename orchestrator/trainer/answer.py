"""Answers to a few prompts, for somebody who tries an adapter; this is no server.

    python -m orchestrator.trainer.answer < asked.json > answers.jsonl

What is asked: `model` and `adapter` (folders), `base` (whether it answers too), `prompts` (each with
`messages` and `tools`, or `text` to go on with), `reasoned`, `max_new_tokens`, `temperature`, `seed`. Each
line that comes back is an answer: `model`, `prompt` (its number), `text`, `tokens`, `whole`; or the `error`
that ended it, with its `kind`: `memory`, `environment` or `other`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from orchestrator.contract import ContractError
from orchestrator.trainer.held_out import prompt_of
from orchestrator.trainer.models import Asking, answers, load_tokenizer, models
from orchestrator.trainer.work import OFFLINE

BATCH_SIZE = 8


def main() -> int:
    os.environ.update(OFFLINE)
    asked = json.load(sys.stdin)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)  # what libraries print is no answer
        try:
            answer(asked, out)
        except Exception as error:
            _tell(out, {"error": _said(error), "kind": _kind(error)})
            return 1
    return 0


def answer(asked: Mapping[str, Any], out: TextIO) -> None:
    """Write a line for each answer, those of the base model first.

    Raises:
        ContractError: a folder holds no model, or one that would run code.
        MemoryError: the base model is too large for this machine.
    """
    import torch

    device = "gpu" if torch.cuda.is_available() else "cpu"
    model = Path(asked["model"])
    if device == "cpu":
        _refuse_too_large(model)
    tokenizer = load_tokenizer(model)
    prompts = [_tokens(tokenizer, prompt, reasoned=asked["reasoned"]) for prompt in asked["prompts"]]
    asking = Asking(asked["max_new_tokens"], BATCH_SIZE, asked["temperature"])
    for name, loaded in models(model, Path(asked["adapter"]), device):
        if name == "base" and not asked["base"]:
            continue
        torch.manual_seed(asked["seed"])
        with torch.inference_mode():
            found = answers(loaded, tokenizer, prompts, asking, lambda _: None)
        for number, one in enumerate(found):
            _tell(out, {"model": name, "prompt": number, **asdict(one)})
        del loaded


def _tokens(tokenizer: Any, prompt: Mapping[str, Any], *, reasoned: bool) -> Sequence[int]:
    if "text" in prompt:
        found: Sequence[int] = tokenizer(prompt["text"])["input_ids"]
        return found
    text = prompt_of(tokenizer, prompt["messages"], prompt.get("tools"), reasoned=reasoned)
    asked: Sequence[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return asked


def _refuse_too_large(model: Path) -> None:
    """Weights are float32 on a CPU: a model beyond its memory would take the machine with it."""
    config = json.loads((model / "config.json").read_text())
    stored = config.get("dtype") or config.get("torch_dtype")
    growth = 2 if stored in ("bfloat16", "float16") else 1
    needed = growth * sum(file.stat().st_size for file in model.glob("*.safetensors"))
    free = _free_memory()
    if free is not None and needed > free:
        raise MemoryError(
            f"the base model takes {needed / 1e9:,.1f} GB of memory without a GPU, and {free / 1e9:,.1f} GB "
            "are free here"
        )


def _free_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _said(error: Exception) -> str:
    """The error in a line; running out of a GPU's memory is said as such."""
    if type(error).__name__ == "OutOfMemoryError":
        return "the models do not fit into the memory of this GPU"
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return first if isinstance(error, ContractError | MemoryError) else f"{type(error).__name__}: {first}"


def _kind(error: Exception) -> str:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "memory"
    return "environment" if isinstance(error, ImportError) else "other"


def _tell(out: TextIO, said: Mapping[str, Any]) -> None:
    out.write(json.dumps(said) + "\n")
    out.flush()


if __name__ == "__main__":
    sys.exit(main())
