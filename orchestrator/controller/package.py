"""Make what is published: the adapter's files with their model card and provenance."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import __version__, contract
from orchestrator.axolotl.schema import AXOLOTL_VERSION
from orchestrator.contract import ADAPTER, Manifest
from orchestrator.controller.facts import figure, scores
from orchestrator.db import Database, Run
from orchestrator.errors import RegistryError
from orchestrator.registries import Package
from orchestrator.registries.card import CardFacts, Score, provenance, render_card
from orchestrator.registries.serving import read_config
from orchestrator.spec.models import MlflowTarget, Spec
from orchestrator.spec.stored import base_told

_CONFIG = re.compile(r"launches/([1-9][0-9]{0,8})/axolotl\.yaml")
TEXTS = ("provenance.json", "README.md")  # made of what is known of a run, beside the adapter's own files


@dataclass(frozen=True)
class Made:
    """A finished adapter and everything that is known of how it was made."""

    run: Run
    spec: Spec
    manifest: Manifest
    adapter_config: Mapping[str, Any] | None
    config: str
    attempts: int
    loss: float | None
    eval_loss: float | None


def make_package(run: Run, spec: Spec, store: contract.Store, database: Database, folder: Path) -> Package:
    """The adapter's files in `folder`, checked against their manifest, card and provenance beside them.

    Raises:
        RegistryError: the adapter in storage is not whole.
    """
    try:
        manifest = contract.fetch_folder(store, ADAPTER, folder)
    except contract.ContractError as error:
        raise RegistryError(f"the adapter in storage is not whole: {error}") from error
    made = _made(run, spec, store, database, manifest)
    for name, text in _texts(made).items():
        (folder / name).write_bytes(text)
    return Package(folder, manifest.digest, spec.name, run.id, _tags(made))


def package_texts(run: Run, spec: Spec, store: contract.Store, database: Database) -> dict[str, bytes]:
    """Card and provenance of a finished adapter by their names, the same each time."""
    manifest = contract.read_manifest(store, ADAPTER)
    assert manifest is not None
    return _texts(_made(run, spec, store, database, manifest))


def _made(run: Run, spec: Spec, store: contract.Store, database: Database, manifest: Manifest) -> Made:
    return Made(
        run=run,
        spec=spec,
        manifest=manifest,
        adapter_config=_adapter_config(store, manifest),
        config=newest_config(store) or "",
        attempts=sum(1 for attempt in database.attempts(run.id) if attempt.started is not None),
        loss=_last(database, run.id, "loss"),
        eval_loss=_last(database, run.id, "eval_loss"),
    )


def _last(database: Database, run: str, key: str) -> float | None:
    newest = database.newest_point(run, key)
    return newest.value if newest else None


def _texts(made: Made) -> dict[str, bytes]:
    origin = json.dumps(_provenance(made), indent=1, sort_keys=True) + "\n"
    card = render_card(_card_facts(made))
    return dict(zip(TEXTS, (origin.encode(), card.encode()), strict=True))


def newest_config(store: contract.Store) -> str | None:
    """The Axolotl config of a run's newest launch that has one."""
    numbers = [int(match[1]) for key in store.keys("launches") if (match := _CONFIG.fullmatch(key))]
    if not numbers:
        return None
    return store.read(f"{contract.launch_key(max(numbers))}/axolotl.yaml").decode(errors="replace")


def _provenance(made: Made) -> dict[str, Any]:
    return provenance(
        run_id=made.run.id,
        name=made.run.name,
        spec_text=made.run.spec_text,
        base_model=_base_told(made),
        base_model_digest=made.run.facts["model"],
        dataset_digest=made.run.facts["dataset"],
        mapping_digest=made.spec.mapping.digest,
        config_digest=hashlib.sha256(made.config.encode()).hexdigest(),
        adapter_digest=made.manifest.digest,
        files=made.manifest.files,
        versions=_versions(),
        attempts=made.attempts,
        lost_steps=made.run.lost_steps,
        continued_from=_continued_from(made),
    )


def _base_told(made: Made) -> str:
    return base_told(made.spec.model, made.run.facts.get("model_revision"))


def _continued_from(made: Made) -> dict[str, Any] | None:
    """The adapter that training started from: its digest, and its run where it was one of ours."""
    earlier = made.run.facts.get("earlier_adapter")
    return {"digest": earlier["digest"], "run": earlier["run"]} if earlier else None


def _card_facts(made: Made) -> CardFacts:
    facts, training = made.run.facts.get("dataset_facts", {}), made.spec.training
    return CardFacts(
        name=made.spec.name,
        run_id=made.run.id,
        base_model=_base_told(made),
        method=made.spec.method,
        kind=made.spec.adapter.kind,
        adapter_config=made.adapter_config,
        description=made.spec.description,
        license=made.spec.license,
        rows=facts.get("rows"),
        tokens=facts.get("tokens"),
        steps=made.manifest.step,
        loss=made.loss,
        eval_loss=made.eval_loss,
        training=training.model_dump(
            exclude_none=True, include={"learning_rate", "batch_size", "epochs", "seed"}
        ),
        scores=_scores(made.run.facts),
        score_rows=_score_rows(made.run.facts),
        references=[_reference(target.mlflow) for target in made.spec.publish],
        digests={
            "base model": made.run.facts["model"],
            "dataset": made.run.facts["dataset"],
            "adapter": made.manifest.digest,
        },
        versions=_versions(),
    )


def _adapter_config(store: contract.Store, manifest: Manifest) -> Mapping[str, Any] | None:
    if not any(file.path == "adapter_config.json" for file in manifest.files):
        return None
    return read_config(store.read(f"{ADAPTER}/adapter_config.json"))


def _score_rows(facts: Mapping[str, Any]) -> int | None:
    rows = figure(facts.get("evaluate") or {}, "rows")
    return None if rows is None else int(rows)


def _scores(facts: Mapping[str, Any]) -> list[Score]:
    base, adapter = scores(facts, "base"), scores(facts, "adapter")
    names = {"exact_match": "exact match", "loss": "loss"}
    return [Score(told, base.get(name), adapter.get(name)) for name, told in names.items() if name in adapter]


def _reference(target: MlflowTarget) -> str:
    return f"models:/{target.model}@{target.alias}" if target.alias else f"models:/{target.model}/latest"


def _tags(made: Made) -> dict[str, str]:
    return {
        "axo.run_name": made.run.name,
        "axo.base_model": _base_told(made),
        "axo.base_model_digest": made.run.facts["model"],
        "axo.dataset_digest": made.run.facts["dataset"],
        "axo.config_digest": hashlib.sha256(made.config.encode()).hexdigest(),
        "axo.spec_digest": made.run.spec_digest,
    }


def _versions() -> dict[str, str | None]:
    return {"axo": __version__, "axolotl": AXOLOTL_VERSION, "python": platform.python_version()}
