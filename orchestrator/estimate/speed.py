"""How fast a machine trains: as measured, as its owner says, or from a table of what devices compute."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from orchestrator.estimate.model import Model
from orchestrator.estimate.workload import Workload
from orchestrator.machines import Machine

RateSource = Literal["measured", "machine", "table"]

# Dense bfloat16 operations a second of one device, in units of 10^12, from the vendors' data sheets.
_TERAFLOPS: Mapping[str, float] = {
    "B200": 2250,
    "H200": 989,
    "H100": 989,
    "GH200": 989,
    "MI300X": 1307,
    "A100": 312,
    "A800": 312,
    "L40S": 362,
    "L40": 181,
    "L4": 121,
    "A40": 150,
    "A30": 165,
    "A10G": 70,
    "A10": 125,
    "A6000": 155,
    "RTX4090": 165,
    "RTX3090": 71,
}
_UNKNOWN_GPU = 100.0
# The share of those that fine-tuning reaches: Chowdhery et al. 2022 (PaLM, table 3) list 21 to 46 % for
# training large models; small batches and adapters stay at the lower end.
_REACHED = 0.3
# Single-precision operations a second that one core of a server processor reaches in PyTorch.
_CPU_CORE = 20e9
# Starting the operations of a layer in one pass over a micro batch: nearly all that a tiny model takes.
_CPU_LAYER_SECONDS = 1e-2
# How far the table is off on idle machines, and what evaluations and checkpoints add.
_CPU_SLOWEST = 3.0
STARTUP_SECONDS: Mapping[str, float] = {"cpu": 15.0, "gpu": 45.0}


@dataclass(frozen=True)
class Rate:
    """Tokens a second of the whole machine, padding included, and where the figure is from.

    `startup_seconds` pass before the first step: importing, reading the model and the data. A run may take
    `slowest` times as long, where nothing was measured.
    """

    tokens_per_second: float
    source: RateSource
    startup_seconds: float
    slowest: float = 1.0

    @property
    def told(self) -> str:
        return {
            "measured": "as an earlier run did",
            "machine": "as the settings say",
            "table": "from a table, so roughly",
        }[self.source]


def rate_of(model: Model, load: Workload, machine: Machine, measured: Rate | None = None) -> Rate:
    """The best known rate: an earlier run's, else the catalogue's, else the table's."""
    if measured is not None:
        return measured
    startup = STARTUP_SECONDS[machine.device]
    if machine.tokens_per_second is not None:
        return Rate(machine.tokens_per_second, "machine", startup)
    slowest = max(_CPU_SLOWEST, _crowd()) if machine.device == "cpu" else 1.0
    return Rate(tabled_rate(model, load, machine), "table", startup, slowest)


def _crowd() -> float:
    """Tasks that want each core of this machine."""
    return os.getloadavg()[0] / (os.cpu_count() or 1)


def tabled_rate(model: Model, load: Workload, machine: Machine) -> float:
    """Operations that the machine does in a second over those that a token takes.

    A token takes 2 operations for each parameter it meets forward, 2 for the gradients of activations, 2 for
    those of weights where they are trained, 2 more where gradient checkpointing goes forward again (Kaplan et
    al. 2020, section 2.1); attention adds 2 x 2 x layers x width x half the length for each of these passes.
    """
    passes = 2 + (0 if load.adapter else 1) + (1 if load.checkpointing else 0)
    width = model.heads * model.head_dim
    each = 2 * model.active + 2 * model.layers * width * load.length
    seconds = passes * each / _operations(machine)
    if machine.device == "cpu":
        seconds += passes * model.layers * _CPU_LAYER_SECONDS / load.tokens
    return 1 / seconds


def _operations(machine: Machine) -> float:
    if machine.device == "cpu":
        return _CPU_CORE * (os.cpu_count() or 1)
    named = (machine.gpu or "").upper().replace(" ", "").replace("-", "").replace("_", "")
    matches = [name for name in _TERAFLOPS if name in named]
    teraflops = _TERAFLOPS[max(matches, key=len)] if matches else _UNKNOWN_GPU
    return teraflops * 1e12 * _REACHED * machine.devices
