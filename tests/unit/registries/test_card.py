"""The card says what is true of an adapter, and reads as YAML and Markdown."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from typing import Any

import pytest
import yaml

from orchestrator.contract import File
from orchestrator.registries.card import CardFacts, Score, provenance, render_card
from orchestrator.registries.serving import serving_notes

LORA = {"r": 32, "lora_alpha": 64, "lora_dropout": 0.05, "bias": "none", "init_lora_weights": True}
FACTS = CardFacts(
    name="support-triage",
    run_id="r-1",
    base_model="Qwen/Qwen3-0.6B@c1899de",
    method="sft",
    kind="lora",
    adapter_config=LORA,
    description="Routes a support ticket.",
    license="apache-2.0",
    dataset="acme/tickets",
    rows=950,
    steps=90,
    loss=0.123456,
    training={"learning_rate": 2e-4},
    scores=[Score("exact_match", 0.125, 0.9), Score("loss", None, 0.4)],
    score_rows=50,
    references=["models:/support-triage@candidate"],
    digests={"dataset": "d" * 64, "image": None},
    versions={"axolotl": "0.19.0", "commit": None},
)


def changed(**changes: Any) -> CardFacts:
    return dataclasses.replace(FACTS, **changes)


def front_matter(card: str) -> dict[str, Any]:
    opened, matter, _ = card.split("---\n", 2)
    assert opened == ""
    return dict(yaml.safe_load(matter))


def command_of(card: str, start: str) -> list[str]:
    text = card[card.index(start) :].partition("\n```")[0]
    return shlex.split(text.replace("\\\n", " "))


def test_front_matter_is_what_the_hub_reads() -> None:
    assert front_matter(render_card(FACTS)) == {
        "base_model": "Qwen/Qwen3-0.6B",
        "base_model_relation": "adapter",
        "library_name": "peft",
        "license": "apache-2.0",
        "pipeline_tag": "text-generation",
        "datasets": ["acme/tickets"],
        "tags": ["axolotl", "lora", "sft"],
    }


def test_full_weights_are_a_fine_tune_of_transformers() -> None:
    card = render_card(changed(kind="full", adapter_config=None))
    matter = front_matter(card)
    assert (matter["base_model_relation"], matter["library_name"]) == ("finetune", "transformers")
    assert matter["tags"] == ["axolotl", "sft"]
    assert command_of(card, "vllm serve") == shlex.split(
        "vllm serve ./adapter --served-model-name support-triage"
    )
    assert "peft" not in card


def test_what_is_not_known_is_not_said() -> None:
    bare = render_card(CardFacts("a", "r", "m", "sft", "lora", {"r": 8}))
    assert "None" not in bare
    assert "## Evaluation" not in bare
    assert not {"license", "datasets"} & set(front_matter(bare))
    assert "commit" not in render_card(FACTS)


def test_the_same_facts_give_the_same_bytes() -> None:
    assert render_card(FACTS) == render_card(dataclasses.replace(FACTS))


def test_text_of_the_user_cannot_break_front_matter_or_tables() -> None:
    card = render_card(changed(license="x: [", training={"a|b": "c\nd | e"}))
    assert front_matter(card)["license"] == "x: ["
    assert "| a\\|b | c d \\| e |" in card


def test_scores_stand_side_by_side() -> None:
    card = render_card(FACTS)
    assert "On 50 held-out rows" in card
    assert "| exact_match | 0.125 | 0.9 |" in card
    assert "| loss | - | 0.4 |" in card


def test_the_vllm_command_has_the_rank_and_the_module() -> None:
    command = command_of(render_card(FACTS), "vllm serve")
    assert command[:5] == ["vllm", "serve", "Qwen/Qwen3-0.6B", "--revision", "c1899de"]
    assert command[command.index("--max-lora-rank") + 1] == "32"
    module = json.loads(command[command.index("--lora-modules") + 1])
    assert module == {"name": "support-triage", "path": "./adapter", "base_model_name": "Qwen/Qwen3-0.6B"}


@pytest.mark.parametrize(
    ("config", "flag"),
    [({"r": 4}, "16"), ({"r": 17}, "32"), ({"r": 8, "rank_pattern": {"q": 65}}, "128"), ({"r": 512}, "512")],
)
def test_the_rank_flag_is_one_that_vllm_takes(config: dict[str, Any], flag: str) -> None:
    command = command_of(render_card(changed(adapter_config=config)), "vllm serve")
    assert command[command.index("--max-lora-rank") + 1] == flag


@pytest.mark.parametrize(
    "base", ["/home/someone/models/tiny", "./models/tiny/", "../tiny", "file:///models/tiny"]
)
def test_a_model_folder_is_named_without_its_path(base: str) -> None:
    card = render_card(changed(base_model=base))
    assert front_matter(card)["base_model"] == "tiny"
    assert "models/" not in card.replace("models:/", "")
    assert 'from_pretrained("tiny")' in card


def test_an_adapter_that_vllm_serves_has_no_notes() -> None:
    for start in (True, "gaussian", "eva", "orthogonal"):
        assert serving_notes(LORA | {"init_lora_weights": start, "modules_to_save": ["score"]}) == []


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"bias": "all"}, "bias: all"),
        ({"lora_bias": True}, "lora_bias"),
        ({"modules_to_save": ["score", "lm_head", "embed_tokens"]}, "embed_tokens, lm_head"),
        ({"init_lora_weights": "pissa_niter_16"}, "pissa_niter_16"),
        ({"init_lora_weights": "olora"}, "olora"),
        ({"init_lora_weights": "corda"}, "corda"),
        ({"init_lora_weights": "loftq"}, "loftq"),
        ({"alora_invocation_tokens": [1, 2]}, "activated"),
        ({"layer_replication": [[0, 4]]}, "replicated"),
        ({"use_qalora": True}, "QA-LoRA"),
        ({"use_bdlora": True}, "BD-LoRA"),
        ({"alpha_pattern": {"q_proj": 8}}, "alpha_pattern"),
        ({"trainable_token_indices": [5]}, "token embeddings"),
        ({"rank_pattern": {"q_proj": 1024}}, "1024"),
    ],
)
def test_what_vllm_cannot_serve_is_said_with_its_reason(option: dict[str, Any], words: str) -> None:
    (note,) = serving_notes(LORA | option)
    assert words in note
    card = render_card(changed(adapter_config=LORA | option))
    assert note in card
    assert "merge_and_unload" in card
    assert "vllm serve" not in card


def test_provenance_names_every_file_and_digest() -> None:
    found = provenance(
        run_id="r-1",
        name="support-triage",
        spec_text="name: a\n",
        base_model="Qwen/Qwen3-0.6B@c1899de",
        base_model_digest="b" * 64,
        dataset_digest="d" * 64,
        mapping_digest="e" * 64,
        config_digest="c" * 64,
        adapter_digest="a" * 64,
        files=[File("b.json", 2, "2" * 64), File("a.safetensors", 1, "1" * 64)],
        versions={"python": "3.11.7", "axo": "0.1.0"},
        attempts=3,
        lost_steps=7,
    )
    assert json.loads(json.dumps(found)) == found
    assert [file["path"] for file in found["adapter"]["files"]] == ["a.safetensors", "b.json"]
    assert found["spec"] == {"digest": hashlib.sha256(b"name: a\n").hexdigest(), "text": "name: a\n"}
    assert found["run"] == {"id": "r-1", "name": "support-triage", "attempts": 3, "lost_steps": 7}
    assert (found["image"], found["code"]) == ({"digest": None}, {"commit": None})
