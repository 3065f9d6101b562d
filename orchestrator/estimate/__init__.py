"""What a run will need and cost, estimated before it starts: memory, time, disk, money.

All of it follows from the shapes of the model, the Axolotl config and the lengths of the rows; nothing is
loaded and nothing is run. `scripts/bench estimate` holds it against what small models really took.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.estimate.memory import Memory, memory_of
from orchestrator.estimate.model import Model
from orchestrator.estimate.speed import Rate, rate_of
from orchestrator.estimate.trainable import trainable_parameters
from orchestrator.estimate.workload import Lengths, Workload, workload
from orchestrator.machines import GIB, Machine

# How full first-fit packing makes a sequence, where nothing better is known than the sum of the tokens.
_PACKED_FULL = 0.97


@dataclass(frozen=True)
class Estimate:
    """One run, foreseen. Bytes are those of one device; `memory_limit` is None where nobody said it.

    `tokens` go through the model, padding included, of which `padding` is the share; `steps_exact` is False
    where packing decides. `price` is in the currency of the catalogue, None where it names none.
    """

    parameters: int
    trainable: int
    exact_shapes: bool
    memory: Memory
    memory_limit: int | None
    steps: int
    steps_exact: bool
    tokens: int
    padding: float
    rate: Rate
    seconds: float
    device_hours: float
    price: float | None
    checkpoint_bytes: int
    adapter_bytes: int

    @property
    def seconds_at_most(self) -> float:
        """What it may take instead of `seconds`, where those are from a table."""
        return self.seconds * self.rate.slowest

    @property
    def fits(self) -> bool | None:
        return None if self.memory_limit is None else self.memory.total <= self.memory_limit

    def to_dict(self) -> dict[str, Any]:
        """As plain data: what is recorded with a run, and printed for programs."""
        return {
            "parameters": self.parameters,
            "trainable_parameters": self.trainable,
            "exact_shapes": self.exact_shapes,
            "memory_bytes": self.memory.to_dict(),
            "memory_limit_bytes": self.memory_limit,
            "fits": self.fits,
            "steps": self.steps,
            "steps_exact": self.steps_exact,
            "tokens": self.tokens,
            "padding": round(self.padding, 4),
            "tokens_per_second": round(self.rate.tokens_per_second, 1),
            "rate_source": self.rate.source,
            "seconds": round(self.seconds, 1),
            "seconds_at_most": round(self.seconds_at_most, 1),
            "device_hours": round(self.device_hours, 4),
            "price": None if self.price is None else round(self.price, 4),
            "checkpoint_bytes": self.checkpoint_bytes,
            "adapter_bytes": self.adapter_bytes,
        }


def estimate(
    model: Model,
    keys: Mapping[str, Any],
    lengths: Lengths,
    machine: Machine,
    *,
    steps: int | None = None,
    steps_exact: bool = True,
    measured: Rate | None = None,
) -> Estimate:
    """The estimate of an Axolotl config on rows of these lengths, on a machine.

    `steps` is None where packing decides them: they are then worked out from the sum of the tokens.
    """
    load = workload(keys, lengths.longest, machine.devices)
    total = steps or _packed_steps(keys, lengths, load)
    tokens, padding = _tokens(keys, lengths, load, total)
    rate = rate_of(model, load, machine, measured)
    seconds = rate.startup_seconds + tokens / rate.tokens_per_second
    trained = trainable_parameters(model, keys)
    memory = memory_of(model, load, keys, machine.device)
    hours = seconds / 3600
    return Estimate(
        parameters=model.parameters,
        trainable=trained,
        exact_shapes=model.exact,
        memory=memory,
        memory_limit=memory_limit(machine),
        steps=total,
        steps_exact=steps is not None and steps_exact,
        tokens=tokens,
        padding=padding,
        rate=rate,
        seconds=seconds,
        device_hours=hours * machine.devices,
        price=None if machine.price_per_hour is None else hours * machine.price_per_hour,
        checkpoint_bytes=_saved(model, keys, load) + _moments(model, keys, load, memory),
        adapter_bytes=_saved(model, keys, load),
    )


def memory_limit(machine: Machine) -> int | None:
    """Bytes of one device; of this machine's processor where the catalogue does not say."""
    if machine.memory_gib is not None:
        return int(machine.memory_gib * GIB)
    if machine.device == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // machine.devices
    return None


def _packed_steps(keys: Mapping[str, Any], lengths: Lengths, load: Workload) -> int:
    sequences = math.ceil(lengths.tokens / (load.length * _PACKED_FULL))
    batch = load.micro_batch * load.accumulation * load.devices
    return max(1, math.floor(max(1, sequences // batch) * float(keys.get("num_epochs") or 1)))


def _tokens(keys: Mapping[str, Any], lengths: Lengths, load: Workload, steps: int) -> tuple[int, float]:
    """Tokens through the model in all steps, and the share of padding in them."""
    rows = steps * load.micro_batch * load.accumulation * load.devices
    if load.packed:
        tokens = rows * load.length
        real = lengths.tokens * float(keys.get("num_epochs") or 1)
        return tokens, max(0.0, 1 - real / tokens) if "max_steps" not in keys else 1 - _PACKED_FULL
    rows = min(rows, math.ceil(lengths.rows * float(keys.get("num_epochs") or 1)))
    each = load.length if keys.get("pad_to_sequence_len") else lengths.longest_of(load.micro_batch)
    mean = lengths.tokens / max(1, lengths.rows)
    return round(rows * max(each, mean)), max(0.0, 1 - mean / max(each, mean))


def _saved(model: Model, keys: Mapping[str, Any], load: Workload) -> int:
    """What is published: low-rank matrices in single precision, or every weight."""
    each = 4 if load.adapter else load.compute_bytes
    return trainable_parameters(model, keys) * each


def _moments(model: Model, keys: Mapping[str, Any], load: Workload, memory: Memory) -> int:
    """The optimizer's state of the whole model, which a checkpoint also holds."""
    return round(memory.optimizer * (load.devices if load.sharded else 1))
