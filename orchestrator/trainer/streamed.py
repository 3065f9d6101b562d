"""Texts that are read, packed and trained in one go, resumed where they were left.

Axolotl 0.19.0 packs each buffer of texts in an order whose seed it draws while training, from the
generator that dropout draws from too; a start that reads its way back to a checkpoint would draw
others, and train on other packs. So the seeds of the pass go into the checkpoint. transformers, for its
part, takes all steps of such a run for one epoch, and would end a run that stopped in its second pass.

Several ranks each read all texts, pack them alike, with the seeds of rank 0, and train on packs in turn.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from axolotl.utils.data import streaming
from torch.utils.data import IterableDataset, RandomSampler

from orchestrator.trainer.ranks import Ranks

FILE = "packing.json"


class Packing:
    """The seeds of one pass over the texts, one per buffer: those of the checkpoint first, then new ones."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.seeds: list[int] = []
        self._next = 0
        self._resumed = False
        self._before_drawing: Callable[[], None] = lambda: None

    def install(self) -> None:
        """Let Axolotl pack with these seeds; before it loads the data."""
        packing = self

        class Sampler(RandomSampler):  # type: ignore[misc]
            def __iter__(self) -> Any:
                self.generator = torch.Generator()
                self.generator.manual_seed(packing.seed())
                return super().__iter__()

        streaming.RandomSampler = Sampler

    def seed(self) -> int:
        """The next buffer's, drawn as RandomSampler draws its own."""
        if self._next == len(self.seeds):
            self._before_drawing()
            own = int(torch.empty((), dtype=torch.int64).random_().item())
            self.seeds.append(self._ranks.first_word(own))
        self._next += 1
        return self.seeds[self._next - 1]

    def begin_pass(self) -> None:
        """The texts are read from the first one on: again, or as far as the checkpoint was."""
        self._next = 0
        if not self._resumed:
            self.seeds.clear()
        self._resumed = False

    def save(self, checkpoint: Path) -> None:
        (checkpoint / FILE).write_text(json.dumps(self.seeds))

    def resume(self, trainer: Any, checkpoint: Path) -> None:
        """Go on from a checkpoint: with its seeds and, where the first batches after it need a new one,
        with its random state, which transformers loads only once those are there."""
        self.seeds = json.loads((checkpoint / FILE).read_bytes())
        self._resumed = True
        load = trainer._load_rng_state
        loaded = False

        def load_once(folder: str) -> None:
            nonlocal loaded
            if not loaded:
                loaded = True
                load(folder)

        trainer._load_rng_state = load_once
        self._before_drawing = lambda: load_once(str(checkpoint))


def is_streamed(trainer: Any) -> bool:
    return isinstance(trainer.train_dataset, IterableDataset)


def count_passes(trainer: Any) -> None:
    """Let a resumed run go on in the pass over its texts, and at the batch, that its epoch names."""
    start = trainer._init_training_state

    def in_passes(max_steps: int, *arguments: Any) -> tuple[int, int]:
        passes, skipped = start(max_steps, *arguments)
        if not trainer.state.global_step:
            return passes, skipped
        epoch = trainer.state.epoch
        batches = max_steps * trainer.args.gradient_accumulation_steps  # what transformers calls an epoch
        return int(epoch), round((epoch - int(epoch)) * batches)

    trainer._init_training_state = in_passes
    # A worker would pack, and draw the seeds, out of our sight.
    trainer.args.dataloader_num_workers = 0
    trainer.args.dataloader_persistent_workers = False
