"""Leave the examples of a spec as files of this machine, and say how a spec reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.files import naming
from orchestrator.cli.output import note

if TYPE_CHECKING:
    from orchestrator.data.analysis import Analysis
    from orchestrator.data.written import Files, Written
    from orchestrator.spec.models import Spec

SUFFIX = ".jsonl"
_MAPPINGS = {
    ("messages",): "{conversation: {column: messages}}",
    ("messages", "tools"): "{conversation: {column: messages}, tools: tools}",
    ("text",): '{text: "{{ text }}"}',
}


@dataclass
class Writing:
    """Files to write, and what is in them once they are."""

    files: Files
    written: Written | None = None

    @classmethod
    def of(cls, spec: Spec, file: Path, *, left_out: bool, force: bool) -> Writing:
        """The files of a spec's examples; raises UsageError where one is there and not to be replaced."""
        from orchestrator.data.written import Files

        if file.suffix != SUFFIX:
            raise click.UsageError(f"--write {file}: examples are JSON lines, so name a file in {SUFFIX}")
        files = Files.beside(file, split=spec.dataset.validation is not None, left_out=left_out)
        there = ", ".join(str(each) for each in files.all if each.exists())
        if there and not force:
            raise click.UsageError(f"there already: {there}; give --write another name, or --force")
        return cls(files)

    def write(self, analysis: Analysis) -> None:
        from orchestrator.data.written import write_files

        with naming(self.files.train):
            self.written = write_files(analysis, self.files)

    def tell(self) -> None:
        """What was written, and the lines of a spec that reads it."""
        from orchestrator.data.report import counted

        if self.written is None:
            note("nothing was written")
            return
        for file, rows in self.written.rows.items():
            note(f"wrote {file}: {counted(rows, 'row')}")
        if self.written.left_out and not self.files.left_out:
            left_out = counted(self.written.left_out, "row")
            note(f"left out: {left_out}; --left-out writes them, each with its reason")
        if self.written.tools_as_text:
            note("tools are JSON text: read as a list, some would change the order or kind of their fields")
        held_out = f", validation: {self.files.validation}" if self.files.validation else ""
        note("a spec reads them with:")
        note(f"  dataset: {{source: {self.files.train}{held_out}}}")
        note(f"  mapping: {_MAPPINGS[self.written.columns]}")
