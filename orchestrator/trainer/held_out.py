"""Held-out rows as an evaluation asks them: which rows, their labels, the prompt, what is a right answer."""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from orchestrator.contract import ContractError

IGNORED = -100  # the label of a token that is not trained

_ANSWER = "[[the answer goes here]]"
_REASONING = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)

# The part of the config that decides what a row becomes; the same for every run.
_DATASET = {
    "field_messages": "messages",
    "message_property_mappings": {
        name: name for name in ("role", "content", "tool_calls", "tool_call_id", "name", "reasoning_content")
    },
    "message_field_training": "weight",
    "roles_to_train": ["assistant"],
    "train_on_eos": "turn",
}


@dataclass(frozen=True)
class Question:
    """One held-out row: the whole conversation with its labels, and the prompt of its last answer.

    `tokens` and `labels` have one length; a label of `IGNORED` is not trained. `asked` is the last user
    turn before the answer, `expected` the content of the answer.
    """

    tokens: Sequence[int]
    labels: Sequence[int]
    prompt: Sequence[int]
    asked: str
    expected: str


def chosen_rows(count: int, rows: int, seed: int) -> list[int]:
    """The `rows` row numbers of `count` (from 0) that are evaluated, in order.

    They are ordered by the SHA-256 of `<seed>/<number>`: the same on every machine and in every
    version, and a greater `rows` only adds to the end.
    """

    def rank(number: int) -> bytes:
        return sha256(f"{seed}/{number}".encode()).digest()

    return heapq.nsmallest(rows, range(count), key=rank)


def exact_match(generated: str, expected: str) -> bool:
    """Whether an answer is right: the same text, once a leading <think> block and the whitespace at
    both ends are taken off either side. Case and inner whitespace count."""
    return _plain(generated) == _plain(expected)


def prompt_as_trained(generation_prompt: str, rendered: str) -> str:
    """The text before an answer, as training showed it.

    `rendered` is the conversation with the marker `[[the answer goes here]]` for its answer. Some
    templates put more before an answer than their generation prompt does, such as the empty `<think>`
    block of Qwen3: what was never trained as output must not be asked of the model.
    """
    before, found, _ = rendered.rpartition(_ANSWER)
    return before if found and before.startswith(generation_prompt) else generation_prompt


def prompt_of(tokenizer: Any, before: list[dict[str, Any]], tools: Any, *, reasoned: bool) -> str:
    """The text that an answer is asked with; `reasoned` says that answers were trained with reasoning, so
    that the model starts with it."""
    options = {"tokenize": False, "tools": tools}
    asked: str = tokenizer.apply_chat_template(before, add_generation_prompt=True, **options)
    if reasoned:
        return asked
    marked = [*before, {"role": "assistant", "content": _ANSWER}]
    return prompt_as_trained(asked, tokenizer.apply_chat_template(marked, **options))


def answer_index(turns: Sequence[Mapping[str, Any]]) -> int | None:
    """The last assistant turn with text that has a turn before it; None where there is none."""
    found = (
        index
        for index in range(len(turns) - 1, 0, -1)
        if turns[index].get("role") == "assistant" and str(turns[index].get("content") or "").strip()
    )
    return next(found, None)


def read_rows(path: Path, rows: int, seed: int) -> list[dict[str, Any]]:
    """The chosen rows of a Parquet file; only these are kept in memory.

    Raises:
        ContractError: there is no such file, so the dataset was prepared without validation rows.
    """
    import pyarrow.parquet as parquet

    if not path.is_file():
        raise ContractError("the dataset has no validation rows to evaluate on")
    with parquet.ParquetFile(path) as file:
        wanted = chosen_rows(file.metadata.num_rows, rows, seed)
        found: dict[int, dict[str, Any]] = {}
        first = 0
        for batch in file.iter_batches():
            here = [number for number in wanted if first <= number < first + batch.num_rows]
            for number in here:
                found[number] = batch.slice(number - first, 1).to_pylist()[0]
            first += batch.num_rows
    return [found[number] for number in wanted]


def questions(rows: Sequence[Mapping[str, Any]], tokenizer: Any, sequence_len: int) -> list[Question]:
    """The rows that can be evaluated, in order, tokenized and labelled by Axolotl's own strategy.

    Left out: rows without an answer or without a trained token, and rows longer than `sequence_len`
    tokens, which Axolotl drops as well.
    """
    strategy = _strategy(tokenizer, sequence_len)
    made = (_question(row, strategy, tokenizer) for row in rows)
    return [question for question in made if question and len(question.tokens) <= sequence_len]


def _plain(text: str) -> str:
    return _REASONING.sub("", text).strip()


def _strategy(tokenizer: Any, sequence_len: int) -> Any:
    from axolotl.prompt_strategies.chat_template import load
    from axolotl.utils.dict import DictDefault

    config = DictDefault(train_on_inputs=False, sequence_len=sequence_len, chat_template="tokenizer_default")
    return load(tokenizer, config, _DATASET)


def _question(row: Mapping[str, Any], strategy: Any, tokenizer: Any) -> Question | None:
    from axolotl.utils.dict import remove_none_values

    row = remove_none_values(row)
    turns = strategy.get_conversation_thread(row)
    answer = answer_index(turns)
    if answer is None:
        return None
    labelled = strategy.tokenize_prompt(row)
    if all(label == IGNORED for label in labelled["labels"]):
        return None
    reasoned = bool(turns[answer].get("reasoning_content") or _REASONING.match(turns[answer]["content"]))
    prompt = prompt_of(tokenizer, turns[:answer], _tools(row), reasoned=reasoned)
    asked = [str(turn.get("content") or "") for turn in turns[:answer] if turn.get("role") == "user"]
    return Question(
        tokens=labelled["input_ids"],
        labels=labelled["labels"],
        prompt=tokenizer(prompt, add_special_tokens=False)["input_ids"],
        asked=asked[-1] if asked else "",
        expected=turns[answer]["content"],
    )


def _tools(row: Mapping[str, Any]) -> Any:
    tools = row.get("tools")
    return json.loads(tools) if isinstance(tools, str) and tools else tools or None
