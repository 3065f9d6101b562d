"""The image of the tests: this machine's Python with the libraries it needs, and the orchestrator's package.

The interpreter lies where it lies on this machine, so that environments made with it can be mounted and run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from node import oci

_ROOT = Path(__file__).parents[2]
_PACKAGE = "/opt/axo"
_SHIPPED = ("orchestrator", "axolotl_templates", "k8s")
_LEFT_OUT = {"__pycache__", "site-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip"}
# What compiled packages expect of any system, and nothing of Python's own may need.
_USUAL = (
    *("libstdc++.so.6", "libgcc_s.so.1", "libgomp.so.1", "libm.so.6", "libz.so.1"),
    *("librt.so.1", "libpthread.so.0", "libdl.so.2", "libutil.so.1", "libresolv.so.2"),
)


def make(environment: Path | None = None, program: str = "python") -> tuple[str, bytes]:
    """The image's name, which tells its content, and its archive.

    Its `python`, and the program that it runs, are those of the environment at this folder, which must be
    mounted at the same place.
    """
    layers = [oci.layer(python()), oci.layer(_package())]
    path = f"{environment}/bin:" if environment else ""
    content = oci.digest("".join([path, program, *map(oci.digest, layers)]).encode())
    name = f"axo.test/python:{content[7:19]}"
    config = {
        "Entrypoint": [program],
        "Env": [f"PATH={path}/usr/local/bin:/usr/bin:/bin", f"PYTHONPATH={_PACKAGE}", "PYTHONUNBUFFERED=1"],
        "User": "65532:65532",
        "WorkingDir": "/tmp",
    }
    return name, oci.archive(name, layers, config)


def python() -> dict[str, Path | bytes | str]:
    """The interpreter, as `python`, and what it needs."""
    program = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    files = dict(_below(library, str(library)))
    compiled = [program, *library.glob("lib-dynload/*.so")]
    links = {"/usr/local/bin/python": str(program), str(program.with_name("python3")): program.name}
    passwd = b"root:x:0:0::/:/none\nnonroot:x:65532:65532::/tmp:/none\n"
    return {**files, **libraries(compiled), str(program): program, **links, "/etc/passwd": passwd}


def _package() -> dict[str, Path | bytes | str]:
    return {place: path for name in _SHIPPED for place, path in _below(_ROOT / name, f"{_PACKAGE}/{name}")}


def _below(folder: Path, place: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder)
        if path.is_file() and path.suffix != ".a" and not _LEFT_OUT.intersection(within.parts):
            yield f"{place}/{within}", path


def libraries(programs: list[Path]) -> dict[str, Path | bytes | str]:
    """What the loader would load for them, at the places where it looks."""
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=True).stdout
    found = {path: Path(path) for path in re.findall(r"(/\S+\.so\S*) \(0x", said)}
    known = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    usual = [re.search(rf"{re.escape(name)} \(libc6,x86-64\) => (\S+)", known) for name in _USUAL]
    return {**found, **{match[1]: Path(match[1]) for match in usual if match}}
