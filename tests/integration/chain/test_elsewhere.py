"""A laptop and a service elsewhere: spec, data and base model go there, the adapter comes back."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.client import Client
from orchestrator.client.trial import differs
from orchestrator.contract import hash_file

AXO = Path(sys.executable).parent / "axo"


@contextmanager
def service(desk: Any) -> Iterator[str]:
    """A service with a home of its own, for as long as it is needed; its URL."""
    home = desk.folder / "service"
    home.mkdir()
    words = home / "serve.log"
    environment = {**desk.environment, "AXO_HOME": str(home)}
    with (
        words.open("w") as log,
        subprocess.Popen([AXO, "serve", "--port", "0"], env=environment, cwd=home, stderr=log) as process,
    ):
        try:
            while not (found := re.search(r"axo serves (\S+)", words.read_text())):
                assert process.poll() is None, words.read_text()
                time.sleep(0.1)
            yield found[1]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def test_a_laptops_spec_is_trained_elsewhere_and_its_adapter_comes_back(
    make_desk: Callable[..., Any], run: dict[str, Any]
) -> None:
    """It is the adapter of the same training by a path on this machine, to the last byte."""
    desk = make_desk("elsewhere", mlflow=None)
    (desk.folder / "base").rename(desk.folder / "tiny model")
    desk.write_spec(name="elsewhere", base_model="./tiny model", publish=[])
    text = (desk.folder / "spec.yaml").read_text()
    (desk.folder / "spec.yaml").write_text(f"# a comment of mine\n{text}")
    with service(desk) as url:
        away = replace(desk, environment={**desk.environment, "AXO_URL": url})
        shown = json.loads(away.axo("submit", "spec.yaml", "--watch", "-o", "json"))
        assert (shown["status"], shown["step"], shown["base_model"]) == ("succeeded", 12, "tiny model")
        name = shown["id"]
        logs = away.axo("logs", name, "-f")
        assert "Trained 12 steps" in logs
        events = [json.loads(line) for line in away.axo("events", name, "-f", "-o", "json").splitlines()]
        assert [events[0]["status"], events[-1]["status"]] == ["queued", "succeeded"]
        assert [event["id"] for event in events] == sorted({event["id"] for event in events})
        pulled = json.loads(away.axo("pull", name, "-o", "json"))
        assert away.axo("clone", name, "--stdout").startswith("# a comment of mine\n")
        (tried,) = json.loads(away.axo("try", name, "invoice card", "--no-base", "-o", "json"))
        with Client(url) as client:
            assert not differs(client.run(name), desk.folder / "tiny model")
    assert tried["messages"] == [{"role": "user", "content": "invoice card"}]
    assert tried["adapter"]["tokens"] > 0
    folder = desk.folder / pulled["folder"]
    kept = desk.folder / "service/storage/runs" / name / "adapter"
    weights = "adapter_model.safetensors"
    assert hash_file(folder / weights, weights) == hash_file(kept / weights, weights)
    assert pulled["digest"] == run["published"][0]["digest"]
    assert "base_model: tiny model\n" in (folder / "README.md").read_text()
    assert json.loads((folder / "provenance.json").read_text())["base_model"]["name"] == "tiny model"
    assert not (desk.home / "axo.db").exists()
