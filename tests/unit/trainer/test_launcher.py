"""The parent and its child, with real processes: codes, signals, logs, and life as PID 1."""

from __future__ import annotations

import os
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
from orchestrator.signals import Signals
from orchestrator.trainer import launcher
from orchestrator.trainer.launcher import Child, run_children

launcher.LAST_WORDS_SECONDS = 1.0
signals = Signals()
signals.listen()
log = Log(FileStore(Path(sys.argv[1])), 1, "trainer")
command = [sys.executable, "-u", "-c", sys.argv[2]]
children = [Child(rank, {**os.environ, "RANK": str(rank)}) for rank in range(int(sys.argv[3]))]
for left in run_children(command, children, folder=Path("/"), signals=signals, log=log):
    log.say(f"rank {left.rank} code {left.code}{' ours' if left.ours else ''}, stopping {signals.stopping}")
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


def start(
    tmp_path: Path, child: str, *wrapper: str, ranks: int = 1, before: str = ""
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*wrapper, sys.executable, "-c", before + PARENT, str(tmp_path), textwrap.dedent(child), str(ranks)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "READY": str(tmp_path)},
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
        assert f"rank 0 code {code}, stopping False" in parent.stdout.read()


def test_output_goes_to_ours_and_to_the_log_in_order(tmp_path: Path) -> None:
    child = "import sys; print('one', flush=True); print('two', file=sys.stderr, flush=True); print('three')"
    with start(tmp_path, child) as parent:
        assert parent.stdout is not None
        said = parent.stdout.read()
    assert said == "one\ntwo\nthree\n[trainer] rank 0 code 0, stopping False\n"
    assert log(tmp_path) == said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_forwarded_and_the_child_leaves_in_its_own_time(tmp_path: Path, number: int) -> None:
    with start(tmp_path, OBEDIENT) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.send_signal(number)
        assert parent.stdout.read() == "saving\n[trainer] rank 0 code 75, stopping True\n"


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
    assert "rank 0 code 0" in log(tmp_path)


def test_one_failed_rank_ends_the_others_after_their_last_words(tmp_path: Path) -> None:
    child = """
    import os, signal, sys, time
    from pathlib import Path
    rank, ready = int(os.environ["RANK"]), Path(os.environ["READY"])
    if rank == 1:
        while len(list(ready.glob("rank-*"))) < 2:
            time.sleep(0.01)
        print("no memory", flush=True)
        sys.exit(71)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (ready / f"rank-{rank}").touch()
    if rank == 2:
        while not (ready / "failed").exists():
            time.sleep(0.01)
        time.sleep(0.3)  # rank 1 is between its words and its end
        print("lost", end="", flush=True)
        sys.exit(70)
    signal.pause()
    """
    with start(tmp_path, child, ranks=3) as parent:
        assert parent.stdout is not None
        said = [parent.stdout.readline().rstrip()]
        (tmp_path / "failed").touch()
        said += parent.stdout.read().splitlines()
    assert said == [
        "[rank 1] no memory",
        "[rank 2] lost",
        "[trainer] rank 1 code 71, stopping False",
        "[trainer] rank 2 code 70, stopping False",
        "[trainer] rank 0 code -9 ours, stopping False",
    ]


def test_every_rank_is_told_to_stop_and_none_is_hurried(tmp_path: Path) -> None:
    child = """
    import os, signal, sys, time
    def leave(*_):
        time.sleep(0.1)
        sys.exit(75)
    signal.signal(signal.SIGTERM, leave)
    print("ready", flush=True)
    while True:
        time.sleep(0.01)  # a pause could miss a signal that comes just before it
    """
    with start(tmp_path, child, ranks=2) as parent:
        assert parent.stdout is not None
        assert {parent.stdout.readline(), parent.stdout.readline()} == {"ready\n", "[rank 1] ready\n"}
        parent.send_signal(signal.SIGTERM)
        said = parent.stdout.read().splitlines()
    assert sorted(said) == [f"[trainer] rank {rank} code 75, stopping True" for rank in (0, 1)]


def test_a_signal_that_another_thread_of_ours_gets_is_forwarded(tmp_path: Path) -> None:
    """The main thread lets the kernel give it to another one, as it may at any time."""
    beside = """
import signal, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
"""
    child = f"import signal\nsignal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])\n{OBEDIENT}"
    with start(tmp_path, child, before=beside) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.send_signal(signal.SIGTERM)
        try:
            said, _ = parent.communicate(timeout=20)
        finally:
            parent.kill()
    assert said == "saving\n[trainer] rank 0 code 75, stopping True\n"


def test_a_rank_that_is_done_waits_for_the_others(tmp_path: Path) -> None:
    child = "import os, time; time.sleep(0.6 * (1 - int(os.environ['RANK'])))"
    with start(tmp_path, child, ranks=2) as parent:
        assert parent.stdout is not None
        said = parent.stdout.read().splitlines()
    assert said == [f"[trainer] rank {rank} code 0, stopping False" for rank in (1, 0)]


def test_as_pid_1_it_hears_signals_and_reaps_orphans(tmp_path: Path) -> None:
    wrapper = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    if not shutil.which("unshare") or subprocess.run([*wrapper, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets us make no PID namespace")
    child = """
    import os, signal, sys, time
    if os.fork() == 0:      # a worker that ends before its own child, which PID 1 then inherits
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
    def leave(*_):
        time.sleep(0.5)
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
        assert outer.stdout.read() == "zombies []\n[trainer] rank 0 code 75, stopping True\n"
