"""Mappings that a project shares: proven when they are kept, taken by name, and kept with each run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from triage import SPEC, lay_out

from orchestrator import wire
from orchestrator.api.app import make_app
from orchestrator.client import Client
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.errors import ConflictError, NotFoundError, SpecError
from orchestrator.host import Host, open_host
from orchestrator.service import LOCAL
from orchestrator.settings import Settings

START, END = SPEC.index("mapping:"), SPEC.index("training:")
NAMED = SPEC[:START] + "mapping: tickets\n" + SPEC[END:]
TICKETS = """\
messages:
  - {role: user, content: "{{ text }}"}
  - {role: assistant, content: "{{ queue }}"}
"""
SHOUTED = TICKETS.replace("{{ queue }}", "{{ queue | upper }}")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    lay_out(tmp_path)
    (tmp_path / "python").touch()
    values = {"AXO_HOME": str(tmp_path), "AXO_TRAINER_PYTHON": str(tmp_path / "python")}
    with open_host(Settings.from_environment(values), lambda: 1_000.0) as opened:
        yield opened


@pytest.fixture
def client(host: Host) -> Iterator[Client]:
    with Client("http://embedded", transport=EmbeddedTransport(make_app(host.service, LOCAL))) as client:
        yield client


@pytest.fixture
def asked(tmp_path: Path) -> wire.Submission:
    return wire.Submission(spec=NAMED, file="specs/spec.yaml", base=str(tmp_path))


def test_a_mapping_comes_back_as_it_was_kept(client: Client) -> None:
    kept = client.put_mapping("tickets", TICKETS)
    assert client.mapping("tickets") == wire.NamedMapping(**kept.model_dump(), text=TICKETS)
    assert client.put_mapping("tickets", SHOUTED).sha256 != kept.sha256
    assert client.mapping("tickets").text == SHOUTED
    client.delete_mapping("tickets")
    for act in (client.mapping, client.delete_mapping):
        with pytest.raises(NotFoundError, match="no mapping 'tickets'"):
            act("tickets")


def test_pages_hold_every_mapping_once(client: Client) -> None:
    names = [f"m{number}" for number in range(5)]
    for name in reversed(names):
        client.put_mapping(name, TICKETS)
    page = client.connection.ask("GET", "/mappings", params={"limit": 2}).json()
    assert ([each["name"] for each in page["items"]], page["cursor"]) == (["m0", "m1"], "m1")
    last = client.connection.ask("GET", "/mappings", params={"limit": 2, "cursor": "m2"}).json()
    assert ([each["name"] for each in last["items"]], last["cursor"]) == (["m3", "m4"], None)
    assert [mapping.name for mapping in client.mappings()] == names
    assert [mapping.name for mapping in client.mappings(limit=3)] == names[:3]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("messages: [\n", [(2, None)]),
        ("", [(1, None)]),
        ("mesages: []\nwhere: queue\n", [(1, "mesages")]),
        (
            TICKETS.replace("{{ text }}", "{{ text").replace("{{ queue }}", "{% if queue %}"),
            [(2, "messages[0].content"), (3, "messages[1].content")],
        ),
        ("conversation: {column: messages}\nwhere: hf_" + "x" * 34, [(2, None)]),
    ],
)
def test_every_fault_of_a_text_is_told_at_its_line(
    client: Client, text: str, places: list[tuple[int, str | None]]
) -> None:
    with pytest.raises(SpecError) as caught:
        client.put_mapping("tickets", text)
    assert sorted((fault.line, fault.path) for fault in caught.value.faults) == places
    assert list(client.mappings()) == []


def test_a_run_keeps_the_mapping_it_was_submitted_with(
    host: Host, client: Client, asked: wire.Submission
) -> None:
    client.put_mapping("tickets", TICKETS)
    run = client.submit(asked, key="k")
    inline = client.submit(asked.model_copy(update={"spec": SPEC}))
    assert (run.spec_digest, run.spec) == (inline.spec_digest, inline.spec), "the name is no part of it"
    client.put_mapping("tickets", SHOUTED)
    assert client.submit(asked, key="k").id == run.id
    assert client.run(run.id).spec == run.spec
    clone = client.clone(run.id, wire.CloneAsked(name="triage-2"))
    assert clone.spec["mapping"] == run.spec["mapping"]
    assert dict(host.service.database.run(clone.id).mappings) == {"tickets": TICKETS}
    client.put_mapping("loud", SHOUTED)
    louder = client.clone(clone.id, wire.CloneAsked(name="triage-3", changes={"mapping": "loud"}))
    newest = client.submit(asked)
    assert louder.spec["mapping"] == newest.spec["mapping"] != run.spec["mapping"]
    client.delete_mapping("tickets")
    again = client.clone(newest.id, wire.CloneAsked(name="triage-4"))
    assert again.spec["mapping"] == newest.spec["mapping"]


def test_a_key_gets_its_run_also_once_the_mapping_is_gone(client: Client, asked: wire.Submission) -> None:
    client.put_mapping("tickets", TICKETS)
    run = client.submit(asked, key="k")
    client.delete_mapping("tickets")
    again = client.submit(asked, key="k")
    assert (again.id, again.continued) == (run.id, True)
    with pytest.raises(ConflictError, match="used for another submission"):
        client.submit(asked.model_copy(update={"file": "other.yaml"}), key="k")
    with pytest.raises(SpecError, match="has a mapping of this name"):
        client.submit(asked, key="another")


def test_a_text_that_came_with_the_spec_is_taken_before_one_of_its_name(
    client: Client, asked: wire.Submission
) -> None:
    client.put_mapping("tickets", SHOUTED)
    packed = asked.model_copy(update={"mappings": {"specs/tickets": TICKETS}})
    assert client.submit(packed).spec["mapping"]["messages"][1]["content"] == "{{ queue }}"


def test_a_name_that_is_not_there_is_a_fault_at_its_line(client: Client, asked: wire.Submission) -> None:
    client.put_mapping("ticket", TICKETS)
    with pytest.raises(SpecError) as caught:
        client.submit(asked)
    [fault] = caught.value.faults
    assert (fault.file, fault.line, fault.path, fault.value) == ("specs/spec.yaml", 4, "mapping", "tickets")
    assert "nor the project has a mapping of this name" in fault.what
    assert fault.fix == "did you mean 'ticket'? `axo mappings` lists them"
    for other in ("mappings/tickets.yaml", "Tickets"):
        with pytest.raises(SpecError, match="there is no such mapping file"):
            client.submit(asked.model_copy(update={"spec": NAMED.replace("tickets\n", f"{other}\n")}))


def test_a_plan_takes_a_mapping_by_its_name(client: Client, asked: wire.Submission) -> None:
    client.put_mapping("tickets", TICKETS)
    plan = client.plan(asked)
    assert plan.splits["train"]["rows"] == 32
    assert plan.spec_digest == client.submit(asked).spec_digest
