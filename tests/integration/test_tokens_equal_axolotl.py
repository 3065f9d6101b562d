"""Our counts are Axolotl's own, row by row: the same models and Parquet files through both."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest
from toy_models import MODELS, SENTENCES

from orchestrator.data.compiled import check_column
from orchestrator.data.conversation import TrainingRules
from orchestrator.data.mapping import compile_mapping
from orchestrator.data.rows import ROW
from orchestrator.data.text_tokens import TextTokenizer, pieces
from orchestrator.data.tokenizer_classes import OVERRULED, PLAIN, REGISTERED
from orchestrator.data.tokens import ChatTokenizer
from orchestrator.errors import DataError
from orchestrator.optimizer_steps import unpacked_steps
from orchestrator.spec.mapping import Mapping

TRAINER = Path(os.environ.get("AXO_TRAINER_PYTHON", "~/.cache/axo/trainer/bin/python")).expanduser()
REPOSITORY = Path(__file__).parents[2]
REAL_DATA = REPOSITORY.parent / "shared" / "data" / "real"

_TEMPLATES = "lib/python*/site-packages/axolotl/utils/chat_templates/templates/*.jinja"
SHIPPED = sorted(TRAINER.parent.parent.glob(_TEMPLATES))

Row = dict[str, object]
FUNCTION = pl.Struct({"name": pl.String, "arguments": pl.String})
MESSAGE = pl.Struct(
    {
        "role": pl.String,
        "content": pl.String,
        "weight": pl.Int64,
        "tool_calls": pl.List(pl.Struct({"id": pl.String, "type": pl.String, "function": FUNCTION})),
        "name": pl.String,
        "tool_call_id": pl.String,
        "reasoning_content": pl.String,
    }
)
RULES = TrainingRules(sequence_len=200)


def say(role: str, content: str | None, **more: object) -> Row:
    return {"role": role, "content": content, **more}


def call(name: str, arguments: object) -> Row:
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def plain_rows() -> list[Row]:
    """Conversations that every template takes: user and assistant in turn."""
    conversations = [
        [say("user", "What is the capital of France?"), say("assistant", "The capital of France is Paris.")],
        [say("user", "Hi"), say("assistant", "Hi"), say("user", "Hi"), say("assistant", "Hi")],
        [say("user", "東京は？ 🙂"), say("assistant", "日本の首都です。🙃 Straße\n\n  naïve ")],
        [say("user", "one"), say("assistant", ""), say("user", "two"), say("assistant", "  ")],
        [say("user", "only a question")],
        [say("user", "a"), say("assistant", "b"), say("user", "the last turn asks")],
        [say("user", "wq " * 300), say("assistant", "too long to keep")],
        [say("user", "short"), say("assistant", "an answer that is cut " * 60)],
        [
            say("user", "a"),
            say("assistant", "not this", weight=0),
            say("user", "trained too", weight=1),
            say("assistant", "this", weight=1),
        ],
        [say("user", "[[ zz"), say("assistant", "[[dummy_message]] and zz")],
        [say("user", "eos inside"), say("assistant", "stop <|im_end|> here </s> <|eot_id|> <end_of_turn>")],
        [say("human", "other names"), say("gpt", "for the roles")],
        [say("user", "é" * 20), say("assistant", "{{ no template }} {% raw %} \t tabs \r\n lines")],
    ]
    return [{"messages": messages} for messages in conversations]


def system_rows() -> list[Row]:
    system = say("system", "You are a helpful assistant.")
    return [
        {"messages": [system, say("user", "Hi"), say("assistant", "Hello, I am a helpful assistant.")]},
        {"messages": [say("system", ""), say("user", "Hi"), say("assistant", "Hello")]},
        {"messages": [say("system", "alone")]},
        {"messages": [system, say("user", "Hi"), say("user", "again"), say("assistant", "Yes?")]},
    ]


def tool_rows() -> list[Row]:
    tool = {
        "type": "function",
        "function": {"name": "get_weather", "parameters": json.dumps({"type": "object", "properties": {}})},
    }
    asks = say("assistant", None, tool_calls=[call("get_weather", {"city": "Zürich", "days": None})])
    answer = say("tool", '{"degrees": 21}', name="get_weather", tool_call_id="c1")
    sunny = say("assistant", "It is sunny.", reasoning_content="The tool says 21 degrees.")
    return [
        {"messages": [say("user", "Weather?"), asks, answer, sunny], "tools": json.dumps([tool])},
        {"messages": [say("user", "Weather?"), asks, answer, answer, sunny], "tools": "[]"},
        {"messages": [say("user", "Weather?"), sunny, say("user", "Sure?"), sunny], "tools": None},
        {
            "messages": [
                say("system", "Use tools."),
                say("user", "Both?"),
                say("assistant", "I look.", tool_calls=[call("a", {}), call("b", {"x": [1, None]})]),
            ],
            "tools": json.dumps([tool, tool]),
        },
    ]


@dataclass(frozen=True)
class Case:
    """One model, rows and rules for both sides to count."""

    name: str
    model: str
    rows: list[Row]
    rules: TrainingRules = RULES
    shipped: Path | None = None
    whole: bool = False


def cases() -> list[Case]:
    both, every = plain_rows() + system_rows(), plain_rows() + system_rows() + tool_rows()
    turn_end = replace(RULES, eot_tokens=("<end_of_turn>",))
    tools = replace(RULES, sequence_len=400)
    cut = replace(RULES, excess_length_strategy="truncate")
    found = [
        Case("chatml", "chatml", both, whole=True),
        Case("chatml cut", "chatml", both, replace(cut, sequence_len=60), whole=True),
        Case("chatml all ends", "chatml", both, replace(RULES, train_on_eos="all")),
        Case("chatml last end", "chatml", both, replace(RULES, train_on_eos="last")),
        Case("chatml no end", "chatml", both, replace(RULES, train_on_eos="none")),
        Case("chatml everything", "chatml", both, replace(RULES, train_on_inputs=True)),
        Case("chatml no weights", "chatml", both, replace(RULES, weights=False)),
        Case("chatml minimum", "chatml", both, replace(RULES, min_sample_len=30), whole=True),
        Case("chatml users", "chatml", both, replace(RULES, roles_to_train=("user", "gpt"))),
        Case("headers", "headers", both),
        Case("headers noted", "headers", both, replace(RULES, chat_template_kwargs={"note": "be brief"})),
        Case("headers cut", "headers", both, replace(cut, sequence_len=40)),
        Case("alternating", "alternating", plain_rows()),
        Case("alternating, end of turn", "alternating", plain_rows(), turn_end),
        Case("alternating, ends of all", "alternating", plain_rows(), replace(turn_end, train_on_eos="all")),
        Case("tools", "tools", every, tools, whole=True),
        Case("tools everything", "tools", every, replace(tools, train_on_inputs=True, train_on_eos="last")),
        Case("mapped calls", "tools", mapped_rows(), tools, whole=True),
        Case("mapped, last answer", "tools", mapped_rows(train_on="last"), tools, whole=True),
        Case("instructions", "instructions", both),
        Case("pieces", "pieces", both),
        Case("pieces first", "pieces first", both),
        Case("old layout", "old layout", both),
        Case("listed", "listed", both),
        Case("gpt", "gpt", both),
        Case("neox", "neox", both),
    ]
    return found + real_cases() + shipped_cases()


def shipped_cases() -> list[Case]:
    """Every chat template that Axolotl ships, read where it is installed, with a tokenizer of ours.

    Some refuse some rows; then ours must refuse them too.
    """
    return [
        Case(f"{path.stem}, {kind}", "headers", rows, shipped=path)
        for path in SHIPPED
        for kind, rows in (("plain", plain_rows()), ("more", system_rows() + tool_rows()))
    ]


def real_cases() -> list[Case]:
    if not REAL_DATA.is_dir():
        return []
    calls = json.loads((REAL_DATA / "glaive_toolcall_en_demo.json").read_text(encoding="utf-8"))
    answers = json.loads((REAL_DATA / "kto_en_demo.json").read_text(encoding="utf-8"))
    rules = TrainingRules(sequence_len=1024)
    return [
        Case("real tool calls", "tools", glaive(calls[:100]), rules),
        Case("real answers", "headers", [{"messages": row["messages"]} for row in answers[:100]], rules),
    ]


def glaive(rows: list[Row]) -> list[Row]:
    return mapped(rows, conversation={"column": "conversations"}, tools="tools")


def mapped(rows: list[Row], **mapping: object) -> list[Row]:
    """Rows as a mapping makes them; those it calls red are left out, as they are before training."""
    frame = pl.DataFrame(rows, infer_schema_length=None)
    compiled = compile_mapping(Mapping.model_validate(mapping), frame.schema)
    out = compiled.apply(frame.lazy().with_row_index(ROW)).collect()
    red = [check_column(number) for number, check in enumerate(compiled.checks) if check.verdict == "red"]
    return out.filter(~pl.any_horizontal(red)).select("messages", pl.col("^tools$")).to_dicts()


def mapped_rows(**mapping: object) -> list[Row]:
    """Conversations with calls and weights of every form that mappings carry, mapped."""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = json.dumps([{"name": "get_weather", "parameters": parameters}])
    sunny, asks = say("assistant", "It is sunny."), say("user", "Weather?")
    calls = [call("get_weather", {"city": "Zürich"})]
    rows: list[Row] = [
        {"m": [asks, say("assistant", None, tool_calls=calls), say("tool", "21", tool_call_id="c1"), sunny]},
        {"m": [asks, {**sunny, "weight": 0}, asks, {**sunny, "weight": 1}]},
        {"m": [asks, sunny, asks, say("assistant", "Yes.", reasoning_content="I saw it.")]},
        {"m": [asks, say("assistant", "", tool_calls=[*calls, *calls])]},
    ]
    asked = json.dumps({"name": "get_weather", "arguments": {"city": [1, None]}})
    said = [("human", "Weather?"), ("function_call", asked), ("observation", "21"), ("gpt", "Sunny.")]
    said += [("human", "Sure?"), ("gpt", "Yes.")]
    shared = [{"m": [{"from": who, "value": what} for who, what in said]}]
    forms = (rows, shared, [{"m": json.dumps(row["m"])} for row in rows])
    whole = {"conversation": {"column": "m"}, "tools": "t", **mapping}
    return [row for form in forms for row in mapped([{**row, "t": tools} for row in form], **whole)]


def refused() -> list[Case]:
    broken = say("assistant", "", tool_calls=[call("f", {})])
    broken["tool_calls"][0]["function"]["arguments"] = "{not json"
    return [
        Case("a system turn", "alternating", system_rows()),
        Case("two users", "alternating", [{"messages": [say("user", "a"), say("user", "b")]}]),
        Case("broken arguments", "tools", [{"messages": [say("user", "a"), broken]}]),
        Case("no messages", "chatml", [{"messages": []}]),
        Case("tools of a wrong kind", "tools", [{**plain_rows()[0], "tools": '{"a": 1}'}]),
        Case(
            "a split end of turn",
            "chatml",
            plain_rows(),
            replace(RULES, eot_tokens=("<|im_start|>", "role")),
        ),
    ]


TEXTS = [
    "",
    "a",
    " ",
    *SENTENCES,
    "東京 🙂 naïve\n\n\t" * 9,
    " ".join(SENTENCES) * 3,
    "the end <|im_end|>",
    "the end </s>",
    *("wq " * number for number in range(1, 60)),
    "too long for sixty-four pieces " * 400,
]


def text_cases() -> list[Case]:
    """Plain text, cut into pieces of several lengths."""
    rows: list[Row] = [{"text": text} for text in TEXTS]
    return [
        Case(f"text {model} {length}", model, rows, TrainingRules(sequence_len=length), whole=True)
        for model, length in (
            *[("chatml", 16), ("chatml", 200), ("headers", 40), ("bos", 20), ("bos and eos", 20)],
            *[("instructions", 33), ("tools", 20), ("gpt", 64), ("neox", 20)],
        )
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counts")
    for name, model in MODELS.items():
        model.write(folder / "models" / name)
    return folder


@pytest.fixture(scope="module")
def counted(folder: Path) -> dict[str, dict[str, object]]:
    """What Axolotl counts for every case, from one process."""
    if not TRAINER.exists():
        message = "no trainer environment: make one with pip install '.[trainer]', or set AXO_TRAINER_PYTHON"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    job, result = folder / "job.json", folder / "result.json"
    everything = [*cases(), *refused(), *text_cases()]
    cases_to_count = [
        {"name": case.name, "config": _config(case, folder), "whole": case.whole} for case in everything
    ]
    job.write_text(json.dumps(cases_to_count), encoding="utf-8")
    script = Path(__file__).parent / "support" / "axolotl_counts.py"
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "AXOLOTL_DO_NOT_TRACK", "DO_NOT_TRACK"), "1")
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    cache = {"HF_HOME": str(folder / "cache")}
    done = subprocess.run(
        [TRAINER, script, job, result],
        env={**os.environ, **offline, **threads, **cache},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(result.read_text(encoding="utf-8"))


def _config(case: Case, folder: Path) -> dict[str, object]:
    path = folder / f"{case.name}.parquet"
    if "text" in case.rows[0]:
        pl.DataFrame(case.rows).write_parquet(path)
        dataset = {"path": str(path), "ds_type": "parquet", "type": "completion", "field": "text"}
        return {"datasets": [dataset], **_common_keys(case, folder)}
    schema = {"messages": pl.List(MESSAGE), "tools": pl.String}
    pl.DataFrame([{"tools": None, **row} for row in case.rows], schema=schema).write_parquet(path)
    return {
        "datasets": [{"path": str(path), "ds_type": "parquet", **case.rules.dataset_keys()}],
        **_template_keys(case),
        **_common_keys(case, folder),
    }


def _common_keys(case: Case, folder: Path) -> dict[str, object]:
    return {
        "base_model": str(folder / "models" / case.model),
        **case.rules.config_keys(),
        "micro_batch_size": 2,
        "gradient_accumulation_steps": 3,
        "num_epochs": 3,
        "learning_rate": 1e-4,
        "dataset_num_proc": 0,
    }


def _template_keys(case: Case) -> dict[str, object]:
    if case.shipped is None:
        return {"chat_template": "tokenizer_default"}
    return {"chat_template": "jinja", "chat_template_jinja": str(case.shipped)}


def _ours(case: Case, folder: Path) -> tuple[ChatTokenizer, list[Row]]:
    rows = pl.read_parquet(folder / f"{case.name}.parquet").to_dicts()
    template = case.shipped.read_text(encoding="utf-8") if case.shipped else None
    return ChatTokenizer.load(folder / "models" / case.model, template), rows


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_every_row_counts_as_in_axolotl(
    case: Case, folder: Path, counted: dict[str, dict[str, object]]
) -> None:
    theirs = counted[case.name]
    tokenizer, rows = _ours(case, folder)
    everything = replace(case.rules, sequence_len=10**9)
    if "error" in theirs:
        assert case.shipped is not None, theirs["error"]
        with pytest.raises(DataError):
            tokenizer.count(rows, everything)
        return
    assert tokenizer.exact
    assert [[one.tokens, one.trained] for one in tokenizer.count(rows, everything)] == theirs["rows"]


@pytest.mark.parametrize("case", [case for case in cases() if case.whole], ids=lambda case: case.name)
def test_the_trainer_is_given_what_we_forecast(
    case: Case, folder: Path, counted: dict[str, dict[str, object]]
) -> None:
    theirs = counted[case.name]
    tokenizer, rows = _ours(case, folder)
    counts = tokenizer.count(rows, case.rules)
    given = [
        [one.tokens, one.trained]
        for one in counts
        if one.tokens + one.cut >= case.rules.min_sample_len and one.tokens <= case.rules.sequence_len
    ]
    assert sorted(given) == sorted(theirs["given"])
    if case.rules.excess_length_strategy == "truncate":
        assert [[one.tokens, one.trained] for one in counts] == theirs["kept"]
        assert any(one.cut for one in counts)
    assert unpacked_steps(len(given), 3, micro_batch=2, accumulation=3) == theirs["steps"]


@pytest.mark.parametrize("case", refused(), ids=lambda case: case.name)
def test_what_stops_axolotl_is_refused_with_its_row(
    case: Case, folder: Path, counted: dict[str, dict[str, object]]
) -> None:
    assert "error" in counted[case.name]
    tokenizer, rows = _ours(case, folder)
    with pytest.raises(DataError) as caught:
        tokenizer.count(rows, case.rules)
    assert case.rules.eot_tokens or {fault.row for fault in caught.value.faults} <= set(range(1, 5))


@pytest.mark.parametrize("case", text_cases(), ids=lambda case: case.name)
def test_every_text_counts_as_in_axolotl(
    case: Case, folder: Path, counted: dict[str, dict[str, object]]
) -> None:
    theirs = counted[case.name]
    tokenizer = TextTokenizer.load(folder / "models" / case.model)
    counts = tokenizer.count(case.rows, case.rules)
    ours = [[length] * 2 for one in counts for length in pieces(one.tokens, case.rules)]
    assert tokenizer.exact
    assert ours == theirs["kept"]
    assert len(ours) == len(theirs["given"])
    if case.name == "text chatml 16":
        assert counts[0].tokens == 0
        assert counts[-1].cut > 0
        assert len(ours) < len(theirs["rows"])
    assert unpacked_steps(len(ours), 3, micro_batch=2, accumulation=3) == theirs["steps"]


def test_tokenizer_classes_are_those_of_transformers(counted: dict[str, dict[str, object]]) -> None:
    source = (
        "import json; from transformers.models.auto import tokenization_auto as auto; "
        "overruled = list(auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS); "
        "print(json.dumps([auto.TOKENIZER_MAPPING_NAMES, overruled]))"
    )
    done = subprocess.run([TRAINER, "-c", source], capture_output=True, text=True, check=True, timeout=300)
    names, overruled = json.loads(done.stdout)
    plain = {"TokenizersBackend", "MistralCommonBackend"}
    assert {kind: PLAIN if names[kind] in plain else names[kind] for kind in REGISTERED} == REGISTERED
    assert {kind for kind in overruled if REGISTERED.get(kind, PLAIN) != PLAIN} == OVERRULED


def test_real_data_is_there() -> None:
    if not real_cases():
        pytest.skip(f"no {REAL_DATA.name} data beside the checkout: two cases of this module did not run")
    assert len(real_cases()) == 2
