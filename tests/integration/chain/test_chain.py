"""From a spec to a published adapter, undisturbed: what MLflow, storage and the registry then hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from readings import counts_of, history_of, open_mlflow


def test_it_succeeds_and_says_where_everything_is(run: dict[str, Any]) -> None:
    assert (run["status"], run["attempts"], run["lost_steps"]) == ("succeeded", 1, 0)
    assert run["progress"] == "12/12"
    (published,) = run["published"]
    assert published["reference"].startswith("models:/desk/")


def test_the_forecast_is_what_axolotl_counted(desk: Any, run: dict[str, Any]) -> None:
    counted = counts_of(desk.home, run["id"])
    dataset = json.loads((desk.home / "storage" / "datasets" / run["dataset"] / "dataset.json").read_text())
    train, held_out = dataset["splits"]["train"], dataset["splits"]["validation"]
    assert counted["rows"] == train["rows"] == 96
    assert counted["validation_rows"] == held_out["rows"] == 24
    assert counted["total_num_tokens"] == train["tokens"]
    assert counted["total_supervised_tokens"] == train["trained_tokens"]


def test_mlflow_holds_one_finished_run_with_every_point_once(desk: Any, run: dict[str, Any]) -> None:
    client = open_mlflow(desk.environment["AXO_MLFLOW_URI"])
    tracked = tracked_as(client, run)
    assert tracked.info.status == "FINISHED"
    assert run["mlflow"].endswith(tracked.info.run_id)
    for key in ("loss", "learning_rate", "grad_norm"):
        assert [step for step, _ in history_of(client, tracked.info.run_id, key)] == list(range(1, 13))
    assert {step for step, _ in history_of(client, tracked.info.run_id, "eval_loss")} >= {4, 8, 12}
    assert tracked.data.params["base_model"] == "base"
    assert tracked.data.params["adapter.r"] == "4"
    assert tracked.data.metrics["run/attempts"] == 1
    assert tracked.data.metrics["run/lost_steps"] == 0
    assert tracked.data.metrics["run/queue_wait_seconds"] > 0
    assert {i.dataset.digest for i in tracked.inputs.dataset_inputs} == {run["dataset"][:36]}
    names = {info.path for info in client.list_artifacts(tracked.info.run_id)}
    assert names >= {"spec.yaml", "axolotl.yaml", "dataset.json"}


def test_the_registry_holds_one_version_that_verifies(desk: Any, run: dict[str, Any]) -> None:
    client = open_mlflow(desk.environment["AXO_MLFLOW_URI"])
    (version,) = client.search_model_versions("name = 'desk'")
    assert client.get_model_version_by_alias("desk", "candidate").version == version.version
    assert version.tags["axo.run_id"] == run["id"]
    assert version.tags["axo.digest"] == run["published"][0]["digest"]
    proof = json.loads(desk.axo("verify", run["id"], "-o", "json"))
    assert {True} == {told["as_published"] for told in proof.values()}, proof


def test_what_travels_with_the_adapter(desk: Any, run: dict[str, Any], tmp_path: Path) -> None:
    client = open_mlflow(desk.environment["AXO_MLFLOW_URI"])
    version = client.get_model_version_by_alias("desk", "candidate")
    folder = Path(client.download_artifacts(version.run_id, version.source.split("/", 2)[2], str(tmp_path)))
    origin = json.loads((folder / "provenance.json").read_text())
    assert origin["adapter"]["digest"] == run["published"][0]["digest"]
    assert origin["dataset"]["digest"] == run["dataset"]
    prepared = json.loads((desk.home / "storage" / "datasets" / run["dataset"] / "dataset.json").read_text())
    assert origin["mapping"]["digest"] == prepared["mapping"]
    assert origin["spec"]["text"] == (desk.folder / "spec.yaml").read_text()
    named = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert named == f"sha256:{origin['base_model']['digest']}"
    assert "base_model: base" in (folder / "README.md").read_text()


def test_what_was_estimated_is_compared_with_what_it_took(desk: Any, run: dict[str, Any]) -> None:
    compared = {each["name"]: each for each in run["estimate_against_actual"]}
    assert compared["steps"]["estimate"] == compared["steps"]["actual"] == 12
    memory = compared["peak memory"]
    assert memory["estimate"] == pytest.approx(memory["actual"], rel=0.25)
    client = open_mlflow(desk.environment["AXO_MLFLOW_URI"])
    tracked = tracked_as(client, run)
    assert tracked.data.params["estimate.steps"] == "12"
    assert tracked.data.metrics["actual/peak_memory"] == memory["actual"]
    assert "ESTIMATE" in desk.axo("describe", run["id"])


def test_running_it_again_is_a_new_run_and_the_same_adapter(desk: Any, run: dict[str, Any]) -> None:
    again = desk.run()
    assert again["id"] != run["id"]
    assert again["published"][0]["digest"] == run["published"][0]["digest"]
    assert (run["estimate"]["rate_source"], again["estimate"]["rate_source"]) == ("table", "measured")


def test_publishing_again_publishes_nothing_new(desk: Any, run: dict[str, Any]) -> None:
    references = desk.axo("publish", run["id"], "-o", "name").split()
    assert references == [run["published"][0]["reference"]]


def test_logs_stay_after_the_end(desk: Any, run: dict[str, Any]) -> None:
    text = desk.axo("logs", run["id"])
    assert "attempt 2 of run" in text
    assert "success: Trained 12 steps" in text


def test_get_lists_and_shows_it(desk: Any, run: dict[str, Any]) -> None:
    assert run["id"] in desk.axo("get", "-o", "name").split()
    assert max(len(line) for line in desk.axo("get").splitlines()) < 80
    picture = desk.folder / "loss.svg"
    shown = desk.axo("get", run["id"], "--curve", str(picture))
    assert "succeeded" in shown
    assert "training loss" in picture.read_text()


def test_a_second_run_goes_on_from_the_first_ones_adapter(
    desk: Any, run: dict[str, Any], tmp_path: Path
) -> None:
    """QLoRA on top of LoRA: the loss starts where the first run left it, and its record names the first."""
    client = open_mlflow(desk.environment["AXO_MLFLOW_URI"])
    spec = (desk.folder / "spec.yaml").read_text()
    desk.write_spec(name="second", adapter={"kind": "qlora", "continue_from": run["id"]})
    second = desk.run()
    (desk.folder / "spec.yaml").write_text(spec)

    def losses(shown: dict[str, Any]) -> list[float]:
        return [value for _, value in history_of(client, shown["mlflow"].rpartition("/")[2], "loss")]

    assert losses(second)[0] < losses(run)[0]
    version = client.get_model_version_by_alias("desk", "candidate")
    folder = Path(client.download_artifacts(version.run_id, version.source.split("/", 2)[2], str(tmp_path)))
    origin = json.loads((folder / "provenance.json").read_text())
    assert origin["run"]["id"] == second["id"]
    assert origin["continued_from"] == {"digest": run["published"][0]["digest"], "run": run["id"]}
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 4


def tracked_as(client: Any, run: dict[str, Any]) -> Any:
    """The one run of MLflow that a run is."""
    experiment = run["mlflow"].split("/")[-3]
    (tracked,) = client.search_runs([experiment], f"tags.`axo.run_id` = '{run['id']}'")
    return tracked
