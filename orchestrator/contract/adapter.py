"""An adapter out of what Axolotl saved: the files that may leave, with the base model's true name in them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

# Weights, configs, the tokenizer and its template: nothing that runs when it is loaded.
_ALLOWED_SUFFIXES = {".safetensors", ".json", ".jinja", ".model"}
_ALLOWED_NAMES = {"merges.txt", "vocab.txt"}
_OWN_FILES = {"trainer_state.json", "tokens_state.json"}


def may_leave(name: str) -> bool:
    """Whether a file of Axolotl's output, or of a checkpoint, belongs into an adapter."""
    return (Path(name).suffix in _ALLOWED_SUFFIXES or name in _ALLOWED_NAMES) and name not in _OWN_FILES


def gather_adapter(output: Path, staged: Path, base_model: str | None) -> None:
    """Copy what may leave from Axolotl's output or a checkpoint, with the base model's true name in it:
    `base_model` is such as `org/name@revision`.

    Raises FileNotFoundError when there are no weights.
    """
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    names = {path.name for path in output.iterdir() if path.is_file() and may_leave(path.name)}
    if any(name.startswith("adapter_model") for name in names):
        # After preference training Axolotl saves the base model's weights beside the adapter.
        names = {name for name in names if not name.startswith("model")}
    for name in sorted(names):
        _link(output / name, staged / name)
    if not any(staged.glob("*.safetensors")):
        raise FileNotFoundError(f"Axolotl saved no weights in {output.name}")
    _settle_config(staged / "adapter_config.json", base_model)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _settle_config(path: Path, base_model: str | None) -> None:
    """Axolotl wrote the scratch folder's `model`, which says nothing to whoever loads the adapter; PEFT
    wrote its sets in any order, and the same training shall give the same bytes."""
    if not path.is_file():
        return
    config = json.loads(path.read_bytes())
    if base_model:
        name, _, revision = base_model.partition("@")
        config |= {"base_model_name_or_path": name, "revision": revision or None}
    for name in ("target_modules", "modules_to_save", "exclude_modules"):
        if isinstance(config.get(name), list):
            config[name] = sorted(config[name])
    path.unlink()  # it is a link to Axolotl's own file
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
