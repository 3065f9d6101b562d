"""Stands where a step's program would: `.. <run folder> <launch>`; it ends as the test wants.

It adds a line to `starts`; told to leave, it touches `asked` and leaves with 75, or is `deaf`
where there is a file of that name.
Told where to report, it writes `report`: the token that it has, and what the service's socket says to it.
A file `leave` holds the exit code to leave with, or `memory` or `scratch`: it then takes all memory there is,
or more and more of its scratch disk.
"""

import os
import pathlib
import signal
import socket
import sys
import time

folder = pathlib.Path(sys.argv[-2].removeprefix("file://"))
asked = []
if (folder / "deaf").exists():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
if "AXO_REPORT_URL" in os.environ:
    url = os.environ["AXO_REPORT_URL"]
    token = pathlib.Path(os.environ["AXO_REPORT_TOKEN"]).read_text()
    if url.startswith("unix://"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(url.removeprefix("unix://"))
    else:
        host, port = url.removeprefix("http://").split(":")
        connection = socket.create_connection((host, int(port)), 10)
    said = connection.recv(100).decode()
    (folder / ".report").write_text(f"{token}\n{said}")
    (folder / ".report").rename(folder / "report")
print("hello from launch", sys.argv[-1], flush=True)
with open(folder / "starts", "a") as starts:
    starts.write(f"{os.getpid()}\n")
while not asked and not (folder / "leave").exists():
    time.sleep(0.01)
if asked:
    (folder / "asked").touch()
    sys.exit(75)
how = (folder / "leave").read_text()
if how == "memory":
    hoard = [b"x" * (1 << 20) for _ in range(1 << 14)]
if how == "scratch":
    with open(os.environ["AXO_SCRATCH"] + "/full", "wb") as full:
        while True:
            full.write(b"x" * (1 << 20))
            full.flush()
            time.sleep(0.05)
sys.exit(int(how))
