"""What the scheduler says, in words that need no manual."""

from __future__ import annotations

import pytest

from orchestrator.backends.kubernetes.scheduling import in_plain_words

TAIL = (
    " no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for "
    "incoming pod."
)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu." + TAIL,
            "none of 1 nodes has room: too little free nvidia.com/gpu on 1 "
            "(0/1 nodes are available: 1 Insufficient nvidia.com/gpu)",
        ),
        (
            "0/7 nodes are available: 1 node(s) had untolerated taint {a: b}, 2 Insufficient cpu, 4 node(s) "
            "didn't match Pod's node affinity/selector. preemption: 0/7 nodes are available: 7 Preemption is "
            "not helpful for scheduling.",
            "none of 7 nodes has room: a taint that the machine does not tolerate on 1, too little free cpu "
            "on 2, other labels than the machine's on 4 (0/7 nodes are available: 1 node(s) had untolerated "
            "taint {a: b}, 2 Insufficient cpu, 4 node(s) didn't match Pod's node affinity/selector)",
        ),
        (
            '0/1 nodes are available: persistentvolumeclaim "none" not found. not found',
            '0/1 nodes are available: persistentvolumeclaim "none" not found. not found',
        ),
        ("no nodes available to schedule pods", "no nodes available to schedule pods"),
        ("", ""),
    ],
)
def test_what_the_scheduler_says_in_plain_words(said: str, told: str) -> None:
    assert in_plain_words(said) == told
