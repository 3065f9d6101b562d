"""Examples as the trainer hands them to a chat template, and the config keys that make it do so.

Axolotl 0.19.0, `prompt_strategies/chat_template.py`: nulls go, roles are mapped, properties are taken in the
order of `message_property_mappings`, JSON texts of tools and arguments are parsed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.errors import DataError, Fault

Example = Mapping[str, object]
Turn = Mapping[str, object]

# Axolotl passes on a property outside this mapping only where it guesses that the template reads it, which
# fails for a loop variable not called `message`. A template that prints whole messages shows this order.
MESSAGE_PROPERTIES = ("role", "content", "tool_calls", "tool_call_id", "name", "reasoning_content")
ROLES = {"human": "user", "gpt": "assistant"}


@dataclass(frozen=True)
class TrainingRules:
    """What decides which tokens of a row exist and which of them are trained.

    `sequence_len`, `excess_length_strategy`, `min_sample_len`, `train_on_inputs`, `eot_tokens` and
    `chat_template_kwargs` are top-level keys of Axolotl, `roles_to_train` and `train_on_eos` keys of the
    dataset block. `weights` says that a message's `weight` (0 or 1) overrules its role.
    """

    sequence_len: int
    excess_length_strategy: Literal["drop", "truncate"] = "drop"
    min_sample_len: int = 2
    roles_to_train: tuple[str, ...] = ("assistant",)
    train_on_inputs: bool = False
    train_on_eos: Literal["turn", "all", "last", "none"] = "turn"
    eot_tokens: tuple[str, ...] | None = None
    weights: bool = True
    chat_template_kwargs: Mapping[str, object] | None = None

    def trains(self, role: str) -> bool:
        """Whether turns of a role, by its mapped name, are trained where no weight says otherwise."""
        return self.train_on_inputs or role in {ROLES.get(name, name) for name in self.roles_to_train}

    def dataset_keys(self) -> dict[str, object]:
        """The keys of a `datasets` block, beside its path and `ds_type`, under which counts hold."""
        keys: dict[str, object] = {
            "type": "chat_template",
            "field_messages": "messages",
            "field_tools": "tools",
            "message_property_mappings": {name: name for name in MESSAGE_PROPERTIES},
            "roles_to_train": list(self.roles_to_train),
            "train_on_eos": self.train_on_eos,
        }
        return {**keys, "message_field_training": "weight"} if self.weights else keys

    def config_keys(self) -> dict[str, object]:
        """The top-level keys under which counts hold, beside a `chat_template` of the model's own."""
        keys: dict[str, object] = {
            "sequence_len": self.sequence_len,
            "excess_length_strategy": self.excess_length_strategy,
            "min_sample_len": self.min_sample_len,
            "train_on_inputs": self.train_on_inputs,
        }
        if self.eot_tokens is not None:
            keys["eot_tokens"] = list(self.eot_tokens)
        if self.chat_template_kwargs:
            keys["chat_template_kwargs"] = dict(self.chat_template_kwargs)
        return keys


def turns(example: Example, *, weights: bool) -> list[Turn]:
    """The turns a template is given; raises DataError for what would stop the trainer."""
    messages = example.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _fault("the example has no messages", "messages")
    return [_turn(message, f"messages.{at}", weights=weights) for at, message in enumerate(messages)]


def tools(example: Example) -> list[object] | None:
    """The tools of an example, from a list or its JSON text, or None."""
    found = example.get("tools")
    if found is None:
        return None
    listed = _parsed(found, "tools") if isinstance(found, str) else without_nulls(found)
    if not isinstance(listed, list):
        raise _fault("tools are not a list", "tools", fix="give a list of tools, or its JSON text")
    return [_tool(entry, f"tools.{at}") for at, entry in enumerate(listed)]


def _turn(message: object, path: str, *, weights: bool) -> Turn:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise _fault("the message has no role", f"{path}.role")
    turn: dict[str, object] = {
        name: without_nulls(message[name]) for name in MESSAGE_PROPERTIES if message.get(name) is not None
    }
    turn["role"] = ROLES.get(message["role"], message["role"])
    if calls := turn.get("tool_calls"):
        turn["tool_calls"] = _calls(calls, f"{path}.tool_calls")
    # A template that prints the whole message prints this too; the trainer's does.
    if weights and message.get("weight") is not None:
        turn["training"] = message["weight"]
    return turn


def _calls(calls: object, path: str) -> list[object]:
    if not isinstance(calls, list):
        raise _fault("tool calls are not a list", path)
    return [_with_parsed(call, "arguments", f"{path}.{at}") for at, call in enumerate(calls)]


def _tool(entry: object, path: str) -> object:
    return _with_parsed(entry, "parameters", path)


def _with_parsed(entry: object, key: str, path: str) -> object:
    """`entry` with the JSON text in its function's `key` parsed."""
    function = entry.get("function") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(function, dict):
        return entry
    value = function.get(key)
    if not isinstance(value, str):
        return entry
    return {**entry, "function": {**function, key: _parsed(value, f"{path}.function.{key}")}}


def _parsed(text: str, path: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _fault("not valid JSON", path, why=str(error), value=text[:80]) from error


def without_nulls(value: object) -> Any:
    """The value with nulls left out of its mappings: structs have one for each key of another row."""
    if isinstance(value, Mapping):
        return {key: without_nulls(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list):
        return [without_nulls(entry) for entry in value]
    return value


def _fault(
    what: str, path: str, *, fix: str | None = None, why: str | None = None, value: str | None = None
) -> DataError:
    return DataError([Fault(what, path=path, fix=fix, why=why, value=value)])
