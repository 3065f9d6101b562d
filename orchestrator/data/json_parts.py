"""Messages whose content is a text here and a list of parts there, written anew with parts everywhere.

OpenAI's form allows both, and no column holds both. Of a part its kind and its text stay: text is all that is
trained on, and the kind names what is not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_parts(path: Path, target: Path) -> None:
    """Write JSON lines into `target`, line for line, each `content` of a message as a list of parts."""
    with path.open(encoding="utf-8", newline="\n") as lines, target.open("w", encoding="utf-8") as parted:
        for line in lines:
            parted.write(json.dumps(_parted(json.loads(line))) if line.strip() else "")
            parted.write("\n")


def _parted(value: Any) -> Any:
    if isinstance(value, list):
        return [_parted(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    row = {name: _parted(entry) for name, entry in value.items()}
    if "role" in row and isinstance(content := row.get("content"), str | list):
        row["content"] = [_part(part) for part in (content if isinstance(content, list) else [content])]
    return row


def _part(part: Any) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    given = part if isinstance(part, dict) else {"type": json.dumps(part)}
    return {name: value for name in ("type", "text") if isinstance(value := given.get(name), str)}
