"""Whether the trainer can run here: the version of Axolotl that this release works with, for this user."""

import os
import re
import sys
from importlib import metadata


def wanted() -> str:
    """The version that the package's own extra `trainer` pins."""
    pins = [re.match(r"axolotl==([\w.]+)", line) for line in metadata.requires("axo-orchestrator") or []]
    return next(pin[1] for pin in pins if pin)


def main() -> str | None:
    """The reason against it."""
    try:
        found = metadata.version("axolotl")
    except metadata.PackageNotFoundError:
        return f"the base image has no Axolotl in the environment of {sys.executable}"
    if found != wanted():
        return (
            f"the base image has Axolotl {found}; this release works with {wanted()}: choose another AXOLOTL"
        )
    try:
        import axolotl.train  # noqa: F401
    except Exception as error:
        return f"user {os.getuid()} cannot import Axolotl {found}: {type(error).__name__}: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main())
