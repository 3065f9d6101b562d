"""How many rows there are of each length: all that figures and forecasts of a dataset are worked out from."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import polars as pl

from orchestrator.data.lengths import CUT, REASON, TOKENS, TRAINED
from orchestrator.data.split import SPLIT

_ROWS, _TRUNCATED = "rows", "truncated"


@dataclass(frozen=True)
class Lengths:
    """Lengths in tokens, shortest first, and how many `rows` have each."""

    tokens: Sequence[int]
    rows: Sequence[int]

    @property
    def total_rows(self) -> int:
        return sum(self.rows)

    @property
    def total_tokens(self) -> int:
        return sum(tokens * rows for tokens, rows in zip(self.tokens, self.rows, strict=True))

    def rows_beyond(self, tokens: int) -> int:
        """How many rows are longer."""
        return sum(self.rows[bisect_right(self.tokens, tokens) :])

    def in_pieces(self, longest: int) -> Lengths:
        """The lengths of the pieces that texts of these lengths are cut into."""
        counts: Counter[int] = Counter()
        for tokens, rows in zip(self.tokens, self.rows, strict=True):
            whole, rest = divmod(tokens, longest)
            counts.update({longest: whole * rows, rest: rows})
        there = sorted(length for length, count in counts.items() if length and count)
        return Lengths(there, [counts[length] for length in there])

    def at(self, places: Iterable[int]) -> list[int]:
        """The lengths at places, from 0, of all rows put in order of length."""
        behind = list(accumulate(self.rows))
        return [self.tokens[bisect_right(behind, place)] for place in places]


@dataclass(frozen=True)
class Tally:
    """Rows of a dataset counted; `table` has `rows`, the sum of `trained` and the number `truncated` of each
    `split`, `reason` (for being left out) and length (`tokens`, null where none was counted). Rows of plain
    text are trained in pieces of at most `piece` tokens."""

    table: pl.DataFrame
    piece: int | None = None

    @property
    def dropped(self) -> dict[str, int]:
        """Rows left out, by reason."""
        left_out = self.table.drop_nulls(REASON).group_by(REASON).agg(pl.col(_ROWS).sum())
        return dict(left_out.sort(REASON).iter_rows())

    def rows(self, split: str) -> int:
        return int(self._of(split)[_ROWS].sum())

    def lengths(self, split: str) -> Lengths:
        """The lengths that a split is trained in."""
        counted = self._of(split).drop_nulls(TOKENS)
        lengths = Lengths(counted[TOKENS].to_list(), counted[_ROWS].to_list())
        return lengths if self.piece is None else lengths.in_pieces(self.piece)

    def figures(self, split: str) -> dict[str, Any]:
        """Rows and tokens of a split; lengths are in tokens, `p95` one that 95 % of rows do not exceed.

        Of plain text, lengths are those of its `pieces`.
        """
        table, lengths = self._of(split), self.lengths(split)
        count = lengths.total_rows
        places = (0, (count - 1) // 2, count // 2, -(-95 * count // 100) - 1, count - 1)
        shortest, lower, upper, p95, longest = lengths.at(places) if count else [0] * 5
        return {
            "rows": int(table[_ROWS].sum()),
            **({} if self.piece is None else {"pieces": count}),
            "tokens": lengths.total_tokens,
            "trained_tokens": int(table[TRAINED].sum()),
            "truncated": int(table[_TRUNCATED].sum()),
            "lengths": {
                "shortest": shortest,
                "median": (lower + upper) / 2,
                "p95": p95,
                "longest": longest,
            },
        }

    def _of(self, split: str) -> pl.DataFrame:
        return self.table.filter(pl.col(SPLIT) == split)


def tally(parts: Iterable[pl.LazyFrame], piece: int | None = None) -> Tally:
    """Count the split rows of all parts, in one pass over each; `piece` as in `Tally`."""
    counted = pl.concat(part.select(SPLIT, REASON, TOKENS, TRAINED, CUT) for part in parts)
    table = counted.group_by(SPLIT, REASON, TOKENS).agg(
        pl.len().alias(_ROWS), pl.col(TRAINED).sum(), (pl.col(CUT) > 0).sum().alias(_TRUNCATED)
    )
    return Tally(table.sort(TOKENS).collect(engine="streaming"), piece)
