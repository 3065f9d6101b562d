"""The typed client has a method for every route that is for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestrator.api.app import make_app
from orchestrator.client import Client
from orchestrator.host import open_host
from orchestrator.service import LOCAL
from orchestrator.settings import Settings

METHODS: Mapping[str, str] = {
    "adapters_adapter": "adapter",
    "adapters_adapter_file": "fetch_adapter",
    "catalogue_machines": "machines",
    "catalogue_models": "models",
    "catalogue_registries": "registries",
    "datasets_delete": "delete_dataset",
    "datasets_get": "dataset",
    "datasets_page": "datasets",
    "files_begin": "begin_file",
    "files_delete": "delete_file",
    "files_finish": "finish_file",
    "files_get": "file",
    "files_page": "files",
    "files_put": "put_part",
    "keys_create": "create_key",
    "keys_keys": "keys",
    "keys_revoke": "revoke_key",
    "mappings_delete": "delete_mapping",
    "mappings_get": "mapping",
    "mappings_page": "mappings",
    "mappings_put": "put_mapping",
    "plans_make": "plan",
    "runs_attempts": "attempts",
    "runs_cancel": "cancel",
    "runs_clone": "clone",
    "runs_config": "config",
    "runs_delete": "delete_run",
    "runs_detail": "run",
    "runs_events": "events",
    "runs_follow_events": "follow",
    "runs_follow_logs": "follow_logs",
    "runs_logs": "logs",
    "runs_metrics": "metrics",
    "runs_page": "runs",
    "runs_pause": "pause",
    "runs_pin": "pin",
    "runs_publish": "publish",
    "runs_resume": "resume",
    "runs_submit": "submit",
    "runs_unpin": "unpin",
    "runs_verify": "verify",
}
OF_MACHINES = {"health_healthz", "health_readyz", "health_metrics", "reports_take_in"}


def test_every_route_for_people_has_a_method_of_the_client(tmp_path: Path) -> None:
    with open_host(Settings.from_environment({"AXO_HOME": str(tmp_path)})) as host:
        paths = make_app(host.service, LOCAL).openapi()["paths"]
    routes = {told["operationId"] for each in paths.values() for told in each.values()}
    assert routes - OF_MACHINES == set(METHODS)
    assert [name for name in METHODS.values() if not callable(getattr(Client, name, None))] == []
