"""The parent and its child, with real processes: codes, signals, logs, and life as PID 1."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from orchestrator.contract import FileStore, read_stream

ROOT = Path(__file__).parents[3]
PARENT = """
import os, sys
from pathlib import Path
from orchestrator.contract import FileStore
from orchestrator.contract.program import Log
from orchestrator.trainer.launcher import run_child
from orchestrator.signals import Signals

signals = Signals()
signals.listen()
log = Log(FileStore(Path(sys.argv[1])), 1, "trainer")
command = [sys.executable, "-u", "-c", sys.argv[2]]
code = run_child(command, folder=Path("/"), environment=os.environ, signals=signals, log=log)
log.say(f"code {code}, stopping {signals.stopping}")
log.flush()
"""
OBEDIENT = """
import signal, sys
def leave(*_):
    print("saving", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
signal.pause()
"""


def start(tmp_path: Path, child: str, *wrapper: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*wrapper, sys.executable, "-c", PARENT, str(tmp_path), textwrap.dedent(child)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def log(tmp_path: Path) -> str:
    return read_stream(FileStore(tmp_path), 1, "log").decode()


@pytest.mark.parametrize(
    ("child", "code"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(75)", 75),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("import os; os.abort()", -6),
    ],
)
def test_the_true_exit_code_comes_back(tmp_path: Path, child: str, code: int) -> None:
    with start(tmp_path, child) as parent:
        assert parent.stdout is not None
        assert f"code {code}, stopping False" in parent.stdout.read()


def test_output_goes_to_ours_and_to_the_log_in_order(tmp_path: Path) -> None:
    child = "import sys; print('one', flush=True); print('two', file=sys.stderr, flush=True); print('three')"
    with start(tmp_path, child) as parent:
        assert parent.stdout is not None
        said = parent.stdout.read()
    assert said == "one\ntwo\nthree\n[trainer] code 0, stopping False\n"
    assert log(tmp_path) == said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_forwarded_and_the_child_leaves_in_its_own_time(tmp_path: Path, number: int) -> None:
    with start(tmp_path, OBEDIENT) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.send_signal(number)
        assert parent.stdout.read() == "saving\n[trainer] code 75, stopping True\n"


def test_a_worker_that_holds_the_pipe_does_not_hold_the_parent(tmp_path: Path) -> None:
    child = """
    import subprocess, sys
    worker = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    print(worker.pid, flush=True)
    """
    with start(tmp_path, child) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        try:
            assert parent.wait(30) == 0
        finally:
            subprocess.run(["kill", "-9", str(worker)], check=True)
    assert "code 0" in log(tmp_path)


def test_as_pid_1_it_hears_signals_and_reaps_orphans(tmp_path: Path) -> None:
    wrapper = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    if not shutil.which("unshare") or subprocess.run([*wrapper, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets us make no PID namespace")
    child = """
    import os, signal, sys
    if os.fork() == 0:      # a worker that ends before its own child, which PID 1 then inherits
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
    def leave(*_):
        zombies = [pid for pid in filter(str.isdigit, os.listdir("/proc"))
                   if open(f"/proc/{pid}/stat").read().split()[2] == "Z"]
        print("zombies", zombies, flush=True)
        sys.exit(75)
    signal.signal(signal.SIGTERM, leave)
    print("ready", os.getppid(), flush=True)
    signal.pause()
    """
    with start(tmp_path, child, *wrapper) as outer:
        assert outer.stdout is not None
        assert outer.stdout.readline() == "ready 1\n"
        inner = subprocess.run(["pgrep", "-P", str(outer.pid)], capture_output=True, text=True, check=True)
        subprocess.run(["kill", "-TERM", inner.stdout.strip()], check=True)
        assert outer.stdout.read() == "zombies []\n[trainer] code 75, stopping True\n"
