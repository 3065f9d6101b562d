"""The one place where an error becomes words, or JSON, and an exit code."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import click

from orchestrator.cli.frame import Frame
from orchestrator.errors import FaultsError, OrchestratorError, StorageError

INTERRUPTED = 130
_FULL = "make room where output goes and where temporary files lie (TMPDIR)"


def guarded(call: Callable[[], object], frame: Frame, arguments: Sequence[str]) -> int:
    """Run a command; what it leaves with."""
    try:
        call()
        sys.stdout.flush()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        return _usage(error, frame, arguments)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _swallow_output()
        return 0
    except OrchestratorError as error:
        return _explain(error, frame)
    except OSError as error:
        return _explain(_told(error), frame)
    except Exception as error:
        return _bug(error, frame)
    return 0


def _told(error: OSError) -> StorageError:
    """A file's error with its name; one without a name is that of stdout, or of a temporary file."""
    said, full = error.strerror or str(error), error.errno == errno.ENOSPC
    told = f"{error.filename}: {said}" if error.filename else said
    wrapped = StorageError(told, hint=_FULL if full and not error.filename else None)
    wrapped.__cause__ = error
    return wrapped


def error_data(error: OrchestratorError) -> dict[str, Any]:
    """The machine form of an error, as `-o json` prints it on stderr."""
    faults = [asdict(fault) for fault in error.faults] if isinstance(error, FaultsError) else []
    return _data(error.code, error.args[0], error.exit_code, hint=error.hint, faults=faults)


def _data(
    code: str, message: str, exit_code: int, *, hint: str | None = None, faults: Sequence[Any] = ()
) -> dict[str, Any]:
    return {
        "error": {
            "code": code,
            "message": message,
            "hint": hint,
            "exit_code": exit_code,
            "faults": list(faults),
        }
    }


def _usage(error: click.ClickException, frame: Frame, arguments: Sequence[str]) -> int:
    if frame.json_errors or _asks_for_json(arguments):
        _print_json(_data("usage", error.format_message(), error.exit_code))
    else:
        error.show()
    return error.exit_code


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether a line that could not be parsed had `-o json` in it."""
    return bool(re.search(r"(^|\0)(-o\0?|--output[=\0])json(\0|$)", "\0".join(arguments)))


def _explain(error: OrchestratorError, frame: Frame) -> int:
    _trace(error, frame)
    if frame.json_errors:
        _print_json(error_data(error))
        return error.exit_code
    _say("error: ", str(error), frame, fg="red", bold=True)
    if error.hint:
        _say("hint:  ", error.hint, frame, fg="cyan")
    return error.exit_code


def _bug(error: Exception, frame: Frame) -> int:
    message = f"{type(error).__name__}: {error}"
    if frame.json_errors:
        _trace(error, frame)
        _print_json(_data("bug", message, 1))
    elif not _trace(error, frame):
        _say("error: ", message, frame, fg="red", bold=True)
        click.echo("This is a fault of axo itself; --debug shows where. Please report it.", err=True)
    return 1


def _trace(error: BaseException, frame: Frame) -> bool:
    if frame.debug:
        sys.excepthook(type(error), error, error.__traceback__)
    return frame.debug


def _say(head: str, text: str, frame: Frame, **style: Any) -> None:
    click.echo(click.style(head, **style) + text, err=True, color=frame.color)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False), err=True)


def _swallow_output() -> None:
    """Nobody reads any more: whatever Python still flushes at its end goes nowhere, silently."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
