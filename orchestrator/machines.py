"""The machines that a spec can name, and what a launch gets on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

GIB = 1024**3


@dataclass(frozen=True)
class Machine:
    """An entry of the catalogue: what a launch gets when a spec names it.

    `devices` counts the GPUs, or the processes that share a processor; `memory_gib` is that of one
    device, `price_per_hour` that of the whole machine, in the operator's currency.
    `tokens_per_second` is what the operator measured on the whole machine. None is not known. What follows is
    for Kubernetes: the share of a node that a launch gets, and which nodes it may be on.
    """

    name: str
    device: Literal["cpu", "gpu"]
    devices: int = 1
    gpu: str | None = None
    memory_gib: float | None = None
    price_per_hour: float | None = None
    tokens_per_second: float | None = None
    cpus: float | None = None
    host_memory_gib: float | None = None
    scratch_gib: float | None = None
    gpu_resource: str = "nvidia.com/gpu"
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, str]] = ()
    priority: str | None = None
    sentence: str = ""

    @property
    def threads(self) -> int | None:
        """How many threads each of its processes may compute with; None where its share is not known."""
        return None if self.cpus is None else max(1, int(self.cpus / self.devices))

    def thread_variables(self) -> Mapping[str, str]:
        """What tells libraries so in a container, where they would count the processors of the host."""
        names = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS")
        return {} if self.threads is None else dict.fromkeys(names, str(self.threads))


MACHINES = {
    machine.name: machine
    for machine in (
        Machine("cpu", "cpu", sentence="The processor of this machine, 32-bit floats."),
        Machine("gpu", "gpu", sentence="One GPU of this machine, bfloat16."),
    )
}
