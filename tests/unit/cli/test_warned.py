"""What the service inside a command warns of stands above the live view, and not over and over."""

from __future__ import annotations

import logging

import pytest

from orchestrator.cli.drawn import draw, erase
from orchestrator.cli.shown import next_commands
from orchestrator.cli.verify import way_out
from orchestrator.cli.warned import warnings_noted
from orchestrator.errors import DatabaseError
from orchestrator.reasons import Reason
from orchestrator.runs import Status
from orchestrator.wire import IN_STORAGE, Run

SHIP = logging.getLogger("orchestrator.controller.ship")


def test_a_warning_takes_the_live_view_away_and_comes_once(capsys: pytest.CaptureFixture[str]) -> None:
    draw(["step 3/9", "loss 1.0"])
    capsys.readouterr()
    with warnings_noted():
        for _ in range(3):
            SHIP.warning("MLflow at http://mlflow:5000 cannot be reached")
            SHIP.info("all is well")
        try:
            raise DatabaseError("the database is full")
        except DatabaseError:
            SHIP.exception("a turn failed")
    said = capsys.readouterr().err
    assert said == (
        "\r\x1b[2K\x1b[1A\x1b[2KMLflow at http://mlflow:5000 cannot be reached\n"
        "a turn failed: the database is full\n"
    )
    erase()
    assert capsys.readouterr().err == ""


def test_a_run_that_waits_for_its_registry_is_published_next() -> None:
    run = Run.model_construct(id="triage-1", status=Status.PUBLISHING, reason=Reason.REGISTRY_AWAY)
    assert list(next_commands(run)) == ["axo publish triage-1", "axo pull triage-1"]


def test_a_run_that_its_registry_refused_can_still_be_published() -> None:
    run = Run.model_construct(id="triage-1", status=Status.FAILED, reason=Reason.REGISTRY_REFUSED)
    assert list(next_commands(run)) == ["axo publish triage-1", "axo pull triage-1"]


@pytest.mark.parametrize(
    ("storage", "version", "said"),
    [
        ([], [], None),
        (["x"], ["x"], None),
        ([], ["x"], "as it was made:  axo pull triage\npublish it anew:  axo publish triage"),
        (["x"], [], "as it was made:  axo pull models:/triage/1"),
    ],
)
def test_an_adapter_that_was_changed_in_one_place_is_fetched_from_the_other(
    storage: list[str], version: list[str], said: str | None
) -> None:
    assert way_out("triage", {IN_STORAGE: storage, "models:/triage/1": version}) == said
