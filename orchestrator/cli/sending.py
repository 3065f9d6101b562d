"""Hand a spec to the service: by its paths where its launches see them, packed where they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.moved import Moved
from orchestrator.cli.output import note

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.client.pack import Package
    from orchestrator.spec.load import Loaded
    from orchestrator.wire import Plan, RunDetail, Submission


def submitted(client: Client, loaded: Loaded, *, go_on: bool = False) -> RunDetail:
    """The run of a spec, its files uploaded first where launches could not read them at their paths.

    Raises:
        SpecError: with every fault of it.
        UnreachableError: the service stays away; what has arrived is kept.
    """
    from orchestrator.client.pack import lies_in_its_folder, packed

    if client.launches_see == "all" or (client.launches_see == "folder" and lies_in_its_folder(loaded)):
        return client.submit(of_this_machine(loaded, go_on=go_on))
    with packed(loaded, go_on=go_on) as package:
        send(client, package)
        return client.submit(package.submission)


def planned(client: Client, loaded: Loaded, against: str | None = None) -> Plan:
    """What a run of the spec would be, as the service foresees it, and what differs from the run `against`;
    its files are uploaded for that.

    Raises as `submitted` does.
    """
    if client.embedded:
        return client.plan(of_this_machine(loaded, go_on=False), against)
    from orchestrator.client.pack import packed

    with packed(loaded) as package:
        send(client, package)
        return client.plan(package.submission, against)


def of_this_machine(loaded: Loaded, *, go_on: bool) -> Submission:
    """A spec as it is sent to a service of this very machine: its paths are the service's paths."""
    from orchestrator.wire import Submission

    return Submission(
        spec=loaded.text,
        file=str(loaded.path),
        mappings=dict(loaded.mapping_texts),
        base=str(loaded.path.parent.absolute()),
        go_on=go_on,
    )


def send(client: Client, package: Package) -> None:
    """Upload the files of a package, with a line that tells how far it is."""
    if not package.files:
        return
    with Moved("uploaded", package.size) as progress:
        sent = package.send(client, progress.add)
    count = f"{len(package.files)} file{'s' if len(package.files) != 1 else ''}"
    if not sent:
        note(f"{count}, {package.size / 1e6:,.1f} MB: all there already")
        return
    there = f", {(package.size - sent) / 1e6:,.1f} MB were there" if sent < package.size else ""
    note(f"uploaded {sent / 1e6:,.1f} MB ({count}{there}) in {progress.seconds:.1f} s")
