"""Every end of a child becomes a cause, an exit code and a sentence."""

from __future__ import annotations

import errno
import signal
from pathlib import Path

import pytest

from orchestrator.contract import Cause, ContractError, ExitCode, Fenced, Result, StorageAway
from orchestrator.trainer.device import NoDevice
from orchestrator.trainer.endings import (
    Ending,
    Phase,
    failed,
    first_failure,
    from_exception,
    from_exit,
    of_killed_worker,
    stopped,
    success,
)


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


class SafetensorError(Exception):
    """Named as safetensors names its own; it has no errno."""


FULL_DISK = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "phase", "cause"),
    [
        (OutOfMemoryError("CUDA out of memory. Tried to"), Phase.TRAINING, Cause.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), Phase.MODEL, Cause.OUT_OF_MEMORY),
        (MemoryError(), Phase.DATA, Cause.OUT_OF_MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), Phase.TRAINING, Cause.OUT_OF_MEMORY),
        (FULL_DISK, Phase.DATA, Cause.STORAGE),
        (OSError(errno.EROFS, "Read-only file system"), Phase.SAVING, Cause.STORAGE),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
         Phase.TRAINING, Cause.STORAGE),
        (ValueError("1 validation error for AxolotlInputConfig"), Phase.CONFIG, Cause.CONFIG),
        (OSError("model does not appear to have a file named config.json"), Phase.MODEL, Cause.CONFIG),
        (ValueError("empty dataset"), Phase.DATA, Cause.DATA),
        (FileNotFoundError("dataset/train.parquet"), Phase.DATA, Cause.DATA),
        (ContractError("datasets/x has no true manifest"), Phase.STARTING, Cause.CONFIG),
        (ZeroDivisionError("division by zero"), Phase.TRAINING, Cause.CRASHED),
        (SystemExit(1), Phase.SAVING, Cause.CRASHED),
    ],
)  # fmt: skip
def test_exceptions(error: BaseException, phase: Phase, cause: Cause) -> None:
    ending = from_exception(error, phase)
    assert (ending.result, ending.cause) == (Result.FAILED, cause)
    assert ending.exit_code.name == cause.name
    assert ending.message


@pytest.mark.parametrize("phase", Phase)
def test_a_gpu_that_is_not_there_is_told_as_that_in_any_phase(phase: Phase) -> None:
    ending = from_exception(NoDevice("PyTorch sees none"), phase)
    assert (ending.cause, ending.message) == (Cause.CONFIG, "PyTorch sees none")


def test_the_reason_behind_an_exception_counts() -> None:
    def write_cache() -> None:
        try:
            raise FULL_DISK
        except OSError as error:
            raise RuntimeError("cannot write the cache") from error

    with pytest.raises(RuntimeError) as raised:
        write_cache()
    assert from_exception(raised.value, Phase.DATA).cause is Cause.STORAGE


def test_a_tokenizer_belongs_to_the_base_model() -> None:
    def load_tokenizer() -> None:
        raise ValueError("the tokenizer cannot be read")

    with pytest.raises(ValueError, match="tokenizer") as raised:
        load_tokenizer()
    assert from_exception(raised.value, Phase.DATA).cause is Cause.CONFIG


def test_storage_that_is_away_is_no_failure() -> None:
    error = RuntimeError("the checkpoint is not kept")
    error.__cause__ = StorageAway("http://127.0.0.1:9 does not answer")
    ending = from_exception(error, Phase.TRAINING)
    assert (ending.result, ending.cause) == (Result.INTERRUPTED, Cause.STORAGE_AWAY)
    assert ending.exit_code is ExitCode.INTERRUPTED


def test_fenced_is_an_interruption() -> None:
    ending = from_exception(Fenced("attempt 3 owns the run"), Phase.TRAINING)
    assert (ending.result, ending.cause, ending.exit_code) == (
        Result.INTERRUPTED,
        Cause.FENCED,
        ExitCode.INTERRUPTED,
    )


@pytest.mark.parametrize(
    ("code", "stopping", "oom_killed", "cause"),
    [
        (-signal.SIGTERM, True, False, Cause.STOPPED),
        (-signal.SIGTERM, False, False, Cause.KILLED),
        (-signal.SIGKILL, False, True, Cause.OUT_OF_MEMORY),
        (-signal.SIGKILL, True, False, Cause.KILLED),
        (-signal.SIGSEGV, False, True, Cause.KILLED),
        (1, False, False, Cause.CRASHED),
        (74, False, False, Cause.STORAGE),
        (71, False, False, Cause.OUT_OF_MEMORY),
        (0, False, False, Cause.CRASHED),
    ],
)
def test_a_child_that_said_nothing(code: int, stopping: bool, oom_killed: bool, cause: Cause) -> None:
    ending = from_exit(code, stopping=stopping, oom_killed=oom_killed)
    assert ending.cause is cause
    assert ending.exit_code is not ExitCode.SUCCESS


def test_every_cause_has_a_code_and_only_success_has_0() -> None:
    for cause in Cause:
        assert Ending(Result.FAILED, cause).exit_code > 0
    assert success("done").exit_code == 0
    assert stopped("later").exit_code == 75


def test_an_ending_goes_through_its_file(tmp_path: Path) -> None:
    path = tmp_path / "ending.json"
    assert Ending.read(path) is None
    ending = Ending(Result.FAILED, Cause.DATA, "nothing left", 3, 10, {"rows": 0})
    ending.write(path)
    assert Ending.read(path) == ending
    path.write_text(path.read_text()[:20])
    assert Ending.read(path) is None


def test_memory_that_nccl_runs_out_of_is_no_lost_peer() -> None:
    error = type("DistBackendError", (RuntimeError,), {})("NCCL error: Cuda failure 2 'out of memory'")
    ending = from_exception(error, Phase.TRAINING)
    assert (ending.cause, ending.echo) == (Cause.OUT_OF_MEMORY, False)


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("One of the subprocesses has abruptly died during map operation.", Cause.OUT_OF_MEMORY),
        ("DataLoader worker (pid 7) is killed by signal: Killed. ", Cause.OUT_OF_MEMORY),
        ("a row has no text", Cause.DATA),
    ],
)
def test_a_worker_killed_for_memory_is_not_the_datas_fault(message: str, cause: Cause) -> None:
    assert of_killed_worker(failed(Cause.DATA, message)).cause is cause


@pytest.mark.parametrize(
    "text",
    [
        "[../third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer [127.0.0.1]:4711",
        "Connection reset by peer",
    ],
)
def test_a_lost_peer_is_no_cause_where_another_rank_has_one(text: str) -> None:
    echo = from_exception(RuntimeError(text), Phase.MODEL)
    cause = from_exception(OutOfMemoryError("CUDA out of memory"), Phase.TRAINING)
    assert echo.cause is Cause.CRASHED
    assert [first_failure(order) for order in ([echo, cause], [cause, echo], [echo, echo])] == [1, 0, 0]
