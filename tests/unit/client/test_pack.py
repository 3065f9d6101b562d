"""A spec packed on a laptop and taken in elsewhere: the same files under the same names, or a fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from triage import lay_out

from orchestrator import contract, wire
from orchestrator.adapters import MAX_CONFIG_BYTES, find_adapter
from orchestrator.api.app import make_app
from orchestrator.cli.sending import submitted
from orchestrator.client import Client
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.client.pack import packed
from orchestrator.data.sources.find import find_files
from orchestrator.errors import SpecError
from orchestrator.host import Host, open_host
from orchestrator.service import LOCAL, Caller
from orchestrator.settings import Settings
from orchestrator.spec.load import load_spec
from orchestrator.spec.models import Spec
from orchestrator.spec.places import places
from orchestrator.steps.uploaded import with_uploads_here
from orchestrator.uploads import bundle_text

ADAPTER_CONFIG = {
    "peft_type": "LORA",
    "r": 8,
    "lora_alpha": 24,
    "lora_dropout": 0.1,
    "target_modules": ["q_proj"],
}


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


def with_adapter(laptop: Path, config: object = ADAPTER_CONFIG) -> Path:
    """The spec, going on from an adapter in a folder beside it."""
    (laptop / "earlier").mkdir()
    (laptop / "earlier/adapter_config.json").write_text(json.dumps(config))
    (laptop / "earlier/adapter_model.safetensors").write_bytes(b"weights")
    (laptop / "earlier/training_args.bin").write_bytes(b"a pickle")
    with (laptop / "spec.yaml").open("a") as file:
        file.write("adapter: {kind: lora, continue_from: earlier}\n")
    return laptop / "spec.yaml"


def test_an_adapter_of_the_laptop_is_sent_and_its_settings_count(
    laptop: Path, host: Host, client: Client, tmp_path: Path
) -> None:
    run = sent(client, with_adapter(laptop))
    adapter = run.spec["adapter"]
    assert (adapter["r"], adapter["alpha"], adapter["target_modules"]) == (8, 24, ["q_proj"])
    spec, base = brought(host, run, tmp_path / "here")
    found = find_adapter(places(spec)["adapter.continue_from"], base, contract.open_store(str(tmp_path)))
    assert found.folder == base / "earlier"
    names = {file.name for file in found.folder.iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}


def test_a_plan_has_the_settings_of_a_sent_adapter(laptop: Path, client: Client) -> None:
    with packed(load_spec(with_adapter(laptop))) as package:
        package.send(client)
        assert client.plan(package.submission).config["lora_r"] == 8


def test_a_folder_that_is_no_adapter_is_told_before_anything_is_sent(laptop: Path) -> None:
    spec = with_adapter(laptop)
    (laptop / "earlier/adapter_model.safetensors").unlink()
    with (
        pytest.raises(SpecError, match=r"the folder has no adapter_model\.safetensors") as caught,
        packed(load_spec(spec)),
    ):
        pass
    assert (caught.value.faults[0].path, caught.value.faults[0].line) == ("adapter.continue_from", 9)


def test_what_is_sent_as_an_adapter_must_be_one(laptop: Path, client: Client) -> None:
    bundles = {
        "has no adapter_model.safetensors": {"adapter_config.json": b"{}"},
        "it is larger than 1024 KiB": {
            "adapter_config.json": b" " * (MAX_CONFIG_BYTES + 1),
            "adapter_model.safetensors": b"weights",
        },
        "no JSON object": {"adapter_config.json": b"[]", "adapter_model.safetensors": b"weights"},
    }
    with packed(load_spec(with_adapter(laptop))) as package:
        package.send(client)
    for what, files in bundles.items():
        digests = {name: put(client, data) for name, data in files.items()}
        address = f"upload://{put(client, bundle_text(digests))}/earlier/"
        with pytest.raises(SpecError, match=what):
            client.submit(going_on_from(package.submission, address))
    single = f"upload://{digests['adapter_config.json']}/earlier"
    with pytest.raises(SpecError, match=r"has no adapter_config\.json and no adapter_model\.safetensors"):
        client.submit(going_on_from(package.submission, single))


def going_on_from(asked: wire.Submission, address: str) -> wire.Submission:
    return asked.model_copy(update={"uploads": {**asked.uploads, "adapter.continue_from": address}})


def put(client: Client, data: bytes) -> str:
    """Upload some bytes; their digest."""
    digest = sha256(data).hexdigest()
    client.begin_file(digest, len(data))
    client.put_part(digest, 0, data)
    client.finish_file(digest)
    return digest


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
        ("method: sft", "adapter: {kind: lora, continue_from: /adapters/one}", "adapter.continue_from"),
    ],
)
def test_a_place_of_the_servers_machine_is_a_fault_at_its_line(
    laptop: Path, client: Client, old: str, new: str, path: str
) -> None:
    text = f"{(laptop / 'spec.yaml').read_text()}method: sft\n".replace(old, new)
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


def _moved(laptop: Path, how: str) -> Path:
    """The spec of a folder whose data lies beside it."""
    away = laptop.parent / "tickets.jsonl"
    (laptop / "tickets.jsonl").rename(away)
    places = {"link": "tickets.jsonl", "up": "../tickets.jsonl", "absolute": str(away)}
    if how == "link":
        (laptop / "tickets.jsonl").symlink_to(away)
    spec = laptop / "spec.yaml"
    spec.write_text(spec.read_text().replace("tickets.jsonl", places[how]))
    return spec


def uploads_of(host: Host, run: wire.RunDetail) -> dict[str, str]:
    return dict(host.service.database.run(run.id).uploads)


@pytest.mark.parametrize("how", ["link", "up", "absolute"])
def test_what_a_mounted_folder_would_not_show_is_uploaded(host: Host, laptop: Path, how: str) -> None:
    transport = EmbeddedTransport(make_app(host.service, LOCAL))
    with Client("http://embedded", transport=transport, embedded=True, launches_see="folder") as client:
        plain = submitted(client, load_spec(laptop / "spec.yaml"))
        assert (plain.base, uploads_of(host, plain)) == (str(laptop), {})
        moved = submitted(client, load_spec(_moved(laptop, how)))
        assert moved.base is None
        assert "dataset.source" in uploads_of(host, moved)


def test_launches_that_see_nothing_of_this_machine_get_all_of_it(host: Host, laptop: Path) -> None:
    transport = EmbeddedTransport(make_app(host.service, LOCAL))
    with Client("http://embedded", transport=transport, embedded=True) as client:
        run = submitted(client, load_spec(laptop / "spec.yaml"))
        assert run.base is None
        assert {"dataset.source", "base_model"} <= set(uploads_of(host, run))
