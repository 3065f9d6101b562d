"""Attempts claim numbers, own the run in turn, and say how they ended."""

from __future__ import annotations

import json
import math

import pytest

from orchestrator.contract import (
    Cause,
    Fence,
    LaunchPlan,
    Outcome,
    Result,
    Store,
    attempts,
    claim_attempt,
    owner,
    read_manifest,
    read_outcome,
)


def test_numbers_are_claimed_in_order_and_the_last_owns(store: Store) -> None:
    assert owner(store) == 0
    claims = [claim_attempt(store, launch, host="h", pid=7, now=5.0) for launch in (1, 1, 2)]
    assert [claim.attempt for claim in claims] == [1, 2, 3]
    assert attempts(store) == claims
    assert owner(store) == 3
    Fence(store, 3).check()


def test_ten_and_more_attempts_stay_in_order(store: Store) -> None:
    claims = [claim_attempt(store, 1, host="h", pid=7, now=5.0) for _ in range(12)]
    assert [claim.attempt for claim in attempts(store)] == [claim.attempt for claim in claims]
    assert owner(store) == 12


def test_an_outcome_comes_back_as_it_was_said(store: Store) -> None:
    said = Outcome(
        attempt=2,
        launch=1,
        kind="train",
        result=Result.FAILED,
        exit_code=71,
        cause=Cause.OUT_OF_MEMORY,
        message="CUDA out of memory",
        step=12,
        total_steps=40,
        started=1.0,
        ended=2.5,
        facts={"peak_gpu_bytes": 7},
    )
    assert read_outcome(store, 2) is None
    store.create("attempts/2/outcome.json", said.to_json())
    assert read_outcome(store, 2) == said


def test_a_newer_writer_may_say_more(store: Store) -> None:
    plan = LaunchPlan("r", 1, "train", device="gpu", model="models/a", task={"x": [1]})
    text = plan.to_json().replace(b'"run"', b'"colour": "blue", "run"')
    assert LaunchPlan.from_json(text) == plan


SAID = json.loads(Outcome(1, 1, "train", Result.SUCCESS, 0).to_json())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 200_000,
        "\udcff",
        json.dumps({**SAID, "result": "glory"}),
        json.dumps({**SAID, "step": "x"}),
        json.dumps({**SAID, "step": 10**30}),
        json.dumps({**SAID, "message": ["x"]}),
        json.dumps({**SAID, "kind": ["train"]}),
        json.dumps({**SAID, "facts": [1]}),
        json.dumps({**SAID, "ended": math.nan}),
        json.dumps({"attempt": 1}),
    ],
)
def test_what_training_code_writes_in_place_of_an_outcome_counts_as_none(store: Store, text: str) -> None:
    data = text.encode(errors="surrogateescape")
    store.write("attempts/2/outcome.json", data)
    assert read_outcome(store, 2) is None
    store.write("x/MANIFEST.json", data)
    assert read_manifest(store, "x") is None


CLAIM = {"attempt": 2, "launch": 1, "host": "h", "pid": 7, "time": 5.0}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 200_000,
        json.dumps({**CLAIM, "attempt": 1}),
        json.dumps({**CLAIM, "launch": "1"}),
        json.dumps({**CLAIM, "launch": 10**30}),
        json.dumps({**CLAIM, "time": math.nan}),
        json.dumps({"attempt": 2}),
    ],
)
def test_what_training_code_writes_in_place_of_a_claim_owns_the_run_until_the_next(
    store: Store, text: str
) -> None:
    first = claim_attempt(store, 1, host="h", pid=7, now=5.0)
    store.write("attempts/2/claim.json", text.encode())
    assert attempts(store) == [first]
    assert owner(store) == 2
    assert claim_attempt(store, 2, host="h", pid=7, now=6.0).attempt == 3


@pytest.mark.parametrize("number", ["0", "01", "+1", "1e3", "9" * 30, "\u0663"])
def test_a_claim_of_no_number_is_none(store: Store, number: str) -> None:
    store.write(f"attempts/{number}/claim.json", json.dumps(CLAIM).encode())
    assert attempts(store) == []
    assert owner(store) == 0
