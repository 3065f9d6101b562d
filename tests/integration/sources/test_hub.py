"""Data sets and models of the hub, loaded by its own client from a mirror that speaks the hub's protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import toy_models
from support import hub_mirror

READ = """\
import json, sys
from pathlib import Path
from orchestrator.data.sources import open_source, read_source
from orchestrator.errors import FaultsError
from orchestrator.spec.models import SourceEntry
folder = Path(sys.argv[2])
try:
    opened = open_source(SourceEntry(**json.loads(sys.argv[1])), folder)
    source = read_source(opened, folder / "scratch")
    file = opened.files[0]
    print(json.dumps({"rows": source.frame.drop("axo_row").collect().to_dicts(), "revision": file.revision,
                      "name": file.name, "inode": file.path.stat().st_ino}))
except FaultsError as error:
    print(json.dumps({"faults": [[f.path, f.what, f.fix, f.why] for f in error.faults]}))
"""


STAGE = """\
import json, sys
from pathlib import Path
from orchestrator.errors import FaultsError
from orchestrator.staging import resolve_model
asked = json.loads(sys.argv[1])
try:
    model = resolve_model(asked["source"], Path(sys.argv[2]), asked.get("secret"))
    print(json.dumps({"files": model.files, "revision": model.revision}))
except FaultsError as error:
    print(json.dumps({"faults": [[f.path, f.what, f.fix, f.why] for f in error.faults]}))
"""


class Hub:
    """A client of the mirror in a process of its own, since the hub's address is read when it is imported."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.folder, self.endpoint = folder, endpoint

    def read(self, *, script: str = READ, **entry: str) -> dict[str, Any]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(self.folder / "hf"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "AXO_HOME": str(self.folder / "home"),
        }
        done = subprocess.run(
            [sys.executable, "-c", script, json.dumps(entry), str(self.folder)],
            env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def fault(self, *, script: str = READ, **entry: str) -> tuple[str, str, str, str | None]:
        ((path, what, fix, why),) = self.read(script=script, **entry)["faults"]
        return path, what, fix, why


ROWS = [{"question": f"q{n}", "meta": {"tags": ["x", str(n)]}} for n in range(4)]


def served(folder: Path, token: str | None = None) -> Iterator[Hub]:
    data = folder / "mirror/acme/tickets"
    (data / "easy").mkdir(parents=True)
    (data / "hard").mkdir()
    pl.DataFrame(ROWS[:3]).write_parquet(data / "easy/train.parquet")
    pl.DataFrame(ROWS[3:]).write_parquet(data / "easy/test.parquet")
    pl.DataFrame(ROWS[1:]).write_parquet(data / "hard/train.parquet")
    configs = "".join(f"- config_name: {name}\n  data_dir: {name}\n" for name in ("easy", "hard"))
    (data / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    model = toy_models.MODELS["chatml"].write(folder / "mirror/acme/model")
    (model / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    plain = folder / "mirror/acme/plain"
    plain.mkdir()
    (plain / "train.csv").write_text("q,a\nx,y\n")
    server = hub_mirror.serve(folder / "mirror", token)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Hub(folder, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    yield from served(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def closed_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    yield from served(tmp_path_factory.mktemp("closed"), token="hf-open-sesame")


def test_a_split_of_a_config(hub: Hub) -> None:
    found = hub.read(source="hf://acme/tickets/easy/train")
    assert found["rows"] == ROWS[:3]
    assert found["revision"] == hub_mirror.COMMIT
    assert found["name"] == "hf://acme/tickets/easy/train"
    assert hub.read(source="hf://acme/tickets@main/easy/train")["inode"] == found["inode"]
    assert hub.read(source="hf://acme/tickets/hard/train")["rows"] == ROWS[1:]
    assert hub.read(source="hf://acme/plain")["rows"] == [{"q": "x", "a": "y"}]


def test_what_the_hub_does_not_have(hub: Hub) -> None:
    path, what, _, _ = hub.fault(source="hf://acme/none/easy/train")
    assert (path, what) == ("dataset.source", "the hub has no such data set")
    assert hub.fault(source="hf://acme/tickets@v9/easy/train")[1] == "the data set has no such revision"
    assert "easy" in (hub.fault(source="hf://acme/tickets/odd/train")[3] or "")
    assert "test" in (hub.fault(source="hf://acme/tickets/easy/dev")[3] or "")
    assert hub.fault(source="hf://tickets")[2] == "write hf://org/name[@revision]/config/split"


def test_a_private_data_set_is_opened_by_a_secret(closed_hub: Hub) -> None:
    assert "secret" in closed_hub.fault(source="hf://acme/plain")[2]
    secret = closed_hub.folder / "home/secrets/hub"
    secret.mkdir(parents=True)
    (secret / "token").write_text("hf-open-sesame\n")
    assert closed_hub.read(source="hf://acme/plain", secret="hub")["rows"] == [{"q": "x", "a": "y"}]


def test_a_private_model_is_opened_by_a_secret(closed_hub: Hub) -> None:
    path, _, fix, _ = closed_hub.fault(script=STAGE, source="acme/model")
    assert (path, "name a secret" in fix) == ("base_model", True)
    path, what, _, _ = closed_hub.fault(script=STAGE, source="acme/model", secret="nobody")
    assert (path, what) == ("base_model.secret", "there is no such secret here")
    secret = closed_hub.folder / "home/secrets/models"
    secret.mkdir(parents=True)
    (secret / "token").write_text("hf-open-sesame\n")
    found = closed_hub.read(script=STAGE, source="acme/model", secret="models")
    assert found["revision"] == hub_mirror.COMMIT
    assert "tokenizer.json" in found["files"]


def test_a_hub_that_is_away(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    path, what, fix, _ = Hub(tmp_path, "http://127.0.0.1:9").fault(source="hf://acme/plain")
    assert (path, "hub" in what, "reached" in fix) == ("dataset.source", True, True)
