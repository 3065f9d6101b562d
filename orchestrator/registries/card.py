"""The model card and the provenance that travel with an adapter; pure: same facts, same bytes."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import yaml

from orchestrator.contract import File
from orchestrator.registries.serving import MERGE, model_and_revision, serving_notes, vllm_command


@dataclass(frozen=True)
class Score:
    """One metric on held-out rows; None where it was not measured."""

    metric: str
    base: float | None
    adapter: float | None


@dataclass(frozen=True)
class CardFacts:
    """What a card tells.

    `base_model` is as the spec names it; `adapter_config` PEFT's, None for full weights. `training`
    are the parameters and figures of the training, `digests` and `versions` what it was made from,
    in the order to show them. `references` are the names that registries know the adapter by.
    """

    name: str
    run_id: str
    base_model: str
    method: str
    kind: Literal["lora", "qlora", "full"]
    adapter_config: Mapping[str, Any] | None = None
    description: str | None = None
    license: str | None = None
    dataset: str | None = None
    rows: int | None = None
    tokens: int | None = None
    steps: int | None = None
    loss: float | None = None
    eval_loss: float | None = None
    training: Mapping[str, object] = field(default_factory=dict)
    scores: Sequence[Score] = ()
    score_rows: int | None = None
    references: Sequence[str] = ()
    digests: Mapping[str, str | None] = field(default_factory=dict)
    versions: Mapping[str, str | None] = field(default_factory=dict)


def render_card(facts: CardFacts) -> str:
    """The card: Markdown with the front matter that the Hugging Face Hub reads."""
    blocks = [
        _front_matter(facts),
        f"# {facts.name}",
        _summary(facts),
        "## Use",
        *_use(facts),
        "## Training",
        _table(("", ""), _training_rows(facts)),
        *_evaluation(facts),
        "## Provenance",
        "`provenance.json`, beside this file, holds these and the SHA-256 of every file.",
        _table(("", ""), _provenance_rows(facts)),
    ]
    return "\n\n".join(blocks) + "\n"


def provenance(
    *,
    run_id: str,
    name: str,
    spec_text: str,
    base_model: str,
    base_model_digest: str | None,
    dataset_digest: str | None,
    mapping_digest: str | None,
    config_digest: str | None,
    adapter_digest: str,
    files: Iterable[File],
    versions: Mapping[str, str | None],
    attempts: int,
    lost_steps: int,
    continued_from: Mapping[str, Any] | None = None,
    code_commit: str | None = None,
    image_digest: str | None = None,
) -> dict[str, Any]:
    """Where an adapter comes from, as `provenance.json` holds it; None where something is not known.

    `files` are the adapter's own; `adapter_digest` is their content digest. `continued_from` is
    the digest of the adapter that training started from, and its run where it was one of ours. Digests are
    SHA-256 in hex.
    """
    return {
        "version": 1,
        "run": {"id": run_id, "name": name, "attempts": attempts, "lost_steps": lost_steps},
        "adapter": {
            "digest": adapter_digest,
            "files": [asdict(file) for file in sorted(files, key=lambda file: file.path)],
        },
        "base_model": {"name": base_model, "digest": base_model_digest},
        "continued_from": continued_from,
        "dataset": {"digest": dataset_digest},
        "mapping": {"digest": mapping_digest},
        "config": {"digest": config_digest},
        "spec": {"digest": hashlib.sha256(spec_text.encode()).hexdigest(), "text": spec_text},
        "code": {"commit": code_commit},
        "image": {"digest": image_digest},
        "versions": dict(sorted(versions.items())),
    }


def _front_matter(facts: CardFacts) -> str:
    lora = facts.kind != "full"
    values = {
        "base_model": model_and_revision(facts.base_model)[0],
        "base_model_relation": "adapter" if lora else "finetune",
        "library_name": "peft" if lora else "transformers",
        "license": facts.license,
        "pipeline_tag": "text-generation",
        "datasets": [facts.dataset] if facts.dataset else None,
        "tags": ["axolotl", *([facts.kind] if lora else []), facts.method],
    }
    known = {key: value for key, value in values.items() if value is not None}
    return f"---\n{yaml.safe_dump(known, sort_keys=False, allow_unicode=True)}---"


def _summary(facts: CardFacts) -> str:
    what = {"lora": "A LoRA adapter for", "qlora": "A QLoRA adapter for"}.get(
        facts.kind, "All weights of a fine-tuned"
    )
    made = f"{what} `{model_and_revision(facts.base_model)[0]}`, trained with {facts.method} by Axolotl."
    return f"{facts.description.strip()}\n\n{made}" if facts.description else made


def _use(facts: CardFacts) -> list[str]:
    fetch = [
        f"mlflow artifacts download --artifact-uri {shlex.quote(reference)} --dst-path adapter"
        for reference in facts.references
        if reference.startswith("models:/")
    ]
    blocks = ["Fetch the files:", _code("sh", *fetch)] if fetch else []
    return [*blocks, "With transformers:", _code("python", *_python_lines(facts)), *_vllm(facts)]


def _python_lines(facts: CardFacts) -> list[str]:
    if facts.kind == "full":
        return [
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            'model = AutoModelForCausalLM.from_pretrained("adapter")',
            'tokenizer = AutoTokenizer.from_pretrained("adapter")',
        ]
    model, revision = model_and_revision(facts.base_model)
    named = json.dumps(model) + (f", revision={json.dumps(revision)}" if revision else "")
    return [
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f"base = AutoModelForCausalLM.from_pretrained({named})",
        'model = PeftModel.from_pretrained(base, "adapter")',
        'tokenizer = AutoTokenizer.from_pretrained("adapter")',
    ]


def _vllm(facts: CardFacts) -> list[str]:
    config = None if facts.kind == "full" else facts.adapter_config
    if config is not None and (notes := serving_notes(config)):
        return ["**vLLM cannot serve this adapter as it is.**", _list([*notes, MERGE])]
    model, revision = model_and_revision(facts.base_model)
    return ["With vLLM:", _code("sh", *vllm_command(facts.name, model, revision, config, "./adapter"))]


def _training_rows(facts: CardFacts) -> list[tuple[str, str]]:
    config = facts.adapter_config or {}
    lora = {"rank": config.get("r"), "alpha": config.get("lora_alpha"), "dropout": config.get("lora_dropout")}
    figures = {
        "method": facts.method,
        "adapter": facts.kind,
        **lora,
        "rows": facts.rows,
        "tokens": facts.tokens,
        "steps": facts.steps,
        "training loss, last": facts.loss,
        "validation loss, last": facts.eval_loss,
        **facts.training,
    }
    return [(key, _cell(value)) for key, value in figures.items() if value is not None]


def _evaluation(facts: CardFacts) -> list[str]:
    if not facts.scores:
        return []
    on = f"On {facts.score_rows} held-out rows, base model against adapter."
    rows = [(score.metric, _cell(score.base), _cell(score.adapter)) for score in facts.scores]
    return ["## Evaluation", *([on] if facts.score_rows else []), _table(("metric", "base", "adapter"), rows)]


def _provenance_rows(facts: CardFacts) -> list[tuple[str, str]]:
    model, revision = model_and_revision(facts.base_model)
    base_model = f"{model}@{revision}" if revision else model
    rows = [("run", f"`{facts.run_id}`"), ("base model", f"`{base_model}`")]
    rows += [(f"{name} digest", f"`{digest}`") for name, digest in facts.digests.items() if digest]
    return rows + [(name, str(version)) for name, version in facts.versions.items() if version]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value) if isinstance(value, (str, int)) else json.dumps(value, sort_keys=True)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)


def _escaped(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _code(language: str, *lines: str) -> str:
    return "\n".join([f"```{language}", *lines, "```"])
