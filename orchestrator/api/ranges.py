"""Answers with the bytes of something, or with the range of them that was asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

Read = Callable[[int, int], Iterator[bytes]]
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_BYTES = "application/octet-stream"


def ranged(request: Request, read: Read, size: int, tag: str) -> Response:
    """What `read` gives between two places, of `size` bytes in all; several ranges at once are not answered,
    nor is a range of other content than `tag`: all of it comes then."""
    headers = {"ETag": tag, "Accept-Ranges": "bytes"}
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or asked[0] == "bytes=-" or request.headers.get("if-range", tag) != tag:
        return _stream(read, 0, size, 200, headers)
    start, end = _span(asked[1], asked[2], size)
    if start >= end:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    return _stream(read, start, end, 206, {**headers, "Content-Range": f"bytes {start}-{end - 1}/{size}"})


def _span(first: str, last: str, size: int) -> tuple[int, int]:
    """Where a range begins, and where it is over; without a first byte, `last` is how many of the end."""
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


def _stream(read: Read, start: int, end: int, status: int, headers: dict[str, str]) -> Response:
    told = {**headers, "Content-Length": str(end - start)}
    return StreamingResponse(read(start, end), status, told, media_type=_BYTES)
