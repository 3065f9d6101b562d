"""Where a value of a rendered config comes from: a template and its comment, the spec, or a sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.axolotl.render import DatasetFacts, render
from orchestrator.axolotl.templates import Template, template, template_names
from orchestrator.machines import Machine
from orchestrator.spec.document import parse_path
from orchestrator.spec.models import Spec
from orchestrator.spec.names import AXOLOTL_NAMES

_COUNTED = "decided when the data is counted; `axo plan` shows it"
_ROWS = 10**18  # as good as any number: values that depend on it are not shown
# What is computed, and from what; the values of those that name the data are not known without it.
_COMPUTED: Mapping[str, tuple[str, bool]] = {
    "eval_batch_size": ("micro_batch_size", True),
    "eval_steps": ("training.eval_steps, else a tenth of the steps", True),
    "fsdp_config": ("the template, with training.gradient_checkpointing and what adapter.kind allows", False),
    "gradient_accumulation_steps": ("training.batch_size / (micro_batch_size x devices)", True),
    "greater_is_better": ("training.early_stopping: a lower loss is better", False),
    "load_best_model_at_end": ("training.early_stopping: the best checkpoint is kept", False),
    "lr_scheduler_kwargs": ("training.scheduler and min_lr_ratio", True),
    "max_steps": ("training.max_steps, where it ends the run before its epochs", True),
    "metric_for_best_model": ("training.early_stopping: the loss on held-out rows", False),
    "micro_batch_size": ("training.micro_batch_size, else what fits of the longest rows", True),
    "save_steps": ("training.checkpoint_steps, else the evaluations of early stopping", True),
    "test_datasets": ("dataset.validation, read as the rows to train on are", False),
    "warmup_steps": ("training.warmup_ratio of the steps, where max_steps ends the run sooner", True),
    "warmup_ratio": ("training.warmup_ratio, unless max_steps ends the run sooner", True),
}


@dataclass(frozen=True)
class Origin:
    """A value of a config, where it comes from, and why; `known` is False where only the data decides it."""

    source: str
    why: str | None = None
    value: Any = None
    known: bool = True


def origin_of(name: str, spec: Spec, machine: Machine) -> Origin | None:
    """Where the value of a key, such as `datasets.type`, comes from in a spec's config; None without one.

    Raises:
        SpecError: as `render` does.
    """
    key, *inner = parts = plain_names(name)
    keys = render(spec, machine, _uncounted(spec)).keys
    value, computed = value_at(keys, parts), _COMPUTED.get(key)
    if key in spec.axolotl:
        return Origin("the spec", "its section `axolotl`", value)
    layers = [template(each) for each in reversed(template_names(spec, machine))]
    layer = next((layer for layer in layers if key in layer.keys), None)
    if layer and value_at(layer.keys, parts) == value and (inner or key in keys):
        line, comment = _place(layer, parts)
        return Origin(f"axolotl_templates/{layer.file}:{line}", comment, value)
    if computed:
        source, counted = computed
        if counted:
            return Origin(source, _COUNTED, known=False)
        return Origin(source, value=value) if key in keys else None
    return Origin(AXOLOTL_NAMES.get(key, "the spec"), None, value) if key in keys else None


def _uncounted(spec: Spec) -> DatasetFacts:
    held_out = 0 if spec.dataset.validation is None else _ROWS
    return DatasetFacts(_ROWS, held_out, tokens=_ROWS, trained_tokens=_ROWS, longest=1, digest="")


def plain_names(name: str) -> list[str]:
    """The names in a path such as `datasets[0].type`, without its list places."""
    return [part for part in parse_path(name) if isinstance(part, str) and not part.isdigit()]


def value_at(data: Any, names: Sequence[str]) -> Any:
    """The value at a path of names, that of each entry where a list is on the way; None where none is."""
    for place, name in enumerate(names):
        if isinstance(data, list):
            found = [value_at(entry, names[place:]) for entry in data]
            return found[0] if len(found) == 1 else found
        data = data.get(name) if isinstance(data, Mapping) else None
    return data


def _place(found: Template, names: Sequence[str]) -> tuple[int, str | None]:
    """The line of a key in a template, and the comment above it and beside it."""
    at = next(
        place for path, place in found.places.items() if [p for p in path if isinstance(p, str)] == names
    )
    first = at.line - 1
    while first and found.lines[first - 1].lstrip().startswith("#"):
        first -= 1
    above = [line.strip()[1:] for line in found.lines[first : at.line - 1]]
    words = [*above, found.lines[at.line - 1].partition("  #")[2]]
    return at.line, " ".join(word.strip() for word in words if word.strip()) or None
