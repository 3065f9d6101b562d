"""Reading the cluster's objects, which are anybody's: what lacks something is read as far as it goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

QUEUE = "kueue.x-k8s.io/queue-name"

Object = Mapping[str, Any]

_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "labels",
    "annotations",
    "creationTimestamp",
    "deletionTimestamp",
)


def kept_metadata(thing: Object) -> Object:
    metadata = thing["metadata"]
    return {key: metadata[key] for key in _METADATA if key in metadata}


def condition(thing: Object, kind: str, status: str = "True") -> Object | None:
    for each in items(met(thing, "status", "conditions")):
        if (each.get("type"), each.get("status")) == (kind, status):
            return each
    return None


def met(thing: object, *path: str) -> Any:
    """What lies at a path, None where there is nothing of the kind."""
    for key in path:
        if not isinstance(thing, Mapping):
            return None
        thing = thing.get(key)
    return thing


def items(value: object) -> Iterator[Object]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        yield from (item for item in value if isinstance(item, Mapping))


def text(thing: Object | None, key: str) -> str:
    value = thing.get(key) if thing else None
    return value if isinstance(value, str) else ""


def seconds(timestamp: object) -> float | None:
    """Seconds since 1970 of the API server's time."""
    try:
        return datetime.fromisoformat(timestamp).timestamp() if isinstance(timestamp, str) else None
    except ValueError:
        return None
