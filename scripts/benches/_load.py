"""HTTP requests from as little processor time as can be, since what is asked shares the machine."""

from __future__ import annotations

import asyncio
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from dataclasses import dataclass, field

Line = tuple[StreamReader, StreamWriter]


@dataclass
class Load:
    """Requests to a server of this machine; `took` are seconds from when one was due to its answer."""

    port: int
    took: list[float] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)

    async def at_rate(self, request: Callable[[], bytes], rate: float, seconds: float, lines: int) -> float:
        """Send requests when they are due, whether or not those before are answered; the seconds until the
        last answer. One that finds no line free waits for it, which counts."""
        free: asyncio.Queue[Line] = asyncio.Queue()
        for _ in range(lines):
            free.put_nowait(await self._open())
        began = time.perf_counter()
        tasks = []
        for number in range(round(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(self._on_free_line(free, request(), due)))
        await asyncio.gather(*tasks)
        elapsed = time.perf_counter() - began
        while not free.empty():
            free.get_nowait()[1].close()
        return elapsed

    async def in_turn(self, request: bytes, readers: int, each: int) -> None:
        """Let readers send a request again and again, each after its answer."""
        await asyncio.gather(*(self._one_after_another(request, each) for _ in range(readers)))

    async def _one_after_another(self, request: bytes, times: int) -> None:
        line = await self._open()
        for _ in range(times):
            await self._ask(line, request, time.perf_counter())
        line[1].close()

    async def _on_free_line(self, free: asyncio.Queue[Line], request: bytes, due: float) -> None:
        line = await free.get()
        await self._ask(line, request, due)
        free.put_nowait(line)

    async def _ask(self, line: Line, request: bytes, due: float) -> None:
        reader, writer = line
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(each for each in head.lower().split(b"\r\n") if each.startswith(b"content-length:"))
        body = await reader.readexactly(int(length.partition(b":")[2]))
        self.took.append(time.perf_counter() - due)
        if not head.startswith(b"HTTP/1.1 2"):
            self.refused.append(head.partition(b"\r\n")[0] + b" " + body[:200])

    async def _open(self) -> Line:
        return await asyncio.open_connection("127.0.0.1", self.port)


def percentile(values: list[float], percent: float) -> float:
    """Milliseconds under which that share of seconds lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))] * 1000
