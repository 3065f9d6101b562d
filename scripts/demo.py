"""The demo's phases: a tiny base model, an MLflow server, and the product's own commands."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator import mlflow_server

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "support-triage"
CACHE = Path(os.environ.get("AXO_CACHE") or Path.home() / ".cache" / "axo")
AXO = ROOT / ".venv" / "bin" / "axo"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    folder = options.folder.absolute()
    if options.stop:
        mlflow_server.stop(folder / "mlflow")
        print(f"stopped the MLflow server of {folder}")
        return 0
    times: dict[str, float] = {"environments": options.setup_seconds}
    with _phase("base model", times):
        base = tiny_base()
    with _phase("MLflow server", times):
        server = mlflow_server.start(folder / "mlflow")
        _say(f"MLflow answers at {server.url}")
    spec = lay_out(folder, base, options.seed)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "AXO_STORAGE"},
        "AXO_HOME": str(folder / "home"),
        "AXO_MLFLOW_URI": server.url,
        # Several threads take longer than one to share out matrices this small.
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    with _phase("check", times):
        _axo(["check", str(spec)], environment)
    with _phase("run", times):
        run = json.loads(_axo(["run", str(spec), "--new", "-o", "json"], environment, quiet=True))
    with _phase("verify", times):
        _axo(["verify", run["id"]], environment)
    _axo(["get", run["id"], "--curve", str(folder / "loss.svg"), "-o", "name"], environment, quiet=True)
    conclude(run, folder, times)
    return 0


def tiny_base() -> Path:
    """The tiny base model, made once per version of its script and kept in the cache."""
    script = ROOT / "scripts" / "tiny_model.py"
    digest = hashlib.sha256(script.read_bytes()).hexdigest()[:12]
    folder = CACHE / f"tiny-base-{digest}"
    if not folder.exists():
        trainer = os.environ.get("AXO_TRAINER_PYTHON") or CACHE / "trainer" / "bin" / "python"
        subprocess.run([str(trainer), str(script), str(folder)], check=True, stdout=sys.stderr)
    return folder


def lay_out(folder: Path, base: Path, seed: int) -> Path:
    """A copy of the example beside its base model, with the seed in place; its spec."""
    target = folder / EXAMPLE.name
    shutil.copytree(EXAMPLE, target, dirs_exist_ok=True)
    link = target / "tiny-base"
    link.unlink(missing_ok=True)
    link.symlink_to(base)
    spec = target / "spec.yaml"
    text = spec.read_text()
    for name in ("seed", "split_seed"):
        text = text.replace(f" {name}: 42", f" {name}: {seed}")
    spec.write_text(text)
    return spec


def conclude(run: dict[str, Any], folder: Path, times: dict[str, float]) -> None:
    """The result: base against adapter, where to look, and what took how long."""
    evaluation = run["evaluation"]
    base, adapter = evaluation["base"], evaluation["adapter"]
    print()
    print(f"{'':<16}{'exact match':>12}{'held-out loss':>16}")
    for name, side in (("base model", base), ("adapter", adapter)):
        print(f"{name:<16}{side['exact_match']:>12.1%}{side['loss']:>16.4f}")
    print()
    print(f"published    {run['published'][0]['reference']}")
    print(f"in MLflow    {run['mlflow']}")
    print(f"loss curve   {folder / 'loss.svg'}")
    print(f"seconds      {', '.join(f'{name} {seconds:.0f}' for name, seconds in times.items())}")
    print("the server   goes on; `scripts/demo --stop` ends it")


@contextmanager
def _phase(name: str, times: dict[str, float]) -> Iterator[None]:
    _say(f"--- {name}")
    began = time.monotonic()
    yield
    times[name] = time.monotonic() - began


def _axo(arguments: Sequence[str], environment: dict[str, str], *, quiet: bool = False) -> str:
    """Run one command of the product as a user would; its stdout, shown unless `quiet`."""
    _say(f"$ axo {' '.join(arguments)}")
    done = subprocess.run(
        [str(AXO), *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if not quiet or done.returncode:
        print(done.stdout, end="", flush=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--seed", type=int, default=42, help="seed of training and of the held-out rows")
    parser.add_argument("--folder", type=Path, default=ROOT / "demo", help="where everything is put")
    parser.add_argument("--stop", action="store_true", help="stop the MLflow server of an earlier demo")
    parser.add_argument("--setup-seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
