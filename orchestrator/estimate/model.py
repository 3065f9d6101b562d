"""What a base model is, as far as memory and time are concerned: its shapes, read without PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.contract import Store
from orchestrator.estimate.architectures import Architecture, architecture_of, tensors_of
from orchestrator.estimate.safetensors import Tensor, read_tensors


@dataclass(frozen=True)
class Model(Architecture):
    """A decoder and its weights: `tensors` by name, a tied output layer not named twice.

    `exact` is whether they were read from the weights themselves, or worked out from config.json.
    """

    tensors: Mapping[str, Tensor]
    exact: bool

    @cached_property
    def parameters(self) -> int:
        return sum(tensor.size for tensor in self.tensors.values())

    @cached_property
    def bytes(self) -> int:
        """The size of its weights as they lie on disk."""
        return sum(tensor.bytes for tensor in self.tensors.values())

    @property
    def active(self) -> int:
        """Parameters that a token is multiplied with: no embedding look-up, experts only as visited."""
        looked_up = 0 if self.tied else self.vocabulary * self.hidden
        idle = sum(t.size for name, t in self.tensors.items() if ".experts." in name)
        width = 3 if self.gated else 2
        visited = width * self.hidden * self.intermediate * self.layers if idle else 0
        return max(1, self.parameters - looked_up - idle + visited)


def read_model(folder: Path) -> Model | None:
    """The model in a folder: exact where its weights lie there; None where config.json says too little.

    Raises:
        SpecError: a weights file is not whole.
    """
    try:
        config = _config((folder / "config.json").read_bytes())
    except OSError:
        return None
    return model_of(config, read_tensors(folder))


def staged_model(storage: Store, key: str) -> Model | None:
    """The model staged under a key; of a storage that is no folder, only its config.json is fetched."""
    folder = storage.local(key)
    if folder is not None:
        return read_model(folder)
    try:
        config = _config(storage.read(f"{key}/config.json"))
    except OSError:
        return None
    return model_of(config, {})


def model_of(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Model | None:
    """The model of a config.json and, where they are known, of its weights' shapes."""
    if config.get("quantization_config"):
        tensors = {}  # packed weights do not have the shapes of the model
    shape = architecture_of(config)
    if shape is None:
        return None
    found = tensors or tensors_of(config, shape)
    if not found:
        return None
    tied = not any(name.startswith(("lm_head.", "embed_out.")) or ".lm_head." in name for name in found)
    return Model(**{**vars(shape), "tied": tied}, tensors=found, exact=bool(tensors))


def _config(text: bytes) -> Mapping[str, Any]:
    """What a config.json says; nothing where it is no JSON object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
