"""What is refused before anything is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import contract
from orchestrator.errors import Fault, SettingsError, SpecError
from orchestrator.nearest import did_you_mean
from orchestrator.settings import Settings
from orchestrator.spec.load import Loaded, prove_mapping, with_places

if TYPE_CHECKING:
    from orchestrator.data.analysis import Analysis
    from orchestrator.steps.prepare import Inspection


def check_submission(
    loaded: Loaded,
    base: Path | None,
    settings: Settings,
    may_read: Callable[[str], bool],
    uploads: contract.Store,
) -> Loaded:
    """The spec as it will run, everything about it checked that can be without its data; `may_read` tells
    of a run whether its submitter may read it, `uploads` are those of their project.

    Raises:
        SpecError: with every fault.
        SettingsError: this installation cannot run anything.
    """
    check_templates(loaded)
    check_machine(loaded, settings)
    check_config(loaded, settings)
    loaded = with_earlier_adapter(loaded, settings, base, may_read, uploads)
    check_registries(loaded, settings)
    check_trainer(settings)
    return loaded


def inspect(
    loaded: Loaded,
    settings: Settings,
    *,
    strict: bool = False,
    write: Callable[[Analysis], None] | None = None,
) -> Inspection:
    """What the data of a spec comes to; data that storage or this home has seen before is not read again,
    but where `write` is to be given its rows."""
    from orchestrator.steps import prepare

    storage = contract.open_store(settings.storage)
    cache = contract.FileStore(settings.home / "cache")
    return prepare.inspect(
        loaded.spec,
        loaded.path.parent,
        settings.slow_templates,
        strict=strict,
        storage=storage,
        cache=cache,
        write=write,
    )


def check_templates(loaded: Loaded) -> None:
    """Refuse a template that is no Jinja; what it reads is checked with the data.

    Raises:
        SpecError: with each of them.
    """
    from orchestrator.data.template_syntax import syntax_faults

    if faults := syntax_faults(loaded.spec):
        raise SpecError(with_places(loaded, faults))


def check_mapping(data: bytes, file: Path) -> None:
    """Refuse what is no mapping; what it reads of rows is checked with the spec that names it.

    Raises:
        SpecError: with every fault, at its line of `file`.
    """
    from orchestrator.data.template_syntax import syntax_faults

    prove_mapping(data, file, syntax_faults)


def check_machine(loaded: Loaded, settings: Settings) -> None:
    """Refuse a machine that is not in the catalogue, a queue or a priority that the operator does not offer.

    Raises:
        SpecError: with what there is.
    """
    compute, cluster = loaded.spec.compute, settings.kubernetes
    asked = [("machine", compute.machine, list(settings.machines))]
    if settings.backend == "kubernetes" and cluster:
        asked += [
            (kind, name, list(offered))
            for kind, name, offered in (
                ("queue", compute.queue, cluster.queues),
                ("priority", compute.priority, cluster.priorities),
            )
            if name is not None
        ]
    if faults := [_unknown(kind, name, known) for kind, name, known in asked if name not in known]:
        raise SpecError(with_places(loaded, faults))


def check_config(loaded: Loaded, settings: Settings) -> None:
    """Refuse what the machine or Axolotl could not do, and keys under `axolotl` that may not stand there.

    Raises:
        SpecError: with each of them, why, and what to write instead.
    """
    from orchestrator.axolotl.render import faults_on

    if faults := faults_on(loaded.spec, settings.machines[loaded.spec.compute.machine]):
        raise SpecError(with_places(loaded, faults))


def with_earlier_adapter(
    loaded: Loaded,
    settings: Settings,
    base: Path | None,
    may_read: Callable[[str], bool] = lambda _: True,
    uploads: contract.Store | None = None,
) -> Loaded:
    """The spec with the settings of the adapter that it goes on from, if it names one; a folder of it
    starts from `base`.

    Raises:
        SpecError: there is no such adapter, or the spec contradicts it.
    """
    from orchestrator.adapters import continued, find_adapter

    reference = loaded.spec.adapter.continue_from
    if reference is None:
        return loaded
    try:
        storage = contract.open_store(settings.storage)
        earlier = find_adapter(reference, base, storage, may_read, uploads)
        return replace(loaded, spec=continued(loaded.spec, earlier))
    except SpecError as error:
        raise SpecError(with_places(loaded, error.faults)) from error


def check_registries(loaded: Loaded, settings: Settings) -> None:
    """Refuse to start what could not be published in the end.

    Raises:
        SpecError: the spec publishes to MLflow, and no server is configured.
    """
    if loaded.spec.publish and not settings.mlflow_uri:
        fault = Fault(
            "it publishes to MLflow, but no MLflow server is configured",
            fix="set AXO_MLFLOW_URI, such as http://localhost:5000, or remove `publish`",
            path="publish",
        )
        raise SpecError(with_places(loaded, [fault]))


def check_trainer(settings: Settings) -> None:
    """Raises SettingsError where the local trainer is not to be found; images have their own."""
    if settings.backend == "local":
        need_trainer(settings)


def need_trainer(settings: Settings) -> None:
    """Raises SettingsError where this machine has no trainer environment."""
    if not settings.trainer_python.exists():
        raise SettingsError(
            f"there is no trainer environment: {settings.trainer_python} does not exist",
            hint="make it with `scripts/setup trainer`, or point AXO_TRAINER_PYTHON at one that has Axolotl",
        )


def _unknown(kind: str, name: str, known: list[str]) -> Fault:
    meant = did_you_mean(name, known)
    plural = {"machine": "machines", "queue": "queues", "priority": "priorities"}[kind]
    return Fault(
        f"there is no {kind} of that name",
        fix=f"{meant}{plural} here: {', '.join(known)}" if known else "remove it; the operator offers none",
        path=f"compute.{kind}",
        value=repr(name),
    )
