"""Small models with random weights, made from a list of configs: what `scripts/bench estimate` trains.

    python scripts/random_models.py FOLDER MODELS.json

Runs in the trainer's environment. MODELS.json holds, by name, the fields of a transformers config with its
`model_type`; each becomes a folder of its own, with the tokenizer of scripts/tiny_model.py.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import tiny_model  # first: it decides on threads before torch is imported
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM


def main(folder: Path, models: Path) -> None:
    tokenizer = tiny_model.make_tokenizer()
    special = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    for name, fields in json.loads(models.read_text()).items():
        torch.manual_seed(0)
        config = CONFIG_MAPPING[fields.pop("model_type")](**fields, **special, bos_token_id=None)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
