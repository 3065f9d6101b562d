"""What service and trainer agree on: storage layout, manifest, attempt, outcome, metric record.

Standard library only, but for botocore on the way to a bucket: the trainer's environment has nothing
else of ours. No rename, append or lock is assumed of storage, so `file://` and `s3://` follow one protocol:

    models/<digest>/..  MANIFEST.json         datasets/<digest>/..  MANIFEST.json
    runs/<run>/spec.yaml
               launches/<k>/plan.json  axolotl.yaml
               attempts/<n>/claim.json  overlay.yaml  log-<part>.txt  metrics-<part>.jsonl  outcome.json
               checkpoints/checkpoint-<step>/..  MANIFEST.json
               adapter/..  MANIFEST.json
               discard, once nothing of it is to be kept

- A folder counts when its `MANIFEST.json`, written last, is there and true of its files.
- An attempt claims its number by exclusive create; the highest claim owns the run, and every
  commit re-reads the owner (`fence`).
- Logs and metrics are streams cut into parts; only the newest part is ever rewritten, and only
  with more of the same, so the joined parts never change behind a reader's offset.
- `outcome.json` is the truth about an attempt; exit codes and termination messages are hints.
"""

from __future__ import annotations

from orchestrator.contract.attempt import (
    Cause,
    Claim,
    ExitCode,
    Fence,
    LaunchPlan,
    NewestAttempt,
    Outcome,
    Result,
    StepKind,
    attempts,
    claim_attempt,
    newest_attempt,
    owner,
    read_claim,
    read_outcome,
)
from orchestrator.contract.file_store import UNFINISHED, FileStore
from orchestrator.contract.layout import (
    ADAPTER,
    CHECKPOINTS,
    DISCARD,
    adapter_key,
    attempt_key,
    checkpoint_key,
    checkpoint_steps,
    dataset_key,
    launch_key,
    model_key,
    open_run,
    run_key,
    storage_of,
)
from orchestrator.contract.manifest import (
    MANIFEST,
    Manifest,
    commit_folder,
    content_digest,
    fetch_folder,
    local_files,
    read_manifest,
    remove_folder,
    share_folder,
    verify_folder,
)
from orchestrator.contract.opening import open_store
from orchestrator.contract.proof import prove_store
from orchestrator.contract.report import (
    MAX_REPORT_BYTES,
    REPORT_TOKEN,
    REPORT_URL,
    REPORTS,
    Taken,
    report_path,
)
from orchestrator.contract.sound import MAX_STEP
from orchestrator.contract.store import (
    ContractError,
    Fenced,
    File,
    StorageAway,
    StorageRefused,
    Store,
    StoreError,
    hash_file,
)
from orchestrator.contract.streams import (
    PART_BYTES,
    Record,
    Stream,
    StreamWriter,
    parse_records,
    part_key,
    pick_records,
    pieces_of_stream,
    read_stream,
)

__all__ = [
    "ADAPTER",
    "CHECKPOINTS",
    "DISCARD",
    "MANIFEST",
    "MAX_REPORT_BYTES",
    "MAX_STEP",
    "PART_BYTES",
    "REPORTS",
    "REPORT_TOKEN",
    "REPORT_URL",
    "UNFINISHED",
    "Cause",
    "Claim",
    "ContractError",
    "ExitCode",
    "Fence",
    "Fenced",
    "File",
    "FileStore",
    "LaunchPlan",
    "Manifest",
    "NewestAttempt",
    "Outcome",
    "Record",
    "Result",
    "StepKind",
    "StorageAway",
    "StorageRefused",
    "Store",
    "StoreError",
    "Stream",
    "StreamWriter",
    "Taken",
    "adapter_key",
    "attempt_key",
    "attempts",
    "checkpoint_key",
    "checkpoint_steps",
    "claim_attempt",
    "commit_folder",
    "content_digest",
    "dataset_key",
    "fetch_folder",
    "hash_file",
    "launch_key",
    "local_files",
    "model_key",
    "newest_attempt",
    "open_run",
    "open_store",
    "owner",
    "parse_records",
    "part_key",
    "pick_records",
    "pieces_of_stream",
    "prove_store",
    "read_claim",
    "read_manifest",
    "read_outcome",
    "read_stream",
    "remove_folder",
    "report_path",
    "run_key",
    "share_folder",
    "storage_of",
    "verify_folder",
]
