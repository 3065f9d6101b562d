"""What every part of the database stands on: a transaction to read in, and one to write in."""

from __future__ import annotations

from contextlib import AbstractContextManager

import sqlalchemy as sa


class Transactions:
    """An engine and how its transactions begin. `engine` is only for tests and migrations."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._writer = engine.execution_options(write=True)

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """A connection that sees one state of everything and changes nothing."""
        return self.engine.connect()

    def writing(self) -> AbstractContextManager[sa.Connection]:
        """A connection whose changes are all kept at the end of the block, or none of them."""
        return self._writer.begin()
