"""How a row becomes an example: the mapping of a spec, and its kinds."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from orchestrator.spec.base import Closed, ColumnName, Label, Text, broken_rule

Role = Literal["system", "user", "assistant", "tool"]


class MessageTemplate(Closed):
    """One message of an example, its content a Jinja template over the row's columns."""

    role: Role = Field(description="Who says it.")
    content: Annotated[str, StringConstraints(max_length=100_000)] = Field(
        description="A Jinja template, such as `{{ subject | trim }}`."
    )
    weight: Literal[0, 1] | None = Field(
        default=None, description="1 trains this message, 0 does not; left out, the assistant's are trained."
    )


class Conversation(Closed):
    """A column that already holds a list of messages, in OpenAI's or ShareGPT's form."""

    column: ColumnName = Field(description="The column that holds the list of messages.")
    answer: ColumnName | None = Field(
        default=None, description="A column with the messages that come behind those, such as `completion`."
    )
    role: ColumnName | None = Field(
        default=None, description="The field of a message that names its role; recognised when left out."
    )
    content: ColumnName | None = Field(
        default=None, description="The field of a message that holds its text; recognised when left out."
    )
    roles: dict[Label, Role] | None = Field(
        default=None, max_length=50, description="Roles of the data, each with the role it means."
    )
    system: ColumnName | None = Field(
        default=None, description="A column whose text becomes the system message where it is not empty."
    )


class Turns(Closed):
    """A table with one turn in each row; rows of one conversation become one example."""

    conversation: ColumnName = Field(description="The column that says to which conversation a turn belongs.")
    order: ColumnName | None = Field(
        default=None, description="The column that orders the turns; their order in the file if left out."
    )
    role: ColumnName = Field(description="The column that says whose turn it is.")
    content: ColumnName = Field(description="The column with what is said.")
    roles: dict[Label, Role] | None = Field(
        default=None, max_length=50, description="Roles of the data, each with the role it means."
    )
    system: ColumnName | None = Field(
        default=None, description="A column whose first text becomes the system message."
    )


class Mapping(Closed):
    """How a row becomes an example: exactly one of its kinds."""

    messages: list[MessageTemplate] | None = Field(
        default=None, min_length=1, max_length=100, description="Messages from templates over columns."
    )
    conversation: Conversation | None = Field(default=None, description="Messages from a column of messages.")
    turns: Turns | None = Field(default=None, description="Messages from a table with one turn in each row.")
    text: Text | None = Field(
        default=None, description="A Jinja template of plain text to go on with pre-training on."
    )
    where: Text | None = Field(
        default=None, description="A Jinja condition over the columns; rows that fail it are left out."
    )
    tools: ColumnName | None = Field(
        default=None, description="A column with the tools on offer: a list of definitions, or its JSON text."
    )
    history: ColumnName | None = Field(
        default=None,
        description="A column with the turns before those of `messages`: a list of pairs, what was asked and "
        "what was answered.",
    )
    train_on: Literal["all", "last"] = Field(
        default="all", description="Whether all assistant messages of an example are trained, or its last."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = ("messages", "conversation", "turns", "text")
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            raise broken_rule("a mapping has exactly one kind", f"give one of {', '.join(kinds)}")
        extra = "tools" if self.tools is not None else "train_on" if self.train_on != "all" else None
        if self.text is not None and extra:
            raise broken_rule("plain text has no messages, so no such field", "remove it", extra)
        if self.history is not None and self.messages is None:
            raise broken_rule("earlier turns stand before messages from templates", "remove it", "history")
        if self.messages is not None and not any(message.role == "assistant" for message in self.messages):
            raise broken_rule(
                "no message has the role assistant, so there is nothing to train on",
                "add one, such as {role: assistant, content: ...}",
                "messages",
            )
        if self.messages and not any(
            message.weight == 1 or (message.weight is None and message.role == "assistant")
            for message in self.messages
        ):
            raise broken_rule(
                "every message has the weight 0, so there is nothing to train on",
                "leave the weight of the answer out",
                "messages",
            )
        return self
