"""Base models: find one, check that the trainer can use it offline, and put it into storage by its digest."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from typing import Any

from orchestrator.contract import (
    ContractError,
    File,
    Manifest,
    Store,
    content_digest,
    hash_file,
    local_files,
    model_key,
    read_manifest,
    share_folder,
)
from orchestrator.errors import Fault, SpecError
from orchestrator.named_secrets import read_secret

# Weights are safetensors only: a pickle runs code when it is loaded. tekken.json is left out since
# beside it the trainer would take a tokenizer without a chat template.
STAGED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.json",
    "*.jinja",
    "*.model",
    "merges.txt",
    "vocab.txt",
    "LICENSE*",
    "README.md",
)
NOT_STAGED = ("tekken.json", "*/*", ".*")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_INDEX = "model.safetensors.index.json"
_HUB_ID = re.compile(r"^(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?$")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_PATH = "base_model"
_POSITIONS = ("max_position_embeddings", "n_positions", "max_sequence_length")


@dataclass(frozen=True)
class ResolvedModel:
    """A model folder on this machine; `revision` is the hub's commit where it came from there."""

    reference: str
    folder: Path
    revision: str | None = None

    @property
    def files(self) -> list[str]:
        return staged_files(self.folder)

    @property
    def positions(self) -> int | None:
        """The most tokens that the model was made for, as its config.json says."""
        config = _json_file(self.folder / "config.json")
        inner = config.get("text_config")
        known = {**config, **inner} if isinstance(inner, dict) else config
        return next((known[name] for name in _POSITIONS if isinstance(known.get(name), int)), None)


def staged_files(folder: Path) -> list[str]:
    """The files of a model folder that the trainer needs."""
    return _staged(local_files(folder))


def resolve_model(
    reference: str, base: Path, secret: str | None = None, *, chat: bool = True
) -> ResolvedModel:
    """The model that a spec names: a folder relative to `base`, or a hub id, which is downloaded
    with the `token` of a named secret, or else with `HF_TOKEN`. `chat` asks for a chat template.

    Raises SpecError with every fault of it at once: no such model, access refused, no network, or files
    that the trainer needs and does not find.
    """
    folder = base / reference
    if folder.is_dir():
        model = ResolvedModel(reference, folder.resolve())
    elif is_hub_id(reference) and (match := _HUB_ID.match(reference)):
        snapshot = _download(match["repo"], match["revision"], read_secret(secret, _PATH).get("token"))
        model = ResolvedModel(reference, snapshot, snapshot.name if _COMMIT.match(snapshot.name) else None)
    else:
        fix = "give a folder relative to the spec's, or a hub id such as org/name@revision"
        raise SpecError([Fault("there is no such model folder", fix, path=_PATH, value=reference)])
    if faults := model_faults(model, chat=chat):
        raise SpecError(faults)
    return model


def is_hub_id(reference: str) -> bool:
    """Whether a base model is named as the hub names them, rather than by a path."""
    return bool(_HUB_ID.match(reference)) and not reference.startswith((".", "/"))


def stage_model(storage: Store, model: ResolvedModel) -> str:
    """Put the model's files into `models/<digest>` unless they are there; the digest, that of its manifest.

    Raises:
        ContractError: a file changed while it was copied.
        OSError: storage is full or cannot be written.
    """
    files = _hashed(storage, model)
    digest = content_digest(files)
    if read_manifest(storage, model_key(digest)) is None:
        with tempfile.TemporaryDirectory(prefix="axo-model-") as folder:
            for file in files:
                (Path(folder) / file.path).symlink_to(model.folder / file.path)
            facts = {"reference": model.reference, "revision": model.revision}
            stored = share_folder(
                storage, Path(folder), model_key(digest), Manifest("model", (), facts=facts)
            )
        if stored.digest != digest:
            raise ContractError(f"the model at {model.folder} changed while it was staged; start again")
    return digest


def model_faults(model: ResolvedModel, *, chat: bool) -> list[Fault]:
    """What the trainer would miss in a model folder, all at once."""
    there = {path.name for path in model.folder.iterdir() if path.is_file()}
    faults = [
        Fault(f"the model has no {name}", fix, path=_PATH, value=model.reference)
        for name, fix in (
            ("config.json", "give the folder of a whole model, as transformers saves it"),
            ("tokenizer.json", "save its fast tokenizer beside it, with transformers' save_pretrained"),
        )
        if name not in there
    ]
    return [
        *faults,
        *_config_faults(model, there),
        *_weight_faults(model, there),
        *(_template_faults(model, there) if chat else []),
    ]


def _weight_faults(model: ResolvedModel, there: set[str]) -> list[Fault]:
    if _INDEX in there:
        parts = _json_file(model.folder / _INDEX).get("weight_map")
        missing = sorted(set(map(str, parts.values())) - there) if isinstance(parts, dict) else []
        what = f"weights are missing: {', '.join(missing[:3])}{' ..' if len(missing) > 3 else ''}"
        fix = "fetch the model again; the download may have been cut short"
        return [Fault(what, fix, path=_PATH, value=model.reference)] if missing else []
    if any(name.endswith(".safetensors") for name in there):
        return []
    pickles = sorted(name for name in there if any(fnmatch(name, pattern) for pattern in _PICKLES))
    what = "the model has pickled weights only" if pickles else "the model has no weights"
    why = f"{pickles[0]} can run code when it is loaded, so it is never read" if pickles else None
    fix = "save it as safetensors: `model.save_pretrained(folder, safe_serialization=True)`"
    return [Fault(what, fix, why, path=_PATH, value=model.reference)]


def _config_faults(model: ResolvedModel, there: set[str]) -> list[Fault]:
    broken = [
        name
        for name in ("config.json", "tokenizer_config.json", "tokenizer.json")
        if name in there and not _json_file(model.folder / name)
    ]
    return [
        Fault(
            f"the model's {name} is no JSON object",
            "fetch the model again",
            path=_PATH,
            value=model.reference,
        )
        for name in broken
    ]


def _template_faults(model: ResolvedModel, there: set[str]) -> list[Fault]:
    config = _json_file(model.folder / "tokenizer_config.json")
    if "chat_template.jinja" in there or config.get("chat_template"):
        return []
    fix = "take the instruction-tuned version of the model; only `method: pretrain` needs none"
    return [Fault("the model has no chat template", fix, path=_PATH, value=model.reference)]


def _json_file(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _staged(names: Iterable[str]) -> list[str]:
    def matches(name: str, patterns: Sequence[str]) -> bool:
        return any(fnmatch(name, pattern) for pattern in patterns)

    return [name for name in names if matches(name, STAGED) and not matches(name, NOT_STAGED)]


def _hashed(storage: Store, model: ResolvedModel) -> list[File]:
    """The files with their digests; those that did not change since they were last hashed are not read."""
    key = f"inputs/model-files/{sha256(str(model.folder).encode()).hexdigest()}.json"
    known = _known(storage, key)
    files, seen = [], {}
    for name in model.files:
        stat = (model.folder / name).stat()
        mark = f"{name}:{stat.st_size}:{stat.st_mtime_ns}"
        digest = known.get(mark) or hash_file(model.folder / name, name).sha256
        seen[mark] = digest
        files.append(File(name, stat.st_size, digest))
    if seen != known:
        storage.write(key, json.dumps(seen, indent=1).encode())
    return files


def _known(storage: Store, key: str) -> dict[str, str]:
    try:
        known = json.loads(storage.read(key))
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _download(repo: str, revision: str | None, token: str | None) -> Path:
    """The hub's files of a model, from its cache where they are there; errors in the user's words."""
    from huggingface_hub import errors, snapshot_download

    named = f"{repo}@{revision}" if revision else repo
    try:
        found = snapshot_download(
            repo, revision=revision, token=token, allow_patterns=list(STAGED), ignore_patterns=["*/*"]
        )
    except errors.GatedRepoError as error:
        fix = "accept its terms on the hub, and name a secret with that account's `token` beside `source`"
        raise _refused(
            "the hub does not give this model without its terms being accepted", fix, named
        ) from error
    except errors.RevisionNotFoundError as error:
        raise _refused("the model has no such revision", "name a branch, a tag or a commit", named) from error
    except errors.RepositoryNotFoundError as error:
        fix = "check the spelling; for a private model, name a secret with a `token` that may read it"
        raise _refused("there is no such folder, and no such model on the hub", fix, named) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise _out_of_reach(named, error) from error
    except (errors.HfHubHTTPError, errors.HFValidationError) as error:
        why = _first_line(error)
        raise _refused("the hub refuses to give this model", "read its answer", named, why) from error
    except OSError as error:
        raise _out_of_reach(named, error) from error
    return Path(found)


def _out_of_reach(named: str, error: Exception) -> SpecError:
    fix = "download it where there is a network, and give the folder as base_model"
    return _refused("there is no such folder, and the hub cannot be reached", fix, named, _first_line(error))


def _refused(what: str, fix: str, named: str, why: str | None = None) -> SpecError:
    return SpecError([Fault(what, fix, why, path=_PATH, value=named)])


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
