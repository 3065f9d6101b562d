"""A finished adapter and its base model asked on this machine, in the trainer's environment.

This is a trial: models are loaded, asked, and gone again. `axo pull` prints what serves an adapter.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import contract
from orchestrator.backends.local import package_alone
from orchestrator.client import Client
from orchestrator.client.download import Told
from orchestrator.client.pull import pull_run
from orchestrator.data.questions import Question, held_out
from orchestrator.errors import ConflictError, SettingsError, SpecError
from orchestrator.service.checks import need_trainer
from orchestrator.settings import Settings
from orchestrator.spec.models import Spec
from orchestrator.spec.stored import at_revision
from orchestrator.staging import is_hub_id, resolve_model, staged_files
from orchestrator.wire import RunDetail

_HINTS = {
    "memory": "ask where there is a GPU or more memory; `axo pull` tells the command that serves it",
    "environment": "make the trainer's environment with `scripts/setup trainer`, or set AXO_TRAINER_PYTHON",
}


@dataclass(frozen=True)
class Asking:
    """How models are asked: greedily at a temperature of 0; `reasoned` lets them begin with reasoning."""

    base: bool = True
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 42
    reasoned: bool = False


@dataclass(frozen=True)
class Answer:
    """What a model said, in how many `tokens`; one that is not `whole` was cut there."""

    text: str
    tokens: int
    whole: bool


def questions_held_out(client: Client, settings: Settings, run: RunDetail, count: int) -> list[Question]:
    """The first held-out rows of a run.

    Raises:
        ConflictError: its data does not lie where this command can read it, or is gone.
        DataError: it held none out.
    """
    if not client.embedded:
        hint = "give prompts, or --file; `axo describe -o json` has some answers of its evaluation"
        raise ConflictError("the run's data lies with the service, not on this machine", hint=hint)
    storage = contract.open_store(settings.storage)
    key = contract.dataset_key(run.dataset or "")
    if contract.read_manifest(storage, key) is None:
        raise ConflictError("the run's dataset is not in storage any more", hint="give prompts, or --file")
    if folder := storage.local(key):
        return held_out(folder / "validation.parquet", count)
    with tempfile.TemporaryDirectory(prefix="axo-try-") as scratch:
        contract.fetch_folder(storage, key, Path(scratch))
        return held_out(Path(scratch) / "validation.parquet", count)


def base_folder(client: Client, settings: Settings, run: RunDetail, named: str | None) -> Path:
    """The base model of a run on this machine: the one that `named` says, that of storage, else from where
    the spec has it, which for a hub id is downloaded.

    Raises SpecError where there is none.
    """
    if named is None and client.embedded and run.model:
        folder = contract.open_store(settings.storage).local(contract.model_key(run.model))
        if folder and (folder / contract.MANIFEST).is_file():
            return folder
    spec = Spec.model_validate(run.spec)
    revision = run.facts.get("model_revision")
    pinned = (
        at_revision(run.base_model, revision) if revision and is_hub_id(run.base_model) else run.base_model
    )
    reference = named or pinned
    base = Path(run.base or ".") if client.embedded and named is None else Path()
    try:
        secret = spec.model_secret if client.embedded else None
        return resolve_model(reference, base, secret, chat=spec.mapping.text is None).folder
    except SpecError as error:
        hint = "the adapter is nothing without its base model: name it with --base-model FOLDER"
        raise SpecError(error.faults, hint=hint) from error


def differs(run: RunDetail, folder: Path) -> bool:
    """Whether a base model's folder does not hold, byte for byte, what the run was trained on."""
    if folder.name == run.model or (run.facts.get("model_revision") or "") == folder.name:
        return False  # it lies under its digest, or is the hub's copy of that commit
    files = [contract.hash_file(folder / name, name) for name in staged_files(folder)]
    return contract.content_digest(files) != run.model


def ask(
    client: Client,
    settings: Settings,
    run: RunDetail,
    model: Path,
    questions: Sequence[Question],
    asking: Asking,
    told: Told = lambda _: None,
) -> dict[str, list[Answer]]:
    """The answers of `adapter` and, where they are wanted, of `base`, in the questions' order; `told` hears
    of the adapter's bytes as they come.

    Raises:
        SettingsError: there is no trainer environment here, or the models cannot be loaded in it.
        ConflictError: the run has no finished adapter.
    """
    need_trainer(settings)
    with tempfile.TemporaryDirectory(prefix="axo-try-") as scratch:
        adapter = pull_run(client, run.id, Path(scratch) / "adapter", told).folder
        order = {
            "model": str(model.resolve()),
            "adapter": str(adapter),
            "base": asking.base,
            "prompts": [question.plain() for question in questions],
            "reasoned": asking.reasoned,
            "max_new_tokens": asking.max_tokens,
            "temperature": asking.temperature,
            "seed": asking.seed,
        }
        lines = _run(settings, order, Path(scratch))
    found: dict[str, list[Answer]] = {}
    for line in lines:
        found.setdefault(line["model"], []).append(Answer(line["text"], line["tokens"], line["whole"]))
    return found


def _run(settings: Settings, order: Mapping[str, Any], scratch: Path) -> list[dict[str, Any]]:
    command = [str(settings.trainer_python), "-P", "-m", "orchestrator.trainer.answer"]
    own = {"PYTHONPATH": str(package_alone(settings.home / "local")), "PYTHONNOUSERSITE": "1"}
    said = json.dumps(order).encode()
    log = scratch / "log.txt"
    with log.open("wb") as errors:
        done = subprocess.run(
            command, input=said, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, **own}, cwd=scratch
        )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if refused := next((line for line in lines if "error" in line), None):
        what = f"the models cannot be asked here: {refused['error']}"
        raise SettingsError(what, hint=_HINTS.get(refused["kind"]))
    if done.returncode < 0:
        what = "the process that asks the models was killed, most likely for lack of memory"
        raise SettingsError(what, hint=_HINTS["memory"])
    if done.returncode:
        last = next(iter(reversed(log.read_text(errors="replace").strip().split("\n"))), "")
        raise SettingsError(f"the models cannot be asked here: {last}", hint=_HINTS["environment"])
    return lines
