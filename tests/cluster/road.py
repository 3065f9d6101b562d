"""A way for pods to a service that listens on this machine alone."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import yaml


def host_of_pods(kubeconfig: Path) -> str:
    """The address at which pods reach this machine: the API server's, where that runs here."""
    config = yaml.safe_load(kubeconfig.read_text())
    return str(urlsplit(config["clusters"][0]["cluster"]["server"]).hostname)


@dataclass
class Road:
    """An address that pods reach; it leads to a `port` of this machine's own, once there is one."""

    url: str
    port: int = 0
    host: str = "127.0.0.1"
    _open: list[socket.socket] = field(default_factory=list)
    _silent: set[socket.socket] = field(default_factory=set)

    def carry(self, come: socket.socket) -> None:
        """Let a connection go on to the port."""
        with come, contextlib.suppress(OSError), socket.create_connection((self.host, self.port)) as gone:
            self._open += [come, gone]
            back = threading.Thread(target=self._pump, args=(gone, come))
            back.start()
            self._pump(come, gone)
            back.join()

    def fall_silent(self) -> None:
        """Those that are connected now stay so, and hear and are heard no more; whoever comes later is."""
        self._silent.update(self._open)

    def close(self) -> None:
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source not in self._silent:
                    target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def road(host: str, port: int = 0) -> Iterator[Road]:
    """One from a free port of the address."""
    with socket.create_server((host, 0)) as listener:
        made, threads = Road(f"http://{host}:{listener.getsockname()[1]}", port), list[threading.Thread]()

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threads.append(threading.Thread(target=made.carry, args=(listener.accept()[0],)))
                    threads[-1].start()

        accepting = threading.Thread(target=answer)
        accepting.start()
        try:
            yield made
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            made.close()
            for thread in (accepting, *threads):
                thread.join()
