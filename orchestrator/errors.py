"""Every error this package raises on purpose, as one tree.

    OrchestratorError
    ├── FaultsError            several faults in what the user wrote, reported together
    │   ├── SpecError          the spec or its mapping
    │   ├── DataError          the rows of a dataset
    │   └── SettingsFileError  the operator's settings file
    ├── SettingsError          the operator's settings or environment
    ├── NotFoundError          a run, model or file that was asked for by name
    ├── ConflictError          somebody else holds what this command needs
    │   └── TakenError         another run has that id
    ├── AuthError              nobody knows who asks
    ├── ForbiddenError         who asks may not do this
    ├── TooLargeError          more than the service takes in one piece
    ├── QuotaError             more than the operator allows now
    ├── ThrottledError         too many bad credentials came from one address
    ├── BusyError              the service has as much to do as it takes on
    ├── UnreachableError       the service cannot be reached
    ├── DatabaseError          the database is away, full or too busy
    ├── StorageError           storage cannot be read or written
    │   ├── FullError          a disk of the service is nearly full
    │   └── StorageRefusedError  storage will not do it until somebody changes something
    ├── BackendError           a backend refuses or cannot be reached
    ├── TrackingError          MLflow cannot be reached or refuses
    └── RegistryError          a registry cannot be reached or refuses

A class's docstring is its default message. `hint` says what to try next. `exit_code` is what the
command line leaves with (`axo --help` lists them). `code` names the error to programs: the API sends
it, the client raises the class of that code again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

_SAME_SHOWN = 3


@dataclass(frozen=True)
class Fault:
    """One thing wrong in what the user wrote: what, where, why, and the fix.

    `line` and `column` count from 1. `path` is the dotted field, such as `training.learning_rate`.
    `row` counts data rows from 1. Anything not known is None.
    """

    what: str
    fix: str | None = None
    why: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None
    path: str | None = None
    row: int | None = None
    value: str | None = None

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        row = f"row {self.row}" if self.row is not None else ""
        head = ", ".join(part for part in (where, row, self.path or "") if part)
        got = f" (got {self.value})" if self.value is not None else ""
        lines = [f"{head}: {self.what}{got}" if head else f"{self.what}{got}"]
        if self.why:
            lines.append(f"    why: {self.why}")
        if self.fix:
            lines.append(f"    fix: {self.fix}")
        return "\n".join(lines)


class OrchestratorError(Exception):
    """Something went wrong."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.hint = hint

    @property
    def code(self) -> str:
        """`not_found` for NotFoundError."""
        return code_of(type(self))


class FaultsError(OrchestratorError):
    """There are faults."""

    exit_code = 3

    def __init__(self, faults: Sequence[Fault], *, hint: str | None = None) -> None:
        self.faults = tuple(faults)
        count = len(self.faults)
        super().__init__(f"{count} fault{'s' if count != 1 else ''}", hint=hint)

    def __str__(self) -> str:
        """Every fault; of many that differ in nothing but their place, the first few."""
        lines = list[str]()
        for _, group in groupby(self.faults, lambda fault: (fault.file, fault.path, fault.what, fault.fix)):
            same = tuple(group)
            lines += map(str, same[:_SAME_SHOWN])
            if more := len(same[_SAME_SHOWN:]):
                lines.append(f"    and the same in {more:,} more place{'s' if more > 1 else ''}")
        return "\n".join(lines)


class SpecError(FaultsError):
    """The spec has faults."""


class DataError(FaultsError):
    """The data has faults."""


class SettingsFileError(FaultsError):
    """The settings file has faults."""


class SettingsError(OrchestratorError):
    """The settings are not usable."""

    exit_code = 3


class NotFoundError(OrchestratorError):
    """There is nothing of that name."""

    exit_code = 5


class ConflictError(OrchestratorError):
    """Somebody else holds this."""


class TakenError(ConflictError):
    """Another run has that id."""


class AuthError(OrchestratorError):
    """The service does not know who asks."""

    exit_code = 3


class ForbiddenError(OrchestratorError):
    """Your role does not allow this."""

    exit_code = 3


class TooLargeError(OrchestratorError):
    """That is more than the service takes."""

    exit_code = 3


class QuotaError(OrchestratorError):
    """That is more than the operator allows."""

    exit_code = 3


class ThrottledError(OrchestratorError):
    """Too many credentials that are none came from this address."""

    exit_code = 3


class BusyError(OrchestratorError):
    """The service has as much to do as it takes on."""

    exit_code = 4


class UnreachableError(OrchestratorError):
    """The service cannot be reached."""

    exit_code = 4


class DatabaseError(OrchestratorError):
    """The database cannot be used."""

    exit_code = 4


class StorageError(OrchestratorError):
    """Storage cannot be used."""

    exit_code = 4


class FullError(StorageError):
    """A disk of the service is nearly full."""


class StorageRefusedError(StorageError):
    """Storage will not do it until somebody changes something."""


class BackendError(OrchestratorError):
    """The backend cannot be used."""

    exit_code = 4


class TrackingError(OrchestratorError):
    """MLflow cannot be used."""

    exit_code = 4


class RegistryError(OrchestratorError):
    """The registry cannot be used."""

    exit_code = 4


def code_of(kind: type[OrchestratorError]) -> str:
    """The name of a class of errors to programs: its own, in snake case, without `Error`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__.removesuffix("Error")).lower()


def every_error(kind: type[OrchestratorError] = OrchestratorError) -> Iterator[type[OrchestratorError]]:
    """A class of errors and all below it."""
    yield kind
    for below in kind.__subclasses__():
        yield from every_error(below)


def error_of(
    code: str, message: str, hint: str | None = None, faults: Sequence[Fault] = ()
) -> OrchestratorError:
    """The error that a code names, as it was raised elsewhere; of a code that only a newer version has, one
    of no kind."""
    kind = {code_of(each): each for each in every_error()}.get(code, OrchestratorError)
    if issubclass(kind, FaultsError):
        return kind(faults, hint=hint)
    return kind(message, hint=hint)


def with_hint(error: OrchestratorError) -> str:
    """What an error says and what to do about it, as one sentence."""
    return f"{error}; {error.hint}" if error.hint else str(error)
