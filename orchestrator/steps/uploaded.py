"""What a spec names by `upload://` addresses, brought to this machine before anything reads it."""

from __future__ import annotations

import glob
from pathlib import Path

from orchestrator.contract import Store
from orchestrator.spec.models import Spec
from orchestrator.spec.places import ADAPTER, BASE_MODEL, places, replaced
from orchestrator.uploads import Upload, fetch, parse_address


def with_uploads_here(spec: Spec, base: Path | None, uploads: Store, folder: Path) -> tuple[Spec, Path]:
    """The spec with paths in place of addresses, and the folder that all its relative paths start from.

    Uploads are laid out in `folder` under their own names, so that faults call files what their owner
    does. `uploads` are those of the project; `base` is None where the spec has no paths of its own.

    Raises:
        ContractError: an upload is not there, or not what its digest says.
        OSError: the disk is full or cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    brought: dict[Upload, str] = {}
    changes = {}
    for field, place in places(spec).items():
        if upload := parse_address(place):
            if upload not in brought:
                brought[upload] = _free_name(upload, set(brought.values()))
                fetch(uploads, upload, folder / brought[upload])
            path = brought[upload] if base is None else str(folder / brought[upload])
            pattern = upload.bundle and field not in (BASE_MODEL, ADAPTER)
            changes[field] = f"{glob.escape(path)}/**/*" if pattern else path
    return replaced(spec, changes), folder if base is None else base


def _free_name(upload: Upload, taken: set[str]) -> str:
    return f"{upload.sha256[:8]}/{upload.name}" if upload.name in taken else upload.name
