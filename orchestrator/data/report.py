"""What the checks found: counts of verdicts, and findings with their first rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from orchestrator.errors import Fault
from orchestrator.spec.secrets import redact

MAX_EXAMPLES = 5
_LONGEST_VALUE = 80
_LOOKED_AT = 1000

Severity = Literal["error", "warn", "info"]


@dataclass(frozen=True)
class Example:
    """One row of a finding: rows count from 1 in their file, lines too where the format has lines."""

    file: str
    row: int
    line: int | None = None
    field: str | None = None
    value: str | None = None


@dataclass(frozen=True)
class Finding:
    """One thing found, in how many rows, and the first of them."""

    code: str
    severity: Severity
    count: int
    message: str
    fix: str | None = None
    examples: tuple[Example, ...] = ()

    def fault(self) -> Fault:
        """The same as a fault at its first row."""
        first = self.examples[0] if self.examples else None
        rows = f" ({counted(self.count, 'row')})" if self.count else ""
        return Fault(
            f"{self.message}{rows}",
            self.fix,
            file=first.file if first else None,
            row=first.row if first else None,
            line=first.line if first else None,
            path=first.field if first else None,
            value=first.value if first else None,
        )


@dataclass(frozen=True)
class Report:
    """All rows of a dataset judged by the mapping: green, yellow or red, and why.

    `rows` are those that `where` kept; green, yellow and red add up to it.
    """

    rows: int
    green: int
    yellow: int
    red: int
    findings: tuple[Finding, ...] = ()

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == severity)

    def with_findings(self, findings: Iterable[Finding]) -> Report:
        return Report(self.rows, self.green, self.yellow, self.red, (*self.findings, *findings))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Self:
        findings = tuple(
            Finding(**{**finding, "examples": tuple(Example(**entry) for entry in finding["examples"])})
            for finding in raw["findings"]
        )
        return cls(raw["rows"], raw["green"], raw["yellow"], raw["red"], findings)


def merged(reports: Sequence[Report]) -> Report:
    """The reports of several files as one."""
    return Report(
        sum(report.rows for report in reports),
        sum(report.green for report in reports),
        sum(report.yellow for report in reports),
        sum(report.red for report in reports),
        tuple(finding for report in reports for finding in report.findings),
    )


def cut(value: str) -> str:
    """A value on one short line, without what looks like a secret."""
    line = " ".join(redact(value[:_LOOKED_AT]).split())
    return line if len(line) <= _LONGEST_VALUE else f"{line[: _LONGEST_VALUE - 1]}…"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
