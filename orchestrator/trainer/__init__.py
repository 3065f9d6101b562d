"""The program of a step: trains, or evaluates, one launch of a run in Axolotl's own environment.

`python -m orchestrator.trainer <run folder or its URL> <launch>` starts a small parent (standard
library only) that claims an attempt, lays out a scratch folder, chooses the checkpoint to go on
from, and runs Axolotl in one child. It leaves with one of `contract.ExitCode`:

    0   success: a whole adapter is committed (or was already)
    65  data: the dataset cannot be trained on
    70  crashed: an exception nobody expected, or the child was killed by a signal
    71  out of memory, on the device or on the host
    74  storage: full, or not writable
    75  interrupted: told to leave, or fenced by a later attempt; a new start goes on
    78  config: plan, config or base model cannot be used

`attempts/<n>/outcome.json` says the same with a cause, a sentence and figures, and is the truth.
"""
