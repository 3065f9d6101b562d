"""Which tokens of a rendered conversation are trained: Axolotl 0.19.0's rules, without its libraries.

A turn is found by rendering the conversation again with a placeholder in its place and looking where the
two texts differ; the tokens that touch the difference are the turn (`ChatTemplateStrategy.find_turn` in
`prompt_strategies/chat_template.py`). An end-of-turn token up to three places behind it is trained with it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.data.conversation import TrainingRules, Turn

# Two, with no letter in common at their ends: a character of the template glued to one placeholder can look
# like its first or last letter, and then the other shows it.
PLACEHOLDERS = ("[[dummy_message]]", "zzdummymessagezz")
REACH = 3
NOT_FOUND = (-1, -1)

Render = Callable[[Sequence[Turn]], str]
RenderStart = Callable[[Sequence[Turn], int], list[int]]


@dataclass(frozen=True)
class Encoded:
    """A conversation's text, its token ids, and `span`: the characters that a token covers, by its place.

    Few spans are asked for, and to list those of all tokens takes longer than all that is done with them.
    """

    text: str
    ids: list[int]
    span: Callable[[int], tuple[int, int]]


@dataclass(frozen=True)
class Ends:
    """The token that ends a sequence (None where the model has none), and those that end a turn."""

    sequence: frozenset[int]
    turn: frozenset[int]


def trained_mask(
    turns: Sequence[Turn],
    encoded: Encoded,
    rules: TrainingRules,
    ends: Ends,
    render: Render,
    render_start: RenderStart,
) -> bytearray:
    """One byte per token, 1 where it is trained.

    `render` gives the text of turns; `render_start(turns, last)` the tokens of the first turns of a
    conversation whose last index is `last`, needed only where text and tokens do not line up.
    """
    mask = bytearray(len(encoded.ids))
    last = {"turn": -1, "sequence": -1}
    for index, turn in enumerate(turns):
        trains = _trains(turn, rules)
        if not trains and rules.train_on_eos != "all":
            continue
        start, end = _find(turns, index, encoded, render, render_start)
        if trains and start != -1:
            mask[start:end] = b"\1" * (min(end, len(mask)) - start)
        for kind, wanted in (("turn", ends.turn), ("sequence", ends.sequence)):
            place = _end_token(encoded.ids, wanted, end)
            if place == -1:
                continue
            last[kind] = place
            if rules.train_on_eos == "all" or (rules.train_on_eos == "turn" and trains):
                mask[place] = 1
    if rules.train_on_eos == "last":
        for place in last.values():
            if place != -1:
                mask[place] = 1
    return mask


def _trains(turn: Turn, rules: TrainingRules) -> bool:
    if "training" in turn:
        return bool(turn["training"])
    return rules.trains(str(turn["role"]))


def _end_token(ids: list[int], wanted: frozenset[int], end: int) -> int:
    """The first wanted token from `end` on, if within reach; -1 where there is none.

    A turn that was not found has `end` -1: the trainer then looks at the last token, and goes on from the
    first. What it finds there is what it trains.
    """
    if end == -1 and ids and ids[-1] in wanted:
        return -1
    for place in range(max(end, 0), min(end + REACH + 1, len(ids))):
        if ids[place] in wanted:
            return place
    return -1


def _find(
    turns: Sequence[Turn], index: int, encoded: Encoded, render: Render, render_start: RenderStart
) -> tuple[int, int]:
    span = _find_in_text(turns, index, encoded, render) if encoded.text else None
    if span is None:
        span = _find_in_tokens(turns, index, render_start)
    start, end = span
    return span if end > start else NOT_FOUND


def _find_in_text(
    turns: Sequence[Turn], index: int, encoded: Encoded, render: Render
) -> tuple[int, int] | None:
    """The tokens that touch what differs; None where the text does not tell."""
    spans = []
    for placeholder in PLACEHOLDERS:
        other = render([*turns[:index], _placeholder(turns[index], placeholder), *turns[index + 1 :]])
        if not other:
            return None
        spans.append(difference(encoded.text, other))
    first = min(start for start, _ in spans)
    behind = max(end for _, end in spans)
    if behind <= first:
        return NOT_FOUND
    # A character of several tokens gives all of them its place, so ends and starts are asked, not both ends.
    places = range(len(encoded.ids))
    start = bisect_right(places, first, key=lambda place: encoded.span(place)[1])
    end = bisect_left(places, behind, key=lambda place: encoded.span(place)[0])
    return None if start == len(places) else (start, end)


def _find_in_tokens(turns: Sequence[Turn], index: int, render_start: RenderStart) -> tuple[int, int]:
    last = len(turns) - 1
    other = render_start([*turns[:index], _placeholder(turns[index], PLACEHOLDERS[0])], last)
    ids = render_start(turns[: index + 1], last)
    shorter = min(len(ids), len(other))
    start = next((at for at in range(shorter) if ids[at] != other[at]), None)
    kept = next((at for at in range(shorter) if ids[-1 - at] != other[-1 - at]), None)
    return NOT_FOUND if start is None or kept is None else (start, len(ids) - kept)


def _placeholder(turn: Turn, text: str) -> Turn:
    return {"role": turn["role"], "content": text}


def difference(text: str, other: str) -> tuple[int, int]:
    """Where `text` differs from `other`: its first character, and the one behind its last.

    What both start with is never counted again as what both end with.
    """
    shorter = min(len(text), len(other))
    start = _common(shorter, lambda low, high: text[low:high] == other[low:high])
    ends = len(text), len(other)
    same = _common(
        shorter - start,
        lambda low, high: text[ends[0] - high : ends[0] - low] == other[ends[1] - high : ends[1] - low],
    )
    return start, len(text) - same


def _common(limit: int, equal: Callable[[int, int], bool]) -> int:
    """The longest equal run from 0, at most `limit`; `equal(low, high)` compares one stretch of it."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if equal(low, middle):
            low = middle
        else:
            high = middle - 1
    return low
