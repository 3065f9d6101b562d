"""`axo init`, then `axo run`, on one file of each kind: what is trained is what was counted.

Three in the suite; `AXO_PROVE=1` takes every form and every kind of file.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from many_shapes import Shape
from readings import counts_of

FEW = (
    Shape("openai with parts", "jsonl.gz"),
    Shape("alpaca with history", "json"),
    Shape("text", "txt"),
)
EVERY = (
    *FEW,
    Shape("openai", "lines.json"),
    Shape("openai with tools", "jsonl"),
    Shape("sharegpt", "array.jsonl"),
    Shape("sharegpt with tools", "parquet"),
    Shape("alpaca", "zip"),
    Shape("prompt_completion", "csv"),
    Shape("questions", "utf-16.csv"),
    Shape("labels", "xlsx"),
    Shape("labels", "semicolon.csv"),
    Shape("labels", "bom.csv"),
    Shape("turns", "tsv"),
    Shape("turns", "csv.gz"),
    Shape("text", "jsonl.zst"),
    Shape("text", "txt.gz"),
)
SHAPES = EVERY if os.environ.get("AXO_PROVE") == "1" else FEW


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.form} in {shape.kind}")
def test_a_file_of_each_kind_is_trained_on(make_desk: Callable[..., Any], shape: Shape) -> None:
    desk = make_desk("kind", None)
    (desk.folder / "spec.yaml").unlink()
    base = "base" if shape.form != "text" else without_template(desk)
    desk.axo("init", shape.write(desk.folder), "--base-model", base, "--name", "kind")
    spec = yaml.safe_load((desk.folder / "spec.yaml").read_text())
    spec["training"] |= {"max_steps": 2, "batch_size": 2}
    (desk.folder / "spec.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    run = desk.run()
    assert (run["status"], run["progress"]) == ("succeeded", "2/2")
    counted = counts_of(desk.home, run["id"])
    assert (counted["rows"], counted["total_num_tokens"]) == (shape.rows, figures(desk)["tokens"])


def without_template(desk: Any) -> str:
    """A base model as most are that are pre-trained further."""
    folder = desk.folder / "plain"
    shutil.copytree(desk.folder / "base", folder)
    (folder / "chat_template.jinja").unlink()
    return "plain"


def figures(desk: Any) -> Any:
    return json.loads(desk.axo("plan", "spec.yaml", "-o", "json"))["splits"]["train"]
