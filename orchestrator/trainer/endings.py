"""How a step's program ended, in the contract's words: from an exception, a dead child, or a group."""

from __future__ import annotations

import errno
import json
import signal
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from orchestrator.contract import Cause, ContractError, ExitCode, Fenced, Result, StorageAway
from orchestrator.trainer.device import NoDevice

_STORAGE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}
_STORAGE_WORDS = (
    "no space left on device",
    "os error 28",
    "disk quota exceeded",
    "pytorchstreamwriter failed",
)
_MEMORY_NAMES = {"OutOfMemoryError", "MemoryError"}
_MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "cublas_status_alloc_failed",
)
# How gloo and NCCL say that a peer is gone.
_ECHO_NAMES = {"DistBackendError", "DistNetworkError", "DistStoreError"}
_ECHO_WORDS = ("gloo/transport", "connection closed by peer", "connection reset by peer")
# Of Axolotl, called between loading the data and the plugin's `pre_model_load`.
_MODEL_FUNCTIONS = {"load_tokenizer", "setup_model_and_tokenizer"}
_CODES = {
    Cause.STOPPED: ExitCode.INTERRUPTED,
    Cause.FENCED: ExitCode.INTERRUPTED,
    Cause.OUT_OF_MEMORY: ExitCode.OUT_OF_MEMORY,
    Cause.KILLED: ExitCode.CRASHED,
    Cause.STORAGE: ExitCode.STORAGE,
    Cause.STORAGE_AWAY: ExitCode.INTERRUPTED,
    Cause.CONFIG: ExitCode.CONFIG,
    Cause.DATA: ExitCode.DATA,
    Cause.CRASHED: ExitCode.CRASHED,
}
# Of codes that say as much by themselves: an ending that could not be written, as on a full disk.
_CAUSES: Mapping[int, Cause] = {
    _CODES[cause]: cause for cause in (Cause.OUT_OF_MEMORY, Cause.STORAGE, Cause.CONFIG, Cause.DATA)
}
# How those say it whose worker was killed, by the kernel where the host's memory ran out.
_KILLED_WORDS = ("abruptly died", "killed by signal: killed")
_HOST_MEMORY = (
    "The kernel killed training since the host's memory ran out. Give the machine more memory, or lower the "
    "micro batch or the sequence length."
)
_MESSAGE_LENGTH = 2000


class Phase(StrEnum):
    """How far a child has come; what fails in a phase says whose fault it is."""

    STARTING = "starting"  # imports, and reading what the parent left
    CONFIG = "config"
    DATA = "data"
    MODEL = "model"
    READY = "ready"  # data and model are there; optimizer and checkpoint are not
    TRAINING = "training"
    SAVING = "saving"  # the loop is over: the adapter is built and committed


@dataclass(frozen=True)
class Ending:
    """What a child says when it leaves; the parent makes the attempt's outcome from it.

    `echo`: it only lost touch with another rank, whose own ending is the cause.
    """

    result: Result
    cause: Cause | None = None
    message: str = ""
    step: int | None = None
    total_steps: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    echo: bool = False

    @property
    def exit_code(self) -> ExitCode:
        return _CODES[self.cause] if self.cause else ExitCode.SUCCESS

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Ending | None:
        """The ending at `path`, or None where the child left none, or half of one."""
        try:
            raw = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        raw["result"] = Result(raw["result"])
        raw["cause"] = Cause(raw["cause"]) if raw["cause"] else None
        return cls(**raw)


def success(message: str) -> Ending:
    return Ending(Result.SUCCESS, message=message)


def stopped(message: str) -> Ending:
    return Ending(Result.INTERRUPTED, Cause.STOPPED, message)


def failed(cause: Cause, message: str) -> Ending:
    return Ending(Result.FAILED, cause, message[:_MESSAGE_LENGTH])


def from_exception(error: BaseException, phase: Phase) -> Ending:
    """Whose fault an exception is, and what to do about it."""
    if isinstance(error, Fenced):
        return Ending(Result.INTERRUPTED, Cause.FENCED, f"A newer start owns this run: {error}.")
    if isinstance(error, NoDevice):
        return failed(Cause.CONFIG, str(error))
    if _is_memory(error):  # which NCCL tells by the same kind of error as a lost peer
        return failed(Cause.OUT_OF_MEMORY, _memory_message(error, phase))
    if _is_echo(error):
        return replace(failed(Cause.CRASHED, f"Another rank was lost: {_named(error)}"), echo=True)
    if any(isinstance(link, StorageAway) for link in _chain(error)):
        return Ending(Result.INTERRUPTED, Cause.STORAGE_AWAY, f"Storage cannot be reached: {error}.")
    if _is_storage(error):
        return failed(
            Cause.STORAGE, f"Storage or scratch space cannot be written: {error}. Free or add space."
        )
    if phase is Phase.CONFIG:
        return failed(Cause.CONFIG, f"Axolotl refuses the config: {error}")
    if phase is Phase.MODEL or (phase is Phase.DATA and _raised_in(error, _MODEL_FUNCTIONS)):
        return failed(Cause.CONFIG, f"The base model cannot be loaded: {_named(error)}")
    if phase is Phase.DATA:
        return failed(Cause.DATA, f"The dataset cannot be trained on: {_named(error)}")
    if isinstance(error, ContractError):
        return failed(Cause.CONFIG, f"Storage does not hold what the launch needs: {error}")
    return failed(Cause.CRASHED, f"{_named(error)}. The attempt's log has the traceback.")


def from_exit(code: int, *, stopping: bool, oom_killed: bool) -> Ending:
    """What a child that left no ending died of: `code` is negative for a signal."""
    if stopping and code in (-signal.SIGTERM, -signal.SIGINT):
        return stopped("Stopped before training began; a new start goes on.")
    if code == -signal.SIGKILL and oom_killed:
        return failed(Cause.OUT_OF_MEMORY, _HOST_MEMORY)
    if code < 0:
        name = signal.Signals(-code).name
        return failed(Cause.KILLED, f"Training was killed by {name}, which nobody here sent.")
    cause = _CAUSES.get(code, Cause.CRASHED)
    return failed(cause, f"Training left with code {code} and no word why. Read the attempt's log.")


def of_killed_worker(ending: Ending) -> Ending:
    """The same, where memory ran out on the host and a worker of this rank was killed for that."""
    if not any(word in ending.message.lower() for word in _KILLED_WORDS):
        return ending
    return replace(ending, cause=Cause.OUT_OF_MEMORY, message=_HOST_MEMORY)


def first_failure(endings: Sequence[Ending]) -> int:
    """Which of the failed ranks' endings is the cause of the others, in the order they were seen."""
    return next((number for number, ending in enumerate(endings) if not ending.echo), 0)


def _is_echo(error: BaseException) -> bool:
    return any(
        type(link).__name__ in _ECHO_NAMES
        or (isinstance(link, RuntimeError) and any(word in str(link).lower() for word in _ECHO_WORDS))
        for link in _chain(error)
    )


def _is_memory(error: BaseException) -> bool:
    return any(
        type(link).__name__ in _MEMORY_NAMES
        or (
            isinstance(link, RuntimeError | OSError)
            and any(word in str(link).lower() for word in _MEMORY_WORDS)
        )
        for link in _chain(error)
    )


def _memory_message(error: BaseException, phase: Phase) -> str:
    during = f" while {phase}" if phase in (Phase.TRAINING, Phase.SAVING) else f" while loading ({phase})"
    return (
        f"Memory ran out{during}: {str(error).splitlines()[0] if str(error) else type(error).__name__} "
        "Lower the micro batch or the sequence length, or take a larger machine."
    )


def _is_storage(error: BaseException) -> bool:
    return any(
        (isinstance(link, OSError) and link.errno in _STORAGE_ERRORS)
        or any(word in str(link).lower() for word in _STORAGE_WORDS)
        for link in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it was raised from."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _raised_in(error: BaseException, functions: Collection[str]) -> bool:
    return any(frame.name in functions for frame in traceback.extract_tb(error.__traceback__))


def _named(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
