"""How many tokens plain text has for pre-training, as Axolotl 0.19.0 will count them.

Its `prompt_strategies/completion.py`: a text is encoded with the special tokens that the model's own
tokenizer puts around it, the end token is added where it is not there yet, and what comes out is cut into
pieces of `sequence_len`; each piece is an example, trained whole. Of a text longer than 64 pieces the rest is
lost, and a last piece shorter than `min_sample_len` is dropped. Streaming cuts the same texts into windows
that overlap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from orchestrator.data.conversation import Example, TrainingRules
from orchestrator.data.tokenizer_files import LoadedTokenizer, load_tokenizer
from orchestrator.data.tokens import Counts
from orchestrator.errors import DataError, Fault

MOST_PIECES = 64


class TextTokenizer:
    """A base model's own tokenizer for text without a chat template; it may have none.

    `digest` and `exact` are as those of ChatTokenizer. `writes_eos` is always true: the trainer sees to it.
    """

    writes_eos = True

    def __init__(self, loaded: LoadedTokenizer) -> None:
        """Raises DataError where the tokenizer names no end token, without which the trainer would stop."""
        eos = loaded.named_tokens.get("eos_token")
        self._end = loaded.tokenizer.token_to_id(eos) if eos is not None else None
        if self._end is None:
            fix = "name its `eos_token` in tokenizer_config.json"
            raise DataError([Fault("the model's tokenizer has no end token", fix)])
        self._tokenizer = loaded.tokenizer
        self.exact = loaded.exact
        self.digest = hashlib.sha256(f"{eos}\n{loaded.tokenizer.to_str()}".encode()).hexdigest()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a model folder; raises DataError, with the fix, where it cannot be used."""
        return cls(load_tokenizer(folder))

    def count(self, examples: Iterable[Example], rules: TrainingRules) -> list[Counts]:
        """Counts per example, a row with `text`: tokens of all its pieces, every one of them trained, and
        those that are cut off beyond the last piece."""
        texts = [str(example["text"] or "") for example in examples]
        encoded = self._tokenizer.encode_batch(texts, add_special_tokens=True)
        return [
            self._counts(one.ids if text else [], rules) for text, one in zip(texts, encoded, strict=True)
        ]

    def _counts(self, ids: list[int], rules: TrainingRules) -> Counts:
        most = MOST_PIECES * rules.sequence_len
        # A text that is cut keeps the tokens that the tokenizer puts at its end, which may be the end token.
        ended = not ids or ids[-1] == self._end or len(ids) >= most
        length = min(len(ids), most) if ended else len(ids) + 1
        kept = sum(pieces(length, rules))
        return Counts(kept, kept, max(0, len(ids) - most))


def pieces(length: int, rules: TrainingRules) -> Iterator[int]:
    """The lengths of the pieces that a text of so many tokens is trained in."""
    whole, rest = divmod(length, rules.sequence_len)
    yield from [rules.sequence_len] * whole
    if rest >= rules.min_sample_len:
        yield rest
