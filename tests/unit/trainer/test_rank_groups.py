"""Where ranks meet, what each is told, and what an epoch's end is worth on each."""

from __future__ import annotations

import pytest

from orchestrator.trainer.ranks import Ranks, rendezvous
from orchestrator.trainer.repeats import Share, share

STRANGER = {"RANK": "7", "WORLD_SIZE": "8", "MASTER_PORT": "29500", "HOME": "/root"}


def test_a_process_alone_is_told_of_no_rank_not_even_somebody_elses() -> None:
    with rendezvous(1) as place:
        environment = place.environment(0, STRANGER)
        assert environment == {"HOME": "/root"}
        assert place.handles(0) == ()
    ranks = Ranks.of(environment)
    assert (ranks.first, ranks.size) == (True, 1)
    assert ranks.agree(True, False) == (True, False)


def test_ranks_meet_at_a_port_that_is_taken_before_they_start() -> None:
    with rendezvous(2) as one, rendezvous(2) as other:
        environments = [one.environment(rank, STRANGER) for rank in (0, 1)]
        assert [Ranks.of(environment).rank for environment in environments] == [0, 1]
        assert {environment["WORLD_SIZE"] for environment in environments} == {"2"}
        ports = {environment["MASTER_PORT"] for environment in environments}
        assert len(ports) == 1
        assert other.environment(0, {})["MASTER_PORT"] not in ports
        assert len(one.handles(0)) == 1
        assert one.handles(1) == ()


def test_threads_are_shared_out_unless_somebody_said_how_many() -> None:
    with rendezvous(1000) as place:
        assert place.environment(0, {})["OMP_NUM_THREADS"] == "1"
        assert place.environment(0, {"OMP_NUM_THREADS": "3"})["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
@pytest.mark.parametrize("accumulation", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_an_epoch_has_each_row_once(batch_size: int, accumulation: int, ranks: int) -> None:
    for rows in range(1, 60):
        batches = [min(batch_size, rows - first) for first in range(0, rows, batch_size)]
        each = -(-len(batches) // ranks)  # what accelerate deals every rank
        dealt = [[*batches, *[0] * (each * ranks - len(batches))][rank::ranks] for rank in range(ranks)]
        before = (-(-each // accumulation) - 1) * accumulation
        in_last_step = sum(1 for mine in dealt for batch in mine[before:] if batch)
        for rank in range(ranks):
            mine = share(rows, batch_size, accumulation, rank, ranks)
            assert mine == Share(dealt[rank][-1], in_last_step / ranks)
