"""Rows, tokens and trained tokens of real files: our forecast is what Axolotl then counts.

One file in the suite; `AXO_PROVE=1` takes them all. The files lie beside the checkout, or nowhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from readings import counts_of

REAL = Path(__file__).parents[4] / "shared" / "data" / "real"
ALPACA = {
    "messages": [
        {"role": "user", "content": "{{ instruction }}{% if input %}\n\n{{ input }}{% endif %}"},
        {"role": "assistant", "content": "{{ output }}"},
    ]
}
MAPPINGS: dict[str, Any] = {
    "identity.json": ALPACA,
    "alpaca_en_demo.json": ALPACA,
    "glaive_toolcall_en_demo.json": {"conversation": {"column": "conversations"}},
    "kto_en_demo.json": {"conversation": {"column": "messages"}},
}
FILES = list(MAPPINGS) if os.environ.get("AXO_PROVE") == "1" else ["identity.json"]


@pytest.mark.parametrize("packing", [False, True], ids=["unpacked", "packed"])
@pytest.mark.parametrize("name", FILES)
def test_the_forecast_is_what_axolotl_counts(make_desk: Callable[..., Any], name: str, packing: bool) -> None:
    if not (REAL / name).exists():
        pytest.skip(f"{name} is not beside the checkout")
    desk = make_desk("real", None)
    training = {
        "max_steps": 1,
        "sequence_len": 512,
        "batch_size": 2,
        "packing": packing,
        "checkpoint_steps": 1,
    }
    dataset = {"source": str(REAL / name), "validation": 0.1}
    desk.write_spec(name="real", dataset=dataset, mapping=MAPPINGS[name], training=training, publish=[])
    planned = json.loads(desk.axo("plan", "spec.yaml", "-o", "json"))
    run = desk.run()
    counted = counts_of(desk.home, run["id"])
    train, held_out = planned["splits"]["train"], planned["splits"]["validation"]
    assert counted["total_num_tokens"] == train["tokens"]
    assert counted["total_supervised_tokens"] == train["trained_tokens"]
    if not packing:
        assert counted["rows"] == train["rows"]
        assert counted["validation_rows"] == held_out["rows"]
