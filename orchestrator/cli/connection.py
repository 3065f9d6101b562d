"""The service that a command speaks to: the one of a context, or one in this very process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

from orchestrator.cli.frame import Frame

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.client.contexts import Context


@contextmanager
def connected(*, driving: bool = False) -> Iterator[Client]:
    """A client; with `driving`, an embedded service brings its runs further meanwhile."""
    context = spoken_to()
    if context.url is not None:
        from orchestrator.client import Client

        with Client(context.url, context.key, project=context.project) as client:
            yield client
        return
    from orchestrator.host import open_host
    from orchestrator.settings import Settings

    with ExitStack() as stack:
        host = stack.enter_context(open_host(Settings.from_environment()))
        if driving:
            stack.enter_context(host.driving())
        yield stack.enter_context(host.client())


def spoken_to() -> Context:
    """The context of this call: that of `--context`, of the environment, or the current one."""
    from orchestrator.client.contexts import chosen

    current = click.get_current_context(silent=True)
    frame = current.find_root().obj if current else None
    return chosen(frame.context if isinstance(frame, Frame) else None)
