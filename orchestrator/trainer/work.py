"""The scratch folder of an attempt: what Axolotl finds in it, and the child's environment."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from orchestrator.contract import (
    ADAPTER,
    REPORT_TOKEN,
    ContractError,
    LaunchPlan,
    Store,
    fetch_folder,
    launch_key,
    read_manifest,
)

ADAPTER_IN = "adapter-in"  # what a config's `lora_model_dir` names
PLUGIN = "orchestrator.trainer.plugin.ServicePlugin"

# No connection attempt in a whole run (sockets trapped), no telemetry, no tracker of Axolotl's own.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "AXOLOTL_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "DISABLE_MLFLOW_INTEGRATION": "TRUE",
    "WANDB_DISABLED": "true",
}
_CREDENTIAL = re.compile("TOKEN(?!IZERS)|PASSWORD|SECRET|CREDENTIAL|KEY(_|$)|^MLFLOW_TRACKING|^AXO_DATABASE")
_OF_A_BUCKET = ("AWS_", "AXO_SECRETS")
# Worker processes open sockets below TMPDIR (`/pymp-xxxxxxxx/listener-xxxxxxxx`), of 107 bytes at most.
_TEMPORARY_LENGTH = 70


def lay_out(storage: Store, run: Store, plan: LaunchPlan, work: Path) -> None:
    """Put model, dataset, the launch's config, an earlier adapter to go on from and, to evaluate, this
    run's into the work folder.

    Raises:
        ContractError: one of them is not in storage, or not whole.
    """
    for folder in (work / "output", work.parent / "home", work.parent / "tmp"):
        folder.mkdir(parents=True)
    for name, key in (("model", plan.model), ("dataset", plan.dataset)):
        if key is not None:
            _place(storage, key, work / name)
    if plan.adapter is not None:
        fetch_folder(storage, plan.adapter, work / ADAPTER_IN)
    if plan.step == "evaluate":
        fetch_folder(run, ADAPTER, work / ADAPTER)
    with contextlib.suppress(FileNotFoundError):
        (work / "axolotl.yaml").write_bytes(run.read(f"{launch_key(plan.launch)}/axolotl.yaml"))


def overlay(resume_from: int | None) -> bytes:
    """What this start adds to the launch's config. JSON, which every YAML reader takes."""
    added: dict[str, object] = {"plugins": [PLUGIN]}
    if resume_from is not None:
        added["resume_from_checkpoint"] = f"output/checkpoint-{resume_from}"
    return json.dumps(added, indent=1).encode() + b"\n"


def child_environment(
    scratch: Path, device: str, devices: int, environment: Mapping[str, str], run: str = ""
) -> dict[str, str]:
    """What every child's environment holds: ours, offline, with every cache inside the scratch folder.

    `run` is the run's URL: storage in a bucket may be opened by what the machine's metadata say.
    """
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(part for part in (package, environment.get("PYTHONPATH")) if part)
    child = {
        **_without_credentials(environment, run),
        **OFFLINE,
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        "HF_HOME": str(scratch / "home"),
        "AXOLOTL_TEE_STDOUT": "0",  # the log goes to storage; no second copy in the output folder
        "TQDM_MININTERVAL": "5",
    }
    if not run.startswith("s3://"):
        child["AWS_EC2_METADATA_DISABLED"] = "true"
    if len(str(scratch / "tmp")) <= _TEMPORARY_LENGTH:
        child["TMPDIR"] = str(scratch / "tmp")
    if device == "cpu":
        # Left to itself, glibc keeps blocks of up to 32 MiB in a heap full of holes: twice the memory.
        child.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 20))
    if device == "cpu" and devices > 1:
        child["ACCELERATE_USE_CPU"] = "true"  # without it, accelerate sees ranks and looks for GPUs
        child["ACCELERATE_TORCH_DEVICE"] = "cpu"  # not `cpu:0`, which optimizer states cannot be loaded to
    child["CUDA_VISIBLE_DEVICES"] = "" if device == "cpu" else _visible(devices, environment)
    return child


def _without_credentials(environment: Mapping[str, str], run: str) -> dict[str, str]:
    """An environment, of the service's machine maybe, without what opens anything but the run itself: code
    of a model is about to run in it."""
    ours = (REPORT_TOKEN, *(_OF_A_BUCKET if run.startswith("s3://") else ()))
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(ours) or not _CREDENTIAL.search(name)
    }


def _visible(devices: int, environment: Mapping[str, str]) -> str:
    """As many devices as there are ranks, each of which takes its own. With more in sight than ranks,
    transformers would spread each batch over all of them and so train on another batch size."""
    given = environment.get("CUDA_VISIBLE_DEVICES")
    visible = given.split(",") if given else [str(number) for number in range(devices)]
    return ",".join(visible[:devices])


def _place(storage: Store, key: str, target: Path) -> None:
    """A link where storage is a folder, a checked copy elsewhere. Linked files are checked by size:
    hashing a large model at each start would take longer than loading it."""
    folder = storage.local(key)
    if folder is None:
        fetch_folder(storage, key, target)
        return
    manifest = read_manifest(storage, key)
    if manifest is None:
        raise ContractError(f"{key} has no true manifest")
    for file in manifest.files:
        path = folder / file.path
        if not path.is_file() or path.stat().st_size != file.size:
            raise ContractError(f"{key}/{file.path} is missing or not whole")
    target.symlink_to(folder, target_is_directory=True)
