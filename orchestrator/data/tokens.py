"""How many tokens each example has and how many of them are trained, as Axolotl 0.19.0 will count them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Self, TypeVar

from tokenizers import Encoding, Tokenizer

from orchestrator.data.chat_template import ChatTemplate, Clock
from orchestrator.data.conversation import Example, TrainingRules, Turn, tools, turns
from orchestrator.data.tokenizer_files import LoadedTokenizer, load_tokenizer, model_template
from orchestrator.data.trained_tokens import Encoded, Ends, trained_mask
from orchestrator.errors import DataError, Fault

BATCH = 256
MAX_FAULTS = 20


@dataclass(frozen=True)
class Counts:
    """One example: its tokens and trained tokens after truncation, and how many tokens that cut off.

    Without a trained token (`trained == 0`) a row teaches nothing: packed training drops it, unpacked
    training runs it for no gain.
    """

    tokens: int
    trained: int
    cut: int = 0


class ChatTokenizer:
    """A base model's own tokenizer and chat template, as the trainer will use them.

    `digest` (SHA-256, hex) names everything in them that decides counts. `exact` is False where the trainer
    rebuilds the tokenizer by rules not known here, and counts are an estimate. `writes_eos` is False where
    the template never names the model's end token: unless `eot_tokens` names another, the model then does
    not learn to stop.
    """

    def __init__(self, loaded: LoadedTokenizer, template: str, clock: Clock = datetime.now) -> None:
        self.exact = loaded.exact
        self.template = template
        self.digest = _digest(loaded, template)
        self._tokenizer = loaded.tokenizer
        self._named_tokens = loaded.named_tokens
        self._clock = clock
        self._chat = ChatTemplate(template, loaded.named_tokens, clock)
        eos = loaded.named_tokens.get("eos_token")
        self.writes_eos = eos is not None and (eos in template or "eos_token" in template)

    @classmethod
    def load(cls, folder: Path, template: str | None = None, clock: Clock = datetime.now) -> Self:
        """Read a model folder; `template` stands in for the folder's own (Axolotl's `chat_template: jinja`).

        `clock` answers templates that print today's date. Raises DataError, with the fix, where a file is
        missing or cannot be read, or the model has no chat template or several.
        """
        return cls(load_tokenizer(folder), template or model_template(folder), clock)

    def render(
        self,
        messages: Sequence[Mapping[str, object]],
        tools: Sequence[object] | None = None,
        add_generation_prompt: bool = False,
    ) -> str:
        """The text the model sees, as transformers' `apply_chat_template` writes it.

        Raises DataError where the template refuses the conversation.
        """
        return self._chat.render(messages, tools, add_generation_prompt=add_generation_prompt)

    def count(self, examples: Iterable[Example], rules: TrainingRules) -> list[Counts]:
        """Counts per example, in order; under `truncate`, of what is left of it.

        An example is a row as it lies in the dataset: `messages` (a list of role, content, and optionally
        weight, tool_calls, name, tool_call_id, reasoning_content) and optionally `tools`. Raises DataError
        naming the rows, at most 20 of them, that would stop the trainer.
        """
        return list(self.counting(examples, rules))

    def counting(self, examples: Iterable[Example], rules: TrainingRules) -> Iterator[Counts]:
        """Like `count`, one by one: memory does not grow with the rows.

        Rows before the first that is refused are yielded; the refusal comes at the end.
        """
        counter = _Counter(self._tokenizer, self._chat_for(rules), rules, self._ends(rules))
        faults: list[Fault] = []
        for first, batch in _batches(examples):
            counted, wrong = counter.batch(batch, first)
            faults += wrong
            if len(faults) >= MAX_FAULTS:
                break
            if not faults:
                yield from counted
        if faults:
            raise DataError(faults[:MAX_FAULTS])

    def _chat_for(self, rules: TrainingRules) -> ChatTemplate:
        if not rules.chat_template_kwargs:
            return self._chat
        variables = {**self._named_tokens, **rules.chat_template_kwargs}
        return ChatTemplate(self.template, variables, self._clock)

    def _ends(self, rules: TrainingRules) -> Ends:
        """Raises DataError for an end-of-turn token that the tokenizer splits: the trainer refuses it."""
        eos = self._named_tokens.get("eos_token")
        number = self._tokenizer.token_to_id(eos) if eos is not None else None
        sequence = frozenset() if number is None else frozenset({number})
        if rules.eot_tokens is None or rules.eot_tokens == (eos,):
            return Ends(sequence, frozenset(self._single(eos) if eos is not None else ()))
        # The trainer leaves out, with a warning, what the template does not write.
        named = [name for name in rules.eot_tokens if name in self.template]
        if split := [name for name in named if not self._single(name)]:
            what = "an end-of-turn token is no single token of the model"
            raise DataError([Fault(what, path="eot_tokens", value=name) for name in split])
        return Ends(sequence, frozenset(number for name in named for number in self._single(name)))

    def _single(self, token: str) -> list[int]:
        """The id of `token`, or nothing where the tokenizer splits it."""
        ids = self._tokenizer.encode(token, add_special_tokens=False).ids
        return ids if len(ids) == 1 else []


@dataclass(frozen=True)
class _Counter:
    """Counts a batch: every text is rendered, all are encoded at once, then turns are found."""

    tokenizer: Tokenizer
    chat: ChatTemplate
    rules: TrainingRules
    ends: Ends

    def batch(self, examples: Sequence[Example], first: int) -> tuple[list[Counts], list[Fault]]:
        faults: list[Fault] = []
        conversations = _each(examples, self._conversation, first, faults)
        if faults:
            return [], faults
        encodings = self.tokenizer.encode_batch([c.text for c in conversations], add_special_tokens=False)
        pairs = list(zip(conversations, encodings, strict=True))
        return _each(pairs, self._counts, first, faults), faults

    def _conversation(self, example: Example) -> _Conversation:
        turned, offered = turns(example, weights=self.rules.weights), tools(example)
        return _Conversation(turned, offered, self.chat.render(turned, offered))

    def _counts(self, pair: tuple[_Conversation, Encoding]) -> Counts:
        conversation, encoding = pair
        mask = self._mask(conversation, encoding)
        keep = self.rules.sequence_len if self.rules.excess_length_strategy == "truncate" else len(mask)
        return Counts(min(len(mask), keep), mask.count(1, 0, keep), max(0, len(mask) - keep))

    def _mask(self, conversation: _Conversation, encoding: Encoding) -> bytearray:
        def span(place: int) -> tuple[int, int]:
            return encoding.token_to_chars(place) or (0, 0)

        encoded = Encoded(conversation.text, encoding.ids, span)

        def render(turned: Sequence[Turn]) -> str:
            return self.chat.render(turned, conversation.tools)

        def render_start(turned: Sequence[Turn], last: int) -> list[int]:
            text = self.chat.render(turned, conversation.tools, real_last_index=last)
            return self.tokenizer.encode(text, add_special_tokens=False).ids

        return trained_mask(conversation.turns, encoded, self.rules, self.ends, render, render_start)


@dataclass(frozen=True)
class _Conversation:
    turns: list[Turn]
    tools: list[object] | None
    text: str


Item = TypeVar("Item")
Result = TypeVar("Result")


def _each(
    items: Iterable[Item], act: Callable[[Item], Result], first: int, faults: list[Fault]
) -> list[Result]:
    """`act` on each item; what it refuses is added to `faults` under the item's row, counted from `first`."""
    results = []
    for row, item in enumerate(items, first):
        try:
            results.append(act(item))
        except DataError as error:
            faults += [replace(fault, row=row) for fault in error.faults]
    return results


def _digest(loaded: LoadedTokenizer, template: str) -> str:
    parts = [loaded.tokenizer.to_str(), sorted(loaded.named_tokens.items()), template]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def _batches(examples: Iterable[Example]) -> Iterator[tuple[int, list[Example]]]:
    """Batches with the number of their first row, from 1."""
    remaining = iter(examples)
    first = 1
    while batch := list(islice(remaining, BATCH)):
        yield first, batch
        first += len(batch)
