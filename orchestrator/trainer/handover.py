"""What the parent tells its children: one small file in the scratch folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from orchestrator.contract import LaunchPlan, Store, launch_key, open_store
from orchestrator.contract.program import STORAGE_PATIENCE


@dataclass(frozen=True)
class Order:
    """The work of an attempt's children: `run` is the run's URL, `scratch` the attempt's own folder.

    `resume_from` is the step of the checkpoint that lies in `output/`; `evaluation_due` says that
    the evaluation of that step was skipped by the stop that wrote it.
    """

    run: str
    launch: int
    attempt: int
    parent: int
    scratch: str
    resume_from: int | None = None
    evaluation_due: bool = False

    @property
    def work(self) -> Path:
        """The folder Axolotl runs in."""
        return Path(self.scratch) / "work"

    def ending(self, rank: int) -> Path:
        """Where the child of this rank says how it ended."""
        return Path(self.scratch) / f"ending-{rank}.json"

    @property
    def store(self) -> Store:
        return open_store(self.run, STORAGE_PATIENCE)

    def resuming(self, step: int, *, evaluation_due: bool) -> Order:
        return replace(self, resume_from=step, evaluation_due=evaluation_due)

    def write(self) -> Path:
        path = Path(self.scratch) / "order.json"
        path.write_text(json.dumps(asdict(self)))
        return path

    @classmethod
    def read(cls, path: Path) -> Order:
        return cls(**json.loads(path.read_bytes()))


def read_plan(run: Store, launch: int) -> LaunchPlan:
    """Raises FileNotFoundError or ValueError when there is no plan, or none that can be read."""
    try:
        return LaunchPlan.from_json(run.read(f"{launch_key(launch)}/plan.json"))
    except TypeError as error:
        raise ValueError(f"plan.json lacks a field: {error}") from error
