"""The trainer's image is built on what fits it, and on nothing else, with the reason."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

import orchestrator

ROOT = Path(__file__).parents[3]
SITE = sysconfig.get_path("purelib", vars={"base": sys.base_prefix})
PINNED = re.search(r'"axolotl==([\d.]+)"', (ROOT / "pyproject.toml").read_text())[1]  # type: ignore[index]


@pytest.fixture(scope="module")
def client(engine: str) -> Iterator[docker.APIClient]:
    client = docker.APIClient(base_url=engine, version="auto", timeout=120)
    yield client
    for image in client.images(filters={"reference": "axo.test/axolotl*"}):
        client.remove_image(image["Id"], force=True)
    client.close()


@pytest.fixture(scope="module")
def on(client: docker.APIClient, engine: str) -> Callable[[str, str], subprocess.CompletedProcess[str]]:
    """Builds the trainer's image on a base of the given version of Axolotl, with such a module in it."""

    def build(version: str, module: str) -> subprocess.CompletedProcess[str]:
        name = f"axo.test/axolotl:{uuid.uuid4().hex[:8]}"
        client.load_image(base_image(name, version, module))
        environment = {**os.environ, "DOCKER_HOST": engine, "AXO_AXOLOTL": name, "AXO_TAG": "test-only"}
        command = [ROOT / "scripts/images", "trainer"]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return build


def base_image(name: str, version: str, module: str) -> bytes:
    """An image with this machine's Python and a shell, and an Axolotl in name."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from node import oci, python_image
    finally:
        sys.path.pop(0)
    tools = [Path(found) for tool in ("sh", "xargs") if (found := shutil.which(tool))]
    library = {f"/bin/{tool.name}": tool.resolve() for tool in tools}
    linked = python_image.libraries(list(library.values()))
    axolotl = {
        "/etc/group": b"root:x:0:\n",
        f"{SITE}/axolotl/__init__.py": b"",
        f"{SITE}/axolotl/train.py": module.encode(),
        f"{SITE}/axolotl-{version}.dist-info/METADATA": f"Name: axolotl\nVersion: {version}\n".encode(),
    }
    layers = [oci.layer(python_image.python()), oci.layer({**library, **linked, **axolotl})]
    return oci.archive(name, layers, {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]})


def test_on_the_right_axolotl_it_is_built(
    on: Callable[..., subprocess.CompletedProcess[str]], client: docker.APIClient
) -> None:
    built = on(PINNED, "")
    assert built.returncode == 0, built.stderr
    image = client.inspect_image("axo-trainer:test-only")
    config = image["Config"]
    assert config["User"] == "65532:65532"
    assert config["Labels"]["org.opencontainers.image.version"] == orchestrator.__version__
    assert config["Labels"]["org.opencontainers.image.base.name"].startswith("axo.test/axolotl:")
    program = "import orchestrator.trainer.main as m, os; print(m.__cached__, os.path.exists(m.__cached__))"
    made = client.create_container(
        "axo-trainer:test-only",
        entrypoint=["python", "-c", program],
        host_config=client.create_host_config(read_only=True),
    )
    client.start(made["Id"])
    assert client.wait(made["Id"])["StatusCode"] == 0
    said = client.logs(made["Id"]).decode()
    client.remove_container(made["Id"])
    client.remove_image("axo-trainer:test-only")
    assert said.startswith("/opt/axo/orchestrator/trainer/__pycache__/main.")
    assert said.endswith("True\n")


@pytest.mark.parametrize(
    ("version", "module", "reason"),
    [
        ("0.18.0", "", f"has Axolotl 0.18.0; this release works with {PINNED}"),
        (PINNED, "open('/root-only/weights')", "user 65532 cannot import Axolotl"),
    ],
)
def test_on_anything_else_it_says_why_not(
    on: Callable[..., subprocess.CompletedProcess[str]], version: str, module: str, reason: str
) -> None:
    built = on(version, module)
    assert built.returncode != 0
    assert reason in built.stderr
