"""A spec is loaded whole, or every fault in it is told at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import Fault, NotFoundError, SpecError
from orchestrator.spec.faults import all_fields
from orchestrator.spec.load import Loaded, load_spec, parse_spec, spec_schema, with_places
from orchestrator.spec.mapping import Conversation
from orchestrator.spec.models import Spec
from orchestrator.spec.names import AXOLOTL_NAMES, OTHER_NAMES

SPEC = """\
name: support-triage
base_model: org/model@abc
dataset:
  source: tickets.parquet
  validation: 0.05
mapping:
  messages:
    - {role: user, content: "{{ subject }}"}
    - {role: assistant, content: "{{ queue }}"}
training:
  epochs: 3
  learning_rate: 2e-4
"""


def parse(text: str, folder: Path = Path("specs")) -> Loaded:
    return parse_spec(text.encode(), folder / "spec.yaml")


def faults(text: str, folder: Path = Path("specs")) -> list[Fault]:
    with pytest.raises(SpecError) as caught:
        parse(text, folder)
    return list(caught.value.faults)


def only(text: str) -> Fault:
    (fault,) = faults(text)
    return fault


def test_a_good_spec_is_loaded() -> None:
    loaded = parse(SPEC)
    assert loaded.spec.training.learning_rate == 0.0002
    assert loaded.spec.adapter.kind == "lora"
    assert loaded.text == SPEC


def test_a_file_is_loaded_as_its_text_is(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(SPEC)
    assert load_spec(file).spec == parse(SPEC).spec
    file.write_text(SPEC + "nmae: x\n")
    with pytest.raises(SpecError, match=f"{file}:13:1, nmae: unknown key"):
        load_spec(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nothing\.yaml"):
        load_spec(tmp_path / "nothing.yaml")


def test_faults_of_every_kind_are_told_together_each_at_its_line() -> None:
    text = SPEC.replace("epochs: 3", "epochs: three").replace("name: s", "nmae: s") + "name: Not A Name\n"
    found = faults(text)
    assert [(fault.line, fault.column, fault.path) for fault in found] == [
        (1, 1, "nmae"),
        (11, 11, "training.epochs"),
        (13, 7, "name"),
    ]
    assert [fault.fix for fault in found] == ["did you mean `name`?", None, "write `not-a-name`"]


def test_a_fault_says_what_why_and_how() -> None:
    fault = only(SPEC.replace("2e-4", "20"))
    assert str(fault) == (
        "specs/spec.yaml:12:18, training.learning_rate: must be 1 or less (got 20)\n"
        "    why: Peak learning rate."
    )


@pytest.mark.parametrize(
    ("old", "new", "path", "what", "fix"),
    [
        (
            "epochs: 3",
            "epochs: 1_000",
            "training.epochs",
            "a number",
            "write 1000, a plain number without quotes",
        ),
        (
            "epochs: 3",
            "epochs: 012",
            "training.epochs",
            "a number",
            "write 12, a plain number without quotes",
        ),
        ("epochs: 3", "epochs: .inf", "training.epochs", "a number", None),
        ("epochs: 3", "epochs: 1e999", "training.epochs", "a number", None),
        ("epochs: 3", "epochs:", "training.epochs", "a number", "give it a value, or remove the key"),
        ("epochs: 3", "packing: yes", "training.packing", "true or false", "write true"),
        ("epochs: 3", "batch_size: 8.0", "training.batch_size", "a whole number", "write 8"),
        ("epochs: 3", "lora_r: 3", "training.lora_r", "unknown key", "did you mean `adapter.r`?"),
        (
            "epochs: 3",
            "source: a",
            "training.source",
            "unknown key",
            "did you mean `base_model.source` or `dataset.source`?",
        ),
        ("epochs: 3", "lr: 3", "training.lr", "unknown", "did you mean `training.learning_rate`?"),
        (
            "epochs: 3",
            "max_length: 9",
            "training.max_length",
            "unknown",
            "did you mean `training.sequence_len`?",
        ),
        ("training:", "adapter: lora\ntraining:", "adapter", "a section", "write `adapter: {kind: lora}`"),
        ("training:", "compute: gpu\ntraining:", "compute", "a section", "write `compute: {machine: gpu}`"),
        ("0.05", "12.5 %", "dataset.validation", "between 0 and 1", "write 0.125"),
        ("epochs: 3", "shceduler: linear", "training.shceduler", "unknown", "did you mean `scheduler`?"),
        ("epochs: 3", "scheduler: liner", "training.scheduler", "`linear`", "did you mean `linear`?"),
        ("role: user", "role: usr", "mapping.messages[0].role", "`user`", "did you mean `user`?"),
        ("role: user", "role: human", "mapping.messages[0].role", "`user`", "did you mean `user`?"),
        ("training:", "method: cpt\ntraining:", "method", "`pretrain`", "did you mean `pretrain`?"),
        ("0.05", "2", "dataset.validation", "must be less than 0.9", None),
        ("0.05", "[1]", "dataset.validation", "must be a number, text or a section with `source`", None),
        ("base_model: org/model@abc", "license: mit", "base_model", "is missing", "add `base_model:`"),
        ("name: support-triage", "name: 2024", "name", "must be text", 'put it in quotes: "2024"'),
        ("  source: tickets.parquet", "", "dataset.source", "is missing", "add `source:`"),
    ],
)
def test_faults_in_the_users_words(old: str, new: str, path: str, what: str, fix: str | None) -> None:
    fault = only(SPEC.replace(old, new))
    assert (fault.path, fault.fix) == (path, fix)
    assert what in fault.what
    line = 1 + next(n for n, line in enumerate(SPEC.splitlines()) if old in line)
    assert fault.line == {"dataset.source": 3, "base_model": 1}.get(path, line)


def test_the_one_value_of_a_conversation_is_its_column(tmp_path: Path) -> None:
    begun = SPEC.partition("mapping:")[0]
    (tmp_path / "chats.yaml").write_text("conversation: chats\n")
    for text in ("mapping: {conversation: chats}", "mapping: chats.yaml"):
        (fault,) = faults(f"{begun}{text}\n", tmp_path)
        assert fault.fix == "write `conversation: {column: chats}`"


def test_of_several_types_the_one_that_fits_is_spoken_of() -> None:
    assert only(SPEC.replace("0.05", '""')).what == "must not be empty"
    assert only(SPEC.replace("0.05", "0.95")).what == "must be less than 0.9"


def test_a_value_that_could_not_be_read_has_one_fault() -> None:
    """What pydantic would say of the alias, the tag or the mapping file in its place is left out."""
    for old, new in (("epochs: 3", "epochs: *x"), ("epochs: 3", "epochs: !x three")):
        assert "not allowed" in only(SPEC.replace(old, new)).what
    start, end = SPEC.index("mapping:"), SPEC.index("training:")
    assert only(SPEC[:start] + "mapping: none.yaml\n" + SPEC[end:]).what == "there is no such mapping file"


def test_rules_over_several_fields_show_at_the_field() -> None:
    stopping = SPEC + "  early_stopping: {patience: 2}\n  eval_steps: 10\n  checkpoint_steps: 25\n"
    fault = only(stopping)
    assert (fault.line, fault.path) == (15, "training.checkpoint_steps")
    fault = only(SPEC.replace("  validation: 0.05\n", "") + "evaluate: {rows: 10}\n")
    assert (fault.line, fault.path, fault.fix) == (12, "evaluate", "set dataset.validation, such as 0.05")
    fault = only(SPEC + "adapter: {kind: full, r: 8}\n")
    assert (fault.line, fault.column, fault.path) == (13, 23, "adapter.r")


def test_a_mapping_file_is_inlined_and_its_faults_are_its_own(tmp_path: Path) -> None:
    start, end = SPEC.index("mapping:"), SPEC.index("training:")
    with_file = SPEC[:start] + "mapping: mappings/tickets.yaml\n" + SPEC[end:]
    file = tmp_path / "mappings" / "tickets.yaml"
    assert "no such mapping file" in faults(with_file, tmp_path)[0].what
    file.parent.mkdir()
    file.write_text(
        "messages:\n"
        '  - {role: user, content: "{{ subject }}"}\n'
        '  - {role: assistant, content: "{{ queue }}"}\n'
    )
    inlined = parse(with_file, tmp_path)
    assert inlined.digest == parse(SPEC).digest
    (place,) = with_places(inlined, [Fault("what is wrong", path="mapping.messages[1].content")])
    assert (place.file, place.line, place.column) == (str(file), 3, 23)
    file.write_text(file.read_text() + "messages: []\n")
    (fault,) = faults(with_file, tmp_path)
    assert (fault.file, fault.line, fault.path) == (str(file), 4, "mapping.messages")
    file.write_text("messages:\n  - {role: user, contnet: x}\n")
    found = faults(with_file, tmp_path)
    assert {(fault.file, fault.line) for fault in found} == {(str(file), 2)}


def test_a_name_is_a_file_or_else_a_mapping_of_the_project(tmp_path: Path) -> None:
    start, end = SPEC.index("mapping:"), SPEC.index("training:")
    text, asked = SPEC[:start] + "mapping: tickets\n" + SPEC[end:], list[str]()

    def named(name: str) -> str:
        asked.append(name)
        return f"conversation: {{column: {name}}}\n"

    def load() -> Loaded:
        return parse_spec(text.encode(), tmp_path / "spec.yaml", named=named)

    assert load().spec.mapping.conversation == Conversation(column="tickets")
    assert load().mapping_texts == {str(tmp_path / "tickets"): "conversation: {column: tickets}\n"}
    (tmp_path / "tickets").write_text("conversation: {column: here}\n")
    assert load().spec.mapping.conversation == Conversation(column="here")
    text = text.replace(
        "source: tickets.parquet", "source: [{source: a, mapping: b}, {source: c, mapping: b}]"
    )
    asked.clear()
    _, (_, first), (_, second) = load().spec.mappings
    assert (first, second, asked) == (first, first, ["b"])
    text = text.replace("mapping: b}", "mapping: b.yaml}", 1)
    with pytest.raises(SpecError, match="there is no such mapping file"):
        load()


def test_what_is_named_as_mappings_has_a_bound() -> None:
    entries = ", ".join(f"{{source: a, mapping: m{number}}}" for number in range(101))
    text = SPEC.replace("source: tickets.parquet", f"source: [{entries}]")

    def named(name: str) -> str:
        return "conversation: {column: messages}\n"

    with pytest.raises(SpecError) as caught:
        parse_spec(text.encode(), Path("spec.yaml"), named=named)
    (fault,) = caught.value.faults
    assert fault.path == "dataset.source[100].mapping"
    allowed = text.replace("{source: a, mapping: m100}", "a")
    assert len(parse_spec(allowed.encode(), Path("spec.yaml"), named=named).spec.mappings) == 101
    long = "messages:\n" + "  - {role: assistant, content: x}\n" * 99
    with pytest.raises(SpecError) as caught:
        parse_spec(text.encode(), Path("spec.yaml"), named=lambda _: long)
    (fault,) = caught.value.faults
    assert fault.path == "dataset.source[20].mapping"
    assert len(faults(text)) == 100


def test_the_digest_is_of_the_meaning() -> None:
    digest = parse(SPEC).digest
    same = SPEC.replace("2e-4", "0.0002").replace("epochs: 3", "epochs: 3.0  # passes") + "method: sft\n"
    assert parse(same).digest == digest
    assert parse(SPEC.replace("2e-4", "3e-4")).digest != digest
    keys = ["axolotl: {adam_beta1: 0.8, adam_beta2: 0.9}\n", "axolotl: {adam_beta2: 0.9, adam_beta1: 0.8}\n"]
    assert len({parse(SPEC + text).digest for text in keys}) == 1


@pytest.mark.parametrize(
    "secret",
    ["hf_" + "a1B2" * 8, "AKIA" + "ABCD1234" * 2, "ghp_" + "a1B2" * 9, "sk-" + "proj-" + "a1B2" * 8],
)
@pytest.mark.parametrize(
    "text", ["license: {0}\n", "# {0}\n", "axolotl: {{{0}: 1}}\n", 'license: "\\x{1}"\n']
)
def test_a_secret_is_refused_and_never_shown(secret: str, text: str) -> None:
    written = SPEC + text.format(secret, f"{ord(secret[0]):02x}{secret[1:]}")
    found = [fault for fault in faults(written) if "looks like" in fault.what]
    assert [fault.line for fault in found] == [13]
    assert secret[4:] not in "".join(map(str, faults(written)))


def test_faults_found_later_get_their_places() -> None:
    loaded = parse(SPEC + "axolotl: {neftune_noise_alpha: 5}\n")
    placed = with_places(
        loaded, [Fault("x", path="axolotl.neftune_noise_alpha"), Fault("y", path="axolotl.z")]
    )
    assert [(fault.line, fault.column) for fault in placed] == [(13, 11), (13, 1)]


def test_the_schema_for_editors_allows_a_mapping_file() -> None:
    schema = spec_schema()
    assert {"type": "string"}.items() <= schema["properties"]["mapping"]["anyOf"][1].items()
    assert schema["$defs"]["Training"]["properties"]["seed"]["minimum"] == 0
    assert schema["additionalProperties"] is False


def test_every_name_of_others_leads_to_a_field() -> None:
    fields = set(all_fields(Spec))
    assert {*AXOLOTL_NAMES.values(), *OTHER_NAMES.values()} <= fields
    assert not fields & OTHER_NAMES.keys()
