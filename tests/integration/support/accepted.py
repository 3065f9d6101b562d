"""Show configs to Axolotl itself, in the trainer environment: `accepted.py <job.json> <result.json>`.

A job has `configs` (name, YAML text, and whether a GPU is there) and `sums` (rows, epochs, batch). The
result has, per config, its error (null where Axolotl takes it) and the keys that Axolotl does not know,
and the number of steps of each sum.
"""

import json
import sys
from pathlib import Path

import torch
import yaml
from axolotl.utils.config import validate_config
from axolotl.utils.dict import DictDefault
from axolotl.utils.schemas.config import AxolotlInputConfig
from axolotl.utils.schemas.datasets import PretrainingDataset, SFTDataset
from axolotl.utils.trainer import calculate_total_num_steps
from datasets import Dataset

H100 = {"bf16": True, "fp8": True, "tf32": True, "n_gpu": 1, "compute_capability": "sm_90"}
NO_GPU = {"bf16": False, "fp8": False, "tf32": False, "n_gpu": 1, "compute_capability": None}


def main(job: Path, result: Path) -> None:
    work = json.loads(job.read_text(encoding="utf-8"))
    configs = {config["name"]: look_at(config["text"], config["gpu"]) for config in work["configs"]}
    answer = {"configs": configs, "steps": [steps(*numbers) for numbers in work["sums"]]}
    result.write_text(json.dumps(answer), encoding="utf-8")


def look_at(text: str, gpu: bool) -> dict:
    config = yaml.safe_load(text)
    unknown = sorted(set(config) - names(AxolotlInputConfig))
    for dataset in [*config.get("datasets", []), *config.get("test_datasets", [])]:
        unknown += sorted(set(dataset) - names(SFTDataset))
    for dataset in config.get("pretraining_dataset", []):
        unknown += sorted(set(dataset) - names(PretrainingDataset))
    try:
        torch_version = {"torch_version": str(torch.__version__).split("+")[0]}
        validate_config(DictDefault(config), H100 if gpu else NO_GPU, torch_version)
    except Exception as error:  # whatever Axolotl has against it is what the test shows
        return {"error": f"{type(error).__name__}: {error}", "unknown": unknown}
    return {"error": None, "unknown": unknown}


def names(model: type) -> set[str]:
    fields = model.model_fields
    return set(fields) | {field.alias for field in fields.values() if field.alias}


def steps(rows: int, epochs: float, batch: int) -> int:
    config = DictDefault({"num_epochs": epochs, "batch_size": batch})
    dataset = Dataset.from_dict({"input_ids": [[1]] * rows, "labels": [[1]] * rows})
    return calculate_total_num_steps(config, dataset, update=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
