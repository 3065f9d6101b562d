"""Count rows with Axolotl itself, in the trainer environment: `axolotl_counts.py <job.json> <result.json>`.

A job is a list of {"name", "config", "whole"}; a config is a whole Axolotl config with one dataset. The
result has, per name, every row's [tokens, trained], or the error that stopped Axolotl. A whole case also
has the rows after some are dropped or cut, those that the trainer is given (shuffled), and its steps.

`cfg.total_num_tokens` is not asked: without packing it counts the dropped rows too, since a filtered dataset
keeps them in its table.
"""

import json
import sys
from pathlib import Path

import yaml


def main(job: Path, result: Path) -> None:
    results = {}
    for number, case in enumerate(json.loads(job.read_text(encoding="utf-8"))):
        name, config, whole = case["name"], case["config"], case["whole"]
        try:
            results[name] = count(config, whole, result.parent / f"scratch-{number}")
        except Exception as error:  # the test compares what stops Axolotl with what we refuse
            results[name] = {"error": f"{type(error).__name__}: {error}"}
    result.write_text(json.dumps(results), encoding="utf-8")


def count(config: dict, whole: bool, scratch: Path) -> dict:
    from axolotl.cli.config import load_cfg
    from axolotl.loaders import load_tokenizer
    from axolotl.utils.data.sft import _load_and_process_single_dataset, prepare_datasets
    from axolotl.utils.data.utils import handle_long_seq_in_dataset

    scratch.mkdir()
    path = scratch / "axolotl.yaml"
    own = {"dataset_prepared_path": str(scratch / "prepared"), "output_dir": str(scratch / "out")}
    path.write_text(yaml.safe_dump({**config, **own}, sort_keys=False), encoding="utf-8")
    cfg = load_cfg(str(path))
    tokenizer = load_tokenizer(cfg)
    rows, _ = _load_and_process_single_dataset(cfg.datasets[0], cfg, tokenizer, "train", cfg.seed)
    before = counts(rows)
    if not whole:
        return {"rows": before}
    kept = handle_long_seq_in_dataset(rows, cfg.sequence_len, cfg)
    train, _, steps, _ = prepare_datasets(cfg, tokenizer)
    return {"rows": before, "kept": counts(kept), "given": counts(train), "steps": steps}


def counts(rows) -> list[list[int]]:
    return [
        [len(row["input_ids"]), sum(label != -100 for label in row["labels"])]
        for row in rows.select_columns(["input_ids", "labels"])
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
