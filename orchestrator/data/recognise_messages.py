"""Find a column that holds messages: lists of structs, or the JSON text of such lists; for recognition."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from orchestrator.data.map_conversation import ROLES
from orchestrator.data.recognise_columns import Columns, listed
from orchestrator.spec.mapping import Role

_COLUMNS = ("messages", "conversations", "conversation", "chosen", "dialogue", "dialog", "chat", "turns")
_ROLE_FIELDS = ("role", "from", "speaker", "author", "sender", "who", "type", "name", "user")
_TEXT_FIELDS = ("content", "value", "text", "message", "utterance", "body", "said", "msg")
_SAID_BY: Mapping[str, Role] = {
    **dict.fromkeys(("user", "human", "customer", "client", "caller", "prompter", "visitor"), "user"),
    **dict.fromkeys(("assistant", "gpt", "agent", "bot", "model", "ai", "chatbot"), "assistant"),
    **dict.fromkeys(("chatgpt", "bing", "bard", "claude", "gemini"), "assistant"),
    **dict.fromkeys(("system", "instructions"), "system"),
    **dict.fromkeys(("tool", "observation", "function", "ipython"), "tool"),
}
_LOOKED_AT = 20


@dataclass(frozen=True)
class Talk:
    """A column of messages, and the fields in which a message has its role and its text.

    `roles` are those that are not known as they stand; `guessed` says that the order of speakers, not
    their names, told who is the assistant, and `answers` that a name did. Other lists, as of entities with
    `type` and `text`, may look like messages, but none of theirs is known to answer.
    """

    column: str
    role: str
    content: str
    roles: Mapping[str, Role]
    guessed: bool = False
    answers: bool = False
    notes: tuple[str, ...] = ()


def find_talk(columns: Columns, names: Sequence[str] = ()) -> Talk | None:
    """The column of messages, among those of some names; of several, the one with the best known name."""
    ranked = columns.all_named(names) if names else [*columns.all_named(_COLUMNS), *columns.schema]
    ranked.sort(key=lambda name: _rank(columns.plain(name)))
    return next((talk for name in ranked if (talk := talk_in(columns, name))), None)


def _rank(name: str) -> int:
    return _COLUMNS.index(name) if name in _COLUMNS else len(_COLUMNS)


def talk_in(columns: Columns, name: str) -> Talk | None:
    """The messages that a column holds; None where it holds none."""
    rows = list(_messages(columns, name))
    fields = list(dict.fromkeys(field for messages in rows for message in messages for field in message))
    role = next((field for field in _ROLE_FIELDS if field in fields), None)
    content = next((field for field in _TEXT_FIELDS if field in fields), None)
    if not role or not content or not rows:
        return None
    said = list(
        dict.fromkeys(str(message[role]) for messages in rows for message in messages if message.get(role))
    )
    if not said or len(said) > _LOOKED_AT:
        return None
    roles, guessed = roles_of(said)
    notes = (f"of the speakers, {listed(said)}, the first is taken for the user",) if guessed else ()
    answers = not guessed and "assistant" in {roles.get(name, ROLES.get(name)) for name in said}
    return Talk(name, role, content, roles, guessed, answers, notes)


def roles_of(said: Sequence[str]) -> tuple[dict[str, Role], bool]:
    """What roles of the data mean, for those that are not known as they stand, in the order of speaking.

    Two speakers of whom neither name is known are user and assistant; the second answer then is True.
    """
    odd = [name for name in said if name not in ROLES]
    roles = {name: _SAID_BY[name.strip().lower()] for name in odd if name.strip().lower() in _SAID_BY}
    if not roles and len(odd) == 2 and not {"user", "assistant"} & {ROLES.get(name) for name in said}:
        return {odd[0]: "user", odd[1]: "assistant"}, True
    return roles, False


def _messages(columns: Columns, name: str) -> Iterator[list[dict[str, Any]]]:
    """Lists of messages among the first values of a column; none where one is no such list."""
    dtype = columns.schema[name]
    of_structs = isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct)
    if not of_structs and dtype != pl.String:
        return
    for value in filter(None, columns.values(name)[:_LOOKED_AT]):
        messages = value if of_structs else _from_json(value)
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            return
        yield messages


def _from_json(text: str) -> object:
    try:
        return json.loads(text) if text.lstrip().startswith("[") else None
    except (ValueError, RecursionError):
        return None
