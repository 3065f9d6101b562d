"""Named secrets: a spec says `secret: hub`, and the folder `hub` of the secrets has a file for each key.

That is how Kubernetes mounts them. Values go to the library that needs them and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from orchestrator.errors import Fault, SpecError
from orchestrator.home import home_of


def read_secret(name: str | None, field: str, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The keys and values of a secret; nothing where none is named. It lies in `AXO_SECRETS`, by default
    `$AXO_HOME/secrets`.

    Raises SpecError at `field` where there is no such secret, or none of its keys can be read.
    """
    if name is None:
        return {}
    values = os.environ if environment is None else environment
    folder = Path(values.get("AXO_SECRETS") or home_of(values) / "secrets") / name
    try:
        files = [file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")]
        found = {file.name: file.read_text(encoding="utf-8").strip() for file in sorted(files)}
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError([_fault("there is no such secret here", name, folder, field)]) from error
    if not found:
        raise SpecError([_fault("this secret has no keys", name, folder, field)])
    return found


def not_allowed(name: str, setting: str) -> tuple[str, str]:
    """What to say of a secret that specs may not name, and what the operator can do: `setting` is a list."""
    section, _, key = setting.partition(".")
    what = f"the secret {name!r} may not be used by runs"
    return what, f"the operator can allow it: `{section}: {{{key}: [{name}]}}` in the settings file"


def _fault(what: str, name: str, folder: Path, field: str) -> Fault:
    fix = f"make the folder {folder} with a file for each key, such as `token`"
    return Fault(what, fix, path=f"{field}.secret", value=name)
