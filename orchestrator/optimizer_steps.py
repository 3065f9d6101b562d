"""How many optimizer steps Axolotl 0.19.0 gives its trainer: exact without packing, an estimate with it.

Axolotl sets `max_steps` itself (`calculate_total_num_steps` in `utils/trainer.py`, taken over in
`core/builders/base.py`), so the rounding of the Hugging Face Trainer, per epoch, never comes into play.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import ceil, floor

# Axolotl packs four times, shuffled anew, and takes the smallest number of batches.
SHUFFLES = 4


def unpacked_steps(rows: int, epochs: float, micro_batch: int, accumulation: int, devices: int = 1) -> int:
    """Steps without packing, over `rows` that are left after dropping: all epochs' rows in one division."""
    return ceil(rows * epochs / (micro_batch * accumulation * devices))


def packed_steps(
    lengths: Sequence[int],
    epochs: float,
    *,
    sequence_len: int,
    micro_batch: int,
    accumulation: int,
    devices: int = 1,
    joined: bool = True,
    group_size: int = 100_000,
    pack_rows: int = 200,
) -> int:
    """An estimate of the steps with packing, for the rows that are left: `lengths` tokens, none too long.

    First-fit packing in a shuffled order depends on the trainer's random numbers, so this may be off by a
    pack or two. `joined`: attention that packs (flash, flex) makes one pack of a whole micro batch; otherwise
    each row of it is a pack. `group_size` and `pack_rows` are Axolotl's `sample_packing_group_size` and
    `sample_packing_bin_size`, with its defaults.
    """
    room, packs_per_batch = (micro_batch * sequence_len, 1) if joined else (sequence_len, micro_batch)
    counts = (
        _packs(_shuffled(lengths, seed), room, group_size, pack_rows) // packs_per_batch
        for seed in range(SHUFFLES)
    )
    batches = min(counts)
    per_epoch = max(1, batches * micro_batch // (micro_batch * accumulation * devices))
    return floor(per_epoch * epochs)


def _shuffled(lengths: Sequence[int], seed: int) -> list[int]:
    return random.Random(seed).sample(lengths, len(lengths))


def _packs(lengths: Sequence[int], room: int, group_size: int, pack_rows: int) -> int:
    starts = range(0, len(lengths), group_size)
    return sum(_first_fit(lengths[start : start + group_size], room, pack_rows) for start in starts)


def _first_fit(lengths: Sequence[int], room: int, pack_rows: int) -> int:
    """The number of packs when each row goes to the first pack with room and a free place.

    A tree over the packs keeps the largest room below each node: log(n) a row instead of n.
    """
    leaves = 1 << max(0, len(lengths) - 1).bit_length()
    largest = [room] * (2 * leaves)
    places = [pack_rows] * leaves
    used = 0
    for length in lengths:
        node = 1
        while node < leaves:
            node = 2 * node if largest[2 * node] >= length else 2 * node + 1
        pack = node - leaves
        used = max(used, pack + 1)
        places[pack] -= 1
        largest[node] = largest[node] - length if places[pack] else -1
        while node > 1:
            node //= 2
            largest[node] = max(largest[2 * node], largest[2 * node + 1])
    return used
