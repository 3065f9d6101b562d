"""Earlier adapters to go on from: find one, take its settings over, put it into storage."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.contract import (
    ADAPTER,
    ContractError,
    LaunchPlan,
    Manifest,
    Store,
    adapter_key,
    content_digest,
    hash_file,
    read_manifest,
    run_key,
    share_folder,
)
from orchestrator.errors import Fault, SpecError
from orchestrator.spec.faults import shown
from orchestrator.spec.models import Spec
from orchestrator.spec.training import Adapter
from orchestrator.uploads import Upload, parse_address, read_bundle, read_small

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ADAPTER_FILES = (_CONFIG, _WEIGHTS)
MAX_CONFIG_BYTES = 1 << 20
_PATH = "adapter.continue_from"
_TAKEN = {"r": "r", "alpha": "lora_alpha", "dropout": "lora_dropout", "target_modules": "target_modules"}


@dataclass(frozen=True)
class EarlierAdapter:
    """An adapter to go on from: a folder of this machine, or what a run left in storage under `key`; neither
    for one that was uploaded, which is a folder once a step has fetched it.

    `config` is its adapter_config.json; `model` the key of the base model it was trained on, where known.
    """

    reference: str
    config: Mapping[str, Any]
    folder: Path | None = None
    run: str | None = None
    key: str | None = None
    model: str | None = None


def find_adapter(
    reference: str,
    base: Path | None,
    storage: Store,
    may_read: Callable[[str], bool] = lambda _: True,
    uploads: Store | None = None,
) -> EarlierAdapter:
    """The adapter that a spec goes on from: a folder relative to `base`, if there is one, one of a project's
    `uploads`, or the id of a run that whoever asks may read.

    Raises:
        SpecError: there is no such adapter, or it is none that can be trained further.
    """
    folder = base / reference if base else None
    if folder and folder.is_dir():
        earlier = _of_folder(reference, folder.resolve())
    elif uploads and (upload := parse_address(reference)):
        reference = upload.name
        earlier = _of_upload(upload, uploads)
    elif manifest := _manifest_of_run(reference, storage, may_read):
        earlier = _of_run(reference, manifest, storage)
    else:
        fix = "give the id of a run whose adapter is finished, or an adapter's folder"
        raise _refused(
            reference, "there is no such run with a finished adapter here, and no such folder", fix
        )
    if str(earlier.config.get("peft_type", "LORA")).upper() != "LORA":
        kind = earlier.config["peft_type"]
        raise _refused(reference, f"it is an adapter of the kind {kind}", "give a LoRA adapter")
    return earlier


def continued(spec: Spec, earlier: EarlierAdapter) -> Spec:
    """The spec with rank, alpha, dropout and layers of the adapter that it goes on from.

    Raises:
        SpecError: the spec says another value for one of them, or they are beyond what a spec can say.
    """
    adapter, faults = spec.adapter, []
    values = {name: _taken(name, earlier.config.get(key)) for name, key in _TAKEN.items()}
    for name, value in values.items():
        said = getattr(adapter, name)
        if name in adapter.model_fields_set and _comparable(said) != _comparable(value):
            what = f"the adapter it goes on from has {shown(value)}"
            fix = "remove it: the earlier adapter decides"
            faults.append(Fault(what, fix, path=f"adapter.{name}", value=shown(said)))
    if faults:
        raise SpecError(faults)
    try:
        taken = Adapter.model_validate(
            {"kind": adapter.kind, "continue_from": adapter.continue_from, **values}
        )
    except ValidationError as error:
        first = error.errors()[0]
        what = f"its {_TAKEN.get(str(first['loc'][0]), first['loc'][0])} cannot be trained with here"
        raise _refused(earlier.reference, what, "give another adapter", first["msg"]) from error
    return spec.model_copy(update={"adapter": taken})


def stage_adapter(storage: Store, earlier: EarlierAdapter, model: str) -> dict[str, Any]:
    """Put the adapter into storage unless it is there; its key, digest and run, as planning needs them.

    `model` is the key of the base model that is trained now.

    Raises:
        SpecError: the adapter was trained on another base model.
        ContractError, OSError: as `share_folder` does.
    """
    if earlier.model is not None and earlier.model != model:
        what = "it was trained on other base model weights"
        fix = f"set base_model to that of {earlier.reference}"
        raise _refused(earlier.reference, what, fix)
    if earlier.folder is None:
        manifest = read_manifest(storage, str(earlier.key))
        return {"key": earlier.key, "digest": manifest and manifest.digest, "run": earlier.run}
    digest = content_digest([hash_file(earlier.folder / name, name) for name in ADAPTER_FILES])
    key = adapter_key(digest)
    if read_manifest(storage, key) is None:
        _share(storage, earlier, key)
    return {"key": key, "digest": digest, "run": None}


def check_files(reference: str, files: Collection[str]) -> None:
    """Raises SpecError where a folder's files are no adapter's."""
    if missing := [name for name in ADAPTER_FILES if name not in files]:
        fix = "give the folder of an adapter, as PEFT saves it with safetensors"
        raise _refused(reference, f"the folder has no {' and no '.join(missing)}", fix)


def _of_folder(reference: str, folder: Path) -> EarlierAdapter:
    check_files(reference, [name for name in ADAPTER_FILES if (folder / name).is_file()])
    return EarlierAdapter(reference, _config(reference, (folder / _CONFIG).read_bytes()), folder=folder)


def _of_upload(upload: Upload, uploads: Store) -> EarlierAdapter:
    reference = upload.name
    try:
        files = read_bundle(uploads, upload.sha256) if upload.bundle else {}
        check_files(reference, files)
        config = read_small(uploads, files[_CONFIG], MAX_CONFIG_BYTES)
    except ContractError as error:
        raise _refused(reference, "this upload cannot be read", "upload it again", str(error)) from error
    return EarlierAdapter(reference, _config(reference, config))


def _manifest_of_run(run: str, storage: Store, may_read: Callable[[str], bool]) -> Manifest | None:
    if "/" in run or not may_read(run):
        return None
    return read_manifest(storage, f"{run_key(run)}/{ADAPTER}")


def _of_run(run: str, manifest: Manifest, storage: Store) -> EarlierAdapter:
    key = f"{run_key(run)}/{ADAPTER}"
    if _CONFIG not in {file.path for file in manifest.files}:
        fix = "pull it, and give its folder as base_model"
        raise _refused(run, "this run trained all weights, so there is no adapter to go on from", fix)
    config = _config(run, storage.read(f"{key}/{_CONFIG}"))
    return EarlierAdapter(run, config, run=run, key=key, model=_model_of(run, storage))


def _model_of(run: str, storage: Store) -> str | None:
    """The key of the base model that a run trained on, as its launches were told."""
    plans = [key for key in storage.keys(f"{run_key(run)}/launches") if key.endswith("/plan.json")]
    return next((model for key in sorted(plans) if (model := _model_in(storage, key))), None)


def _model_in(storage: Store, key: str) -> str | None:
    """The base model that a plan names; None where that is no plan: code of a model may have written it."""
    try:
        model = LaunchPlan.from_json(storage.read(key)).model
    except (ContractError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return model if isinstance(model, str) else None


def _config(reference: str, text: bytes) -> Mapping[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise _refused(reference, f"its {_CONFIG} is no JSON object", "give another adapter")
    return config


def _taken(name: str, value: Any) -> Any:
    """A value of adapter_config.json as a spec says it; layers by a pattern are every linear layer."""
    if name == "target_modules":
        names = isinstance(value, list) and all(isinstance(each, str) for each in value)
        return sorted(value) if names else None
    if name == "alpha" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _comparable(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, list) else value


def _share(storage: Store, earlier: EarlierAdapter, key: str) -> None:
    """Copy the two files that make an adapter; whatever lies beside them is not ours."""
    assert earlier.folder is not None
    with tempfile.TemporaryDirectory(prefix="axo-adapter-") as scratch:
        for name in ADAPTER_FILES:
            (Path(scratch) / name).symlink_to(earlier.folder / name)
        facts = {"reference": earlier.reference}
        share_folder(storage, Path(scratch), key, Manifest("adapter", (), facts=facts))


def _refused(reference: str, what: str, fix: str, why: str | None = None) -> SpecError:
    return SpecError([Fault(what, fix, why, path=_PATH, value=reference)])
