"""Runs evaluations in the trainer's environment for test_evaluate.py, and measures them a second, plain way.

    python run_evaluate.py teach WORK ROWS      overfit a LoRA adapter on the first ROWS validation rows
    python run_evaluate.py evaluate WORK..      evaluate each folder with its plan.json; writes evaluated.json
                                                and questions.json
    python run_evaluate.py refused WORK..       the same for folders that must be refused; writes refused.txt

`teach` writes WORK/adapter (PEFT), WORK/full (the same, merged) and WORK/plain.json: per model the
losses and greedy answers found row by row, one token after the other, with nothing but the model.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestrator.contract import ContractError, LaunchPlan
from orchestrator.trainer.evaluate import evaluate
from orchestrator.trainer.held_out import questions, read_rows

MAX_NEW_TOKENS = 24


def main(verb: str, *arguments: str) -> None:
    if verb == "teach":
        teach(Path(arguments[0]), int(arguments[1]))
        return
    for folder in map(Path, arguments):
        if verb == "refused":
            refused_folder(folder)
        else:
            evaluate_folder(folder)


def evaluate_folder(work: Path) -> None:
    from transformers import AutoTokenizer

    lines: list[str] = []
    plan = LaunchPlan.from_json((work / "plan.json").read_bytes())
    found = evaluate(plan, work, lines.append)
    (work / "evaluated.json").write_text(json.dumps({"facts": found, "lines": lines}))
    rows = read_rows(work / "dataset/validation.parquet", plan.task["rows"], plan.task["seed"])
    tokenizer = AutoTokenizer.from_pretrained(work / "model")
    asked = [asdict(question) for question in questions(rows, tokenizer, plan.task["sequence_len"])]
    (work / "questions.json").write_text(json.dumps(asked))


def refused_folder(work: Path) -> None:
    try:
        evaluate_folder(work)
    except (ContractError, OSError, ValueError) as error:
        (work / "refused.txt").write_text(str(error))


def teach(work: Path, rows: int) -> None:
    import pyarrow.parquet as parquet
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(work / "model")
    model = AutoModelForCausalLM.from_pretrained(work / "model", dtype=torch.float32).eval()
    # Untrained embeddings are too small for an adapter to make any token likely; the base keeps louder ones.
    model.get_input_embeddings().weight.data.mul_(10)
    model.save_pretrained(work / "model")
    conversations = parquet.read_table(work / "dataset/validation.parquet")["messages"].to_pylist()
    taught = [ids_and_start(tokenizer, messages) for messages in conversations[:rows]]
    plain = {"base": plainly(model, tokenizer, taught)}
    adapted = get_peft_model(
        model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    trained = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.005)
    for _ in range(400):
        losses = [row_loss(adapted, ids, start) for ids, start in taught]
        sum(losses).backward()
        optimizer.step()
        optimizer.zero_grad()
        if max(losses) < 0.01:
            break
    adapted.save_pretrained(work / "adapter")
    plain["adapter"] = plainly(adapted.eval(), tokenizer, taught)
    (work / "plain.json").write_text(json.dumps(plain))
    adapted.merge_and_unload().save_pretrained(work / "full")


def ids_and_start(tokenizer: Any, messages: list[dict[str, Any]]) -> tuple[list[int], int]:
    """The tokens of a conversation of one answer up to its end-of-turn, and where the answer starts."""
    asked = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
    answer = tokenizer(messages[-1]["content"] + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
    return [*asked, *answer], len(asked)


def row_loss(model: Any, ids: list[int], start: int) -> Any:
    import torch

    labels = torch.tensor([[-100] * start + ids[start:]])
    return model(input_ids=torch.tensor([ids]), labels=labels).loss


def plainly(model: Any, tokenizer: Any, taught: list[tuple[list[int], int]]) -> dict[str, Any]:
    import torch

    with torch.inference_mode():
        losses = [row_loss(model, ids, start).item() for ids, start in taught]
        answers = []
        for ids, start in taught:
            grown = ids[:start]
            while len(grown) < start + MAX_NEW_TOKENS and grown[-1] != tokenizer.eos_token_id:
                grown.append(int(model(input_ids=torch.tensor([grown])).logits[0, -1].argmax()))
            answers.append(tokenizer.decode(grown[start:], skip_special_tokens=True))
    counts = [len(ids) - start for ids, start in taught]
    total = sum(loss * count for loss, count in zip(losses, counts, strict=True))
    return {"loss": total / sum(counts), "tokens": sum(counts), "answers": answers}


if __name__ == "__main__":
    main(*sys.argv[1:])
