"""What MLflow holds of a run, after everything was told once or more."""

from __future__ import annotations

import math
import uuid
from pathlib import Path

import pytest

from orchestrator import mlflow_client
from orchestrator.errors import TrackingError
from orchestrator.tracking import KEPT_TAG, RUN_TAG, DatasetInput, MetricPoint, TrackedRun, Tracker

STARTED = 1_700_000_000_000


@pytest.fixture
def tracker(mlflow_url: str) -> Tracker:
    return Tracker(mlflow_url)


@pytest.fixture
def run_id() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def tracked(tracker: Tracker, run_id: str) -> TrackedRun:
    return ensure(tracker, run_id)


def ensure(tracker: Tracker, run_id: str, experiment: str = "triage") -> TrackedRun:
    return tracker.ensure_run(run_id, "support-triage", experiment, {"axo.name": "support-triage"}, STARTED)


def client_of(tracker: Tracker):
    return mlflow_client.open_client(tracker.uri)


def runs_tagged(tracker: Tracker, tracked: TrackedRun, run_id: str) -> list[str]:
    query = f"tags.`{RUN_TAG}` = '{run_id}'"
    return [run.info.run_id for run in client_of(tracker).search_runs([tracked.experiment_id], query)]


def history(tracker: Tracker, tracked: TrackedRun, key: str) -> list[tuple[int, float, int]]:
    found = client_of(tracker).get_metric_history(tracked.mlflow_run_id, key)
    return sorted((metric.step, metric.value, metric.timestamp) for metric in found)


def test_ensuring_twice_gives_one_run(tracker: Tracker, run_id: str) -> None:
    first = ensure(tracker, run_id)
    assert ensure(tracker, run_id) == first
    assert runs_tagged(tracker, first, run_id) == [first.mlflow_run_id]
    info = client_of(tracker).get_run(first.mlflow_run_id).info
    assert (info.run_name, info.start_time, info.status) == ("support-triage", STARTED, "RUNNING")
    page = f"/#/experiments/{first.experiment_id}/runs/{first.mlflow_run_id}"
    assert first.url == tracker.uri + page


def test_other_runs_of_the_experiment_are_others(tracker: Tracker, tracked: TrackedRun) -> None:
    other = ensure(tracker, uuid.uuid4().hex)
    assert other.experiment_id == tracked.experiment_id
    assert other.mlflow_run_id != tracked.mlflow_run_id


def test_a_run_whose_making_was_cut_off_is_found(tracker: Tracker, tracked: TrackedRun) -> None:
    cut_off = uuid.uuid4().hex
    made = client_of(tracker).create_run(tracked.experiment_id, STARTED, {RUN_TAG: cut_off}, "x")
    assert ensure(tracker, cut_off).mlflow_run_id == made.info.run_id


def test_late_twins_go_and_the_one_returned_first_stays(
    tracker: Tracker, tracked: TrackedRun, run_id: str
) -> None:
    client = client_of(tracker)
    twins = [client.create_run(tracked.experiment_id, STARTED, {RUN_TAG: run_id}, "x") for _ in range(3)]
    assert ensure(tracker, run_id) == tracked
    assert runs_tagged(tracker, tracked, run_id) == [tracked.mlflow_run_id]
    for twin in twins:
        found = client.get_run(twin.info.run_id)
        assert found.info.lifecycle_stage == "deleted"
        assert not {RUN_TAG, KEPT_TAG} & set(found.data.tags)


def test_a_deleted_run_is_restored(tracker: Tracker, tracked: TrackedRun, run_id: str) -> None:
    tracker.log_points(tracked.mlflow_run_id, [MetricPoint("loss", 1, 0.5, STARTED)])
    client_of(tracker).delete_run(tracked.mlflow_run_id)
    assert ensure(tracker, run_id) == tracked
    assert history(tracker, tracked, "loss") == [(1, 0.5, STARTED)]


def test_writing_to_a_deleted_run_restores_it(tracker: Tracker, tracked: TrackedRun) -> None:
    client_of(tracker).delete_run(tracked.mlflow_run_id)
    tracker.log_points(tracked.mlflow_run_id, [MetricPoint("loss", 1, 0.5, STARTED)])
    assert client_of(tracker).get_run(tracked.mlflow_run_id).info.lifecycle_stage == "active"
    assert history(tracker, tracked, "loss") == [(1, 0.5, STARTED)]


def test_a_deleted_experiment_is_restored(tracker: Tracker, run_id: str) -> None:
    first = ensure(tracker, run_id, experiment=run_id)
    client_of(tracker).delete_experiment(first.experiment_id)
    assert ensure(tracker, run_id, experiment=run_id) == first
    tracker.set_tags(first.mlflow_run_id, {"axo.status": "training"})


def test_the_same_parameters_again_are_fine(tracker: Tracker, tracked: TrackedRun) -> None:
    params = {"learning_rate": 2e-4, "target_modules": ["q", "v"], "note": "ü" * 7000, "axolotl.a b@c": True}
    tracker.log_params(tracked.mlflow_run_id, params)
    tracker.log_params(tracked.mlflow_run_id, params)
    assert client_of(tracker).get_run(tracked.mlflow_run_id).data.params == {
        "learning_rate": "0.0002",
        "target_modules": '["q", "v"]',
        "note": "ü" * 6000,
        "axolotl.a b_c": "true",
    }


def test_many_parameters_take_several_requests(tracker: Tracker, tracked: TrackedRun) -> None:
    tracker.log_params(tracked.mlflow_run_id, {f"p{number}": number for number in range(250)})
    assert len(client_of(tracker).get_run(tracked.mlflow_run_id).data.params) == 250


def test_another_value_of_a_parameter_is_refused(tracker: Tracker, tracked: TrackedRun) -> None:
    tracker.log_params(tracked.mlflow_run_id, {"epochs": 1})
    with pytest.raises(TrackingError, match="Changing param values is not allowed") as caught:
        tracker.log_params(tracked.mlflow_run_id, {"epochs": 2})
    assert caught.value.__cause__ is not None


def test_datasets_show_once_each(tracker: Tracker, tracked: TrackedRun) -> None:
    digest = "0123456789abcdef" * 4
    datasets = [
        DatasetInput("tickets", digest, "training", {"sources": ["tickets.csv"]}, {"rows": 95, "tokens": 7}),
        DatasetInput("tickets", digest, "validation", {"sources": ["tickets.csv"]}, {"rows": 5}),
    ]
    tracker.log_inputs(tracked.mlflow_run_id, datasets)
    tracker.log_inputs(tracked.mlflow_run_id, datasets)
    inputs = client_of(tracker).get_run(tracked.mlflow_run_id).inputs.dataset_inputs
    found = {(entry.dataset.name, entry.tags[0].value): entry.dataset for entry in inputs}
    assert len(inputs) == 2
    training = found["tickets", "training"]
    assert (training.digest, training.profile) == (digest[:36], '{"rows": 95, "tokens": 7}')
    assert found["tickets (validation)", "validation"].profile == '{"rows": 5}'


def test_texts_lie_beside_the_run_and_are_replaced(
    tracker: Tracker, tracked: TrackedRun, tmp_path: Path
) -> None:
    tracker.log_artifact_texts(tracked.mlflow_run_id, {"spec.yaml": "name: ü\n", "launches/1/x.yaml": "a"})
    tracker.log_artifact_texts(tracked.mlflow_run_id, {"spec.yaml": "name: ö\n"})
    artifacts = mlflow_client.open_artifacts(tracker.uri, tracked.mlflow_run_id)
    assert mlflow_client.files_below(artifacts, "launches") == {"1/x.yaml": 1}
    mlflow_client.download(artifacts, "spec.yaml", tmp_path / "spec.yaml")
    assert (tmp_path / "spec.yaml").read_text(encoding="utf-8") == "name: ö\n"


def test_replayed_points_change_nothing(tracker: Tracker, tracked: TrackedRun) -> None:
    values = [1.5, math.nan, math.inf, -math.inf, 0.1 + 0.2, 1e-300]
    points = [MetricPoint("train/loss", step, value, STARTED + step) for step, value in enumerate(values)]
    for _ in range(3):
        tracker.log_points(tracked.mlflow_run_id, points)
    tracker.log_points(tracked.mlflow_run_id, points[2:4])
    found = history(tracker, tracked, "train/loss")
    assert [(step, time) for step, _, time in found] == [(step, STARTED + step) for step in range(6)]
    largest = 1.7976931348623157e308
    assert [found[step][1] for step in (0, 2, 3, 4, 5)] == [1.5, largest, -largest, 0.1 + 0.2, 1e-300]
    assert math.isnan(found[1][1])


def test_points_beyond_one_request_all_arrive(tracker: Tracker, tracked: TrackedRun) -> None:
    points = [MetricPoint("a@b", step, float(step), STARTED + step) for step in range(1201)]
    tracker.log_points(tracked.mlflow_run_id, points)
    assert [step for step, _, _ in history(tracker, tracked, "a_b")] == list(range(1201))


def test_a_summary_told_twice_is_one_point_each(tracker: Tracker, tracked: TrackedRun) -> None:
    for _ in range(2):
        tracker.log_summary(tracked.mlflow_run_id, {"run/attempts": 2.0, "run/lost_steps": 7.0})
    assert history(tracker, tracked, "run/attempts") == [(0, 2.0, STARTED)]
    assert history(tracker, tracked, "run/lost_steps") == [(0, 7.0, STARTED)]


def test_the_last_end_stands(
    tracker: Tracker, tracked: TrackedRun, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker.finish(tracked.mlflow_run_id, "FINISHED", STARTED + 1000)
    tracker.finish(tracked.mlflow_run_id, "FAILED", STARTED + 2000)
    info = client_of(tracker).get_run(tracked.mlflow_run_id).info
    assert (info.status, info.end_time) == ("FAILED", STARTED + 2000)
    assert capfd.readouterr() == ("", "")
