"""Tell the service what the metric record says, soon after storage has it. Training never waits for this.

The service may be away, slow, or gone for good: what could not be told it reads from storage.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from orchestrator.contract.report import MAX_REPORT_BYTES, REPORT_TOKEN, REPORT_URL, Taken, report_path

ANSWER_SECONDS = 5.0
AWAY_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0)
NOT_KNOWN_SECONDS = 60.0
BEHIND_SECONDS = 10.0  # until the service has read from storage what is kept here no more
LONGEST_SECONDS = 300.0
KEPT_BYTES = 4 * 1024 * 1024

_ANSWER_BYTES = 4096
_FENCED = 409
_NOT_KNOWN = (401, 403)


class Reports:
    """One attempt's reports, sent by a thread of their own to the service at `address`."""

    def __init__(self, address: str, token: Path, path: str) -> None:
        self._address, self._token, self._path = address, token, path
        self._connection: http.client.HTTPConnection | None = None
        self._lock, self._news = threading.Lock(), threading.Event()
        self._kept, self._end = bytearray(), 0  # the record's last bytes, up to `_end`
        self._taken = 0  # what the service has
        self._failures, self._over = 0, False

    def start(self) -> None:
        threading.Thread(target=self._keep_telling, name="reports", daemon=True).start()

    def tell(self, data: bytes) -> None:
        """What storage has of the record since just now: whole lines. Returns at once."""
        with self._lock:
            self._kept += data
            self._end += len(data)
            while len(self._kept) > KEPT_BYTES:
                del self._kept[: self._kept.index(b"\n") + 1]
        self._news.set()

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _keep_telling(self) -> None:
        while not self._over:
            self._news.wait()
            self._news.clear()
            time.sleep(self.turn())
        self.close()

    def turn(self) -> float:
        """Tell what is new; the seconds to rest after it."""
        rest = 0.0
        try:
            while not self._over and (report := self._next()) is not None:
                rest, further = self._tell(*report)
                if not further:
                    break
            self._failures = 0
        except Exception as error:  # whatever it is, training goes on
            return self._away(error)
        return rest

    def _next(self) -> tuple[int, bytes] | None:
        """The next report, as far as one may be long: its offset and its lines."""
        with self._lock:
            del self._kept[: max(0, self._taken - (self._end - len(self._kept)))]
            data = bytes(self._kept[:MAX_REPORT_BYTES])
            return (self._end - len(self._kept), data[: data.rfind(b"\n") + 1]) if data else None

    def _tell(self, offset: int, data: bytes) -> tuple[float, bool]:
        """Send a report; the seconds to rest, and whether the next one may follow at once."""
        status, answer = self._send(offset, data)
        if status == _FENCED:
            self._over = True
            return 0.0, False
        if status in _NOT_KNOWN:
            self._news.set()  # there is something to tell yet
            return NOT_KNOWN_SECONDS, False
        if status != 200:
            raise OSError(f"the service answers {status}")
        taken = Taken.from_json(answer)
        further = taken.offset > offset
        self._taken = taken.offset
        if not further:
            self._news.set()
        again = min(max(taken.again, 0.0), LONGEST_SECONDS)
        return (again, True) if further else (max(again, BEHIND_SECONDS), False)

    def _send(self, offset: int, data: bytes) -> tuple[int, bytes]:
        """One request, over a connection that is kept; a kept one that has gone stale is made anew."""
        fresh = self._connection is None
        try:
            return self._request(offset, data)
        except (http.client.HTTPException, OSError):
            self.close()
            if fresh:
                raise
            return self._request(offset, data)

    def _request(self, offset: int, data: bytes) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = _connection(self._address)
        headers = {
            "Authorization": f"Bearer {self._token.read_text().strip()}",
            "Content-Type": "application/octet-stream",
        }
        path = f"{urlsplit(self._address).path.rstrip('/') if self._over_tcp else ''}{self._path}"
        self._connection.request("PUT", f"{path}?offset={offset}", data, headers)
        answer = self._connection.getresponse()
        body = answer.read(_ANSWER_BYTES)
        if not answer.isclosed():  # it says more than we read, so nothing can follow it
            self.close()
        return answer.status, body

    @property
    def _over_tcp(self) -> bool:
        return not self._address.startswith("unix:")

    def _away(self, error: Exception) -> float:
        """Say once that the service is away; the seconds until it is tried again."""
        self.close()
        if not self._failures:
            print(f"progress cannot be reported now, which changes nothing: {error}", flush=True)
        self._failures += 1
        self._news.set()
        return AWAY_SECONDS[min(self._failures, len(AWAY_SECONDS)) - 1]


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket of this machine, which needs no network."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path_of_socket = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(self._path_of_socket)


def reports_of(environment: Mapping[str, str], run: str, launch: int, attempt: int) -> Reports | None:
    """The reports of an attempt; None where its launch was not told where to report to."""
    address, token = environment.get(REPORT_URL), environment.get(REPORT_TOKEN)
    if not address or not token:
        return None
    return Reports(address, Path(token), report_path(run, launch, attempt))


def _connection(address: str) -> http.client.HTTPConnection:
    parts = urlsplit(address)
    if parts.scheme == "unix":
        return _UnixConnection(unquote(parts.path))
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=ANSWER_SECONDS)
