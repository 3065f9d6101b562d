"""Registries: where a finished adapter is published, each behind one Protocol.

- `push` may be repeated: the same digest of the same run is published once, and gives the same
  answer again, as long as that is true. It may be cut off anywhere; what it left is used by the next push.
- A version exists, and an alias points at it, only after every byte was read back and compared.
- `verify` re-reads what was published, at any later time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from orchestrator.errors import RegistryError


class RegistryAway(RegistryError):
    """The registry cannot be reached; trying again later may help."""


class FileNotAllowed(RegistryError):
    """A file of a kind that is never published."""


@dataclass(frozen=True)
class Package:
    """What is published: a folder with the adapter's files, `README.md` and `provenance.json`.

    `digest` is the content digest of the adapter (its manifest's), `name` and `run_id` those of the
    run, `tags` what the registry shows beside the version.
    """

    folder: Path
    digest: str
    name: str
    run_id: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """A registry's confirmation; `reference` is what other tools load it by."""

    registry: str
    reference: str
    version: str
    url: str
    digest: str


class Registry(Protocol):
    """One place to publish to. Every method raises RegistryAway or RegistryError."""

    def check(self) -> None:
        """Whether the registry answers and lets us in."""

    def push(self, package: Package) -> Published:
        """Publish, once per digest and run."""

    def verify(self, published: Published) -> list[str]:
        """What is untrue of what was published, in sentences; empty when it is whole."""


_ALLOWED_SUFFIXES = (".safetensors", ".json", ".jinja", ".md", ".model")
_ALLOWED_NAMES = ("vocab.txt", "merges.txt")


def allowed_files(folder: Path) -> list[str]:
    """Relative paths of the files in `folder`, sorted, all of kinds that may be published.

    Safetensors, JSON, tokenizer files, chat templates and Markdown only: nothing that runs code
    when it is loaded, and no link to somewhere else.

    Raises:
        FileNotAllowed: there is a file of another kind.
    """
    found = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    for path in found:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        named_well = path.name in _ALLOWED_NAMES or path.suffix in _ALLOWED_SUFFIXES
        if path.is_symlink() or not path.is_file() or hidden or not named_well:
            raise FileNotAllowed(
                f"{path.relative_to(folder).as_posix()} is of a kind that is never published",
                hint="only safetensors, JSON, tokenizer files, *.jinja and Markdown leave storage",
            )
    return [path.relative_to(folder).as_posix() for path in found]
