"""A spec packed on a laptop and taken in elsewhere: the same files under the same names, or a fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from triage import lay_out

from orchestrator import contract, wire
from orchestrator.api.app import make_app
from orchestrator.client import Client
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.client.pack import packed
from orchestrator.data.sources.find import find_files
from orchestrator.errors import SpecError
from orchestrator.host import Host, open_host
from orchestrator.service import Caller
from orchestrator.settings import Settings
from orchestrator.spec.load import load_spec
from orchestrator.spec.models import Spec
from orchestrator.spec.places import places
from orchestrator.steps.uploaded import with_uploads_here


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    folder = tmp_path / "laptop"
    folder.mkdir()
    return lay_out(folder)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    trainer = tmp_path / "python"
    trainer.touch()
    values = {"AXO_HOME": str(tmp_path / "server"), "AXO_TRAINER_PYTHON": str(trainer)}
    with open_host(Settings.from_environment(values), lambda: 1_000.0) as opened:
        yield opened


@pytest.fixture
def client(host: Host) -> Iterator[Client]:
    with Client("http://embedded", transport=EmbeddedTransport(make_app(host.service, Caller()))) as client:
        yield client


def sent(client: Client, spec: Path) -> wire.RunDetail:
    with packed(load_spec(spec)) as package:
        package.send(client)
        return client.submit(package.submission)


def brought(host: Host, run: wire.RunDetail, folder: Path) -> tuple[Spec, Path]:
    uploads = contract.open_store(host.service.settings.storage).below(f"uploads/{run.project}")
    return with_uploads_here(Spec.model_validate(run.spec), None, uploads, folder)


def test_a_packed_spec_keeps_its_text_and_brings_its_files(
    laptop: Path, host: Host, client: Client, tmp_path: Path
) -> None:
    run = sent(client, laptop / "spec.yaml")
    assert run.spec_text == (laptop / "spec.yaml").read_text()
    assert run.base_model == "base"
    spec, base = brought(host, run, tmp_path / "here")
    assert places(spec) == {"dataset.source": "tickets.jsonl", "base_model": "base"}
    assert (base / "tickets.jsonl").read_bytes() == (laptop / "tickets.jsonl").read_bytes()
    assert (base / "base" / "tokenizer.json").read_bytes() == (laptop / "base/tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("data/*.jsonl", ["a.jsonl", "b [1].jsonl"]),
        ("data", ["a.jsonl", "b [1].jsonl"]),
        ("data/**/*.jsonl", ["a.jsonl", "b [1].jsonl", "deep/c.jsonl"]),
        ("../laptop/data/deep/c.jsonl", ["c.jsonl"]),
    ],
)
def test_files_that_are_named_as_one_stay_one(
    laptop: Path, host: Host, client: Client, tmp_path: Path, source: str, names: list[str]
) -> None:
    for name in ("a.jsonl", "b [1].jsonl", "deep/c.jsonl", "other.txt"):
        (laptop / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (laptop / "data" / name).write_text(f'{{"text": "{name}", "queue": "q"}}\n')
    text = (laptop / "spec.yaml").read_text().replace("tickets.jsonl", source)
    (laptop / "spec.yaml").write_text(text)
    run = sent(client, laptop / "spec.yaml")
    spec, base = brought(host, run, tmp_path / "here")
    found = find_files(places(spec)["dataset.source"], base, "dataset.source")
    assert [name.removeprefix("data/") for name in found] == names


def test_a_mapping_file_goes_along(laptop: Path, client: Client) -> None:
    text = (laptop / "spec.yaml").read_text()
    head, mapping = text.split("mapping:\n")
    messages, training = mapping.split("training:")
    (laptop / "map.yaml").write_text("".join(line[2:] + "\n" for line in messages.splitlines()))
    (laptop / "spec.yaml").write_text(f"{head}mapping: map.yaml\ntraining:{training}")
    run = sent(client, laptop / "spec.yaml")
    assert run.spec["mapping"]["messages"][0]["content"] == "{{ text }}"
    assert "mapping: map.yaml" in run.spec_text


def test_a_clone_has_the_files_of_its_run_and_other_values(laptop: Path, client: Client) -> None:
    (laptop / "maps").mkdir()
    text = (laptop / "spec.yaml").read_text()
    head, mapping = text.split("mapping:\n")
    messages, training = mapping.split("training:")
    (laptop / "maps" / "m.yaml").write_text("".join(line[2:] + "\n" for line in messages.splitlines()))
    (laptop / "spec.yaml").write_text(f"# mine\n{head}mapping: maps/m.yaml\ntraining:{training}")
    run = sent(client, laptop / "spec.yaml")
    asked = wire.CloneAsked(name="bold", changes={"training.batch_size": "8"})
    made = client.clone(run.id, asked, key="k")
    assert (made.name, made.spec["training"]["batch_size"]) == ("bold", 8)
    assert made.spec["dataset"] == run.spec["dataset"]
    assert made.spec["mapping"] == run.spec["mapping"]
    assert made.spec_text.startswith("# mine\nname: bold\n")
    assert client.clone(run.id, asked, key="k").id == made.id
    with pytest.raises(SpecError, match="this is a path"):
        client.clone(run.id, wire.CloneAsked(name="bold", changes={"dataset.source": "other.jsonl"}))
    with pytest.raises(SpecError):
        client.clone(run.id, wire.CloneAsked(name="bold", changes={"": "1"}))


def test_other_data_is_another_spec(laptop: Path, client: Client) -> None:
    first = sent(client, laptop / "spec.yaml")
    assert sent(client, laptop / "spec.yaml").spec_digest == first.spec_digest
    with (laptop / "tickets.jsonl").open("a") as file:
        file.write('{"text": "one more", "queue": "billing"}\n')
    assert sent(client, laptop / "spec.yaml").spec_digest != first.spec_digest


def test_a_missing_file_is_told_before_anything_is_sent(laptop: Path) -> None:
    text = (laptop / "spec.yaml").read_text().replace("tickets.jsonl", "ticket.jsonl")
    (laptop / "spec.yaml").write_text(text)
    with (
        pytest.raises(SpecError, match=r"did you mean `tickets.jsonl`") as caught,
        packed(load_spec(laptop / "spec.yaml")),
    ):
        pass
    assert caught.value.faults[0].line == 3


def test_an_adapter_of_the_laptop_is_not_sent(laptop: Path) -> None:
    (laptop / "earlier").mkdir()
    with (laptop / "spec.yaml").open("a") as file:
        file.write("adapter: {kind: lora, continue_from: earlier}\n")
    with (
        pytest.raises(SpecError, match="give the id of a run there") as caught,
        packed(load_spec(laptop / "spec.yaml")),
    ):
        pass
    assert caught.value.faults[0].path == "adapter.continue_from"


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("tickets.jsonl", "/etc/passwd", "dataset.source"),
        ("tickets.jsonl", "file:///etc/passwd", "dataset.source"),
        ("tickets.jsonl", "simplecache::file:///etc/passwd", "dataset.source"),
        ("tickets.jsonl", f"upload://{'0' * 64}/t.csv", "dataset.source"),
        ("tickets.jsonl", f"upload://{'0' * 64}/../t.csv", "dataset.source"),
        ("tickets.jsonl", "upload://nothing/t.csv", "dataset.source"),
        ("base_model: base", "base_model: /models/base", "base_model"),
        ("base_model: base", "base_model: ./base", "base_model"),
    ],
)
def test_a_place_of_the_servers_machine_is_a_fault_at_its_line(
    laptop: Path, client: Client, old: str, new: str, path: str
) -> None:
    text = (laptop / "spec.yaml").read_text().replace(old, new)
    with pytest.raises(SpecError) as caught:
        client.submit(wire.Submission(spec=text))
    faults = {fault.path: fault for fault in caught.value.faults}
    assert faults[path].line == text[: text.index(new)].count("\n") + 1
    assert faults[path].fix


def test_uploads_are_for_fields_that_there_are(laptop: Path, client: Client) -> None:
    with packed(load_spec(laptop / "spec.yaml")) as package:
        asked = package.submission.model_copy(update={"uploads": {"dataset.sauce": "upload://x/y"}})
        with pytest.raises(SpecError, match="no such field"):
            client.submit(asked)
