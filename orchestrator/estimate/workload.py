"""What a config makes the device do at once: the part of it that memory and time depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Lengths:
    """Lengths of the rows of training, in tokens: where half and 95 % of them end, and the longest."""

    rows: int
    tokens: int
    shortest: float
    median: float
    p95: float
    longest: float

    @classmethod
    def of_split(cls, figures: Mapping[str, Any]) -> Lengths:
        """From the figures of a split, as the prepare step records them."""
        return cls(figures["rows"], figures["tokens"], **figures["lengths"])

    def longest_of(self, count: int) -> float:
        """The mean length of the longest of `count` rows drawn at random: what padding brings all to.

        The quantile function Q is taken as straight lines through the four known points, and
        E[max] = integral of Q(u) d(u^count), an identity of order statistics.
        """
        points = ((0.0, self.shortest), (0.5, self.median), (0.95, self.p95), (1.0, self.longest))
        total = 0.0
        for (low, start), (high, end) in pairwise(points):
            slope = (end - start) / (high - low)
            weight = high**count - low**count
            moment = count / (count + 1) * (high ** (count + 1) - low ** (count + 1))
            total += (start - slope * low) * weight + slope * moment
        return total


@dataclass(frozen=True)
class Workload:
    """`length` is the longest sequence that a micro batch is padded to, `compute_bytes` the size of a number
    in a matrix product (2 in bfloat16, 4 in single precision)."""

    micro_batch: int
    accumulation: int
    length: int
    packed: bool
    adapter: str | None
    compute_bytes: int
    checkpointing: bool
    attention: str
    optimizer: str
    four_bit: bool
    sharded: bool
    devices: int

    @property
    def tokens(self) -> int:
        """Tokens in one micro batch at most, padding included."""
        return self.micro_batch * self.length


def workload(keys: Mapping[str, Any], longest: float, devices: int) -> Workload:
    """The workload of an Axolotl config on rows of which the longest has `longest` tokens."""
    limit = int(keys["sequence_len"])
    packed = bool(keys.get("sample_packing"))
    padded = packed or bool(keys.get("pad_to_sequence_len"))
    return Workload(
        micro_batch=int(keys["micro_batch_size"]),
        accumulation=int(keys.get("gradient_accumulation_steps") or 1),
        length=limit if padded else max(1, min(limit, int(longest))),
        packed=packed,
        adapter=keys.get("adapter"),
        compute_bytes=2 if keys.get("bf16") or keys.get("fp16") else 4,
        checkpointing=bool(keys.get("gradient_checkpointing")),
        attention=str(keys.get("attn_implementation") or "sdpa"),
        optimizer=str(keys.get("optimizer") or "adamw_torch"),
        four_bit=bool(keys.get("load_in_4bit")),
        sharded=bool(keys.get("fsdp_config")),
        devices=devices,
    )
