"""Each form of a spec, from rows to adapter: as Axolotl alone on the same YAML, though stopped once."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_same_as_axolotl import alike
from training_lab import SEEDING_PLUGIN, WORDS, Baseline, Lab, Run

from orchestrator.contract import ExitCode, Fence, Store, claim_attempt, run_key
from orchestrator.plan import Plan, Prepared, plan_prepare, plan_train
from orchestrator.settings import MACHINES
from orchestrator.spec.load import parse_spec
from orchestrator.spec.models import Spec
from orchestrator.steps.prepare import prepare_step
from orchestrator.steps.work import Work

ROWS = 26
COMMON = {
    "name": "form",
    "base_model": "base",
    "adapter": {"kind": "lora", "r": 4, "alpha": 8, "dropout": 0.1},
    "training": {
        "epochs": 2,
        "sequence_len": 96,
        "batch_size": 4,
        "micro_batch_size": 2,
        "learning_rate": 0.005,
        "checkpoint_steps": 4,
    },
}
TRIAGE = """
mapping:
  messages:
    - {role: system, content: "Answer in one word."}
    - {role: user, content: "{{ asked }}"}
    - {role: assistant, content: "{{ answered }}"}
"""
Rows = Iterable[dict[str, object]]


def words(rng: random.Random, least: int, most: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(least, most)))


def pairs() -> Rows:
    rng = random.Random(1)
    return [{"asked": words(rng, 2, 12), "answered": words(rng, 1, 3)} for _ in range(ROWS)]


def chats() -> Rows:
    """Two questions and answers each; every third first answer is kept out of the loss."""
    for number, (one, two) in enumerate(zip(pairs(), reversed(list(pairs())), strict=True)):
        first: dict[str, object] = {"role": "assistant", "content": one["answered"]}
        if number % 3 == 0:
            first["weight"] = 0
        yield {
            "messages": [
                {"role": "user", "content": one["asked"]},
                first,
                {"role": "user", "content": two["asked"]},
                {"role": "assistant", "content": two["answered"]},
            ]
        }


def turned() -> Rows:
    """One row per turn, conversations mixed."""
    listed = list(enumerate(pairs()))
    for at, who, said in ((1, "customer", "asked"), (2, "agent", "answered")):
        yield from ({"id": number, "at": at, "who": who, "said": pair[said]} for number, pair in listed)


def texts() -> Rows:
    rng = random.Random(2)
    return [{"text": words(rng, 20, 60)} for _ in range(ROWS)]


def jsonl(rows: Rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def csv_text(rows: Rows) -> str:
    listed = list(rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(listed[0]))
    writer.writeheader()
    writer.writerows(listed)
    return out.getvalue()


@dataclass(frozen=True)
class Form:
    """A form by the file its rows lie in, and what its spec says besides what all have in common; it is
    stopped after so many steps."""

    file: str
    content: Callable[[], str]
    spec: str
    stop: int = 5


FORMS = {
    "messages": Form("rows.csv", lambda: csv_text(pairs()), TRIAGE),
    "weighted conversation": Form(
        "rows.jsonl", lambda: jsonl(chats()), "mapping: {conversation: {column: messages}}"
    ),
    "last turn": Form(
        "rows.jsonl", lambda: jsonl(chats()), "mapping: {conversation: {column: messages}, train_on: last}"
    ),
    "turns": Form(
        "rows.csv",
        lambda: csv_text(turned()),
        "mapping: {turns: {conversation: id, order: at, role: who, content: said,"
        " roles: {customer: user, agent: assistant}}}",
    ),
    "packed": Form("rows.csv", lambda: csv_text(pairs()), TRIAGE + "training: {packing: true}"),
    "full": Form(
        "rows.csv",
        lambda: csv_text(pairs()),
        TRIAGE + "adapter: {kind: full}\ntraining: {learning_rate: 0.0005}",
    ),
    "qlora": Form("rows.csv", lambda: csv_text(pairs()), TRIAGE + "adapter: {kind: qlora}"),
    "early stopping": Form(
        "rows.csv",
        lambda: csv_text(pairs()),
        TRIAGE + "dataset: {validation: 0.2}\n"
        "training: {epochs: 10, learning_rate: 0.03, eval_steps: 2, early_stopping: {patience: 2}}",
    ),
    "text": Form("rows.jsonl", lambda: jsonl(texts()), "method: pretrain\nmapping: {text: '{{ text }}'}"),
    "packed text": Form(
        "rows.jsonl",
        lambda: jsonl(texts()),
        "method: pretrain\nmapping: {text: '{{ text }}'}\ntraining: {packing: true, epochs: 3}",
    ),
    "streamed text": Form(
        "rows.jsonl",
        lambda: jsonl(texts()),
        "method: pretrain\nmapping: {text: '{{ text }}'}\n"
        "training: {streaming: true, packing: true, max_steps: 4, epochs: null}",
        stop=2,
    ),
}


# What the other tests of this folder train too is left to scripts/prove.
LONG = {"messages", "full", "packed", "early stopping", "last turn"}
NAMES = [name for name in FORMS if os.environ.get("AXO_PROVE") == "1" or name not in LONG]


@pytest.mark.parametrize("name", NAMES)
def test_a_form_is_trained_as_axolotl_would_though_stopped_once(
    lab: Lab, name: str, tiny_model: Path, tmp_path: Path
) -> None:
    plan = lay_out(lab, name, tiny_model, tmp_path)
    run = Run(lab, plan.launch.run)

    with ThreadPoolExecutor() as pool:
        beside = pool.submit(baseline, lab, name, plan)
        assert run.interrupt(FORMS[name].stop) == ExitCode.INTERRUPTED, run.log()[-3000:]
        stopped = run.outcome()
        assert (stopped.facts["lost_steps"], run.adapter.exists()) == (0, False)
        assert run.finish() == ExitCode.SUCCESS, run.log(2)[-3000:]
        assert run.outcome().facts["resumed_from"] == stopped.step

    bare = beside.result()
    assert run.tensors == bare.tensors
    assert alike(run.points) == alike(bare.points)
    assert plan.config is not None
    assert plan.config.steps in (None, run.outcome().total_steps)


def lay_out(lab: Lab, name: str, model: Path, folder: Path) -> Plan:
    """Prepare the rows of a form and plan its training; the plan, which lies in the lab's storage."""
    form = FORMS[name]
    (folder / "base").symlink_to(model)
    (folder / form.file).write_text(form.content())
    spec, run = spec_of(form), name.replace(" ", "-")
    store = lab.store.below(run_key(run))
    facts = prepared(lab.store, store.below("prepare"), spec, run, folder)
    plan = plan_train(spec, Prepared.from_facts(facts), run, 1, MACHINES["cpu"])
    plan.write(store)
    return plan


def spec_of(form: Form) -> Spec:
    merged: dict[str, Any] = dict(COMMON)
    for section, value in yaml.safe_load(form.spec).items():
        merged[section] = {**merged.get(section, {}), **value} if isinstance(value, dict) else value
    merged["training"] = {key: value for key, value in merged["training"].items() if value is not None}
    merged["dataset"] = {"source": form.file, **merged.get("dataset", {})}
    if merged["adapter"]["kind"] == "full":
        merged["adapter"] = {"kind": "full"}
    return parse_spec(yaml.safe_dump(merged).encode(), Path("spec.yaml")).spec


def prepared(storage: Store, attempts: Store, spec: Spec, run: str, folder: Path) -> dict[str, Any]:
    """What the prepare step finds out, run here; its attempts are kept apart from those of training."""
    launch = plan_prepare(spec, str(folder), run, 1, MACHINES["cpu"], "allow").launch
    claim = claim_attempt(attempts, 1, host="here", pid=os.getpid(), now=0.0)
    scratch = folder / "scratch"
    scratch.mkdir()
    return prepare_step(Work(launch, storage, scratch, Fence(attempts, claim.attempt), print))


def baseline(lab: Lab, name: str, plan: Plan) -> Baseline:
    """Axolotl by itself on the plan's own YAML, with a plugin that seeds and does nothing else."""
    folder = lab.root / "bare" / name
    folder.mkdir(parents=True)
    (folder / "seeds.py").write_text(SEEDING_PLUGIN)
    for link, key in (("model", plan.launch.model), ("dataset", plan.launch.dataset)):
        (folder / link).symlink_to(lab.root / "storage" / str(key))
    assert plan.config is not None
    (folder / "axolotl.yaml").write_text(plan.config.text + "plugins: [seeds.Seeds]\n")
    with open(folder / "log.txt", "wb") as log:
        subprocess.run(
            [lab.python, "-m", "axolotl.cli.train", "axolotl.yaml"],
            cwd=folder, env=lab.environment(), stdout=log, stderr=subprocess.STDOUT, check=True,
        )  # fmt: skip
    return Baseline(folder)
