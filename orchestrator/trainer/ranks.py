"""The processes that train together, one per device of a node, and how they agree.

The parent opens the socket at which they meet and rank 0 inherits it, so its port is taken by nobody
else, at no moment. What ranks ask one another goes over a group of its own, on the CPU: it never
waits for a device, and a rank may wait there for as long as rank 0 writes a checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

_HOST = "127.0.0.1"
_HANDLE = "AXO_RENDEZVOUS_HANDLE"
_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", _HANDLE)
_LONGEST_WAIT = timedelta(days=1)


@dataclass(frozen=True)
class Rendezvous:
    """The listening socket at which `size` ranks meet; None for a process alone."""

    size: int
    listener: socket.socket | None

    def handles(self, rank: int) -> tuple[int, ...]:
        """The open files that this rank inherits."""
        return (self.listener.fileno(),) if self.listener and rank == 0 else ()

    def environment(self, rank: int, environment: Mapping[str, str]) -> dict[str, str]:
        """A child's environment with its place among the ranks, and nobody else's."""
        child = {name: value for name, value in environment.items() if name not in _VARIABLES}
        if self.listener is None:
            return child
        child |= {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(self.size),
            "LOCAL_WORLD_SIZE": str(self.size),
            "MASTER_ADDR": _HOST,
            "MASTER_PORT": str(self.listener.getsockname()[1]),
        }
        child.setdefault("GLOO_SOCKET_IFNAME", "lo")  # one node: no need to find the host's own name
        child.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self.size)))
        return child | ({_HANDLE: str(self.listener.fileno())} if rank == 0 else {})


@contextlib.contextmanager
def rendezvous(size: int) -> Iterator[Rendezvous]:
    """A place for `size` ranks to meet, for as long as it is open. Raises OSError when no port is free."""
    if size == 1:
        yield Rendezvous(size, None)
        return
    with socket.create_server((_HOST, 0), backlog=max(128, size)) as listener:
        yield Rendezvous(size, listener)


class Ranks:
    """This process among those that train together. Alone, it agrees with itself at no cost."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._group: Any = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Ranks:
        return cls(int(environment.get("RANK", 0)), int(environment.get("WORLD_SIZE", 1)))

    @property
    def first(self) -> bool:
        """Rank 0 writes the metric record, the checkpoints and the adapter."""
        return self.rank == 0

    def join(self, device: Literal["cpu", "gpu"], timeout: timedelta) -> None:
        """Meet the others; accelerate and Axolotl then find the process group made.

        `timeout`: how long one rank waits for another in a collective call of training.

        Raises:
            RuntimeError: the machine shows fewer devices than there are ranks.
        """
        if self.size == 1:
            return
        import torch
        from torch import distributed

        if device == "gpu":
            if (found := torch.cuda.device_count()) < self.size:
                raise RuntimeError(f"the plan wants {self.size} GPUs and this machine shows {found}")
            torch.cuda.set_device(self.rank)
        store = distributed.TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            self.size,
            is_master=self.first,
            timeout=timeout,
            master_listen_fd=int(os.environ[_HANDLE]) if self.first else None,
        )
        backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
        distributed.init_process_group(
            backend, store=store, rank=self.rank, world_size=self.size, timeout=timeout
        )
        self._group = distributed.new_group(backend="gloo", timeout=_LONGEST_WAIT)

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """Each flag as true as any rank says it is: the same answer on all. A collective call."""
        if self.size == 1:
            return flags
        import torch
        from torch import distributed

        said = torch.tensor(flags, dtype=torch.uint8)
        distributed.all_reduce(said, op=distributed.ReduceOp.MAX, group=self._group)
        return tuple(bool(flag) for flag in said.tolist())

    def first_word(self, value: int) -> int:
        """What rank 0 says, a 64-bit integer, on all. A collective call."""
        if self.size == 1:
            return value
        import torch
        from torch import distributed

        said = torch.tensor(value, dtype=torch.int64)
        distributed.broadcast(said, src=0, group=self._group)
        return int(said.item())

    def wait(self) -> None:
        """Go on once every rank has come here. A collective call."""
        self.agree(False)
