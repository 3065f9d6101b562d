"""`axo doctor`: whether this installation can do its work, and what to mend where it cannot."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import output_option, print_data, wrapped

if TYPE_CHECKING:
    from orchestrator.cli.checkup import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
_WIDTH = 14


@click.command("doctor")
@output_option("table", "json", "yaml")
def command(form: str) -> None:
    """Look whether everything that a run needs is there: each line ok, warn or fail, with the fix.

    Where commands speak to a service elsewhere, it looks whether that answers; `--context local` looks at
    this machine all the same. The exit code is 0 where nothing fails, 4 where only a server or storage
    does, else 3.

    \b
    Example:
      axo doctor
    """
    from dataclasses import asdict

    from orchestrator.cli.checkup import checkup

    findings = []
    for finding in checkup():
        findings.append(finding)
        if form == "table":
            click.echo(_line(finding))
    if form != "table":
        print_data([asdict(finding) for finding in findings], form)
    sys.exit(_exit_code(findings))


def _line(finding: Finding) -> str:
    state = click.style(f"{finding.state:<6}", fg=_COLOURS[finding.state])
    text = f"{state}{finding.about:<{_WIDTH}}{wrapped(finding.told, 6 + _WIDTH)}"
    if finding.fix:
        text += f"\n{' ' * (6 + _WIDTH)}fix: {wrapped(finding.fix, 11 + _WIDTH)}"
    return text


def _exit_code(findings: list[Finding]) -> int:
    failed = [finding for finding in findings if finding.state == "fail"]
    if not failed:
        return 0
    return 4 if all(finding.away for finding in failed) else 3
