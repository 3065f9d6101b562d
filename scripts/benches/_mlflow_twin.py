"""A server that takes metrics as MLflow does and writes down when; or one that stands before a real MLflow.

`python -m benches._mlflow_twin [URL]`: prints its own URL; at the end of its input, its figures as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

LOG_BATCH = "/api/2.0/mlflow/runs/log-batch"
MOST_METRICS, MOST_BYTES = 1000, 1_000_000  # of one batch: mlflow/utils/validation.py
_HOP = {"connection", "transfer-encoding", "content-length", "host", "accept-encoding"}

Point = tuple[str, str, int, int]


@dataclass
class Book:
    """What came, and when. MLflow takes the same point again as none; `again` counts those."""

    points: dict[Point, float] = field(default_factory=dict)
    again: int = 0
    requests: Counter[int] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def request(self) -> None:
        with self.lock:
            self.requests[int(time.time())] += 1

    def batch(self, body: dict[str, Any]) -> None:
        now = time.time()
        with self.lock:
            for each in body.get("metrics", []):
                point = (body["run_id"], each["key"], int(each["step"]), int(each["timestamp"]))
                self.again += point in self.points
                self.points.setdefault(point, now)

    def figures(self) -> dict[str, Any]:
        late = [[point[3] / 1000, at - point[3] / 1000] for point, at in self.points.items()]
        return {"late": late, "again": self.again, "requests": sorted(self.requests.items())}


def handler(book: Book, real: str | None) -> type[BaseHTTPRequestHandler]:
    lines = threading.local()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def answer(self) -> None:
            book.request()
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, answer = self._forward(body) if real else self._take(body)
            if status == 200 and self.path == LOG_BATCH:
                book.batch(json.loads(body))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def _take(self, body: bytes) -> tuple[int, bytes]:
            if self.path != LOG_BATCH:
                return 404, b'{"error_code": "ENDPOINT_NOT_FOUND", "message": "a twin takes metrics alone"}'
            if len(body) > MOST_BYTES or len(json.loads(body).get("metrics", [])) > MOST_METRICS:
                return 400, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "the batch is too large"}'
            return 200, b"{}"

        def _forward(self, body: bytes) -> tuple[int, bytes]:
            """Ask the real one, over a new connection where the kept one was closed meanwhile."""
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            for fresh in (not hasattr(lines, "real"), True):
                if fresh:
                    lines.real = HTTPConnection(urlsplit(real or "").netloc, timeout=30)
                try:
                    lines.real.request(self.command, self.path, body or None, headers)
                    answer = lines.real.getresponse()
                    return answer.status, answer.read()
                except (OSError, HTTPException):
                    lines.real.close()
            return 503, b"{}"

        def log_message(self, *_: object) -> None:
            """Nothing is said."""

    return Answer


def main() -> None:
    book, real = Book(), sys.argv[1] if len(sys.argv) > 1 else None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(book, real)) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        sys.stdin.read()
        print(json.dumps(book.figures()), flush=True)


if __name__ == "__main__":
    main()
