"""Bodies that are bytes of anything: what the document calls them, and how a route is given one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

OCTETS: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
TAKES_OCTETS: dict[str, Any] = {"requestBody": {"required": True, "content": OCTETS}}


async def _body(request: Request) -> bytes:
    """The whole of it; `orchestrator.api.bounds` sees that it is no larger than it may be."""
    return await request.body()


OctetsOf = Annotated[bytes, Depends(_body)]
