"""Counting and steps, on small models made on the spot; equality with Axolotl is an integration test."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_models import MODELS

from orchestrator.data.conversation import TrainingRules, turns
from orchestrator.data.tokens import ChatTokenizer
from orchestrator.data.trained_tokens import PLACEHOLDERS, Encoded, Ends, difference, trained_mask
from orchestrator.errors import DataError
from orchestrator.optimizer_steps import packed_steps, unpacked_steps

RULES = TrainingRules(sequence_len=2048)
HELLO = {
    "messages": [
        {"role": "user", "content": "What is the capital of France?"},
        {"role": "assistant", "content": "The capital of France is Paris."},
    ]
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {name: model.write(base / name) for name, model in MODELS.items()}


@pytest.fixture(scope="module")
def chatml(folders: dict[str, Path]) -> ChatTokenizer:
    return ChatTokenizer.load(folders["chatml"])


def test_the_answer_and_its_end_are_trained(chatml: ChatTokenizer) -> None:
    (counts,) = chatml.count([HELLO], RULES)
    answer = HELLO["messages"][1]["content"]
    assert counts.trained == len(chatml._tokenizer.encode(answer).ids) + 1
    text = chatml.render(HELLO["messages"])
    assert counts.tokens == len(chatml._tokenizer.encode(text).ids)
    assert text.endswith("<|im_start|>assistant\nThe capital of France is Paris.<|im_end|>\n")


def test_a_weight_overrules_the_role(chatml: ChatTokenizer) -> None:
    user, assistant = HELLO["messages"]
    turned = {"messages": [{**user, "weight": 1}, {**assistant, "weight": 0}]}
    plain, weighted, without = (
        chatml.count([example], rules)[0].trained
        for example, rules in ((HELLO, RULES), (turned, RULES), (turned, replace(RULES, weights=False)))
    )
    asked = len(chatml._tokenizer.encode(user["content"]).ids) + 1
    assert (weighted, without) == (asked, plain)


def test_a_row_that_ends_with_a_question_has_nothing_to_train(chatml: ChatTokenizer) -> None:
    assert chatml.count([{"messages": HELLO["messages"][:1]}], RULES)[0].trained == 0


def test_truncation_counts_what_is_left(chatml: ChatTokenizer) -> None:
    (whole,) = chatml.count([HELLO], RULES)
    for length in range(1, whole.tokens + 2):
        rules = TrainingRules(sequence_len=length, excess_length_strategy="truncate")
        (counts,) = chatml.count([HELLO], rules)
        assert counts.tokens == min(length, whole.tokens)
        assert counts.tokens + counts.cut == whole.tokens
        assert counts.trained <= min(counts.tokens, whole.trained)
    assert counts == whole


def test_batches_do_not_change_counts(chatml: ChatTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [{"messages": HELLO["messages"] * times} for times in (1, 3, 2, 5, 4)]
    at_once = chatml.count(examples, RULES)
    monkeypatch.setattr("orchestrator.data.tokens.BATCH", 2)
    assert chatml.count(examples, RULES) == at_once
    assert len(set(at_once)) == 5


def test_template_variables_are_those_of_the_rules(folders: dict[str, Path]) -> None:
    tokenizer = ChatTokenizer.load(folders["headers"])
    noted = replace(RULES, chat_template_kwargs={"note": "be brief", "bos_token": ""})
    (plain,), (changed,) = tokenizer.count([HELLO], RULES), tokenizer.count([HELLO], noted)
    assert changed.tokens == plain.tokens - 1 + len(tokenizer._tokenizer.encode("be brief").ids)
    assert changed.trained == plain.trained


def test_refused_rows_are_named_together(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.data.tokens.BATCH", 2)
    tokenizer = ChatTokenizer.load(folders["alternating"])
    system = {"messages": [{"role": "system", "content": "Be brief."}, *HELLO["messages"]]}
    nameless = {"messages": [{"content": "who says this?"}]}
    with pytest.raises(DataError) as caught:
        tokenizer.count([HELLO, system, HELLO, HELLO, nameless], RULES)
    assert [fault.row for fault in caught.value.faults] == [2, 5]
    assert "System role not supported" in str(caught.value)
    assert "messages.0.role" in str(caught.value)


def test_tools_and_arguments_are_read_from_json_text(folders: dict[str, Path]) -> None:
    tokenizer = ChatTokenizer.load(folders["tools"])
    call = {"function": {"name": "find", "arguments": '{"near": "Zürich", "open": null}'}}
    messages = [HELLO["messages"][0], {"role": "assistant", "content": None, "tool_calls": [call]}]
    tools = '[{"type": "function", "function": {"name": "find", "parameters": "{}"}}]'
    (with_tools,) = tokenizer.count([{"messages": messages, "tools": tools}], RULES)
    (without,) = tokenizer.count([{"messages": messages, "tools": None}], RULES)
    assert with_tools.tokens > without.tokens
    assert with_tools.trained == without.trained > len('{"near": "Zürich", "open": null}') / 4

    call["function"]["arguments"] = "{near: Zürich}"
    with pytest.raises(DataError, match=r"row 1, messages\.1\.tool_calls\.0\.function\.arguments"):
        tokenizer.count([{"messages": messages}], RULES)


def test_nulls_of_a_parquet_row_are_gone_at_any_depth() -> None:
    call = {"id": None, "function": {"name": "find", "arguments": "[null]"}}
    message = {"role": "gpt", "content": None, "tool_calls": [call], "weight": 0, "other": 1}
    found = turns({"messages": [message]}, weights=True)
    expected = {
        "role": "assistant",
        "tool_calls": [{"function": {"name": "find", "arguments": [None]}}],
        "training": 0,
    }
    assert found == [expected]


def test_an_end_of_turn_token_must_be_one_token(chatml: ChatTokenizer) -> None:
    rules = TrainingRules(sequence_len=10, eot_tokens=("<|im_end|>", "role"))
    with pytest.raises(DataError, match=r"eot_tokens.*role"):
        chatml.count([HELLO], rules)


@pytest.mark.parametrize(
    ("missing", "message"),
    [("tokenizer.json", "no tokenizer.json"), ("chat_template.jinja", "no chat template")],
)
def test_a_missing_file_is_named(tmp_path: Path, missing: str, message: str) -> None:
    folder = MODELS["chatml"].write(tmp_path / "model")
    (folder / missing).unlink()
    with pytest.raises(DataError, match=message) as caught:
        ChatTokenizer.load(folder)
    assert all(fault.fix for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        ("tokenizer.json", b"{}", "tokenizer cannot be read"),
        ("tokenizer.json", b"[" * 200_000, "not valid JSON"),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"x": {}}}', "tokenizer cannot be read"),
        ("chat_template.jinja", "é".encode("latin-1"), "not UTF-8"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_told(tmp_path: Path, file: str, data: bytes, message: str) -> None:
    folder = MODELS["chatml"].write(tmp_path / "model")
    (folder / file).write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        ChatTokenizer.load(folder)
    assert all(fault.fix for fault in caught.value.faults)


def test_several_templates_need_a_choice(tmp_path: Path) -> None:
    folder = MODELS["chatml"].write(tmp_path / "model")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("{{ messages }}")
    with pytest.raises(DataError, match="several chat templates"):
        ChatTokenizer.load(folder)
    assert (
        ChatTokenizer.load(folder, template="{{ messages[0].content }}")
        .render(HELLO["messages"])
        .startswith("What")
    )


def test_mistral_format_is_refused(tmp_path: Path) -> None:
    folder = MODELS["instructions"].write(tmp_path / "model")
    (folder / "tekken.json").write_text("{}")
    with pytest.raises(DataError, match=r"tekken\.json"):
        ChatTokenizer.load(folder)


def test_a_class_with_unknown_rules_is_an_estimate(tmp_path: Path) -> None:
    folder = replace(MODELS["chatml"], tokenizer_class="CohereTokenizer").write(tmp_path / "model")
    assert not ChatTokenizer.load(folder).exact


def test_the_digest_follows_what_decides_counts(tmp_path: Path, chatml: ChatTokenizer) -> None:
    same = MODELS["chatml"].write(tmp_path / "same")
    config = json.loads((same / "tokenizer_config.json").read_text())
    (same / "tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": 7}, indent=2))
    assert ChatTokenizer.load(same).digest == chatml.digest
    definition = json.loads((same / "tokenizer.json").read_text())
    definition["model"]["merges"].pop()
    (same / "tokenizer.json").write_text(json.dumps(definition))
    assert ChatTokenizer.load(same).digest != chatml.digest

    template = MODELS["chatml"].write(tmp_path / "other") / "chat_template.jinja"
    same = template.parent
    template.write_text(template.read_text() + "{# changed #}")
    assert ChatTokenizer.load(same).digest != chatml.digest
    (same / "tokenizer_config.json").write_text(json.dumps({**config, "eos_token": "<|im_start|>"}))
    template.write_text(chatml.template)
    assert ChatTokenizer.load(same).digest != chatml.digest


def test_truncation_and_padding_of_the_file_do_not_count(tmp_path: Path, chatml: ChatTokenizer) -> None:
    folder = MODELS["chatml"].write(tmp_path / "model")
    definition = json.loads((folder / "tokenizer.json").read_text())
    definition["truncation"] = {
        "direction": "Right",
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    definition["padding"] = {
        "strategy": {"Fixed": 99},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<|im_end|>",
    }
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    assert ChatTokenizer.load(folder).count([HELLO], RULES) == chatml.count([HELLO], RULES)


def test_a_template_that_never_ends_a_turn_is_seen(folders: dict[str, Path]) -> None:
    chatml = ChatTokenizer.load(folders["chatml"])
    assert chatml.writes_eos
    assert not ChatTokenizer.load(folders["alternating"]).writes_eos


def rendered(folder: Path, template: str) -> str:
    clock = lambda: datetime(2024, 7, 26)  # noqa: E731
    return ChatTokenizer.load(folder, template, clock).render(HELLO["messages"], add_generation_prompt=True)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024"),
        ("{{ {'b': '<é>', 'a': 1} | tojson }}", '{"b": "<é>", "a": 1}'),
        ("{{ {'b': 1, 'a': 1} | tojson(sort_keys=true, indent=1) }}", '{\n "a": 1,\n "b": 1\n}'),
        ("  {% if true %}\nx\n  {% endif %}\n", "x\n"),
        ("{% generation %}{% set y = 1 %}in{% endgeneration %}{{ y is defined }}", "inFalse"),
        ("{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{{ m.role }}{% endfor %}", "user"),
        ("{{ eos_token }}{{ bos_token }}{{ pad_token }}", "<|im_end|><|endoftext|>"),
        ("{{ add_generation_prompt }}{{ tools is none }}{{ documents is none }}", "TrueTrueTrue"),
        ("{{ messages[0].items() | list | length }}{{ messages[0].nothing is defined }}", "2False"),
        (
            "{% set ns = namespace(a=none, b='x') %}{{ ns.a is none }}{{ ns.b }}{{ ns.c is defined }}",
            "TruexFalse",
        ),
    ],
)
def test_templates_render_as_in_transformers(folders: dict[str, Path], template: str, text: str) -> None:
    assert rendered(folders["chatml"], template) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no') }}",
        "{{ ''.__class__.__mro__ }}{{ ''.__class__.__mro__.x }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'role': 'x'}) }}",
        "{{ ('x' * 1000000000) | length }}",
        "{{ ([0] * 1000000000) | length }}",
        "{{ 2 ** 10000000 }}",
        "{% for i in range(100000) %}{% for j in range(10) %}{{ 'x' * 1000 }}{% endfor %}{% endfor %}",
        "{{ range(1000000) }}",
        "{{ nothing.at.all }}",
    ],
)
def test_templates_are_bounded(folders: dict[str, Path], template: str) -> None:
    with pytest.raises(DataError, match="chat template refuses"):
        rendered(folders["chatml"], template)


def test_a_broken_template_is_refused_at_once(folders: dict[str, Path]) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        ChatTokenizer.load(folders["chatml"], "{% for %}")


def letter_mask(contents: list[str], rules: TrainingRules, *, drift: bool = False) -> str:
    """The trained letters of `(content)$` turns, one token a letter; with `drift` the text is not used."""
    turns = [
        {"role": role, "content": text}
        for role, text in zip(["user", "assistant"] * 4, contents, strict=False)
    ]

    def text_of(turned: list[dict[str, str]]) -> str:
        return "".join(f"({turn['content']})$" for turn in turned)

    text = text_of(turns)
    ids = [ord(letter) for letter in text]
    encoded = Encoded("" if drift else text, ids, lambda place: (place, place + 1))
    ends = frozenset({ord("$")})
    mask = trained_mask(
        turns, encoded, rules, Ends(ends, ends), text_of, lambda turned, _: [ord(c) for c in text_of(turned)]
    )
    return "".join(letter if trained else "." for letter, trained in zip(text, mask, strict=True))


@pytest.mark.parametrize(
    ("eos", "mask"),
    [
        ("turn", ".....answer.$......"),
        ("none", ".....answer........"),
        ("all", "...$.answer.$......"),
        ("last", ".....answer.$......"),
    ],
)
def test_ends_are_trained_by_rule(eos: str, mask: str) -> None:
    # An untrained last turn is not looked for, so `last` takes the last end that was seen.
    expected = mask[:-1] + "$" if eos == "all" else mask
    assert letter_mask(["a", "answer", "qqq"], replace(RULES, train_on_eos=eos)) == expected


def test_turns_are_found_by_tokens_where_the_text_does_not_tell() -> None:
    contents = ["ask", "same", "ask", "same"]
    assert (
        letter_mask(contents, RULES, drift=True)
        == letter_mask(contents, RULES)
        == "." * 7 + "same.$" + ("." * 7 + "same.$")
    )


@given(st.lists(st.text("ab[]z$ ", max_size=6), min_size=1, max_size=6))
def test_exactly_the_content_of_trained_turns_is_found(contents: list[str]) -> None:
    # Where a content holds the end token, or nothing, Axolotl's rules for ends come in; not the matter here.
    contents = [text.replace("$", "") or "x" for text in contents]
    rules = replace(RULES, train_on_eos="none")
    expected = "".join("." + (text if at % 2 else "." * len(text)) + ".." for at, text in enumerate(contents))
    assert letter_mask(contents, rules) == expected


@given(st.text("ab", max_size=8), st.text("ab", max_size=8))
def test_the_difference_is_what_is_between_common_ends(text: str, other: str) -> None:
    shorter = min(len(text), len(other))
    start = next((at for at in range(shorter) if text[at] != other[at]), shorter)
    rest = shorter - start
    same = next((at for at in range(rest) if text[-1 - at] != other[-1 - at]), rest)
    assert difference(text, other) == (start, len(text) - same)


def test_placeholders_share_no_edge() -> None:
    left, right = PLACEHOLDERS
    assert left[0] != right[0]
    assert left[-1] != right[-1]


def test_steps_divide_all_epochs_at_once() -> None:
    assert unpacked_steps(10, 3, micro_batch=1, accumulation=4) == 8
    assert unpacked_steps(10, 3, micro_batch=1, accumulation=4, devices=2) == 4
    assert unpacked_steps(100, 0.5, micro_batch=2, accumulation=2) == 13
    assert unpacked_steps(1, 1, micro_batch=8, accumulation=4) == 1


def test_packing_of_equal_rows_is_exact() -> None:
    steps = packed_steps([50] * 400, 2, sequence_len=100, micro_batch=2, accumulation=5)
    assert steps == 2 * (100 * 2 // 10)
    apart = packed_steps([50] * 400, 2, sequence_len=100, micro_batch=2, accumulation=5, joined=False)
    assert apart == 2 * (100 * 2 // 10)
    few = packed_steps([1] * 400, 1, sequence_len=100, micro_batch=1, accumulation=1, pack_rows=8)
    assert few == 50


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(50, 120), st.integers(1, 6))
def test_packs_are_those_of_plain_first_fit(lengths: list[int], room: int, pack_rows: int) -> None:
    def plain(lengths: list[int]) -> int:
        packs: list[list[int]] = []
        for length in lengths:
            fitting = [pack for pack in packs if sum(pack) + length <= room and len(pack) < pack_rows]
            if fitting:
                fitting[0].append(length)
            else:
                packs.append([length])
        return len(packs)

    rules = {"sequence_len": room, "micro_batch": 1, "accumulation": 1, "pack_rows": pack_rows}
    shuffled = [random.Random(seed).sample(lengths, len(lengths)) for seed in range(4)]
    assert packed_steps(lengths, 1, **rules) == min(plain(order) for order in shuffled)
