"""The service that a command speaks to: the one of a context, or one in this very process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.client import Client


@contextmanager
def connected(*, driving: bool = False) -> Iterator[Client]:
    """A client; with `driving`, a service of this process brings its runs further meanwhile."""
    from orchestrator.host import open_host
    from orchestrator.settings import Settings

    with ExitStack() as stack:
        host = stack.enter_context(open_host(Settings.from_environment()))
        if driving:
            stack.enter_context(host.driving())
        yield stack.enter_context(host.client())
