"""Runs in the trainer's environment: shapes of models made from configs, and what peft would train of them.

python peft_counts.py <configs.json> <counts.json>
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import CONFIG_MAPPING, AutoModelForCausalLM


def count(fields: dict[str, Any]) -> dict[str, Any]:
    kind = fields.pop("model_type")
    config = CONFIG_MAPPING[kind](**fields)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        counts = {
            "config": config.to_dict(),
            "shapes": {name: list(weight.shape) for name, weight in model.named_parameters()},
            "parameters": model.num_parameters(),
        }
        linear = {n.split(".")[-1] for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
        targets = sorted(linear - {"lm_head", "embed_out"})
        adapted = get_peft_model(model, LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
    return {**counts, "lora": adapted.get_nb_trainable_parameters()[0]}


configs = json.loads(Path(sys.argv[1]).read_text())
Path(sys.argv[2]).write_text(json.dumps({name: count(fields) for name, fields in configs.items()}))
