"""The service that a command speaks to: the one of a context, or one in this very process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.frame import Frame
from orchestrator.cli.output import note
from orchestrator.errors import UnreachableError

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.client.contexts import Context
    from orchestrator.settings import Settings
    from orchestrator.spec.load import Loaded


@contextmanager
def connected(*, driving: bool = False, looking: bool = False) -> Iterator[Client]:
    """A client; with `driving`, an embedded service brings its runs further meanwhile. Whoever is `looking`
    on hears where nobody does."""
    context = spoken_to()
    if context.url is not None:
        from orchestrator.cli.absence import Absence
        from orchestrator.client import Client

        with Client(context.url, context.credential, project=context.project, told=Absence()) as client:
            yield client
        return
    from orchestrator.cli.warned import warnings_noted
    from orchestrator.host import open_host
    from orchestrator.settings import Settings

    with ExitStack() as stack:
        stack.enter_context(warnings_noted())
        host = stack.enter_context(open_host(Settings.from_environment()))
        if driving:
            stack.enter_context(host.driving())
        elif looking and host.left_alone:
            note("nothing drives the runs of this machine now: `axo resume NAME` does, until it ends")
        yield stack.enter_context(host.client())


def read_spec(file: Path) -> Loaded:
    """The spec in a file; a mapping of the project is that of the service that commands speak to.

    Raises as `load_spec` does, and UnreachableError where it names one and the service is away.
    """
    from orchestrator.spec.load import load_spec

    return load_spec(file, named_mapping)


def named_mapping(name: str) -> str:
    """The text of the project's mapping of that name. Raises NotFoundError."""
    with connected() as client:
        return client.mapping(name).text


def spoken_to() -> Context:
    """The context of this call: that of `--context`, of the environment, or the current one."""
    from orchestrator.client.contexts import chosen

    current = click.get_current_context(silent=True)
    frame = current.find_root().obj if current else None
    return chosen(frame.context if isinstance(frame, Frame) else None)


def proving_settings() -> Settings:
    """The settings that a spec is proven with here: those of this machine, but with the machines of the
    service that commands speak to, where it is elsewhere and answers."""
    from orchestrator.machines import Machine
    from orchestrator.settings import Settings

    settings = Settings.from_environment().of("default")
    if spoken_to().url is None:
        return settings
    try:
        with connected() as client:
            machines = {machine.name: Machine(**machine.model_dump()) for machine in client.machines()}
    except UnreachableError as error:
        note(f"{error}; its machines are not known, so those of this machine count")
        return settings
    return replace(settings, machines=machines)
