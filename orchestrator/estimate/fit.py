"""What to change where a run does not fit into the memory of its machine: each with what it comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.estimate import memory_limit
from orchestrator.estimate.memory import memory_of
from orchestrator.estimate.model import Model
from orchestrator.estimate.workload import Lengths, workload
from orchestrator.machines import GIB, Machine

_SHORTEST = 128


@dataclass(frozen=True)
class Remedy:
    """Fields of the spec with the values to give them, and the memory this takes: bytes of one device."""

    fields: Mapping[str, Any]
    needs: int
    limit: int

    def told(self) -> str:
        changes = ", ".join(f"{name}: {_plain(value)}" for name, value in self.fields.items())
        return f"{changes} ({_gib(self.needs)} of {_gib(self.limit)} GiB)"


def remedies(
    model: Model,
    keys: Mapping[str, Any],
    lengths: Lengths,
    machine: Machine,
    machines: Mapping[str, Machine],
) -> list[Remedy]:
    """Single changes that make it fit, cheapest first; where none does alone, they are put together."""
    trial = _Trial(model, keys, lengths, machine)
    single = [remedy for change in trial.changes() if (remedy := change.remedy())]
    found = single or [remedy for remedy in [_together(trial)] if remedy]
    return [*found, *_machines(trial, machines)]


@dataclass(frozen=True)
class _Trial:
    """A config with changes made to it, and the spec's fields that say so."""

    model: Model
    keys: Mapping[str, Any]
    lengths: Lengths
    machine: Machine
    fields: tuple[tuple[str, Any], ...] = ()

    def remedy(self) -> Remedy | None:
        """This, if it fits."""
        load = workload(self.keys, self.lengths.longest, self.machine.devices)
        needs = memory_of(self.model, load, self.keys, self.machine.device).total
        limit = memory_limit(self.machine)
        if limit is None or needs > limit:
            return None
        return Remedy(dict(self.fields), round(needs), limit)

    def with_(self, field: str, value: Any, **keys: Any) -> _Trial:
        kept = tuple(pair for pair in self.fields if pair[0] != field)
        return replace(self, keys={**self.keys, **keys}, fields=(*kept, (field, value)))

    def changes(self) -> Iterator[_Trial]:
        """What costs no quality first: speed, then precision of the base, then the longest rows."""
        yield self.smaller_batch()
        if not self.keys.get("gradient_checkpointing"):
            yield self.checkpointing()
        if self.machine.devices > 1 and not self.keys.get("fsdp_config"):
            yield self.with_("compute.parallel", "fsdp", fsdp_config={"reshard_after_forward": True})
        if self.keys.get("adapter") != "qlora" and self.machine.device == "gpu":
            yield self.lighter_adapter()
        yield self.shorter()

    def smaller_batch(self) -> _Trial:
        """The largest smaller micro batch that fits, else 1; accumulation keeps the batch of a step."""
        micro = int(self.keys["micro_batch_size"])
        whole = micro * int(self.keys.get("gradient_accumulation_steps") or 1)
        smaller = [size for size in range(micro - 1, 0, -1) if whole % size == 0] or [micro]
        trials = [
            self.with_(
                "training.micro_batch_size",
                size,
                micro_batch_size=size,
                gradient_accumulation_steps=whole // size,
            )
            for size in smaller
        ]
        return next((trial for trial in trials if trial.remedy()), trials[-1])

    def checkpointing(self) -> _Trial:
        return self.with_("training.gradient_checkpointing", True, gradient_checkpointing=True)

    def lighter_adapter(self) -> _Trial:
        """A base model in 4 bits below the adapter; full fine-tuning becomes low-rank."""
        linear = {} if self.keys.get("adapter") else {"lora_target_linear": True, "lora_r": 16}
        return self.with_("adapter.kind", "qlora", adapter="qlora", load_in_4bit=True, **linear)

    def shorter(self) -> _Trial:
        """The longest of halved sequence lengths that fits."""
        trial, length = self, int(self.keys["sequence_len"])
        while length > _SHORTEST:
            length //= 2
            trial = self.with_("training.sequence_len", length, sequence_len=length)
            if trial.remedy():
                break
        return trial


def _together(trial: _Trial) -> Remedy | None:
    """Each change on top of those before it, until it fits."""
    while True:
        more = [change for change in trial.changes() if change.fields not in ((), trial.fields)]
        fresh = [change for change in more if change.fields[-1][0] not in dict(trial.fields)]
        if not fresh:
            return None
        trial = fresh[0]
        if remedy := trial.remedy():
            return remedy


def _machines(trial: _Trial, machines: Mapping[str, Machine]) -> list[Remedy]:
    """The first other machine of the catalogue, smallest first, on which it fits as it is."""
    others = [
        other
        for other in machines.values()
        if other.name != trial.machine.name and other.device == trial.machine.device and other.memory_gib
    ]
    for other in sorted(others, key=lambda machine: (machine.price_per_hour or 0, machine.memory_gib or 0)):
        if other.devices != trial.machine.devices:
            continue
        moved = replace(trial, machine=other, fields=(("compute.machine", other.name),))
        if remedy := moved.remedy():
            return [remedy]
    return []


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _gib(value: int) -> str:
    return f"{value / GIB:.{0 if value >= 10 * GIB else 1}f}"
