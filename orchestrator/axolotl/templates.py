"""The shipped templates: plain Axolotl YAML with comments, merged as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from orchestrator.machines import Machine
from orchestrator.shipped import templates_folder
from orchestrator.spec.document import KeyPath, Place
from orchestrator.spec.models import Spec
from orchestrator.spec.yaml import read_yaml


@dataclass(frozen=True)
class Template:
    """One file: its keys, where each of them stands, and its lines with their comments."""

    file: str
    keys: Mapping[str, Any]
    places: Mapping[KeyPath, Place]
    lines: tuple[str, ...]


@cache
def template(name: str) -> Template:
    """The template `name`; what it holds is not to be changed."""
    path = templates_folder() / f"{name}.yaml"
    text = path.read_bytes()
    document = read_yaml(text, path.name)
    return Template(path.name, document.value or {}, document.keys, tuple(text.decode().splitlines()))


def template_names(spec: Spec, machine: Machine) -> list[str]:
    """The templates of a spec on a machine, in the order they are laid over each other."""
    training = spec.training
    method = "pretrain_streaming" if training.streaming else spec.method
    names = ["common", method, spec.adapter.kind]
    names += ["packed" if training.packing else "unpacked", machine.device]
    if machine.devices > 1:
        names.append(spec.compute.parallel or "ddp")
    if training.checkpoint_seconds and not training.early_stopping:
        names.append("checkpoints_by_time")
    return names
